"""What a workload is doing, as one value: read by its adapter, and where it does not say, from its pods. Pure.

Owns the translation of every kind's status into a phase and one reason. It must not decide what to do about it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from atoll.federation.workloads.adapter import Adapter, StatePhase, When
from atoll.federation.workloads.editing import is_suspended
from atoll.federation.workloads.paths import first
from atoll.federation.workloads.pods import exit_code, failure, instant, progress, spans
from atoll.federation.workloads.registry import adapter_of

Json = Mapping[str, Any]

SUSPENDED = "Suspended"
# Ways of operators to say "a pod failed": the pod itself knows more. Besides, kinds of Kubeflow say `<kind>Failed`.
_GAVE_UP = frozenset({"", "BackoffLimitExceeded", "FailedJobs", "JobsFailed", "AppFailed"})
# An Indexed Job has up to 100,000 indexes; more of them than this nobody reads in a message.
_DETAIL_CHARS = 100


@dataclass(frozen=True)
class State:
    """A workload at one moment."""

    phase: StatePhase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in ("Succeeded", "Failed")


def state_of(workload: Json, pods: Sequence[Json] = ()) -> State:
    """Tell what a workload and those of its pods that still exist amount to.

    Raises:
        InvalidInput: its kind is not known.
    """
    adapter = adapter_of(workload)
    phase, reason, message = _phase(adapter, workload, pods)
    finished = phase in ("Succeeded", "Failed")
    began = min((start for pod in pods for start, _ in spans(pod)), default=None)
    return State(
        phase,
        reason,
        message,
        exit_code=_exit_code(phase, pods) if finished else None,
        started_at=began or _instant(workload, adapter.started),
        finished_at=_finished_at(adapter, workload, pods) if finished else None,
    )


def state_of_all(parts: Sequence[tuple[Json, Sequence[Json]]]) -> State:
    """Tell what several workloads that are one run amount to: it fails with the first, and succeeds with the last."""
    states = [state_of(workload, pods) for workload, pods in parts]
    ranks: tuple[StatePhase, ...] = ("Failed", "Running", "Starting", "Pending", "Succeeded")
    telling = min(states, key=lambda state: ranks.index(state.phase))
    if telling.phase in ("Starting", "Pending") and any(state.is_finished for state in states):
        telling = State("Running")
    started = min((state.started_at for state in states if state.started_at), default=None)
    finished = max((state.finished_at for state in states if state.finished_at), default=None)
    return State(
        telling.phase,
        telling.reason,
        telling.message,
        telling.exit_code,
        started,
        finished if telling.is_finished else None,
    )


def at_time_limit(workload: Json) -> State:
    """Tell what a run has come to that was ended because its time was over, where no operator does that.

    A service has done what it was for. Anything else was to end by itself before.
    """
    if adapter_of(workload).is_service:
        return State("Succeeded", "TimeLimit", "its time is over", exit_code=0)
    return State("Failed", "DeadlineExceeded", "it ran for longer than its time limit")


def _phase(adapter: Adapter, workload: Json, pods: Sequence[Json]) -> tuple[StatePhase, str, str]:
    told = next((when for when in adapter.status if _holds(when, workload)), None)
    if told is not None and told.phase == "Failed":
        return "Failed", *_failure(adapter, told, workload, pods)
    if told is not None and told.phase in ("Succeeded", "Running"):
        return told.phase, "", _text(workload, told.message) if told.phase == "Running" else ""
    if told is not None or (adapter.suspend is not None and is_suspended(workload)):
        return "Pending", SUSPENDED, _text(workload, told.message) if told is not None else ""
    return cast(tuple[StatePhase, str, str], progress(pods))


def _holds(when: When, workload: Json) -> bool:
    value = first(workload, when.at)
    return str(value) in when.values or (isinstance(value, bool) and str(value).lower() in when.values)


def _failure(adapter: Adapter, told: When, workload: Json, pods: Sequence[Json]) -> tuple[str, str]:
    reason, message = _text(workload, told.reason), _text(workload, told.message)
    if reason in _GAVE_UP or reason == f"{adapter.kind}Failed":
        seen, said = failure(pods)
        reason, message = (seen, said) if seen else (reason or "Failed", message)
    details = (
        f"{words}: {_shortened(found)}" for path, words in adapter.details.items() if (found := _text(workload, path))
    )
    return reason, "; ".join(filter(None, (message, *details)))


def _shortened(text: str) -> str:
    return text if len(text) <= _DETAIL_CHARS else f"{text[:_DETAIL_CHARS].rpartition(',')[0]} and more"


def _text(workload: Json, path: str) -> str:
    return str(first(workload, path) or "") if path else ""


def _exit_code(phase: StatePhase, pods: Sequence[Json]) -> int | None:
    return 0 if phase == "Succeeded" else exit_code(pods)


def _finished_at(adapter: Adapter, workload: Json, pods: Sequence[Json]) -> datetime | None:
    """The workload's own word first; where it has none for this end, its containers know better than its conditions."""
    ended = max((end for pod in pods for _, end in spans(pod) if end), default=None)
    return _instant(workload, adapter.finished[:1]) or ended or _instant(workload, adapter.finished)


def _instant(workload: Json, paths: Sequence[str]) -> datetime | None:
    return next((at for path in paths if (at := instant(first(workload, path)))), None)
