"""Conditions of objects: set one without moving its transition time unless its status changed (KEP-1623). Pure."""

from datetime import datetime
from typing import Literal

from atoll.federation.resources import Condition


def with_condition(
    conditions: tuple[Condition, ...],
    kind: str,
    claim: bool | None,
    *,
    reason: str,
    message: str = "",
    now: datetime,
) -> tuple[Condition, ...]:
    """Give the conditions with one of them set; `claim` None means that it is not known."""
    status: Literal["True", "False", "Unknown"] = "Unknown" if claim is None else ("True" if claim else "False")
    old = next((condition for condition in conditions if condition.type == kind), None)
    since = old.last_transition_time if old is not None and old.status == status else now
    new = Condition(type=kind, status=status, reason=reason, message=message, last_transition_time=since)
    others = [condition for condition in conditions if condition.type != kind]
    return tuple(sorted([*others, new], key=lambda condition: condition.type))


def holds(conditions: tuple[Condition, ...], kind: str) -> bool:
    """Tell whether a condition is True."""
    return any(condition.type == kind and condition.status == "True" for condition in conditions)
