"""Reservations: whether one is in its window, and how much of it the clusters really keep, have free, and have in use.

Owns Reservation.status. What a reservation forbids and allows, the scheduler decides from its spec; both lay it out
over the clusters by the same rule (placement/reservations.py).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.capacity import ResourceVector, format_bytes, format_millicores, room
from atoll.federation.placement import (
    ClusterView,
    Keeping,
    Occupation,
    Pods,
    amount,
    keepings,
    pieces,
    view_of_cluster,
)
from atoll.federation.resources import (
    FINISHED_RUN_PHASES,
    Cluster,
    Job,
    Queue,
    Reservation,
    ReservationStatus,
    Run,
)
from atoll.federation.resources.queue import HeldAmounts
from atoll.federation.resources.reservation import ReservationPhase, ReservedOn
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, ByKey, Key, Objects, Outcome, RequeueAfter, Source
from atoll.hub.parsing import unless_unreadable
from atoll.hub.scheduler.reserving import reserved_use
from atoll.hub.scheduler.snapshot import Snapshot, as_reported, job_key
from atoll.hub.scheduler.usage import occupations

KEPT, TOO_FEW_NODES = "Kept", "TooFewNodes"
_ALL: Key = ("", "")
# What is free changes with every pod. Shorter: all is counted for nothing. Longer: people read numbers of the past.
_COUNT_AGAIN_SECONDS = 30.0


@dataclass(frozen=True)
class Census:
    """Everything that a count of the reservations reads, at one moment."""

    reservations: Sequence[Reservation]
    views: Sequence[ClusterView]
    held: Mapping[str, Mapping[str, Sequence[Occupation]]]
    now: datetime


def phase_at(reservation: Reservation, now: datetime) -> ReservationPhase:
    """Tell where a moment is in the window."""
    if now < reservation.spec.starts:
        return "Pending"
    return "Active" if now < reservation.spec.ends else "Ended"


def count(census: Census) -> dict[str, ReservationStatus]:
    """Give every reservation's status."""
    found: dict[str, list[Keeping]] = defaultdict(list)
    for keeping in keepings(census.reservations, census.views, census.held, census.now):
        found[keeping.reservation.metadata.name].append(keeping)
    return {
        reservation.metadata.name: _status(reservation, found[reservation.metadata.name], census)
        for reservation in census.reservations
    }


def _status(reservation: Reservation, kept: Sequence[Keeping], census: Census) -> ReservationStatus:
    phase, views = phase_at(reservation, census.now), {view.name: view for view in census.views}
    total, wanted = _sum(each.kept for each in kept), amount(pieces(reservation.spec))
    free = _sum(_free(views[each.cluster], each.left) for each in kept)
    used = total - _sum(each.left for each in kept)
    is_kept = total.covers(wanted)
    message = "" if is_kept else "the clusters that it names hold less than that, even empty: lower spec.amounts"
    conditions = with_condition(
        reservation.status.conditions, KEPT, is_kept or phase == "Ended",
        reason="Kept" if is_kept or phase == "Ended" else TOO_FEW_NODES, message=message if phase != "Ended" else "",
        now=census.now,
    )  # fmt: skip
    return ReservationStatus(
        phase=phase,
        reserved=_amounts(total),
        kept=_kept(total, wanted),
        reason="" if is_kept or phase == "Ended" else TOO_FEW_NODES,
        free=_amounts(free),
        free_gpus=free.gpus,
        held=_amounts(used),
        clusters=tuple(ReservedOn(cluster=each.cluster, amounts=_amounts(amount(each.kept))) for each in kept),
        conditions=conditions,
        observed_generation=reservation.metadata.generation,
    )


def _kept(total: ResourceVector, wanted: ResourceVector) -> str:
    """Say in a word how much of what was asked for is kept, by what is scarcest of it."""
    if wanted.gpus:
        return f"{total.gpus}/{wanted.gpus} gpus"
    if wanted.millicores:
        return f"{format_millicores(total.millicores)}/{format_millicores(wanted.millicores)} cpu"
    return f"{format_bytes(total.memory_bytes)}/{format_bytes(wanted.memory_bytes)} memory"


def _free(view: ClusterView, left: Pods) -> Pods:
    """Tell for how many of the pieces there is room now."""
    return tuple((pod, room(pod.resources, view.shapes, at_most=number, suits=pod.suits)) for pod, number in left)


def _sum(groups: Iterable[Pods]) -> ResourceVector:
    total = ResourceVector()
    for pods in groups:
        total = total + amount(pods)
    return total


def _amounts(vector: ResourceVector) -> HeldAmounts:
    return HeldAmounts(millicores=vector.millicores, memory_bytes=vector.memory_bytes, gpus=vector.gpus)


class ReservationController:
    """Keeps Reservation.status."""

    name = "reservations"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch reservations and runs."""
        client = self._context.client
        return tuple(Objects(client, model, ByKey(lambda _key: (_ALL,))) for model in (Reservation, Run))

    async def reconcile(self, key: Key) -> Outcome:  # noqa: ARG002 - there is one key: all reservations
        """Count all reservations; look again when the next window opens or closes."""
        client = self._context.client
        reservations = await client.list(Reservation)
        if all(each.status.phase == "Ended" for each in reservations):
            return DONE
        census = await self._census(reservations)
        statuses = count(census)
        for reservation in reservations:
            status = statuses[reservation.metadata.name]
            if status != reservation.status:
                await client.update_status(reservation.model_copy(update={"status": status}))
        return RequeueAfter(_next_look(reservations, census.now))

    async def _census(self, reservations: Sequence[Reservation]) -> Census:
        client, now = self._context.client, self._context.clock()
        runs = tuple(await client.list_unfinished(Run, FINISHED_RUN_PHASES))
        jobs = {
            job_key(run): await unless_unreadable(client.get(Job, run.metadata.namespace, run.spec.job)) for run in runs
        }
        pairs = [(run, job) for run in runs if (job := jobs[job_key(run)]) is not None]
        queues = {queue.metadata.name: queue for queue in await client.list(Queue)}
        clusters = [
            as_reported(each, self._context.inventories.of(each.metadata.name)) for each in await client.list(Cluster)
        ]
        held = occupations(Snapshot(now, {job.key: job for _, job in pairs}, runs, tuple(clusters), queues, {}))
        views = [view_of_cluster(cluster, held.get(cluster.metadata.name, ())) for cluster in clusters]
        use = reserved_use(reservations, ((run, job.spec.queue) for run, job in pairs), held, queues)
        return Census(reservations, views, use, now)


def _next_look(reservations: Sequence[Reservation], now: datetime) -> float:
    moments = [(at - now).total_seconds() for each in reservations for at in (each.spec.starts, each.spec.ends)]
    return min([_COUNT_AGAIN_SECONDS, *(seconds for seconds in moments if seconds > 0)])
