"""Operators that decide which of their operands are evaluated, and those that build what a macro yields.

Owns short-circuits, choices, optionals and growing in place; every other function gets evaluated arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from atoll.kubeapi.cel.frame import Frame, Step, as_optional, field_of, readable
from atoll.kubeapi.cel.values import NONE, CelError, NoOverload, Optional


def _append(into: Step, items: Step) -> Step:
    """Grow the list that a macro builds, which nobody else holds, in place: a loop of n costs n, not n squared."""

    def run(frame: Frame) -> Any:
        frame.spend(1)
        target = into(frame)
        target.extend(items(frame))
        return target

    return run


def _insert(into: Step, *rest: Step) -> Step:
    """Grow the map that a macro builds, by a key and a value or by a map."""

    def run(frame: Frame) -> Any:
        frame.spend(1)
        target: dict[Any, Any] = into(frame)
        values = [step(frame) for step in rest]
        for key, value in [values] if len(values) == 2 else values[0].items():
            if key in target:
                raise CelError(f"insert failed: key {key} already exists")
            target[key] = value
        return target

    return run


def _decides(verdict: bool) -> Callable[[Step, Step], Step]:
    """Return `||` (True decides) or `&&` (False decides): an error on one side gives way to a verdict of the other."""
    function = "_||_" if verdict else "_&&_"

    def build(left: Step, right: Step) -> Step:
        def run(frame: Frame) -> bool:
            frame.spend(1)
            error: CelError | None = None
            for step in (left, right):
                try:
                    value = step(frame)
                except CelError as raised:
                    error = error or raised
                    continue
                if not isinstance(value, bool):
                    error = error or NoOverload(function, (value,))
                elif value == verdict:
                    return value
            if error is not None:
                raise error
            return not verdict

        return run

    return build


def _choice(condition: Step, first: Step, second: Step) -> Step:
    def run(frame: Frame) -> Any:
        frame.spend(1)
        chosen = condition(frame)
        if not isinstance(chosen, bool):
            raise NoOverload("_?_:_", (chosen,))
        return first(frame) if chosen else second(frame)

    return run


def _not_strictly_false(condition: Step) -> Step:
    def run(frame: Frame) -> bool:
        try:
            return bool(condition(frame) is not False)
        except CelError:
            return True

    return run


def _or_else(optional: Step, other: Step) -> Step:
    """Return `or`: the first of two optionals that has a value."""

    def run(frame: Frame) -> Any:
        frame.spend(1)
        value = as_optional(optional(frame), "or")
        return value if value.has_value else other(frame)

    return run


def _or_value(optional: Step, other: Step) -> Step:
    def run(frame: Frame) -> Any:
        frame.spend(1)
        value = as_optional(optional(frame), "orValue")
        return readable(value.value) if value.has_value else other(frame)

    return run


def _optional_field(operand: Step, field: Step) -> Step:
    """Return `operand.?field`."""

    def run(frame: Frame) -> Any:
        frame.spend(1)
        value = operand(frame)
        found = field_of(value if isinstance(value, Optional) else Optional(True, value), field(frame))
        return Optional(True, readable(found.value)) if found.has_value else NONE

    return run


CONTROLS: Mapping[str, Callable[..., Step]] = {
    "_||_": _decides(True),
    "_&&_": _decides(False),
    "_?_:_": _choice,
    "@not_strictly_false": _not_strictly_false,
    "_?._": _optional_field,
    "or": _or_else,
    "orValue": _or_value,
    "cel.@mapInsert": _insert,
    "_+_": _append,
}
