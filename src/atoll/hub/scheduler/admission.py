"""Why a pending job may not be placed yet, before any cluster is looked at. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.federation.placement import DatasetKey, Demand, input_keys
from atoll.federation.resources import Dataset, Job, Queue
from atoll.federation.resources.job import JobInput
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.scheduler.usage import lineage


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


def blocked_by_queue(job: Job, demand: Demand, queues: Mapping[str, Queue], used: Mapping[str, int]) -> Block | None:
    """Look for a GPU limit of the job's queue, or of one above it, that the job would exceed."""
    for name in lineage(job.spec.queue, queues):
        limit, held = queues[name].spec.max_gpus, used.get(name, 0)
        if limit is not None and demand.gpus > limit:
            return Block("QueueLimit", _never(name, limit, demand))
        if limit is not None and demand.gpus and held + demand.gpus > limit:
            message = f"queue {name} holds {held} of its {limit} GPUs (spec.maxGpus), the job asks for {demand.gpus}"
            return Block("QueueLimit", message)
    return None


def _never(queue: str, limit: int, demand: Demand) -> str:
    """Say that waiting does not help."""
    asked = f"the job asks for {demand.gpus} GPU{'s' if demand.gpus > 1 else ''}"
    return (
        f"{asked}, more than queue {queue} allows at all (spec.maxGpus {limit}): lower spec.gpu.count or raise maxGpus"
    )
