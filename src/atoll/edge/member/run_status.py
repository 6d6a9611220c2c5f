"""What a run is doing, read from its workload and that workload's pods. Pure.

Owns the translation of Kubernetes' many words into a run's phase, one reason, and what it used. Of kinds other than
batch/v1 Job their adapter tells the phase. It must not decide what to do about it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.edge.member.objects import condition
from atoll.federation.capacity import demand_of_pod_spec
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.run import FINISHED_RUN_PHASES, RunPhase, Usage
from atoll.federation.workloads import is_suspended, state_of_all

Json = Mapping[str, Any]

_TERMINAL_PODS = frozenset({"Succeeded", "Failed"})
# The Job controller's way to say "a pod failed": the pod itself knows more.
_JOB_GAVE_UP = frozenset({"BackoffLimitExceeded", ""})
# Reasons of a pod's condition DisruptionTarget that mean that its node is not there any more.
_NODE_LOST = frozenset({"DeletionByTaintManager", "DeletionByPodGC"})
# An Indexed Job has up to 100,000 indexes; more of them than this nobody reads in a message.
_INDEXES_CHARS = 100


@dataclass(frozen=True, slots=True)
class Spent:
    """What pods asked for, for as long as they ran, and when the first of them began."""

    began: datetime | None = None
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0

    def __add__(self, other: "Spent") -> "Spent":
        began = min((at for at in (self.began, other.began) if at), default=None)
        return Spent(began, self.gpu_seconds + other.gpu_seconds, self.cpu_seconds + other.cpu_seconds)

    @property
    def usage(self) -> Usage:
        """As a report has it."""
        return Usage(gpu_seconds=round(self.gpu_seconds, 3), cpu_seconds=round(self.cpu_seconds, 3))


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
    running_tasks: int = 0
    succeeded_tasks: str = ""
    failed_tasks: str = ""
    parallelism: int | None = None
    is_suspended: bool = False
    placed_pods: int = 0
    unplaced_pods: int = 0

    @property
    def is_finished(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in FINISHED_RUN_PHASES


def read_run(found: Sequence[tuple[Json, Sequence[Json]]], now: datetime) -> RunState:
    """Tell what the workloads of a run and their pods amount to.

    Args:
        found: each workload with all of its pods that still exist.
        now: until when running containers are counted in the usage.
    """
    pods, job = [pod for _, each in found for pod in each], _only_job(found)
    phase, reason, message = _phase(job, pods) if job is not None else _told(found, pods)
    is_finished = phase in FINISHED_RUN_PHASES
    deadline = ((job or {}).get("spec") or {}).get("activeDeadlineSeconds")
    spent = spent_by(pods, now)
    return RunState(
        phase=phase,
        reason=reason,
        message=message,
        exit_code=_exit_code(phase, pods) if is_finished else None,
        pods=tuple(sorted(str(pod["metadata"]["name"]) for pod in pods)),
        started_at=spent.began,
        finished_at=_finished_at(found, pods) if is_finished else None,
        usage=spent.usage,
        job_started=str(((job or {}).get("status") or {}).get("startTime") or ""),
        deadline_seconds=int(deadline) if deadline is not None else None,
        is_suspended=any(is_suspended(obj) for obj, _ in found),
        placed_pods=sum(_is_placed(pod) for pod in pods),
        unplaced_pods=sum(_is_refused(pod) for pod in pods),
    )


def _only_job(found: Sequence[tuple[Json, Sequence[Json]]]) -> Json | None:
    """Give the workload if it is a batch/v1 Job, whose status this file reads more closely than an adapter can."""
    job = found[0][0]
    return job if (job.get("apiVersion"), job.get("kind")) == ("batch/v1", "Job") else None


def _told(found: Sequence[tuple[Json, Sequence[Json]]], pods: Sequence[Json]) -> tuple[RunPhase, str, str]:
    """Take a run's phase from the adapter of its kind; why it failed, its pods know better than its operator."""
    told = state_of_all(found)
    cause = _cause(pods) if told.phase == "Failed" else None
    reason, message = cause or (told.reason, told.message)
    return told.phase, reason, message


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
    return _cause(pods) or (reason or "Failed", message)


def _cause(pods: Sequence[Json]) -> tuple[str, str] | None:
    """Say what ended the newest pod that failed; None if no pod says anything."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), reverse=True):
        status = pod.get("status") or {}
        if disrupted := _disruption(pod):
            return disrupted
        if status.get("reason"):  # Evicted, OutOfcpu, UnexpectedAdmissionError: the kubelet refused or ended the pod
            return str(status["reason"]), f"pod {pod['metadata']['name']}: {status.get('message', '')}"
        for name, ended in _ended_containers(pod):
            if ended.get("exitCode"):
                own = str(ended.get("message") or f"ended with exit code {ended['exitCode']}")
                return str(ended.get("reason") or "Error"), f"pod {pod['metadata']['name']}, container {name}: {own}"
    return None


def _disruption(pod: Json) -> tuple[str, str] | None:
    """Say why a pod ended that somebody sent away: its node is gone, or its place was needed (KEP-3329)."""
    target = condition(pod, "DisruptionTarget")
    if target.get("status") != "True":
        return None
    reason = "NodeLost" if target.get("reason") in _NODE_LOST else "Evicted"
    return reason, f"pod {pod['metadata']['name']}: {target.get('message') or target.get('reason', '')}"


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


def _finished_at(found: Sequence[tuple[Json, Sequence[Json]]], pods: Sequence[Json]) -> datetime | None:
    job = _only_job(found) or {}
    completed = _instant((job.get("status") or {}).get("completionTime"))
    ended = max((end for pod in pods for _, end in _spans(pod) if end), default=None)
    failed = _instant(condition(job, "Failed").get("lastTransitionTime"))
    return completed or ended or failed or state_of_all(found).finished_at


def spent_by(pods: Iterable[Json], now: datetime) -> Spent:
    """Add up what pods asked for, for as long as they ran; what still runs, until `now`."""
    spent = Spent()
    for pod in pods:
        spans = _spans(pod)
        if not spans:
            continue
        began = min(began for began, _ in spans)
        seconds = max(0.0, (max(end or now for _, end in spans) - began).total_seconds())
        try:
            demand = demand_of_pod_spec(pod.get("spec") or {})
        except InvalidInput:  # no API server admits such a pod; one that does gets no accounting
            spent += Spent(began)
            continue
        spent += Spent(began, demand.gpus * seconds, demand.millicores * seconds / 1000)
    return spent


def spent_when_ended(pod: Json) -> Spent:
    """Tell what a pod has used that has ended; a container whose end nobody saw used nothing."""
    ends = [end for _, end in _spans(pod) if end is not None]
    return spent_by((pod,), max(ends)) if ends else Spent()


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


def _is_refused(pod: Json) -> bool:
    """Tell whether the scheduler has looked at a pod and found no node for it."""
    is_going = "deletionTimestamp" in pod["metadata"]
    return not _is_placed(pod) and not is_going and condition(pod, "PodScheduled").get("status") == "False"


def _pod_phase(pod: Json) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _instant(text: object) -> datetime | None:
    return datetime.fromisoformat(text) if isinstance(text, str) else None
