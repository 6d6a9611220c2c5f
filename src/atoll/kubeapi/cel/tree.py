"""Checked expressions as trees, after macros such as `all` have become comprehensions.

Owns the shape only (cel.expr.Expr of the CEL specification); reading it from the library is wire.py's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Literal:
    """A constant: None, bool, int, Uint, float, str or bytes."""

    value: Any


@dataclass(frozen=True)
class Name:
    """A variable, or the name of a type."""

    name: str


@dataclass(frozen=True)
class Select:
    """`operand.field`; with `tests`, `has(operand.field)`."""

    operand: Node
    field: str
    tests: bool = False


@dataclass(frozen=True)
class Call:
    """A function or operator; the target of a method is its first argument."""

    function: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True)
class Item:
    """One item of a list; an optional one (`?x`) is left out if it has no value."""

    value: Node
    is_optional: bool = False


@dataclass(frozen=True)
class ListOf:
    """A list, item by item."""

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Entry:
    """One entry of a map; an optional one (`?k: x`) is left out if it has no value."""

    key: Node
    value: Node
    is_optional: bool = False


@dataclass(frozen=True)
class MapOf:
    """A map, entry by entry."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Comprehension:
    """A loop over a list, or over the keys of a map, that folds into `accumulator`.

    With a second variable the first is the index or the key, and the second the item or the value.
    """

    variable: str
    second: str
    over: Node
    accumulator: str
    start: Node
    condition: Node
    step: Node
    result: Node


Node = Literal | Name | Select | Call | ListOf | MapOf | Comprehension


def walk(node: Node) -> Iterator[Node]:
    """Yield an expression and everything in it."""
    yield node
    for part in _parts(node):
        yield from walk(part)


def _parts(node: Node) -> tuple[Node, ...]:
    match node:
        case Literal() | Name():
            return ()
        case Select(operand):
            return (operand,)
        case Call(_, arguments):
            return arguments
        case ListOf(items):
            return tuple(item.value for item in items)
        case MapOf(entries):
            return tuple(part for entry in entries for part in (entry.key, entry.value))
        case Comprehension():
            return (node.over, node.start, node.condition, node.step, node.result)


def names(node: Node) -> frozenset[str]:
    """Return every name in an expression, bound ones as well."""
    return frozenset(part.name for part in walk(node) if isinstance(part, Name))
