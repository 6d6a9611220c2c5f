"""The indexes of an Indexed Job: which pod has which, how sets of them are written, and which have failed for good.

Owns the rules of `backoffLimitPerIndex`. Pure. Source: KEP-3850.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from atoll.kubeapi.resource import Object

INDEX = "batch.kubernetes.io/job-completion-index"


def index_of(pod: Object) -> int | None:
    """Return a pod's index, None if it has none."""
    text = (pod["metadata"].get("annotations") or {}).get(INDEX)
    return None if text is None else int(text)


def read_indexes(text: str) -> set[int | None]:
    """Read `0-2,5`."""
    found: set[int | None] = set()
    for part in text.split(","):
        if part:
            first, _, last = part.partition("-")
            found.update(range(int(first), int(last or first) + 1))
    return found


def write_indexes(indexes: Iterable[int | None]) -> str:
    """Write `0-2,5`."""
    spans: list[list[int]] = []
    for index in sorted(index for index in indexes if index is not None):
        if spans and index == spans[-1][1] + 1:
            spans[-1][1] = index
        else:
            spans.append([index, index])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in spans)


def is_limited_by_index(spec: Object) -> bool:
    """Say whether a Job's indexes fail one by one."""
    return spec.get("backoffLimitPerIndex") is not None


def failed_indexes(spec: Object, status: Object, failed: Sequence[Object]) -> set[int | None]:
    """Return the indexes that are not tried again, those of earlier steps included."""
    counts = Counter(index_of(pod) for pod in failed)
    given_up = {index for index, times in counts.items() if times > spec["backoffLimitPerIndex"]}
    return (read_indexes(status.get("failedIndexes", "")) | given_up) - read_indexes(status["completedIndexes"])


def failure_by_index(spec: Object, status: Object) -> tuple[str, str] | None:
    """Return (reason, message) if the failed indexes end the Job: too many, or nothing else is left."""
    if not is_limited_by_index(spec):
        return None
    failed, done = read_indexes(status["failedIndexes"]), read_indexes(status["completedIndexes"])
    most = spec.get("maxFailedIndexes")
    if most is not None and len(failed) > most:
        return "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"
    if failed and len(failed) + len(done) >= spec["completions"]:
        return "FailedIndexes", "Job has failed indexes"
    return None
