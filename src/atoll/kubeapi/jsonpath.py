"""The JSONPath of printer columns: `.status.conditions[?(@.type=="Ready")].status`.

Owns the small part of kubectl's JSONPath that additionalPrinterColumns use; pure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>(?:\\.|[^.\[\\])+)
      | \[(?P<index>-?\d+)\]
      | \[['"](?P<quoted>[^'"]+)['"]\]
      | (?P<all>\[\*\]|\.\*)
      | \[\?\(\s*@\.(?P<key>[\w.\-/]+)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[\w.\-]+)\s*\)\]""",
    re.VERBOSE,
)

_Step = Callable[[Iterable[Any]], list[Any]]


def find(path: str, obj: object) -> list[Any]:
    """Return every value at `path`. Raises ValueError if the path cannot be understood."""
    found: list[Any] = [obj]
    for step in _compile(path):
        found = step(found)
    return found


@lru_cache(maxsize=1024)
def _compile(path: str) -> tuple[_Step, ...]:
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    steps: list[_Step] = []
    position = 0
    while position < len(text):
        match = _STEP.match(text, position)
        if match is None:
            raise ValueError(f"the JSONPath {path!r} cannot be understood from {text[position:]!r} on")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> _Step:
    if match["all"]:
        return lambda values: [inner for value in values for inner in _inside(value)]
    if match["index"]:
        at = int(match["index"])
        return lambda values: [
            value[at] for value in values if isinstance(value, list) and -len(value) <= at < len(value)
        ]
    if match["key"]:
        key, equal, wanted = match["key"], match["op"] == "==", match["value"].strip("'\"")
        return lambda values: [
            item
            for value in values
            for item in _inside(value)
            if isinstance(item, Mapping) and (_text(item.get(key)) == wanted) is equal
        ]
    name = match["quoted"] or re.sub(r"\\(.)", r"\1", match["field"])
    return lambda values: [value[name] for value in values if isinstance(value, Mapping) and name in value]


def _inside(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
