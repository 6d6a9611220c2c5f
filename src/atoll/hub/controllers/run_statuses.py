"""What a run's status says: the values that run_plan.py decides to write. Pure; it decides nothing."""

from datetime import datetime, timedelta

from atoll.federation.bus.messages import RunReport
from atoll.federation.resources import RunStatus
from atoll.federation.resources.run import DISPLACED, LOST, RunPhase
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.fence import Displacement
from atoll.hub.controllers.run_scope import RunScope

# What a report says of a run, as the run's status says it.
_TOLD = (
    "reason", "message", "exit_code", "pods", "started_at", "finished_at", "usage",
    "running_tasks", "succeeded_tasks", "failed_tasks",
)  # fmt: skip


def at_phase(scope: RunScope, phase: RunPhase, *, reason: str = "", message: str = "") -> RunStatus:
    """Give the status of a phase, with what was known before."""
    return scope.run.status.model_copy(
        update={"phase": phase, "reason": reason, "message": message, "observed_generation": _generation(scope)}
    )


def ended(scope: RunScope, phase: RunPhase, now: datetime, *, reason: str, message: str) -> RunStatus:
    """Give the status of an end that no agent has reported."""
    return at_phase(scope, phase, reason=reason, message=message).model_copy(update={"finished_at": now})


def reported(scope: RunScope, report: RunReport, phase: RunPhase) -> RunStatus:
    """Give the status that a report makes."""
    told = {name: getattr(report, name) for name in _TOLD}
    if phase == "Committing":
        told["finished_at"] = None
    return scope.run.status.model_copy(
        update={
            **told,
            "phase": phase,
            "last_proven_at": report.at,
            "observed_generation": _generation(scope),
        }
    )


def _generation(scope: RunScope) -> int | None:
    return scope.run.metadata.generation


def marked(status: RunStatus, moved: Displacement, now: datetime) -> RunStatus:
    """Say in a status that the run has to go, or may; and no longer, once that has passed."""
    if not moved.reason and not status.is_displaced:
        return status
    reason, message = moved.reason or "Stays", moved.message
    claim = bool(moved.reason)
    conditions = with_condition(status.conditions, DISPLACED, claim, reason=reason, message=message, now=now)
    words = {"reason": reason, "message": message} if claim else {}
    return status.model_copy(update={"conditions": conditions, **words})


def proven(scope: RunScope, moved: Displacement, now: datetime) -> str:
    """Say why a run had to go; of a lost one also since when it was silent, and when that was long enough."""
    if moved.reason != LOST or scope.silence_seconds is None:
        return moved.message
    since = now - timedelta(seconds=scope.silence_seconds)
    return f"{moved.message} since {since:%H:%M:%S} UTC, and nothing of the run is left there since {now:%H:%M:%S} UTC"
