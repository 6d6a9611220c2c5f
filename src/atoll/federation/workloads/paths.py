"""Paths into a manifest: `spec.replicatedJobs[*].template`, `status.conditions[type=Failed].reason`.

Owns the language in which the mappings of kinds are written: names, `["a.b"]` for names with dots, `[2]` for one entry
of a list, `[*]` for every entry of a list or a map, `[name=main]` for the entries of a list that say so. It must not
know any kind.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from atoll.federation.errors import InvalidInput

_STEP = re.compile(
    r"""(?P<key>[A-Za-z0-9_\-]+) | \[(?P<index>[0-9]{1,6})\] | \[(?P<each>\*)\]
      | \["(?P<quoted>[^"]+)"\] | \[(?P<field>[A-Za-z]+)=(?P<value>[^\]]+)\]""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Key:
    """A field of an object."""

    name: str

    def __str__(self) -> str:
        """Write it as it stands in a path, but for the dot."""
        return f'["{self.name}"]' if "." in self.name or "/" in self.name else self.name


@dataclass(frozen=True)
class Index:
    """One entry of a list."""

    number: int

    def __str__(self) -> str:
        """Write it as it stands in a path."""
        return f"[{self.number}]"


@dataclass(frozen=True)
class Each:
    """Every entry of a list, or every value of a map."""

    def __str__(self) -> str:
        """Write it as it stands in a path."""
        return "[*]"


@dataclass(frozen=True)
class Where:
    """The entries of a list whose field has a value."""

    field: str
    value: str

    def __str__(self) -> str:
        """Write it as it stands in a path."""
        return f"[{self.field}={self.value}]"


Step = Key | Index | Each | Where


@lru_cache(maxsize=4096)
def parse(path: str) -> tuple[Step, ...]:
    """Read a path; the empty one names the whole.

    Raises:
        InvalidInput: the text is no path.
    """
    steps: list[Step] = []
    position = 0
    while position < len(path):
        if path[position] == "." and steps:
            position += 1
        match = _STEP.match(path, position)
        if match is None:
            raise InvalidInput(f"{path!r} is no path: write names and dots, such as spec.workers[*].template")
        steps.append(_step(match))
        position = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    if match["each"]:
        return Each()
    if match["index"]:
        return Index(int(match["index"]))
    return Where(match["field"], match["value"]) if match["field"] else Key(match["key"] or match["quoted"])


@lru_cache(maxsize=4096)
def join(base: str, path: str) -> str:
    """Continue a path by another one."""
    return f"{base}{'.' if base and path and not path.startswith('[') else ''}{path}"


def find(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Give everything that stands at a path, each with the path of just that. What is of another form is not there."""
    if _names(path) is not None:
        found = first(value, path)
        return iter(() if found is None else ((path, found),))
    places: list[tuple[str, Any]] = [("", value)]
    for step in parse(path):
        places = [(join(place, str(step_to)), child) for place, each in places for step_to, child in _below(each, step)]
    return iter(places)


def first(value: Any, path: str) -> Any:
    """Give the first of what stands at a path; None if nothing does."""
    names = _names(path)
    if names is None:
        return next((found for _, found in find(value, path)), None)
    for name in names:  # most paths are of names alone, and a million jobs are read by them
        if not isinstance(value, Mapping):
            return None
        value = value.get(name)
    return value


@lru_cache(maxsize=4096)
def _names(path: str) -> tuple[str, ...] | None:
    """Give the steps of a path of names; None if it has others."""
    names = tuple(step.name for step in parse(path) if isinstance(step, Key))
    return names if len(names) == len(parse(path)) else None


def put(root: dict[str, Any], path: str, value: Any) -> None:
    """Write a value at a path of `root`, in place, making what leads there; `[*]` makes nothing.

    Raises:
        InvalidInput: what stands on the way is of another form; the message names it.
    """
    *way, last = parse(path)
    places: list[tuple[str, Any]] = [("", root)]
    for step, after in zip(way, (*way[1:], last), strict=True):
        places = [found for place in places for found in _made(place, step, after)]
    for _, parent in places:
        _set(parent, last, value, path)


def _below(value: Any, step: Step) -> Iterator[tuple[Step, Any]]:
    match step:
        case Key(name) if isinstance(value, Mapping):
            if value.get(name) is not None:
                yield step, value[name]
        case Index(number) if _is_list(value):
            if number < len(value):
                yield step, value[number]
        case Each() if isinstance(value, Mapping):
            yield from ((Key(str(key)), child) for key, child in value.items() if child is not None)
        case Each() if _is_list(value):
            yield from ((Index(number), child) for number, child in enumerate(value))
        case Where(field, wanted) if _is_list(value):
            for number, child in enumerate(value):
                if isinstance(child, Mapping) and str(child.get(field)) == wanted:
                    yield Index(number), child


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _made(place: tuple[str, Any], step: Step, after: Step) -> list[tuple[str, Any]]:
    """Go one step, making what is missing in the form that the step after it needs."""
    path, value = place
    found = [(join(path, str(to)), child) for to, child in _below(value, step)]
    if found or isinstance(step, Each | Index):
        return found
    here = join(path, str(step))
    match step:
        case Key(name) if isinstance(value, dict):
            child: Any = [] if isinstance(after, Where) else {}
            value[name] = child
        case Where(field, wanted) if isinstance(value, list):
            child = {field: wanted}
            value.append(child)
        case _:
            raise InvalidInput(f"{here}: cannot be there, since what it would stand in is of another form")
    return [(here, child)]


def _set(parent: Any, step: Step, value: Any, path: str) -> None:
    match step:
        case Key(name) if isinstance(parent, dict):
            parent[name] = value
        case Index(number) if isinstance(parent, list) and number < len(parent):
            parent[number] = value
        case _:
            raise InvalidInput(f"{path}: cannot be there, since what it would stand in is of another form")
