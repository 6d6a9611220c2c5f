"""One evaluation while it runs: its variables, what it may still cost, and how fields are read.

Owns the state that the steps of a program share; what they do is program.py's and control.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from atoll.kubeapi.cel.values import NONE, CelError, Failed, NoOverload, Optional, OutOfBudget

MISSING: Any = object()
"""What a variable without a value has."""


class Frame:
    """The variables of one evaluation, and what it may still cost."""

    __slots__ = ("left", "variables")

    def __init__(self, variables: dict[str, Any], left: int) -> None:
        """Start with `left` units."""
        self.variables = variables
        self.left = left

    def spend(self, cost: int) -> None:
        """Take a cost from what is left. Raises OutOfBudget."""
        self.left -= cost
        if self.left < 0:
            raise OutOfBudget


Step = Callable[[Frame], Any]
"""A compiled part of an expression."""


def field_of(value: Any, field: str) -> Any:
    """Return a field of a value, or the error for a missing one; of an optional value an optional field."""
    if isinstance(value, Optional):
        found = field_of(value.value, field) if value.has_value else NONE
        if isinstance(found, CelError):
            return NONE
        return found if isinstance(found, Optional) else Optional(True, found)
    if not isinstance(value, dict):
        raise NoOverload("_._", (value, field))
    return value[field] if field in value else CelError(f"no such key: {field}")


def readable(value: Any) -> Any:
    """Return a value that can be read. Raises CelError for one that cannot."""
    if isinstance(value, CelError):
        raise value
    if isinstance(value, Failed):
        raise value.error
    return value


def as_optional(value: Any, function: str) -> Optional:
    """Return an optional value. Raises NoOverload for anything else."""
    if not isinstance(value, Optional):
        raise NoOverload(function, (value,))
    return value
