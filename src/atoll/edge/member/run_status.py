"""What a run is doing, read from its batch/v1 Job and that Job's pods. Pure.

Owns the translation of Kubernetes' many words into a run's phase, one reason, and what it used. It must not decide
what to do about it. Other workload kinds get a reader beside this one.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.edge.member.objects import condition
from atoll.federation.capacity import demand_of_pod_spec
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.run import FINISHED_RUN_PHASES, RunPhase, Usage

Json = Mapping[str, Any]

_TERMINAL_PODS = frozenset({"Succeeded", "Failed"})
# The Job controller's way to say "a pod failed": the pod itself knows more.
_JOB_GAVE_UP = frozenset({"BackoffLimitExceeded", ""})
# An Indexed Job has up to 100,000 indexes; more of them than this nobody reads in a message.
_INDEXES_CHARS = 100


@dataclass(frozen=True)
class RunState:
    """A run at one moment."""

    phase: RunPhase
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    pods: tuple[str, ...] = ()
    started_at: datetime | None = None
    finished_at: datetime | None = None
    usage: Usage = field(default_factory=Usage)
    job_started: str = ""
    deadline_seconds: int | None = None

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in FINISHED_RUN_PHASES


def read_run(job: Json, pods: Sequence[Json], now: datetime) -> RunState:
    """Tell what a Job and its pods amount to.

    Args:
        job: the batch/v1 Job.
        pods: all pods of that Job that still exist.
        now: until when running containers are counted in the usage.
    """
    phase, reason, message = _phase(job, pods)
    is_finished = phase in FINISHED_RUN_PHASES
    deadline = (job.get("spec") or {}).get("activeDeadlineSeconds")
    return RunState(
        phase=phase,
        reason=reason,
        message=message,
        exit_code=_exit_code(phase, pods) if is_finished else None,
        pods=tuple(sorted(str(pod["metadata"]["name"]) for pod in pods)),
        started_at=min((began for pod in pods for began, _ in _spans(pod)), default=None),
        finished_at=_finished_at(job, pods) if is_finished else None,
        usage=_usage(pods, now),
        job_started=str((job.get("status") or {}).get("startTime") or ""),
        deadline_seconds=int(deadline) if deadline is not None else None,
    )


def is_live_pod(pod: Json) -> bool:
    """Tell whether containers of a pod may still run."""
    return _pod_phase(pod) not in _TERMINAL_PODS


def _phase(job: Json, pods: Sequence[Json]) -> tuple[RunPhase, str, str]:
    if _holds(job, "Complete"):
        return "Succeeded", "", ""
    if _holds(job, "Failed"):
        reason, message = _failure(condition(job, "Failed"), pods)
        return "Failed", reason, _with_indexes(job, message)
    if _holds(job, "Suspended"):
        return "Pending", "Suspended", str(condition(job, "Suspended").get("message", ""))
    if any(_pod_phase(pod) in {"Running", *_TERMINAL_PODS} for pod in pods):
        return "Running", "", ""
    placed = [pod for pod in pods if _is_placed(pod)]
    if placed:
        return "Starting", *_waiting(placed)
    return "Pending", *_unscheduled(pods)


def _failure(failed: Json, pods: Sequence[Json]) -> tuple[str, str]:
    """Name why a Job failed: its own rule (deadline, pod failure policy), else what its pods say."""
    reason, message = str(failed.get("reason", "")), str(failed.get("message", ""))
    if reason not in _JOB_GAVE_UP:
        return reason, message
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        status = pod.get("status") or {}
        if status.get("reason"):  # Evicted, OutOfcpu, UnexpectedAdmissionError: the kubelet refused or ended the pod
            return str(status["reason"]), f"pod {pod['metadata']['name']}: {status.get('message', '')}"
        for name, ended in _ended_containers(pod):
            if ended.get("exitCode"):
                own = str(ended.get("message") or f"ended with exit code {ended['exitCode']}")
                return str(ended.get("reason") or "Error"), f"pod {pod['metadata']['name']}, container {name}: {own}"
    return reason or "Failed", message


def _with_indexes(job: Json, message: str) -> str:
    """Name the indexes of an Indexed Job that have failed; Kubernetes tells them with `backoffLimitPerIndex` only."""
    failed = str((job.get("status") or {}).get("failedIndexes") or "")
    if len(failed) > _INDEXES_CHARS:
        failed = f"{failed[:_INDEXES_CHARS].rpartition(',')[0]} and more"
    return "; ".join(filter(None, (message, f"failed indexes: {failed}" if failed else "")))


def _waiting(pods: Iterable[Json]) -> tuple[str, str]:
    """Say what holds up a pod that has a node: an image that cannot be pulled, a volume, a crash loop."""
    for pod in pods:
        for status in _container_statuses(pod):
            waiting = (status.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
                return str(waiting["reason"]), str(waiting.get("message", ""))
    return "", ""


def _unscheduled(pods: Iterable[Json]) -> tuple[str, str]:
    for pod in pods:
        scheduled = condition(pod, "PodScheduled")
        if scheduled.get("status") == "False":
            return str(scheduled.get("reason", "Unschedulable")), str(scheduled.get("message", ""))
    return "", ""


def _exit_code(phase: str, pods: Sequence[Json]) -> int | None:
    codes = [int(ended["exitCode"]) for pod in pods for _, ended in _ended_containers(pod) if "exitCode" in ended]
    if phase == "Succeeded":
        return 0
    return next((code for code in codes if code), None)


def _finished_at(job: Json, pods: Sequence[Json]) -> datetime | None:
    completed = _instant((job.get("status") or {}).get("completionTime"))
    ended = max((end for pod in pods for _, end in _spans(pod) if end), default=None)
    failed = _instant(condition(job, "Failed").get("lastTransitionTime"))
    return completed or ended or failed


def _usage(pods: Iterable[Json], now: datetime) -> Usage:
    """Add up what the pods asked for, for as long as they ran."""
    gpu_seconds = cpu_seconds = 0.0
    for pod in pods:
        spans = _spans(pod)
        if not spans:
            continue
        seconds = max(0.0, (max(end or now for _, end in spans) - min(began for began, _ in spans)).total_seconds())
        try:
            demand = demand_of_pod_spec(pod.get("spec") or {})
        except InvalidInput:  # no API server admits such a pod; one that does gets no accounting
            continue
        gpu_seconds += demand.gpus * seconds
        cpu_seconds += demand.millicores * seconds / 1000
    return Usage(gpu_seconds=round(gpu_seconds, 3), cpu_seconds=round(cpu_seconds, 3))


def _spans(pod: Json) -> list[tuple[datetime, datetime | None]]:
    """Give start and end (None: still running) of each container that has started."""
    spans = []
    for status in _container_statuses(pod):
        state = status.get("state") or {}
        span = state.get("terminated") or state.get("running") or {}
        began = _instant(span.get("startedAt"))
        if began:
            spans.append((began, _instant(span.get("finishedAt"))))
    return spans


def _ended_containers(pod: Json) -> list[tuple[str, Json]]:
    states = [(str(status.get("name", "")), status.get("state") or {}) for status in _container_statuses(pod)]
    return [(name, state["terminated"]) for name, state in states if state.get("terminated")]


def _container_statuses(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _holds(obj: Json, condition_type: str) -> bool:
    return condition(obj, condition_type).get("status") == "True"


def _is_placed(pod: Json) -> bool:
    return bool((pod.get("spec") or {}).get("nodeName"))


def _pod_phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _instant(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
