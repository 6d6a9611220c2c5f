"""What there is and what unfinished runs hold of it: capacity on clusters, and shares of queues. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from atoll.federation.capacity import ResourceVector
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Occupation, duration_of_job, pods_of_job, recorded_terms
from atoll.federation.queueing import QueueTree, base_of
from atoll.federation.resources import FINISHED_RUN_PHASES, Cluster, Inventory, Job, Run
from atoll.hub.scheduler.snapshot import Snapshot, job_key

# A run that should have ended by now is expected to overrun as long again as it has, and at least this part of its
# length. Without a floor, work would be held back for a cluster that is "free in 0 s" again and again.
_LEAST_REMAINING_PART = 0.05


NOT_HOLDING = frozenset({"Committing", *FINISHED_RUN_PHASES})
"""Phases of runs that hold nothing: one that commits its outputs has no pods any more."""


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


def queue_tree(snapshot: Snapshot) -> QueueTree:
    """See what unfinished runs hold, by queue."""
    tree = QueueTree.of(snapshot.queues)
    for run, job in _holding(snapshot):
        hold(tree, run, job)
    return tree


def hold(tree: QueueTree, run: Run, job: Job) -> None:
    """Count what a run holds; nothing if the job was changed since so that it cannot be told."""
    try:
        pod, count = pods_of_job(job.spec)
    except InvalidInput:
        return
    tree.hold(job_key(run), job.spec.queue, tree.axes.charge(pod, count))


def capacity(clusters: Iterable[Cluster]) -> tuple[int, int, int]:
    """Sum what all nodes of all clusters have, free or not: what queues have shares of."""
    total = ResourceVector()
    for cluster in clusters:
        for shape in cluster.status.inventory.shapes if cluster.status.inventory else ():
            free = ResourceVector(shape.free_millicores, shape.free_memory_bytes, shape.free_gpus)
            whole = ResourceVector(shape.allocatable_millicores, shape.allocatable_memory_bytes, shape.allocatable_gpus)
            total = total + whole.at_least(free) * shape.nodes
    return base_of(total)


def _holding(snapshot: Snapshot) -> Iterator[tuple[Run, Job]]:
    """Pair runs that hold capacity with their jobs."""
    for run in snapshot.active_runs():
        job = snapshot.job_of(run)
        if job is not None and run.status.phase not in NOT_HOLDING:
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
