"""Functions of text: the standard ones, the strings extension of cel-go as Kubernetes has it, and regular expressions.

Owns the functions; `format` is formatting.py's. Positions count characters.
Source: cel-go ext/strings.go (version 2); Kubernetes documentation "Common Expression Language", regex library.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import islice
from typing import Any

from atoll.kubeapi.cel.formatting import formatted
from atoll.kubeapi.cel.overloads import Overload, function, method
from atoll.kubeapi.cel.values import CelError, Spend
from atoll.kubeapi.patterns import BadPattern, Pattern, compiled

_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_MATCH = 5  # the cost of one match, by its time
_UPPER = str.maketrans("abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _pattern(text: str) -> Pattern:
    try:
        return compiled(text)
    except BadPattern as error:
        raise CelError(f"error parsing regexp: {error}: `{text[:60]}`") from None


def _matching_cost(arguments: Sequence[Any]) -> int:
    """Return what Kubernetes takes for a match: a tenth per character of the text, a quarter per one of the pattern."""
    return (len(arguments[0]) // 10 + 1) * (len(arguments[1]) // 4 + 1)


def _matches(text: str, pattern: str) -> bool:
    return _pattern(pattern).occurs_in(text)


def _find(text: str, pattern: str) -> str:
    return next(_pattern(pattern).occurrences(text), "")


def _find_all(text: str, pattern: str, limit: int, spend: Spend) -> list[str]:
    found = []
    for match in islice(_pattern(pattern).occurrences(text), None if limit < 0 else limit):
        spend(_MATCH)
        found.append(match)
    return found


def _char_at(text: str, index: int) -> str:
    _check(text, index)
    return text[index : index + 1]


def _check(text: str, *positions: int) -> None:
    for position in positions:
        if not 0 <= position <= len(text):
            raise CelError(f"index out of range: {position}")


def _index_of(text: str, wanted: str, start: int = 0) -> int:
    if not wanted:
        return start
    _check(text, start)
    return text.find(wanted, start)


def _last_index_of(text: str, wanted: str, end: int | None = None) -> int:
    if not wanted:
        return len(text) if end is None else end
    if end is not None:
        _check(text, end)
    return text.rfind(wanted, 0, None if end is None else end + len(wanted))


def _join(texts: list[Any], separator: str, spend: Spend) -> str:
    if not all(isinstance(text, str) for text in texts):
        raise CelError("no such overload: join of a list of other things than strings")
    spend((sum(map(len, texts)) + len(separator) * len(texts)) // 10)
    return separator.join(texts)


def _replace(text: str, old: str, new: str, limit: int, spend: Spend) -> str:
    count = text.count(old) if limit < 0 else min(text.count(old), limit)
    spend((len(text) + count * len(new)) // 10)
    return text.replace(old, new, limit)


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if not separator:
        return list(text) if limit < 0 else [*text[: limit - 1], *([text[limit - 1 :]] if text[limit - 1 :] else [])]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    _check(text, start, end)
    if start > end:
        raise CelError(f"invalid substring range: start: {start}, end: {end}")
    return text[start:end]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\\u0007", "\\a").replace("\\u000b", "\\v")


TEXT: tuple[Overload, ...] = (
    method("contains", lambda text, part: part in text, "string, string -> bool"),
    method("startsWith", str.startswith, "string, string -> bool"),
    method("endsWith", str.endswith, "string, string -> bool"),
    method("matches", _matches, "string, string -> bool", cost=_matching_cost),
    method("charAt", _char_at, "string, int -> string"),
    method("indexOf", _index_of, "string, string -> int"),
    method("indexOf", _index_of, "string, string, int -> int"),
    method("lastIndexOf", _last_index_of, "string, string -> int"),
    method("lastIndexOf", _last_index_of, "string, string, int -> int"),
    method("join", lambda texts, spend: _join(texts, "", spend), "list(string) -> string", spends=True),
    method("join", _join, "list(string), string -> string", spends=True),
    method("lowerAscii", lambda text: text.translate(_LOWER), "string -> string"),
    method("upperAscii", lambda text: text.translate(_UPPER), "string -> string"),
    method(
        "replace",
        lambda text, old, new, spend: _replace(text, old, new, -1, spend),
        "string, string, string -> string",
        spends=True,
    ),
    method("replace", _replace, "string, string, string, int -> string", spends=True),
    method("split", _split, "string, string -> list(string)"),
    method("split", _split, "string, string, int -> list(string)"),
    method("substring", _substring, "string, int -> string"),
    method("substring", _substring, "string, int, int -> string"),
    method("trim", lambda text: text.strip(), "string -> string"),
    method("reverse", lambda text: text[::-1], "string -> string"),
    function("strings.quote", _quote, "string -> string"),
    method("format", formatted, "string, list(dyn) -> string", spends=True),
)

FINDING: tuple[Overload, ...] = (
    method("find", _find, "string, string -> string", cost=_matching_cost),
    method(
        "findAll",
        lambda text, pattern, spend: _find_all(text, pattern, -1, spend),
        "string, string -> list(string)",
        cost=_matching_cost,
        spends=True,
    ),
    method("findAll", _find_all, "string, string, int -> list(string)", cost=_matching_cost, spends=True),
)
