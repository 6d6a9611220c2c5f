"""Payloads become columns of a table; what fits no column stays beside them, as JSON. Pure.

Owns which columns there are and what fits: a column is learned from the first values of its name, or given by the
Stream. Nothing of a payload is dropped: a value of another type, a name that no column can have and whatever the given
columns leave out are collected in the row's rest. Null and absent are one.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Literal

from atoll.federation.payloads import field as value_at
from atoll.federation.payloads import parse_path
from atoll.federation.resources.stream_layout import Column

ColumnKind = Literal["Boolean", "Integer", "Number", "String", "Numbers"]
# Names that the table itself has, and what a payload that is a single value is called.
OWN_NAMES = ("_time", "_received", "_sequence", "_topic", "_rest", "_payload")
VALUE = "value"
# Beyond, the footer of a Parquet file outweighs what is in it, and readers slow down.
_MOST_COLUMNS = 1000
_INT64 = 2**63
# Integers up to here are exact as 64-bit floats.
_EXACT = 2**53
_KINDS: dict[type, ColumnKind] = {bool: "Boolean", int: "Integer", float: "Number", str: "String", list: "Numbers"}


@dataclass
class Columns:
    """Values by column, all of one length, and per row what fits none (None: nothing is left)."""

    kinds: dict[str, ColumnKind] = field(default_factory=dict)
    values: dict[str, list[Any]] = field(default_factory=dict)
    rests: list[Any] = field(default_factory=list)


class Rest:
    """Collects what is left of rows."""

    def __init__(self, rows: int) -> None:
        self.rows: list[Any] = [None] * rows

    def keep(self, row: int, name: str, value: Any) -> None:
        """Keep a value of a row under its name."""
        if self.rows[row] is None:
            self.rows[row] = {}
        self.rows[row][name] = value


def learn(objects: Sequence[Any], known: dict[str, ColumnKind]) -> Columns:
    """Lay JSON-like values out in columns.

    Args:
        objects: one per row; None where a row has no value that could be read.
        known: kinds of columns that were learned before. New ones are added, and an Integer that meets a fraction
            becomes a Number.
    """
    rest = Rest(len(objects))
    columns = Columns(rests=rest.rows)
    taken = {name.lower(): name for name in known}
    for name, values in _by_name(objects).items():
        kind = _kind_of(values, known.get(name))
        is_free = taken.setdefault(name.lower(), name) == name and len(taken) <= _MOST_COLUMNS
        if kind is None or name in OWN_NAMES or not is_free:
            _keep_all(values, name, rest)
            continue
        known[name] = columns.kinds[name] = kind
        columns.values[name] = _fitting(values, kind, lambda row, value, name=name: rest.keep(row, name, value))  # type: ignore[misc]
    return columns


def given(objects: Sequence[Any], wanted: Sequence[Column]) -> Columns:
    """Lay JSON-like values out in the columns that a Stream gives."""
    columns, rest = Columns(), Rest(len(objects))
    used: dict[int, set[str]] = {}
    for column in wanted:
        steps = parse_path(column.field or column.name)
        values = [value_at(item, steps) for item in objects]
        misfits: set[int] = set()
        columns.kinds[column.name] = column.type
        columns.values[column.name] = _fitting(values, column.type, lambda row, _, bad=misfits: bad.add(row))  # type: ignore[misc]
        if len(steps) == 1 and isinstance(steps[0], str):
            for row in range(len(objects)):
                if row not in misfits:
                    used.setdefault(row, set()).add(steps[0])
    for row, item in enumerate(objects):
        left = _left_of(item, used.get(row, set()))
        if left is not None:
            rest.rows[row] = left
    columns.rests = rest.rows
    return columns


def _left_of(item: Any, used: set[str]) -> Any:
    if not isinstance(item, dict):
        return item
    left = {name: value for name, value in item.items() if name not in used and value is not None}
    return left or None


def _by_name(objects: Sequence[Any]) -> dict[str, list[Any]]:
    """Give the values of each field; those of inner objects under names that are joined by dots."""
    if set(map(type, objects)) == {dict}:
        found = _columns(objects)
        if all(dict not in set(map(type, values)) for values in found.values()):
            return found
    return _columns([_flat(item) for item in objects])


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    shapes = dict.fromkeys(map(tuple, rows))
    if len(shapes) == 1:  # the common case, at a third of the price
        [names] = shapes
        return dict(zip(names, map(list, zip(*map(dict.values, rows), strict=True)), strict=True))
    return {name: [row.get(name) for row in rows] for name in dict.fromkeys(chain.from_iterable(shapes))}


def _flat(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict):
        return {} if item is None else {VALUE: item}
    flat: dict[str, Any] = {}
    for name, value in _leaves(item, ""):
        # `a.b` may stand beside `a: {b: …}`: the second one is kept as it would be without a column.
        flat[name if name not in flat else f"{name}."] = value
    return flat


def _leaves(item: dict[str, Any], prefix: str) -> Iterable[tuple[str, Any]]:
    for name, value in item.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _kind_of(values: Sequence[Any], known: ColumnKind | None) -> ColumnKind | None:
    """Tell what a column of these values is; None if nothing that a column can be."""
    kinds = Counter(map(type, values))
    kinds.pop(type(None), None)
    if known == "Integer" and float in kinds:
        return "Number"
    if known is not None:
        return known
    if kinds.keys() == {int, float}:
        return "Number"
    found = kinds.most_common(1)
    return _KINDS.get(found[0][0]) if found else None


def _fitting(values: list[Any], kind: ColumnKind, misfit: Callable[[int, Any], None]) -> list[Any]:
    """Give the values with None for those that do not fit; each of those is told."""
    if _all_fit(values, kind):
        return values
    fits, kept = _CHECKS[kind], list(values)
    for row, value in enumerate(values):
        if value is not None and not fits(value):
            misfit(row, value)
            kept[row] = None
    return kept


def _all_fit(values: Sequence[Any], kind: ColumnKind) -> bool:
    """Tell at the cost of a look at the types and at the largest, in the common case."""
    types = set(map(type, values)) - {type(None)}
    if types - _TYPES[kind]:
        return False
    if kind == "Numbers":
        values = list(chain.from_iterable(filter(None, values)))
        types = set(map(type, values))
        if types - _TYPES["Number"]:
            return False
    if int not in types:
        return True
    integers = values if types == {int} and None not in values else [value for value in values if type(value) is int]
    least, most = (-_INT64, _INT64 - 1) if kind == "Integer" else (-_EXACT, _EXACT)
    return least <= min(integers) and max(integers) <= most


def _keep_all(values: Sequence[Any], name: str, rest: Rest) -> None:
    for row, value in enumerate(values):
        if value is not None:
            rest.keep(row, name, value)


def _is_integer(value: Any) -> bool:
    return type(value) is int and -_INT64 <= value < _INT64


def _is_number(value: Any) -> bool:
    kind = type(value)
    return kind is float or (kind is int and -_EXACT <= value <= _EXACT)


_CHECKS: dict[ColumnKind, Callable[[Any], bool]] = {
    "Boolean": lambda value: type(value) is bool,
    "Integer": _is_integer,
    "Number": _is_number,
    "String": lambda value: type(value) is str,
    "Numbers": lambda value: type(value) is list and all(map(_is_number, value)),
}
_TYPES: dict[ColumnKind, set[type]] = {
    "Boolean": {bool},
    "Integer": {int},
    "Number": {int, float},
    "String": {str},
    "Numbers": {list},
}
