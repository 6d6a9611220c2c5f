"""Values of CEL in Python, their types, and when two of them are equal.

int, float, bool, str, bytes, None, list, dict, datetime and timedelta stand for themselves; what Python has no type
for is here. Must not know expressions.
Source: cel-spec langdef.md, "Values" and "Equality"; Kubernetes documentation "Validation rules", list types.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar

Spend = Callable[[int], None]


class CelError(Exception):
    """An evaluation that has no value. `||`, `&&` and `exists` may do without it."""


class NoOverload(CelError):
    """A function that does not take what it was given."""

    def __init__(self, function: str, arguments: Iterable[Any]) -> None:
        """Name the function and what it was given."""
        super().__init__(f"no such overload: {function}({', '.join(map(kind_of, arguments))})")


class OutOfBudget(Exception):
    """An evaluation that costs more than it may; nothing in an expression can catch it."""


class Uint(int):
    """An unsigned integer of 64 bits."""


@dataclass(frozen=True)
class Optional:
    """A value that may be missing."""

    has_value: bool = False
    value: Any = None


NONE = Optional()


@dataclass(frozen=True)
class TypeValue:
    """A type as a value, such as `int` in `type(x) == int`."""

    name: str


@dataclass(frozen=True)
class Failed:
    """A value that could not be had; whoever reads it gets the error."""

    error: CelError
    kind: ClassVar[str] = "error"


class Opaque:
    """A value of a type that only functions look into; subclasses are frozen dataclasses."""

    kind: ClassVar[str]


class SetList(list[Any]):
    """A list of type set: order means nothing."""


class MapList(list[Any]):
    """A list of type map: items are known by their keys, and order means nothing."""

    keys: tuple[str, ...] = ()

    def by_key(self, items: Iterable[Any]) -> dict[tuple[Any, ...], Any]:
        """Return items by the values of their keys."""
        return {tuple(_hashable(item.get(key)) for key in self.keys): item for item in items if isinstance(item, dict)}


_KINDS: Mapping[type, str] = {
    bool: "bool",
    int: "int",
    Uint: "uint",
    float: "double",
    str: "string",
    bytes: "bytes",
    type(None): "null_type",
    list: "list",
    SetList: "list",
    MapList: "list",
    dict: "map",
    datetime: "google.protobuf.Timestamp",
    timedelta: "google.protobuf.Duration",
    Optional: "optional_type",
    TypeValue: "type",
}
NUMBERS = frozenset(("int", "uint", "double"))


def kind_of(value: Any) -> str:
    """Return the name of a value's type."""
    return _KINDS.get(type(value)) or str(value.kind)


def equal(left: Any, right: Any, spend: Spend) -> bool:
    """Say whether two values are equal; numbers are compared across types, values of other types are never equal."""
    spend(1)
    kind = kind_of(left)
    if kind != kind_of(right):
        return kind in NUMBERS and kind_of(right) in NUMBERS and left == right
    if kind in ("string", "bytes"):
        spend(min(len(left), len(right)) // 10)
    if kind == "list":
        return _equal_lists(left, right, spend)
    if kind == "map":
        return len(left) == len(right) and all(
            key in right and equal(value, right[key], spend) for key, value in left.items()
        )
    if kind == "optional_type":
        return bool(left.has_value == right.has_value and equal(left.value, right.value, spend))
    return bool(left == right)


def _equal_lists(left: list[Any], right: list[Any], spend: Spend) -> bool:
    if len(left) != len(right):
        return False
    for one, other in ((left, right), (right, left)):
        if isinstance(one, SetList):
            return all(contains(other, item, spend) for item in one)
        if isinstance(one, MapList):
            return equal(one.by_key(one), one.by_key(other), spend)
    return all(equal(one, other, spend) for one, other in zip(left, right, strict=True))


def contains(items: Iterable[Any], wanted: Any, spend: Spend) -> bool:
    """Say whether a list has an item."""
    return any(equal(item, wanted, spend) for item in items)


def joined(left: list[Any], right: list[Any], spend: Spend) -> list[Any]:
    """Return `left + right`; of lists of type set and map the union, in which `right` overrides `left`."""
    spend((len(left) + len(right)) // 10)
    if isinstance(left, SetList):
        return SetList([*left, *(item for item in right if not contains(left, item, spend))])
    if isinstance(left, MapList):
        merged = MapList({**left.by_key(left), **left.by_key(right)}.values())
        merged.keys = left.keys
        return merged
    return [*left, *right]


def _hashable(value: Any) -> Any:
    return (type(value).__name__, value) if isinstance(value, str | int | float | None) else repr(value)
