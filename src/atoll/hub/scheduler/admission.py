"""Why a pending job may not be placed yet, before any limit or cluster is looked at. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.federation.placement import DatasetKey, input_keys
from atoll.federation.resources import Dataset, Job
from atoll.federation.resources.job import JobInput
from atoll.hub.scheduler.snapshot import Snapshot


@dataclass(frozen=True)
class Block:
    """Why a job waits: a word and a sentence."""

    reason: str
    message: str


def blocked_by_objects(job: Job, snapshot: Snapshot) -> Block | None:
    """Look for a missing queue, or an input that is missing or not complete."""
    if job.spec.queue not in snapshot.queues:
        return Block("QueueNotFound", f"spec.queue: there is no queue {job.spec.queue}: create it or name another")
    found = [
        block
        for mount, key in zip(job.spec.inputs, input_keys(job.spec, job.metadata.namespace or ""), strict=True)
        if (block := _blocked_by_input(mount, key, snapshot.datasets)) is not None
    ]
    return found[0] if found else None


def _blocked_by_input(mount: JobInput, key: DatasetKey, datasets: Mapping[DatasetKey, Dataset]) -> Block | None:
    dataset, name = datasets.get(key), "/".join(key)
    if dataset is None:
        return Block("DatasetNotFound", f"input {name}: there is no such dataset yet")
    if mount.when == "Complete" and not dataset.status.complete:
        return Block("DatasetIncomplete", f"input {name}: version {dataset.status.version} is not complete yet")
    if dataset.status.version == 0:
        return Block("DatasetIncomplete", f"input {name}: nothing of it has arrived yet")
    return None
