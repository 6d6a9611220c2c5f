"""The conditions of a policy set: is its source read, does every cluster hold it, does something open it, did it fail.

Pure.
"""

from collections.abc import Sequence
from datetime import datetime

from atoll.federation.resources import ClusterPolicyStatus
from atoll.federation.resources.base import Condition
from atoll.federation.resources.policyset_rollout import RolloutStatus
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.policy_plan import widened
from atoll.hub.controllers.policy_source import Reading


def conditions_of(
    old: tuple[Condition, ...],
    rows: Sequence[ClusterPolicyStatus],
    *,
    reading: Reading,
    rollout: RolloutStatus | None,
    now: datetime,
) -> tuple[Condition, ...]:
    """Give the conditions that follow from what was read, what clusters hold, and how far a commit has come."""
    is_held = bool(rows) and all(row.phase == "Applied" for row in rows)
    opened, stopped = widened(rows), rollout if rollout is not None and rollout.phase in _STOPPED else None
    claims = (
        ("SourceReady", reading.is_fresh, reading.reason, reading.message),
        ("Ready", is_held and reading.is_fresh, _readiness(is_held, reading), _why_not_ready(rows, reading)),
        ("Widened", bool(opened), "PoliciesBeside" if opened else "NothingFound", opened),
        ("RolloutFailed", stopped is not None, *_failure(stopped)),
    )
    found = old
    for kind, claim, reason, message in claims:
        found = with_condition(found, kind, claim, reason=reason, message=message, now=now)
    return found


_STOPPED = ("Halted", "RolledBack")


def _failure(stopped: RolloutStatus | None) -> tuple[str, str]:
    """Say why a rollout has stopped; a status that was written before reasons were has only words."""
    return (stopped.reason or "Stopped", stopped.message) if stopped is not None else ("NothingFailed", "")


def _readiness(is_held: bool, reading: Reading) -> str:
    if not reading.is_fresh:
        return reading.reason
    return "Held" if is_held else "NotHeldEverywhere"


def _why_not_ready(rows: Sequence[ClusterPolicyStatus], reading: Reading) -> str:
    """Say what keeps a set from being Ready: its source first, then every cluster that does not hold it."""
    stays = f"; commit {reading.bundle.commit[:12]} stays in force" if reading.bundle is not None else ""
    source = "" if reading.is_fresh else f"{reading.message}{stays}"
    waiting = ", ".join(f"{row.cluster}: {row.phase}" for row in rows if row.phase != "Applied")
    nowhere = "" if rows else "spec.targets matches no cluster"
    return "; ".join(filter(None, (source, waiting, nowhere)))
