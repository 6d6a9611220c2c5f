"""What to do about a Job: how many pods to make, which to delete, and its status.

Owns the rules of batch/v1 that simulated clusters keep: completions, parallelism, back-off, deadline, suspension,
indexes. Pure. Source: Kubernetes documentation, "Jobs"; KEP-3998 and KEP-3939 for when Failed and Complete are said.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from atoll.federation.tasks import Tasks
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object
from atoll.sandbox.controllers.job_indexes import (
    INDEX,
    failed_indexes,
    failure_by_index,
    indexes_in,
    indexes_of,
    is_limited_by_index,
    written,
)

TRACKING = "batch.kubernetes.io/job-tracking"
"""Finalizer that keeps an ended pod until the Job has counted it, so that a deleted pod is not lost to the count."""
BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 1.0, 36.0
"""Between a failed pod and its replacement: a tenth of Kubernetes' 10 s to 6 min, since nobody waits for a sandbox."""

MOST_ENDED_PODS = 100
"""Ended pods that a Job keeps. Kubernetes bounds those of a whole cluster, at 12,500 (kube-controller-manager,
--terminated-pod-gc-threshold); here each is looked at again and again, and has its folder on somebody's machine."""


@dataclass(frozen=True)
class JobPlan:
    """Everything to do in one step. `create` holds an index per new pod, None without indexes."""

    status: Object
    create: tuple[int | None, ...] = ()
    delete: tuple[str, ...] = ()
    forgives: bool = False  # the deleted pods do not count as failed
    uncount: tuple[str, ...] = ()
    again_seconds: float | None = None


@dataclass
class Pods:
    """The pods of a Job, sorted by what they mean to it."""

    active: list[Object] = field(default_factory=list)
    terminating: list[Object] = field(default_factory=list)
    succeeded: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)

    @classmethod
    def sort(cls, pods: Iterable[Object]) -> Pods:
        """Sort the pods of one Job."""
        sorted_pods = cls()
        for pod in pods:
            phase = pod["status"]["phase"]
            if phase == "Succeeded":
                sorted_pods.succeeded.append(pod)
            elif phase == "Failed" or is_unbound_and_deleted(pod):
                sorted_pods.failed.append(pod)
            elif "deletionTimestamp" in pod["metadata"]:
                sorted_pods.terminating.append(pod)
            else:
                sorted_pods.active.append(pod)
        return sorted_pods


def is_unbound_and_deleted(pod: Object) -> bool:
    """Say whether a pod was deleted before a node had it: no kubelet will ever say that it failed."""
    return "deletionTimestamp" in pod["metadata"] and not pod["spec"].get("nodeName")


def plan(job: Object, all_pods: Sequence[Object], now: datetime) -> JobPlan:
    """Decide the next step of a Job that has not finished."""
    spec, pods = job["spec"], Pods.sort(all_pods)
    status = _counted(job, pods)
    if "startTime" not in status and not spec.get("suspend"):
        status["startTime"] = timestamp(now)
    uncount = tuple(pod["metadata"]["name"] for pod in (*pods.succeeded, *pods.failed) if _is_tracked(pod))
    active = tuple(pod["metadata"]["name"] for pod in pods.active)
    ending = _ending(job, status, pods, now)
    if ending is not None:
        return JobPlan(_concluded(status, ending, pods, now), delete=active, uncount=uncount)
    if spec.get("suspend"):
        status.pop("startTime", None)
        return JobPlan(_suspended(status, now, holds=True), delete=active, forgives=True, uncount=uncount)
    status = _suspended(status, now, holds=False)
    wait = _backoff_left(pods, status, now)
    create = _missing(spec, status, pods, has_to_wait=wait > 0)
    surplus = active[spec["parallelism"] :]
    left = [seconds for seconds in (wait, _deadline_left(spec, status, now)) if seconds]
    return JobPlan(status, create, surplus, forgives=True, uncount=uncount, again_seconds=min(left, default=None))


def is_finished(job: Object) -> bool:
    """Say whether a Job is Complete or Failed, for ever."""
    return any(_holds(job["status"], kind) for kind in ("Complete", "Failed")) if "status" in job else False


