"""Regular expressions of schemas and rules: RE2, as in Go, so that no pattern takes longer than the text is long.

The only door to google-re2. Owns compiling and its errors; must not know where patterns come from.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import re2


class BadPattern(ValueError):
    """A text that is no regular expression; the message says why."""


class Pattern:
    """One compiled expression."""

    def __init__(self, text: str) -> None:
        """Raises BadPattern."""
        options = re2.Options()
        options.log_errors = False  # the library would write them to stderr
        try:
            self._compiled: Any = re2.compile(text, options)
        except re2.error as error:
            raise BadPattern(error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)) from None

    def occurs_in(self, text: str) -> bool:
        """Say whether the expression matches anywhere in a text."""
        return self._compiled.search(_readable(text)) is not None

    def occurrences(self, text: str) -> Iterator[str]:
        """Yield what the expression matches, from left to right, without overlaps; empty matches count."""
        for match in self._compiled.finditer(_readable(text)):
            yield match[0]


@lru_cache(maxsize=4096)
def compiled(text: str) -> Pattern:
    """Return a compiled expression; compiling is kept. Raises BadPattern."""
    return Pattern(text)


def _readable(text: str) -> str:
    """Return a text without half characters (lone surrogates of JSON), which UTF-8 cannot hold, as Go replaces them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
