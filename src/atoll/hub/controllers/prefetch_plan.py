"""Which inputs of a job that waits for room are copied already: pure decisions over what is known of it.

A copy that begins when the run does makes the job wait twice: for room, then for its data. One that begins too early is
spent if the job goes elsewhere after all. So copies begin when the same cluster has been the best one for a while, and
when the wait that is left is of the order of the copying. A copy that was not needed stays as a replica: it serves the
next job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from atoll.federation.placement import DatasetKey, decided_at, input_keys, recorded_terms
from atoll.federation.resources import Cluster, Dataset, Job, ObjectMeta, Transfer, TransferSpec, transfer_name
from atoll.hub.accounting.closing import CHARGED_JOB
from atoll.hub.controllers.copy_sources import copy_source, holders_of

PREFETCHED_FOR, PREFETCHED_IN = "atoll.dev/prefetched-for", "atoll.dev/prefetched-in"
"""Annotations of a Transfer that was made for a job that waits: the job, and its queue."""

# For how long a cluster must have been the best one. Shorter, and copies follow every change of mind.
SETTLE_SECONDS = 3.0
# Less gain is not worth a copy that may turn out needless.
_LEAST_GAIN_SECONDS = 1.0
# Waits are estimates: copying begins when so many times the staging are left, and some time beside.
_AHEAD, _AHEAD_SECONDS = 10.0, 60.0
# What may be under way at once: more shares the links of runs that need their inputs now.
_MOST_THERE, _MOST_THERE_BYTES = 4, 256 * 2**30
_MOST_OF_QUEUE, _MOST_OF_QUEUE_BYTES = 8, 1024 * 2**30
_LOOK_AGAIN_SECONDS = 15.0
_MOST_WAIT_SECONDS = 1e8


@dataclass(frozen=True)
class PrefetchScope:
    """All that is known of one waiting job at one moment.

    Attributes:
        job: the job.
        destination: the cluster that its newest decision selected; None: none, or it is gone.
        selected_for_seconds: for how long that has been so.
        datasets: its inputs, as far as they exist.
        unheard: clusters that hold one of them and from which nothing can be copied now.
        moving: every copy that is under way.
        known: names of the transfers (`namespace/name`) that exist, in whatever phase, of those that it may need.
        pays_for_egress: a budget of its queue counts what leaves clusters; a job that waits has no claim on it yet.
    """

    job: Job
    destination: Cluster | None
    selected_for_seconds: float
    datasets: Mapping[DatasetKey, Dataset] = field(default_factory=dict)
    unheard: frozenset[str] = frozenset()
    moving: Sequence[Transfer] = ()
    known: frozenset[str] = frozenset()
    pays_for_egress: bool = False


@dataclass(frozen=True)
class PrefetchPlan:
    """Copies to begin, and when to look again if nothing changes."""

    transfers: tuple[Transfer, ...] = ()
    again_seconds: float | None = None


NOTHING = PrefetchPlan()


def selected_of(job: Job) -> str | None:
    """Name the cluster that a job waits for; None if it waits for none."""
    record = job.status.decision
    is_waiting = job.status.phase == "Pending" and job.status.reason == "WaitingForCapacity"
    wants = not job.spec.held and not job.spec.cancelled and job.metadata.deletion_timestamp is None
    if not (is_waiting and wants and job.spec.inputs and record) or record.get("startsNow"):
        return None
    selected = record.get("selected")
    return selected if isinstance(selected, str) else None


def plan_prefetch(scope: PrefetchScope, now: datetime) -> PrefetchPlan:
    """Decide which copies to begin for a job that waits."""
    job, destination = scope.job, scope.destination
    if destination is None or selected_of(job) != destination.metadata.name or scope.pays_for_egress:
        return NOTHING
    record = job.status.decision or {}
    terms = recorded_terms(record, destination.metadata.name)
    staging = terms.get("stagingSeconds", 0.0)
    left = _left_seconds(record, terms, now)
    if min(staging, left) < _LEAST_GAIN_SECONDS:
        return NOTHING
    if scope.selected_for_seconds < SETTLE_SECONDS:
        return PrefetchPlan(again_seconds=SETTLE_SECONDS - scope.selected_for_seconds)
    ahead = _AHEAD * staging + _AHEAD_SECONDS
    if left > ahead:
        return PrefetchPlan(again_seconds=left - ahead)
    return _begin(scope, destination)


def _left_seconds(record: Mapping[str, Any], terms: Mapping[str, float], now: datetime) -> float:
    """Give what is left of the wait that was expected."""
    at, wait = decided_at(record), terms.get("waitSeconds", 0.0)
    if at is None:
        return 0.0
    return (at + timedelta(seconds=min(wait, _MOST_WAIT_SECONDS)) - now).total_seconds()


def _begin(scope: PrefetchScope, destination: Cluster) -> PrefetchPlan:
    """Begin what there is room for; the rest is looked at again."""
    begun: list[Transfer] = []
    moving = list(scope.moving)
    is_held_back = False
    for key in dict.fromkeys(input_keys(scope.job.spec, scope.job.metadata.namespace or "")):
        dataset = scope.datasets.get(key)
        transfer = _copy(scope, dataset, destination) if dataset is not None else None
        if dataset is None or transfer is None or transfer.key in scope.known:
            continue
        if _has_room(scope, destination, dataset.status.bytes, moving):
            begun.append(transfer)
            moving.append(transfer.model_copy(update={"status": _expected(transfer, dataset)}))
        else:
            is_held_back = True
    return PrefetchPlan(tuple(begun), _LOOK_AGAIN_SECONDS if is_held_back else None)


def _expected(transfer: Transfer, dataset: Dataset) -> Any:
    return transfer.status.model_copy(update={"total_bytes": dataset.status.bytes})


def _copy(scope: PrefetchScope, dataset: Dataset, destination: Cluster) -> Transfer | None:
    """Make the copy of a dataset that a run there would need; None if it needs none, or must not have one.

    Only a complete version is copied, and only from a cluster that is heard: there is time. Where it may be is judged
    anew: a record in a status is not proof of anything.
    """
    job, status, name = scope.job, dataset.status, destination.metadata.name
    record = job.status.decision or {}
    may_be_there = not dataset.spec.residency or not set(dataset.spec.residency).isdisjoint(destination.spec.residency)
    if not status.complete or name in holders_of(dataset, status.version) or not may_be_there:
        return None
    source = copy_source(dataset, status.version, destination=name, record=record, unheard=scope.unheard)
    if source is None or source in scope.unheard:
        return None
    annotations = {PREFETCHED_FOR: job.key, PREFETCHED_IN: job.spec.queue, CHARGED_JOB: job.metadata.name}
    copy_name = transfer_name(dataset.metadata.name, status.version, name)
    return Transfer(
        metadata=ObjectMeta(name=copy_name, namespace=dataset.metadata.namespace, annotations=annotations),
        spec=TransferSpec(dataset=dataset.metadata.name, version=status.version, source=source, destination=name),
    )


def _has_room(scope: PrefetchScope, destination: Cluster, size: int, moving: Sequence[Transfer]) -> bool:
    """Tell whether one more copy is within the bounds of its destination, of its storage and of its queue."""
    there = [each for each in moving if each.spec.destination == destination.metadata.name]
    mine = [each for each in moving if each.metadata.annotations.get(PREFETCHED_IN) == scope.job.spec.queue]
    free = _free_bytes(destination)
    return (
        len(there) < _MOST_THERE
        and _left(there) + size <= _MOST_THERE_BYTES
        and len(mine) < _MOST_OF_QUEUE
        and _left(mine) + size <= _MOST_OF_QUEUE_BYTES
        and (free is None or _left(there) + size <= free)
    )


def _left(transfers: Sequence[Transfer]) -> int:
    return sum(max(0, each.status.total_bytes - each.status.copied_bytes) for each in transfers)


def _free_bytes(cluster: Cluster) -> int | None:
    """Give what is free where the cluster keeps datasets; None if its driver does not say."""
    classes = cluster.status.inventory.storage_classes if cluster.status.inventory is not None else ()
    wanted = cluster.spec.storage_class
    found = next((each for each in classes if each.name == wanted or (wanted is None and each.is_default)), None)
    return found.free_bytes if found is not None else 0
