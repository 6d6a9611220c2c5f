"""What there is and what unfinished runs hold of it: capacity on clusters, and shares of queues. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import NamedTuple

from atoll.federation.capacity import ResourceVector, parse_duration
from atoll.federation.errors import InvalidInput
from atoll.federation.placement import Occupation, amounts_of_run, duration_of_job, recorded_terms
from atoll.federation.queueing import QueueTree, Vector, base_of
from atoll.federation.resources import FINISHED_RUN_PHASES, Cluster, Inventory, Job, Run
from atoll.federation.resources.submitter import submitter_of
from atoll.hub.scheduler.arrays import Pods, held_by
from atoll.hub.scheduler.snapshot import Snapshot

# A run that should have ended by now is expected to overrun as long again as it has, and at least this part of its
# length. Without a floor, work would be held back for a cluster that is "free in 0 s" again and again.
LEAST_REMAINING_PART = 0.05


# What Kubernetes gives a pod to end by itself (core/v1 PodSpec), where the job says nothing.
GRACE_SECONDS = 30.0

NOT_HOLDING = frozenset({"Committing", *FINISHED_RUN_PHASES})
"""Phases of runs that hold nothing: one that commits its outputs has no pods any more."""


_PLACED = frozenset({"Placed", "Running", "Committing"})


class Spoken(NamedTuple):
    """What jobs that ask for the same say of their runs: the pods, how long they take, and what stopping them costs."""

    pods: Pods
    amounts: tuple[int, int, int]
    expected_seconds: float
    is_preemptible: bool
    checkpoint: str | None


class Held(NamedTuple):
    """What a run holds while it goes on, for which job, and how long it was expected to when it was placed."""

    run: Run
    key: str
    job: str
    queue: str
    priority: int
    submitter: str
    grace: str | None
    spoken: Spoken
    run_seconds: float
    staging_seconds: float

    @property
    def pods(self) -> Pods:
        """The pods that it holds room for."""
        return self.spoken.pods


def is_holding(run: Run) -> bool:
    """Tell whether a run holds anything."""
    return run.status.phase not in NOT_HOLDING


def held_of(run: Run, job: Job) -> Held | None:
    """Tell what a run holds; None if it holds nothing, or if the job was changed since so that it cannot be told."""
    spoken = spoken_of(run, job) if is_holding(run) else None
    if spoken is None:
        return None
    of = (job.key, job.spec.queue, job.spec.priority, submitter_of(job), job.spec.grace_period)
    return Held(run, run.key, *of, spoken, *expected_of(run, spoken))


def expected_of(run: Run, spoken: Spoken) -> tuple[float, float]:
    """Tell how many seconds a run was expected to go on, and to stage its inputs, when it was placed."""
    terms = recorded_terms(run.spec.decision, run.spec.cluster)
    return terms.get("runSeconds", spoken.expected_seconds), terms.get("stagingSeconds", 0.0)


def spoken_of(run: Run, job: Job) -> Spoken | None:
    """Read what a run holds out of its job; None if the job was changed since so that it cannot be told."""
    try:
        pods, (expected, _) = held_by(run, job), duration_of_job(job.spec)
    except InvalidInput:
        return None
    held = sum((pod.resources * count for pod, count in pods), ResourceVector())
    return Spoken(pods, amounts_of_run(held), expected, job.spec.preemptible, job.spec.checkpoint_interval)


def _all_held(snapshot: Snapshot) -> Iterator[Held]:
    paired = ((run, snapshot.job_of(run)) for run in snapshot.runs)
    return (held for run, job in paired if job is not None and (held := held_of(run, job)) is not None)


def occupations(snapshot: Snapshot) -> dict[str, list[Occupation]]:
    """List by cluster what its unfinished runs hold."""
    counted = {cluster.metadata.name: counted_runs(cluster.status.inventory) for cluster in snapshot.clusters}
    found: dict[str, list[Occupation]] = defaultdict(list)
    for each in _all_held(snapshot):
        found[each.run.spec.cluster].append(occupation(each, counted.get(each.run.spec.cluster), snapshot.taken_at))
    return found


def occupation(held: Held, counted: frozenset[str] | None, now: datetime) -> Occupation:
    """See what a run holds as the cluster does, which says what it has counted."""
    return Occupation.of(held.key, held.pods, remaining_seconds(held, now), is_counted=is_counted(held.run, counted))


def is_counted(run: Run, counted: frozenset[str] | None) -> bool:
    """Tell whether a cluster's free capacity is already without a run, of what the cluster says that it has counted."""
    return run.status.phase == "Running" if counted is None else run.key in counted


def queue_tree(snapshot: Snapshot) -> QueueTree:
    """See what unfinished runs hold, by queue, and what keeps the places of jobs that are about to wait again."""
    tree = QueueTree.of(snapshot.queues)
    hold_all(tree, _all_held(snapshot))
    for run in snapshot.runs:
        job = snapshot.job_of(run) if run.status.phase == "Failed" else None
        spoken = spoken_of(run, job) if job is not None and keeps_place(run, job) else None
        if job is not None and spoken is not None:
            tree.hold(job.key, job.spec.queue, tree.axes.charge_all(spoken.pods))
    return tree


def hold_all(tree: QueueTree, held: Iterable[Held]) -> None:
    """Count what runs hold."""
    charges: dict[Pods, Vector] = {}
    for each in held:
        vector = charges.get(each.pods)
        if vector is None:
            vector = charges[each.pods] = tree.axes.charge_all(each.pods)
        tree.hold(each.job, each.queue, vector)


def grace_seconds(grace_period: str | None) -> float:
    """Tell how long pods may take to end when they are told to, as their job says."""
    return parse_duration(grace_period) if grace_period else GRACE_SECONDS


def keeps_place(run: Run, job: Job) -> bool:
    """Tell whether a run has failed and its job has not taken note of it yet: a job that had to leave a cluster would
    else find its share of the queue taken by those that came after it."""
    return run.status.phase == "Failed" and job.status.run == run.metadata.name and job.status.phase in _PLACED


def capacity(clusters: Iterable[Cluster]) -> tuple[int, int, int]:
    """Sum what all nodes of all clusters have, free or not: what queues have shares of."""
    total = ResourceVector()
    for cluster in clusters:
        for shape in cluster.status.inventory.shapes if cluster.status.inventory else ():
            free = ResourceVector(shape.free_millicores, shape.free_memory_bytes, shape.free_gpus)
            whole = ResourceVector(shape.allocatable_millicores, shape.allocatable_memory_bytes, shape.allocatable_gpus)
            total = total + whole.at_least(free) * shape.nodes
    return base_of(total)


def counted_runs(inventory: Inventory | None) -> frozenset[str] | None:
    """Name the runs that a cluster's free capacity is already without.

    None: the agent does not say, and only a run that is reported running is taken as counted.
    """
    known = inventory.counted_runs if inventory is not None else None
    return None if known is None else frozenset(known)


def remaining_seconds(held: Held, now: datetime) -> float:
    """Estimate when a run ends, from what was expected when it was placed; one that has to go, goes."""
    if held.run.spec.preempted is not None:
        return grace_seconds(held.grace)
    expected, started_at = held.run_seconds, held.run.status.started_at
    if started_at is None:
        return expected + held.staging_seconds
    left = expected - (now - started_at).total_seconds()
    return max(left, -left, expected * LEAST_REMAINING_PART)
