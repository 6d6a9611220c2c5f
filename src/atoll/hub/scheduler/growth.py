"""After a cycle: let arrays have what nobody who waits could use, seen anew, with what was just placed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

import structlog

from atoll.federation.errors import Conflict, NotFound
from atoll.federation.placement import Claims, ClusterView, Occupation, keepings, view_of_cluster
from atoll.federation.resources import FINISHED_RUN_PHASES, Resource, Run
from atoll.hub.scheduler.allowances import Allowances
from atoll.hub.scheduler.arrays import growing, grown
from atoll.hub.scheduler.claiming import Promise
from atoll.hub.scheduler.reserving import reserved_use
from atoll.hub.scheduler.snapshot import Snapshot
from atoll.hub.scheduler.usage import occupations, queue_tree

log = structlog.get_logger(__name__)
R = TypeVar("R", bound=Resource)


class Grower(Protocol):
    """Changes runs; the hub's Client is one."""

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""

    async def update(self, resource: R) -> R:
        """Replace the spec; Conflict if the object changed since it was read."""


async def grow_arrays(
    client: Grower,
    live: Iterable[Run],
    look: Callable[[], Awaitable[Snapshot]],
    *,
    promises: Callable[[], Iterable[Promise]] = tuple,
) -> int:
    """Raise the parallelism of runs where there is room; give of how many.

    Args:
        client: the hub's objects.
        live: the runs that there are, with what was just placed.
        look: sees everything; it is asked to only where an array could grow.
        promises: gives what the cycle has promised to those who wait.

    Raises:
        Unavailable: the store could not be read or written; retryable.
    """
    if not any(_has_begun_all(run) for run in live):
        return 0
    count = 0
    for run in await asyncio.to_thread(plan_growth, await look(), tuple(promises())):
        if not await _is_written(run, client):  # it has changed since: the next cycle looks again
            continue
        log.info("An array grew.", run=run.key, tasks=run.spec.parallelism)
        count += 1
    return count


async def _is_written(grown: Run, client: Grower) -> bool:
    """Write how many tasks of a run go on at once, if it is still as it was looked at."""
    run = await client.get(Run, grown.metadata.namespace, grown.metadata.name)
    if run is None or run.metadata.resource_version != grown.metadata.resource_version:
        return False
    try:
        spec = run.spec.model_copy(update={"parallelism": grown.spec.parallelism})
        await client.update(run.model_copy(update={"spec": spec}))
    except (Conflict, NotFound):
        return False
    return True


def plan_growth(snapshot: Snapshot, promises: Iterable[Promise] = ()) -> list[Run]:
    """Give the runs that may have more tasks at once, with that number: beside every reservation and promise. Pure."""
    held = occupations(snapshot)
    views = [view_of_cluster(cluster, held.get(cluster.metadata.name, ())) for cluster in snapshot.clusters]
    found = growing(snapshot, [cluster.metadata.name for cluster in snapshot.clusters])
    if not found:
        return []
    tree = queue_tree(snapshot)
    tallies, claims = Allowances.of(snapshot, tree).tallies, _claims(snapshot, promises, views, held)
    return list(grown(found, views, tree, tallies=tallies, claims=claims))


def _claims(
    snapshot: Snapshot,
    promises: Iterable[Promise],
    views: Sequence[ClusterView],
    held: Mapping[str, Sequence[Occupation]],
) -> Claims:
    """Collect what others were given before: whoever grows comes after all who wait."""
    now, paired = snapshot.taken_at, ((run, snapshot.job_of(run)) for run in snapshot.active_runs())
    runs = [(run, job.spec.queue) for run, job in paired if job is not None]
    use = reserved_use(snapshot.reservations, runs, held, snapshot.queues)
    kept = keepings(snapshot.reservations, views, use, now)
    # A job that went away while nobody else waited had no cycle in which its promise was forgotten.
    waiting = (each for each in promises if _waits(snapshot, each.party.job))
    return Claims.of([*(each.claim(now) for each in kept if each.left), *(each.claim(now) for each in waiting)])


def _waits(snapshot: Snapshot, key: str) -> bool:
    job = snapshot.jobs.get(key)
    return job is not None and job.status.phase == "Pending"


def _has_begun_all(run: Run) -> bool:
    at_once = run.spec.parallelism
    if run.status.phase in FINISHED_RUN_PHASES:
        return False
    return at_once is not None and run.status.running_tasks >= at_once and not run.spec.cancelled