def forgotten(pods: Sequence[Object]) -> list[Object]:
    """Return the pods that a Job has too many of: the oldest that have ended and are counted, failed ones last."""
    ended = [pod for pod in pods if pod["status"]["phase"] in ("Succeeded", "Failed") and not _is_tracked(pod)]
    surplus = len(ended) - MOST_ENDED_PODS
    by_interest = sorted(ended, key=lambda pod: (pod["status"]["phase"] == "Failed", _ended_at(pod)))
    return by_interest[:surplus] if surplus > 0 else []


def ttl_left(job: Object, now: datetime) -> float | None:
    """Return the seconds until a finished Job is to be deleted, None if it stays."""
    ttl = job["spec"].get("ttlSecondsAfterFinished")
    if ttl is None:
        return None
    ended = next(c for c in job["status"]["conditions"] if c["type"] in ("Complete", "Failed"))
    due = datetime.fromisoformat(ended["lastTransitionTime"]) + timedelta(seconds=ttl)
    return max(0.0, (due - now).total_seconds())


def _counted(job: Object, pods: Pods) -> Object:
    """Return the status with the pods that ended since the last step counted, each exactly once."""
    status: Object = {**job.get("status", {})}
    seen = status.pop("uncountedTerminatedPods", {})
    waiting: dict[str, list[str]] = {}
    for outcome, ended in (("succeeded", pods.succeeded), ("failed", pods.failed)):
        tracked = [pod["metadata"]["uid"] for pod in ended if _is_tracked(pod)]
        new = [uid for uid in tracked if uid not in seen.get(outcome, ())]
        status[outcome] = status.get(outcome, 0) + len(new)
        if tracked:
            waiting[outcome] = tracked
    if waiting:
        status["uncountedTerminatedPods"] = waiting
    status["active"] = len(pods.active)
    status["terminating"] = len(pods.terminating)
    status["ready"] = sum(1 for pod in pods.active if _holds(pod["status"], "Ready"))
    if job["spec"]["completionMode"] == "Indexed":
        status["completedIndexes"] = written(indexes_in(status, "completedIndexes") | indexes_of(pods.succeeded))
        if is_limited_by_index(job["spec"]):
            status["failedIndexes"] = written(failed_indexes(job["spec"], status, pods.failed))
    return status


def _is_tracked(pod: Object) -> bool:
    return TRACKING in pod["metadata"].get("finalizers", ())


def _ending(job: Object, status: Object, pods: Pods, now: datetime) -> tuple[str, str, str] | None:
    """Return (condition, reason, message) if the Job is to end, or is ending already."""
    spec = job["spec"]
    for standing in status.get("conditions", ()):
        if standing["type"] in ("FailureTarget", "SuccessCriteriaMet") and standing["status"] == "True":
            return standing["type"], standing["reason"], standing["message"]
    if _is_complete(spec, status, pods):
        return "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"
    if failure := failure_by_index(spec, status):
        return "FailureTarget", *failure
    restarts = sum(_restarts(pod) for pod in pods.active)
    if status["failed"] + restarts > spec["backoffLimit"]:
        return "FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"
    if _deadline_left(spec, status, now) == 0:
        return "FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"
    return None


def _is_complete(spec: Object, status: Object, pods: Pods) -> bool:
    if spec["completionMode"] == "Indexed":
        return len(indexes_in(status, "completedIndexes")) >= int(spec["completions"])
    if spec.get("completions") is None:  # a work queue: done when one succeeded and none is left
        return bool(status["succeeded"]) and not pods.active and not pods.terminating
    return int(status["succeeded"]) >= int(spec["completions"])


def _restarts(pod: Object) -> int:
    return sum(int(container.get("restartCount", 0)) for container in pod["status"].get("containerStatuses", ()))


def _concluded(status: Object, ending: tuple[str, str, str], pods: Pods, now: datetime) -> Object:
    """Write the ending down; it is final only when no pod runs any more, so that it can be relied on."""
    kind, reason, message = ending
    status = _with_condition(status, kind, now, holds=True, reason=reason, message=message)
    if pods.active or pods.terminating:
        return status
    final = "Complete" if kind == "SuccessCriteriaMet" else "Failed"
    if final == "Complete":
        status["completionTime"] = timestamp(now)
    return _with_condition(status, final, now, holds=True, reason=reason, message=message)


