"""Regular expressions of schemas: RE2 syntax, as Go compiles it, on Python's engine.

Owns the translation of what the two write differently (github.com/google/re2/wiki/Syntax); pure.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from functools import lru_cache

_POSIX = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": "\\x00-\\x7f",
    "blank": "\\t ",
    "cntrl": "\\x00-\\x1f\\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": "!-/:-@\\[-`{-~",
    "space": "\\t\\n\\v\\f\\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_TOKEN = re.compile(
    r"""(?P<unicode>\\(?P<p>[pP])(?:\{(?P<not>\^?)(?P<name>\w+)\}|(?P<letter>[A-Z])))
      | (?P<end>\\z)
      | (?P<escaped>\\.)
      | (?P<posix>\[:(?P<class>\w+):\])
      | (?P<open>\[\^?\]?)
      | (?P<close>\])
      | (?P<dollar>\$)
      | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> re.Pattern[str]:
    """Compile an RE2 pattern: `$` is the end of the text only, and classes such as `\\d` are ASCII. Raises re.error."""
    multiline = pattern.startswith("(?") and "m" in pattern[: pattern.find(")")]
    parts: list[str] = []
    in_class = False
    for token in _TOKEN.finditer(pattern):
        text = token[0]
        if token["unicode"]:
            negated = (token["p"] == "P") is not bool(token["not"])
            ranges = _category(token["name"] or token["letter"], negated)
            text = ranges if in_class else f"[{ranges}]"
        elif token["end"] or (token["dollar"] and not in_class and not multiline):
            text = r"\Z"
        elif token["posix"] and in_class:
            text = _POSIX.get(token["class"], text)
        elif token["posix"] or token["open"]:
            text = text if not in_class else "\\" + text
            in_class = True
        elif token["close"]:
            in_class = False
        parts.append(text)
    return re.compile("".join(parts), re.ASCII)


@lru_cache(maxsize=64)
def _category(name: str, negated: bool) -> str:
    """Return the ranges of all characters in, or not in, a general category of Unicode such as L or Lu."""
    if not any(name in (category, category[0]) for category in _categories()):
        raise re.error(f"the Unicode class {name} is not known")
    ranges: list[str] = []
    start: int | None = None
    for code in range(sys.maxunicode + 2):
        inside = code <= sys.maxunicode and unicodedata.category(chr(code)).startswith(name) is not negated
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{code - 1:08x}")
            start = None
    return "".join(ranges)


@lru_cache(maxsize=1)
def _categories() -> frozenset[str]:
    return frozenset(unicodedata.category(chr(code)) for code in range(0x3000))
