"""The tasks of an array as an Indexed Job has them: which shall run, and what they have come to. Pure.

A Job is made suspended where not all of its indexes shall run. The others are then written into its status as
completed, and it is let go: the Job controller takes that status as what it found out earlier, and never makes pods
for them. Source: kubernetes, pkg/controller/job: calculateSucceededIndexes begins with status.completedIndexes,
firstPendingIndexes (both indexed_job_utils.go) leaves those out, manageJob (job_controller.go) wants no more pods than
completions less their number, and makes none while the Job is suspended (docs/adr/0028).
"""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from atoll.edge.member.objects import condition, labels_of
from atoll.edge.member.run_status import RunState, Spent
from atoll.federation.bus.messages import RunOrder
from atoll.federation.errors import InvalidInput
from atoll.federation.tasks import Tasks

Json = Mapping[str, Any]
# Pods of an array that a report names. Nobody reads more, and a report of 100,000 names is of no use.
_MOST_NAMED = 20
# A cluster keeps thousands of ended pods (kube-controller-manager, --terminated-pod-gc-threshold): they are not read.
_LIVE, _FAILED = "status.phase!=Succeeded,status.phase!=Failed", "status.phase=Failed"
# News of an array may wait so long to be joined by others, for itself and for each task that runs at once: to read
# 1,000 pods takes a third of a second of CPU, so that an agent spends less than a tenth of a core on one array.
_PATIENCE_SECONDS, _PATIENCE_PER_TASK_SECONDS, _LONGEST_PATIENCE_SECONDS = 0.5, 0.004, 10.0


# Kueue lets a Job go as soon as it bears this label and has room (jobframework, QueueName).
_KUEUE_QUEUE = "kueue.x-k8s.io/queue-name"


def is_array(job: Json) -> bool:
    """Tell whether a workload is a Job whose indexes fail one by one."""
    spec = job.get("spec") or {}
    return spec.get("completionMode") == "Indexed" and spec.get("backoffLimitPerIndex") is not None


def why_no_array(wanted: Json, made: Json) -> str:
    """Say why a cluster cannot run an array that it has accepted; empty if it can.

    An API server of Kubernetes 1.28 knows the field and drops it (feature JobBackoffLimitPerIndex): each task that
    fails would then begin again and again. One before that refuses it as unknown.
    """
    if not is_array(wanted) or is_array(made):
        return ""
    return "the cluster drops spec.backoffLimitPerIndex of a Job: arrays need Kubernetes 1.29 or newer"


def skipped(order: RunOrder, job: Json) -> Tasks:
    """Give the indexes of a Job that shall not run."""
    if not order.tasks:
        return Tasks()
    return Tasks.first(int(job["spec"]["completions"])) - Tasks.parse(order.tasks)


def out_of_queue(manifest: Json) -> dict[str, Any]:
    """Give a manifest that Kueue passes over: it may let the Job go only when the other indexes are done."""
    metadata = manifest["metadata"]
    labels = {name: value for name, value in (metadata.get("labels") or {}).items() if name != _KUEUE_QUEUE}
    return {**manifest, "metadata": {**metadata, "labels": labels}}


def queue_label(manifest: Json) -> dict[str, str]:
    """Give the label that out_of_queue took away; empty if there was none."""
    return {name: value for name, value in labels_of(manifest).items() if name == _KUEUE_QUEUE}


def status_skipping(order: RunOrder, job: Json) -> Json | None:
    """Give the change of a Job's status that keeps indexes from running; None if it says so already."""
    known = _indexes(job, "completedIndexes")
    if not (missing := skipped(order, job) - known):
        return None
    completed = known | missing
    return {"completedIndexes": str(completed), "succeeded": len(completed)}


def pods_to_read(order: RunOrder, job: Json) -> str:
    """Give the field selector of the pods that tell what a run does: of an array, those that its Job does not count.

    Before any task has ended that is all of them; when the Job has failed, one of its failed pods tells why.
    """
    if not is_array(job):
        return ""
    if any(condition(job, kind).get("status") == "True" for kind in ("Complete", "Failed")):
        return _FAILED
    return _LIVE if _has_ended_any(order, job) else ""


def with_tasks(order: RunOrder, state: RunState, job: Json, live: Collection[Json], *, spent: Spent) -> RunState:
    """Say of a run that is an array what its tasks have come to.

    Args:
        live: its pods that have not ended.
        spent: what all of its pods have used until now, those included that are gone.
    """
    has_begun = _has_ended_any(order, job) and not (state.is_finished or state.is_suspended)
    state = replace(state, phase="Running", reason="", message="") if has_begun else state
    return replace(
        state,
        pods=tuple(sorted(str(pod["metadata"]["name"]) for pod in live)[:_MOST_NAMED]),
        started_at=spent.began,
        usage=spent.usage,
        running_tasks=len(live),
        succeeded_tasks=str(_done(order, job)),
        failed_tasks=str(_indexes(job, "failedIndexes")),
        parallelism=int((job.get("spec") or {}).get("parallelism") or 0),
    )


def patience_seconds(state: RunState | None) -> float:
    """Tell how long news of a run may wait to be joined by others; none of what is no array."""
    if state is None or state.parallelism is None:
        return 0.0
    return min(_LONGEST_PATIENCE_SECONDS, _PATIENCE_SECONDS + _PATIENCE_PER_TASK_SECONDS * state.running_tasks)


def _done(order: RunOrder, job: Json) -> Tasks:
    return _indexes(job, "completedIndexes") - skipped(order, job)


def _has_ended_any(order: RunOrder, job: Json) -> bool:
    return bool(_done(order, job).spans or _indexes(job, "failedIndexes").spans)


def _indexes(job: Json, field: str) -> Tasks:
    try:
        return Tasks.parse(str((job.get("status") or {}).get(field) or ""))
    except InvalidInput:  # no API server stores such a status
        return Tasks()
