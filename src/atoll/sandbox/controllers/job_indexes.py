"""The indexes of an Indexed Job: which pod has which, how sets of them are written, and which have failed for good.

Owns the rules of `backoffLimitPerIndex`. Pure, and in time of the intervals, not of the indexes. Source: KEP-3850.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from atoll.federation.tasks import Tasks
from atoll.kubeapi.resource import Object

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int | None:
    """Return a pod's index, None if it has none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return None if text is None else int(text)


def indexes_of(pods: Iterable[Object]) -> Tasks:
    """Return the indexes of pods; those without one are left out."""
    return Tasks.of(index for index in map(index_of, pods) if index is not None)


def indexes_in(status: Object, field: str) -> Tasks:
    """Read `completedIndexes` or `failedIndexes`; none where it is not written."""
    return Tasks.parse(status.get(field) or "")


def written(indexes: Tasks) -> str:
    """Write `0-2,5,6`: two indexes are no range to the Job controller.

    Source: pkg/controller/job/indexed_job_utils.go, orderedIntervals.String.
    """
    return ",".join(
        str(first) if first == last else f"{first}{',' if last == first + 1 else '-'}{last}"
        for first, last in indexes.spans
    )


def is_limited_by_index(spec: Object) -> bool:
    """Say whether a Job's indexes fail one by one."""
    return spec.get("backoffLimitPerIndex") is not None


def failed_indexes(spec: Object, status: Object, failed: Sequence[Object]) -> Tasks:
    """Return the indexes that are not tried again, those of earlier steps included."""
    counts = Counter(index for index in map(index_of, failed) if index is not None)
    given_up = Tasks.of(index for index, times in counts.items() if times > spec["backoffLimitPerIndex"])
    return (indexes_in(status, "failedIndexes") | given_up) - indexes_in(status, "completedIndexes")


def failure_by_index(spec: Object, status: Object) -> tuple[str, str] | None:
    """Return (reason, message) if the failed indexes end the Job: too many, or nothing else is left."""
    if not is_limited_by_index(spec):
        return None
    failed, done = len(indexes_in(status, "failedIndexes")), len(indexes_in(status, "completedIndexes"))
    most = spec.get("maxFailedIndexes")
    if most is not None and failed > most:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if failed and failed + done >= spec["completions"]:
        return "FailedIndexes", "Job has failed indexes"
    return None