def _suspended(status: Object, now: datetime, *, holds: bool) -> Object:
    if not holds and not any(condition["type"] == "Suspended" for condition in status.get("conditions", ())):
        return status
    reason, message = ("JobSuspended", "Job suspended") if holds else ("JobResumed", "Job resumed")
    return _with_condition(status, "Suspended", now, holds=holds, reason=reason, message=message)


def _with_condition(status: Object, kind: str, now: datetime, *, holds: bool, reason: str, message: str) -> Object:
    value, at = "True" if holds else "False", timestamp(now)
    conditions = list(status.get("conditions", ()))
    old = next((condition for condition in conditions if condition["type"] == kind), None)
    if old is not None and old["status"] == value:
        return status
    new = {"type": kind, "status": value, "reason": reason, "message": message}
    new |= {"lastProbeTime": at, "lastTransitionTime": at}
    return {**status, "conditions": [*(c for c in conditions if c["type"] != kind), new]}


def _missing(spec: Object, status: Object, pods: Pods, *, has_to_wait: bool) -> tuple[int | None, ...]:
    """Return the pods to make now; a terminating pod is replaced only when it has ended."""
    if has_to_wait and not is_limited_by_index(spec):
        return ()
    running = len(pods.active) + len(pods.terminating)
    room = int(spec["parallelism"]) - running
    if spec["completionMode"] == "Indexed":
        held = (*pods.active, *pods.terminating, *(pods.failed if has_to_wait else ()))
        taken = indexes_in(status, "completedIndexes") | indexes_in(status, "failedIndexes") | indexes_of(held)
        return tuple(islice(Tasks.first(int(spec["completions"])) - taken, max(0, room)))
    if spec.get("completions") is None:
        wanted = 0 if status["succeeded"] else room
    else:
        wanted = min(room, spec["completions"] - status["succeeded"] - running)
    return (None,) * max(0, wanted)


def _backoff_left(pods: Pods, status: Object, now: datetime) -> float:
    if not pods.failed or not status["failed"]:
        return 0.0
    delay: float = min(BACKOFF_SECONDS * 2 ** min(status["failed"] - 1, 10), MAX_BACKOFF_SECONDS)
    last = max(_ended_at(pod) for pod in pods.failed)
    return max(0.0, delay - (now - last).total_seconds())


def _ended_at(pod: Object) -> datetime:
    ends = [
        container["state"]["terminated"]["finishedAt"]
        for container in pod["status"].get("containerStatuses", ())
        if "terminated" in container["state"]
    ]
    return datetime.fromisoformat(max(ends, default=pod["metadata"]["creationTimestamp"]))


def _deadline_left(spec: Object, status: Object, now: datetime) -> float | None:
    limit = spec.get("activeDeadlineSeconds")
    if limit is None or "startTime" not in status:
        return None
    due = datetime.fromisoformat(status["startTime"]) + timedelta(seconds=limit)
    return max(0.0, (due - now).total_seconds())


def _holds(status: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in status.get("conditions", ()))


def new_pod(job: Object, index: int | None) -> dict[str, Any]:
    """Return a pod of a Job."""
    metadata, template = job["metadata"], job["spec"]["template"]
    described = template.get("metadata") or {}
    labels, annotations = {**(described.get("labels") or {})}, {**(described.get("annotations") or {})}
    spec = template["spec"]
    prefix = f"{metadata['name']}-"
    if index is not None:
        labels[INDEX] = annotations[INDEX] = str(index)
        spec = _with_index(spec, index)
        prefix = f"{metadata['name']}-{index}-"
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "metadata": {
            "generateName": prefix,
            "namespace": metadata["namespace"],
            "labels": labels,
            "annotations": annotations,
            "finalizers": [TRACKING],
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": spec,
    }


def _with_index(spec: Object, index: int) -> Object:
    variable = {"name": "JOB_COMPLETION_INDEX", "value": str(index)}
    containers = [{**c, "env": [*c.get("env", ()), variable]} for c in spec["containers"]]
    return {**spec, "containers": containers}
