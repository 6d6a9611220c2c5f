"""An array as the batch/v1 Job that a member runs: an Indexed Job whose indexes are the tasks' numbers. Pure.

Owns how a task knows its number. That only some tasks run in an attempt is said beside the manifest (RunOrder.tasks).
"""

from typing import Any

from atoll.federation.bus.messages import Manifest
from atoll.federation.capacity import parse_duration
from atoll.federation.resources import Job, Run
from atoll.hub.arrays import tasks_of

# The Job controller annotates each pod with it (batch/v1 JobCompletionIndexAnnotation).
_INDEX_FIELD = "metadata.annotations['batch.kubernetes.io/job-completion-index']"
_NO_LIMIT = 2**31 - 1


def as_array(spec: Manifest, job: Job, run: Run) -> Manifest:
    """Give the spec of a Job as that of an array's run; of a job that is no array, as it is.

    A task that fails ends no other one, and is not tried again within the attempt (KEP-3850).
    """
    array = job.spec.array
    if array is None:
        return spec
    at_once = run.spec.parallelism or array.max_parallel or array.count
    pod = dict(spec["template"]["spec"])
    if job.spec.time_limit is not None:  # of each task: the array takes as long as it takes
        pod["activeDeadlineSeconds"] = max(1, round(parse_duration(job.spec.time_limit)))
    for group in ("initContainers", "containers"):
        if group in pod:
            pod[group] = [_knowing_its_number(container, array.count) for container in pod[group]]
    return {
        **{name: value for name, value in spec.items() if name != "activeDeadlineSeconds"},
        "completionMode": "Indexed",
        "completions": array.count,
        "parallelism": max(1, min(at_once, len(tasks_of(job, run)))),
        "backoffLimit": _NO_LIMIT,
        "backoffLimitPerIndex": 0,
        "template": {**spec["template"], "spec": pod},
    }


def _knowing_its_number(container: dict[str, Any], count: int) -> dict[str, Any]:
    own: list[dict[str, Any]] = [
        {"name": "ATOLL_TASK", "valueFrom": {"fieldRef": {"fieldPath": _INDEX_FIELD}}},
        {"name": "ATOLL_TASKS", "value": str(count)},
    ]
    names = {variable["name"] for variable in own}
    others = [variable for variable in container.get("env", ()) if variable.get("name") not in names]
    return {**container, "env": [*own, *others]}
