"""Field paths: `sample.id`, `channels[0].value`, `metrics[name=Inlet/Temperature].value`, `"a.b".c`. Pure.

Owns their syntax. A path that finds nothing is no error: instruments leave fields out.

    path  = name | index, then any of: "." name | index
    name  = characters but . [ ] " and space, or anything but " between two "
    index = "[" number "]"             an item of a list, from 0
          | "[" name "=" text "]"      the first item of a list whose field has this text (or number, true, false)
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_NAME = r'(?:"([^"]+)"|([^."\[\]\s=]+))'
_STEP = re.compile(rf"(?:^|(?<=.)\.){_NAME}|\[(\d{{1,9}})\]|\[{_NAME}=([^\[\]]*)\]")
_LONGEST_PATH, _KEPT_PATHS = 1024, 512


class InvalidPath(ValueError):
    """The text is no field path."""


class Match(NamedTuple):
    """A step: the first item of a list whose field `name` reads as `text`."""

    name: str
    text: str


Step = str | int | Match
Steps = tuple[Step, ...]


@lru_cache(maxsize=_KEPT_PATHS)
def parse_path(path: str) -> Steps:
    """Read a path.

    Raises:
        InvalidPath: it is none; the message says from which character on.
    """
    steps: list[Step] = []
    at = 0
    while at < len(path) or not steps:
        match = _STEP.match(path, at) if len(path) <= _LONGEST_PATH else None
        if match is None:
            raise InvalidPath(f"{path[:80]!r} is no field path from character {at + 1}; write a.b, a[0].b, a[name=x].b")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    quoted, name, index, quoted_key, key, text = match.groups()
    if index is not None:
        return int(index)
    if text is not None:
        return Match(quoted_key or key, text)
    return str(quoted or name)


def field(value: Any, path: str | Steps) -> Any:
    """Give what a path finds in a JSON-like value; None if there is nothing, or null.

    Raises:
        InvalidPath: the path is none.
    """
    for step in parse_path(path) if isinstance(path, str) else path:
        value = _follow(value, step)
        if value is None:
            return None
    return value


def as_text(value: Any) -> str | None:
    """Give a scalar as the text that people write for it (true, 7, abc); None for null, a list or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else None


def _follow(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, Mapping) else None
    if not isinstance(value, Sequence) or isinstance(value, str):
        return None
    if isinstance(step, int):
        return value[step] if step < len(value) else None
    return next((item for item in value if as_text(_follow(item, step.name)) == step.text), None)
