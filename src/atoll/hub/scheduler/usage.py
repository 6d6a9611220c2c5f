"""What unfinished runs hold: capacity on clusters, and GPUs of queues. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import datetime

from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Occupation, duration_of_job, pods_of_job, recorded_terms
from atoll.federation.resources import Inventory, Job, Queue, Run
from atoll.hub.scheduler.snapshot import Snapshot

# A run that should have ended by now is expected to overrun as long again as it has, and at least this part of its
# length. Without a floor, work would be held back for a cluster that is "free in 0 s" again and again.
_LEAST_REMAINING_PART = 0.05


def occupations(snapshot: Snapshot) -> dict[str, list[Occupation]]:
    """List by cluster what its unfinished runs hold."""
    inventories = {cluster.metadata.name: cluster.status.inventory for cluster in snapshot.clusters}
    held: dict[str, list[Occupation]] = defaultdict(list)
    for run, job in _holding(snapshot):
        try:
            pod, count = pods_of_job(job.spec)
            seconds = _remaining_seconds(run, job, snapshot.taken_at)
        except InvalidInput:  # the job was changed since it was placed: what its run asked for is not known
            continue
        is_counted = _is_counted(run, inventories.get(run.spec.cluster))
        held[run.spec.cluster].append(Occupation(run.key, pod, count, seconds, is_counted))
    return held


def queue_gpus(snapshot: Snapshot) -> Counter[str]:
    """Count the GPUs that unfinished runs hold, by queue; a queue holds what those below it hold."""
    used: Counter[str] = Counter()
    for _run, job in _holding(snapshot):
        gpus = gpus_of(job)
        for queue in lineage(job.spec.queue, snapshot.queues):
            used[queue] += gpus
    return used


def gpus_of(job: Job) -> int:
    """Count the GPUs of all pods of a job; 0 if that cannot be read."""
    try:
        pod, count = pods_of_job(job.spec)
    except InvalidInput:
        return 0
    return pod.resources.gpus * count


def lineage(queue: str, queues: Mapping[str, Queue]) -> list[str]:
    """Name a queue and those above it, the nearest first; a parent that is missing or below itself ends the line."""
    line: list[str] = []
    name: str | None = queue
    while name is not None and name in queues and name not in line:
        line.append(name)
        name = queues[name].spec.parent
    return line


def _holding(snapshot: Snapshot) -> Iterator[tuple[Run, Job]]:
    """Pair runs that hold capacity with their jobs. One that commits its outputs has no pods any more."""
    for run in snapshot.active_runs():
        job = snapshot.job_of(run)
        if job is not None and run.status.phase != "Committing":
            yield run, job


def _is_counted(run: Run, inventory: Inventory | None) -> bool:
    """Tell whether the cluster's free capacity is already without this run.

    Where the agent does not say, only a run that is reported running is taken as counted.
    """
    if inventory is not None and inventory.counted_runs is not None:
        return run.key in inventory.counted_runs
    return run.status.phase == "Running"


def _remaining_seconds(run: Run, job: Job, now: datetime) -> float:
    """Estimate when a run ends, from what was expected when it was placed."""
    terms = recorded_terms(run.spec.decision, run.spec.cluster)
    expected = terms.get("runSeconds", duration_of_job(job.spec)[0])
    if run.status.started_at is None:
        return expected + terms.get("stagingSeconds", 0.0)
    left = expected - (now - run.status.started_at).total_seconds()
    return max(left, -left, expected * _LEAST_REMAINING_PART)
