"""What there is and what unfinished runs hold of it: capacity on clusters, and shares of queues. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from atoll.federation.capacity import ResourceVector
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Occupation, duration_of_job, recorded_terms
from atoll.federation.queueing import QueueTree, Vector, base_of
from atoll.federation.resources import FINISHED_RUN_PHASES, Cluster, Inventory, Job, Run
from atoll.hub.scheduler.arrays import Pods, held_by
from atoll.hub.scheduler.snapshot import Snapshot, job_key
from atoll.hub.scheduler.stoppable import grace_seconds

# A run that should have ended by now is expected to overrun as long again as it has, and at least this part of its
# length. Without a floor, work would be held back for a cluster that is "free in 0 s" again and again.
_LEAST_REMAINING_PART = 0.05


NOT_HOLDING = frozenset({"Committing", *FINISHED_RUN_PHASES})
"""Phases of runs that hold nothing: one that commits its outputs has no pods any more."""


_PLACED = frozenset({"Placed", "Running", "Committing"})


class Held(NamedTuple):
    """What a run holds while it goes on, and how long it was expected to when it was placed."""

    run: Run
    job: Job
    pods: Pods
    run_seconds: float
    staging_seconds: float


@dataclass
class Holdings:
    """What runs hold, read once for each state of a run and of its job."""

    _known: dict[str, Held] = field(default_factory=dict)

    def follow(self, snapshot: Snapshot) -> tuple[Held, ...]:
        """Give what holds capacity now; nothing of a run whose job was changed since so that it cannot be told."""
        known, self._known = self._known, {}
        for run in snapshot.runs:
            if run.status.phase in NOT_HOLDING:
                continue
            held, job = known.get(run.key), snapshot.job_of(run)
            if held is None or held.run is not run or held.job is not job:
                held = None if job is None else held_of(run, job)
            if held is not None:
                self._known[run.key] = held
        return tuple(self._known.values())


def held_of(run: Run, job: Job) -> Held | None:
    """Tell what a run holds; None if it holds nothing, or if the job was changed since so that it cannot be told."""
    if run.status.phase in NOT_HOLDING:
        return None
    try:
        pods, (expected, _) = held_by(run, job), duration_of_job(job.spec)
    except InvalidInput:
        return None
    terms = recorded_terms(run.spec.decision, run.spec.cluster)
    return Held(run, job, pods, terms.get("runSeconds", expected), terms.get("stagingSeconds", 0.0))


def occupations(snapshot: Snapshot, held: Iterable[Held] | None = None) -> dict[str, list[Occupation]]:
    """List by cluster what its unfinished runs hold."""
    counted = {cluster.metadata.name: _counted(cluster.status.inventory) for cluster in snapshot.clusters}
    found: dict[str, list[Occupation]] = defaultdict(list)
    for each in Holdings().follow(snapshot) if held is None else held:
        run, known = each.run, counted.get(each.run.spec.cluster)
        is_counted = run.status.phase == "Running" if known is None else run.key in known
        seconds = _remaining_seconds(each, snapshot.taken_at)
        found[run.spec.cluster].append(Occupation.of(run.key, each.pods, seconds, is_counted=is_counted))
    return found


def queue_tree(snapshot: Snapshot, held: Iterable[Held] | None = None) -> QueueTree:
    """See what unfinished runs hold, by queue, and what keeps the places of jobs that are about to wait again."""
    tree = QueueTree.of(snapshot.queues)
    hold_all(tree, Holdings().follow(snapshot) if held is None else held)
    for run, job in _leaving(snapshot):
        hold(tree, run, job)
    return tree


def hold_all(tree: QueueTree, held: Iterable[Held]) -> None:
    """Count what runs hold."""
    charges: dict[Pods, Vector] = {}
    for each in held:
        vector = charges.get(each.pods)
        if vector is None:
            vector = charges[each.pods] = tree.axes.charge_all(each.pods)
        tree.hold(each.job.key, each.job.spec.queue, vector)


def _leaving(snapshot: Snapshot) -> Iterator[tuple[Run, Job]]:
    """Pair runs that have failed with jobs that have not taken note of it yet: a job that had to leave a cluster would
    else find its share of the queue taken by those that came after it."""
    for run in snapshot.runs:
        job = snapshot.job_of(run) if run.status.phase == "Failed" else None
        if job is not None and job.status.run == run.metadata.name and job.status.phase in _PLACED:
            yield run, job


def hold(tree: QueueTree, run: Run, job: Job) -> None:
    """Count what a run holds; nothing if the job was changed since so that it cannot be told."""
    try:
        pods = held_by(run, job)
    except InvalidInput:
        return
    tree.hold(job_key(run), job.spec.queue, tree.axes.charge_all(pods))


def capacity(clusters: Iterable[Cluster]) -> tuple[int, int, int]:
    """Sum what all nodes of all clusters have, free or not: what queues have shares of."""
    total = ResourceVector()
    for cluster in clusters:
        for shape in cluster.status.inventory.shapes if cluster.status.inventory else ():
            free = ResourceVector(shape.free_millicores, shape.free_memory_bytes, shape.free_gpus)
            whole = ResourceVector(shape.allocatable_millicores, shape.allocatable_memory_bytes, shape.allocatable_gpus)
            total = total + whole.at_least(free) * shape.nodes
    return base_of(total)


def _counted(inventory: Inventory | None) -> frozenset[str] | None:
    """Name the runs that a cluster's free capacity is already without.

    None: the agent does not say, and only a run that is reported running is taken as counted.
    """
    known = inventory.counted_runs if inventory is not None else None
    return None if known is None else frozenset(known)


def _remaining_seconds(held: Held, now: datetime) -> float:
    """Estimate when a run ends, from what was expected when it was placed; one that has to go, goes."""
    if held.run.spec.preempted is not None:
        return grace_seconds(held.job)
    expected, started_at = held.run_seconds, held.run.status.started_at
    if started_at is None:
        return expected + held.staging_seconds
    left = expected - (now - started_at).total_seconds()
    return max(left, -left, expected * _LEAST_REMAINING_PART)
