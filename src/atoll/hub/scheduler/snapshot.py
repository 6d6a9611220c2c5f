"""What a cycle sees: every object that bears on placement, at one moment."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol, TypeVar

from atoll.federation.estimates import NOTHING_LEARNED, Estimates
from atoll.federation.placement import DatasetKey
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Dataset,
    Inventory,
    Job,
    Queue,
    Reservation,
    Resource,
    Run,
    run_prefix,
)
from atoll.hub.accounting.outlooks import NOTHING_CHARGED, Charged
from atoll.hub.parsing import unless_unreadable
from atoll.hub.scheduler.dependencies import awaited

# After looking for so many jobs, or for the runs of so many, others have their turn: leadership is renewed by tasks of
# the same loop.
_JOBS_AT_ONCE = 500
R = TypeVar("R", bound=Resource)
Spent = Callable[[Mapping[str, Queue]], Charged]
"""Gives what the accounts have of some queues."""
Inventories = Callable[[str], Inventory | None]
"""Gives by name what a cluster's agent reported last."""


class Reader(Protocol):
    """Lists typed objects; the hub's Client is one."""

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""

    async def list_unfinished(self, model: type[R], ends: Collection[str]) -> list[R]:
        """List the objects of a kind whose phase is none of `ends`."""

    async def list(self, model: type[R], namespace: str | None = None, *, name_prefix: str = "") -> list[R]:
        """List the objects of a kind, in one namespace or in all, or those whose names begin so."""


@dataclass(frozen=True)
class Snapshot:
    """Frozen objects by name. Everything that a cycle decides, it decides from this.

    Jobs that have ended are left out, and their runs, unless one still goes on: there are more of them every day. Those
    that a pending job depends on are there. With `is_fed` the book of waiting jobs was told of changes one by one, and
    `jobs` is only for looking up single ones.
    """

    taken_at: datetime
    jobs: Mapping[str, Job]
    runs: tuple[Run, ...]
    clusters: tuple[Cluster, ...]
    queues: Mapping[str, Queue]
    datasets: Mapping[DatasetKey, Dataset]
    estimates: Estimates = NOTHING_LEARNED
    is_fed: bool = False
    charged: Charged = NOTHING_CHARGED
    reservations: tuple[Reservation, ...] = ()

    def job_of(self, run: Run) -> Job | None:
        """Find the job that a run is an attempt of."""
        return self.jobs.get(job_key(run))

    def active_runs(self) -> tuple[Run, ...]:
        """Give the runs that have not ended."""
        return tuple(run for run in self.runs if run.status.phase not in FINISHED_RUN_PHASES)


def job_key(run: Run) -> str:
    """Name the job of a run as `namespace/name`."""
    return f"{run.metadata.namespace}/{run.spec.job}"


def as_reported(cluster: Cluster, inventory: Inventory | None) -> Cluster:
    """See a cluster with all that its agent reported: its status has a digest of it, and that comes seconds later."""
    if inventory is None:
        return cluster
    return cluster.model_copy(update={"status": cluster.status.model_copy(update={"inventory": inventory})})


class Reported:
    """Sees clusters with all that their agents reported. Of a cluster of which nothing new is known the very same is
    given again, so that whoever remembers what followed from it knows that it still does."""

    def __init__(self) -> None:
        """Know no cluster."""
        self._known: dict[str, tuple[Cluster, Inventory | None, Cluster]] = {}

    def __call__(self, cluster: Cluster, inventory: Inventory | None) -> Cluster:
        """See one; see `as_reported`."""
        name = cluster.metadata.name
        known = self._known.get(name)
        if known is None or known[0] is not cluster or known[1] is not inventory:
            known = self._known[name] = (cluster, inventory, as_reported(cluster, inventory))
        return known[2]


def nothing_charged(_queues: Mapping[str, Queue]) -> Charged:
    """Know of no accounts."""
    return NOTHING_CHARGED


def by_status(_name: str) -> None:
    """Know of no report."""


async def _add_awaited(client: Reader, jobs: dict[str, Job]) -> None:
    """Add the ended jobs that pending ones depend on: exactly those that are named are read."""
    named = {key: None for job in jobs.values() for key in awaited(job) if key not in jobs}
    for number, key in enumerate(named):
        if number % _JOBS_AT_ONCE == 0:
            await asyncio.sleep(0)
        namespace, _, name = key.partition("/")
        if (ended := await unless_unreadable(client.get(Job, namespace, name))) is not None:
            jobs[key] = ended


async def take_snapshot(
    client: Reader,
    now: datetime,
    inventories: Inventories = by_status,
    *,
    estimates: Estimates = NOTHING_LEARNED,
    charged: Spent = nothing_charged,
    whole: bool = False,
) -> Snapshot:
    """Read everything. Jobs are read before runs, so that a run created meanwhile is seen beside its job.

    With `whole` also when nobody waits: somebody asks what would be if. The hub's own cycles begin with a feed instead
    (feed.py), which reads what changed.
    """
    jobs = {job.key: job for job in await client.list_unfinished(Job, FINISHED_JOB_PHASES)}
    if not whole and all(job.status.phase != "Pending" for job in jobs.values()):  # nobody waits
        return Snapshot(now, {}, (), (), {}, {})
    runs = {run.key: run for run in await client.list_unfinished(Run, FINISHED_RUN_PHASES)}
    for number, job in enumerate(tuple(jobs.values())):
        if number % _JOBS_AT_ONCE == 0:
            await asyncio.sleep(0)
        for run in await client.list(Run, job.metadata.namespace, name_prefix=run_prefix(job.metadata.name)):
            runs[run.key] = run
    for run in runs.values():
        if job_key(run) in jobs:
            continue
        if ended := await unless_unreadable(client.get(Job, run.metadata.namespace, run.spec.job)):
            jobs[ended.key] = ended
    await _add_awaited(client, jobs)
    seen = Snapshot(now, jobs, tuple(runs[key] for key in sorted(runs)), (), {}, {}, estimates)
    return await with_surroundings(seen, client, inventories, charged)


async def with_surroundings(
    seen: Snapshot,
    client: Reader,
    inventories: Inventories = by_status,
    charged: Spent = nothing_charged,
    *,
    reported: Callable[[Cluster, Inventory | None], Cluster] = as_reported,
) -> Snapshot:
    """Add all but jobs and runs to a snapshot; what was charged is read after them, so that a run which has ended
    meanwhile is seen there, or twice, but never nowhere."""
    clusters = [reported(each, inventories(each.metadata.name)) for each in await client.list(Cluster)]
    datasets = await client.list(Dataset)
    queues = {queue.metadata.name: queue for queue in await client.list(Queue)}
    return replace(
        seen,
        clusters=tuple(sorted(clusters, key=lambda cluster: cluster.metadata.name)),
        queues=queues,
        datasets={(dataset.metadata.namespace or "", dataset.metadata.name): dataset for dataset in datasets},
        charged=charged(queues),
        reservations=tuple(await client.list(Reservation)),
    )
