"""Operators: arithmetic that overflows by error, comparison across numbers, indexing, membership.

Owns the standard operators; those that short-circuit are program.py's.
Source: cel-spec langdef.md, "Numeric values", "Overflow", "List of standard definitions".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import permutations
from typing import Any

from atoll.kubeapi.cel.overloads import Overload, constant, function
from atoll.kubeapi.cel.values import NONE, CelError, NoOverload, Optional, Spend, Uint, contains, equal, joined, kind_of

MAX_INT, MAX_UINT = 2**63 - 1, 2**64 - 1
_ORDERED = ("int", "uint", "double", "bool", "string", "bytes", "timestamp", "duration")


def checked_int(value: int) -> int:
    """Return an integer of 64 bits. Raises CelError if it is none."""
    if not -MAX_INT - 1 <= value <= MAX_INT:
        raise CelError("integer overflow")
    return value


def checked_uint(value: int) -> Uint:
    """Return an unsigned integer of 64 bits. Raises CelError if it is none."""
    if not 0 <= value <= MAX_UINT:
        raise CelError("unsigned integer overflow")
    return Uint(value)


def _sum_of_times(left: Any, right: Any) -> Any:
    try:
        return left + right
    except OverflowError:
        raise CelError("timestamp or duration overflow") from None


def _difference_of_times(left: Any, right: Any) -> Any:
    try:
        return left - right
    except OverflowError:
        raise CelError("timestamp or duration overflow") from None


def _truncated(left: int, right: int) -> int:
    if right == 0:
        raise CelError("division by zero")
    quotient = abs(left) // abs(right)
    return quotient if (left < 0) == (right < 0) else -quotient


def _remainder(left: int, right: int) -> int:
    if right == 0:
        raise CelError("modulus by zero")
    return left - right * _truncated(left, right)


def _divided(left: float, right: float) -> float:
    if right:
        return left / right
    sign = math.copysign(1.0, left) * math.copysign(1.0, right)
    return math.nan if not left or math.isnan(left) else sign * math.inf


def _multiplied(left: float, right: float) -> float:
    return left * right


def _arithmetic() -> list[Overload]:
    whole: dict[str, Callable[[int, int], int]] = {
        "_+_": lambda left, right: left + right,
        "_-_": lambda left, right: left - right,
        "_*_": lambda left, right: left * right,
        "_/_": _truncated,
        "_%_": _remainder,
    }
    overloads = []
    for name, operate in whole.items():
        overloads.append(function(name, _then(checked_int, operate), "int, int -> int"))
        overloads.append(function(name, _then(checked_uint, operate), "uint, uint -> uint"))
    return [
        *overloads,
        function("_+_", lambda left, right: left + right, "double, double -> double"),
        function("_-_", lambda left, right: left - right, "double, double -> double"),
        function("_*_", _multiplied, "double, double -> double"),
        function("_/_", _divided, "double, double -> double"),
        function("-_", lambda value: checked_int(-value), "int -> int"),
        function("-_", lambda value: -value, "double -> double"),
        function("_+_", lambda left, right: left + right, "string, string -> string"),
        function("_+_", lambda left, right: left + right, "bytes, bytes -> bytes"),
        function("_+_", joined, "list, list -> list", spends=True),
        function("_+_", _sum_of_times, "timestamp, duration -> timestamp"),
        function("_+_", lambda left, right: _sum_of_times(right, left), "duration, timestamp -> timestamp"),
        function("_+_", _sum_of_times, "duration, duration -> duration"),
        function("_-_", _difference_of_times, "timestamp, timestamp -> duration"),
        function("_-_", _difference_of_times, "timestamp, duration -> timestamp"),
        function("_-_", _difference_of_times, "duration, duration -> duration"),
    ]


def _then(check: Callable[[int], int], operate: Callable[[int, int], int]) -> Callable[[int, int], int]:
    return lambda left, right: check(operate(int(left), int(right)))


def _comparisons(pairs: Iterable[tuple[str, str]]) -> list[Overload]:
    compare: dict[str, Callable[[Any, Any], bool]] = {
        "_<_": lambda left, right: left < right,
        "_<=_": lambda left, right: left <= right,
        "_>_": lambda left, right: left > right,
        "_>=_": lambda left, right: left >= right,
    }
    return [function(name, call, f"{left}, {right} -> bool") for left, right in pairs for name, call in compare.items()]


def _item(items: list[Any], index: float, _spend: Spend | None = None) -> Any:
    if index != int(index):
        raise CelError(f"invalid index: {index}")
    if not 0 <= index < len(items):
        raise CelError(f"index out of bounds: {int(index)}")
    return items[int(index)]


def _has_key(key: Any, entries: dict[Any, Any]) -> bool:
    if kind_of(key) not in ("bool", "int", "uint", "double", "string"):
        raise NoOverload("@in", (key, entries))
    return key in entries


def _value(entries: dict[Any, Any], key: Any) -> Any:
    if not _has_key(key, entries):
        raise CelError(f"no such key: {key}")
    return entries[key]


def _optional_item(items: list[Any], index: float) -> Optional:
    return Optional(True, items[int(index)]) if index == int(index) and 0 <= index < len(items) else NONE


def _optional_value(entries: dict[Any, Any], key: Any) -> Optional:
    return Optional(True, entries[key]) if _has_key(key, entries) else NONE


def _inside_optional(optional: Optional, key: Any) -> Optional:
    if not optional.has_value:
        return NONE
    return (
        _optional_value(optional.value, key)
        if isinstance(optional.value, dict)
        else _optional_item(optional.value, key)
    )


def _at(name: str, of_list: Callable[..., Any], of_map: Callable[..., Any]) -> list[Overload]:
    numbers = [function(name, of_list, f"list, {kind} -> dyn", cost=constant) for kind in ("int", "uint", "double")]
    return [*numbers, function(name, of_map, "map, dyn -> dyn", cost=constant)]


OPERATORS: tuple[Overload, ...] = (
    *_arithmetic(),
    *_comparisons((kind, kind) for kind in _ORDERED),
    function("_==_", equal, "dyn, dyn -> bool", spends=True, cost=constant),
    function(
        "_!=_", lambda left, right, spend: not equal(left, right, spend), "dyn, dyn -> bool", spends=True, cost=constant
    ),
    function("!_", lambda value: not value, "bool -> bool"),
    function(
        "@in", lambda item, items, spend: contains(items, item, spend), "dyn, list -> bool", spends=True, cost=constant
    ),
    function("@in", _has_key, "dyn, map -> bool", cost=constant),
    *_at("_[_]", _item, _value),
    *_at("_[?_]", _optional_item, _optional_value),
    function("_[?_]", _inside_optional, "optional, dyn -> dyn", cost=constant),
    function("_[_]", _inside_optional, "optional, dyn -> dyn", cost=constant),
)

ACROSS_NUMBERS: tuple[Overload, ...] = tuple(_comparisons(permutations(("int", "uint", "double"), 2)))
"""Comparisons that the library has to be told of: Kubernetes turns on cel-go's CrossTypeNumericComparisons."""
