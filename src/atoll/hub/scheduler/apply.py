"""Write what a cycle decided. Every write is guarded; a lost guard means a stale decision, which is dropped."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

import structlog

from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.resources import FINISHED_RUN_PHASES, Job, Resource, Run
from atoll.hub.scheduler.outcome import CyclePlan, Placement, Waiting
from atoll.hub.scheduler.preempting import Victim

log = structlog.get_logger(__name__)

R = TypeVar("R", bound=Resource)
Item = TypeVar("Item")
Outcome = Literal["placed", "told", "evicted", "unchanged", "dropped"]
# Writes that are under way at once. One: every job waits for the disk in turn. Many more only queue up in the store.
_CONCURRENT_WRITES = 32
# A run's status changes a few times a second at most: more often than this in a row, something else is wrong.
_EVICTION_TRIES = 5


class Writer(Protocol):
    """Reads and writes typed objects; the hub's Client is one. Conflict tells that a guard was lost."""

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""

    async def create(self, resource: R) -> R:
        """Create an object; Conflict if one of that name exists."""

    async def update(self, resource: R) -> R:
        """Replace an object but for its status; Conflict if it changed since it was read."""

    async def update_status(self, resource: R) -> R:
        """Replace the status; Conflict if the object changed since it was read."""


@dataclass(frozen=True)
class Applied:
    """How many jobs were placed, were told why they wait, and had changed meanwhile; how many runs have to go."""

    placed: int
    told: int
    dropped: int
    evicted: int = 0


async def apply_plan(plan: CyclePlan, client: Writer) -> Applied:
    """Write runs, and the reasons of jobs that wait.

    Raises:
        Unavailable: the store cannot be written now; the outcome of writes under way is unknown, so look again.
    """
    victims = [victim for eviction in plan.evictions for victim in eviction.victims]
    evicted = await _bounded(_evict, victims, client)
    placed = await _bounded(_place, plan.placements, client)
    told = await _bounded(_tell, plan.waiting, client)
    outcomes = [*evicted, *placed, *told]
    return Applied(
        outcomes.count("placed"), outcomes.count("told"), outcomes.count("dropped"), outcomes.count("evicted")
    )


async def _bounded(
    write: Callable[[Item, Writer], Awaitable[Outcome]], items: Sequence[Item], client: Writer
) -> list[Outcome]:
    """Write items, a few at once; all end before the first failure is raised."""
    gate = asyncio.Semaphore(_CONCURRENT_WRITES)

    async def gated(item: Item) -> Outcome:
        async with gate:
            return await write(item, client)

    results = await asyncio.gather(*map(gated, items), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if not isinstance(result, BaseException)]


async def _place(placement: Placement, client: Writer) -> Outcome:
    """Create the run. The job controller sees it and writes the job's phase; a second run of that epoch cannot be."""
    job = placement.job
    if not await _is_unchanged(job, client):
        return "dropped"
    try:
        await client.create(placement.run)
    except Conflict:
        return "dropped"
    except InvalidInput as error:
        log.error("A run was refused by the API.", job=job.key, run=placement.run.metadata.name, error=str(error))
        if (job.status.reason, job.status.message) == ("RunRefused", str(error)):
            return "unchanged"
        return await _tell(Waiting(job, "RunRefused", str(error), placement.decision), client)
    log.info("A job was placed.", job=job.key, run=placement.run.metadata.name, cluster=placement.run.spec.cluster)
    return "placed"


async def _is_unchanged(job: Job, client: Writer) -> bool:
    """Look again right before a run is made: a job that was cancelled or deleted meanwhile shall not start."""
    current = await client.get(Job, job.metadata.namespace, job.metadata.name)
    return current is not None and current.metadata.resource_version == job.metadata.resource_version


async def _evict(victim: Victim, client: Writer) -> Outcome:
    """Write into a run for whom it has to go. Its status may change meanwhile, so what it is now is looked at."""
    for _ in range(_EVICTION_TRIES):
        run = await client.get(Run, victim.run.metadata.namespace, victim.run.metadata.name)
        if run is None or run.metadata.uid != victim.run.metadata.uid or _is_leaving(run):
            return "dropped"
        try:
            spec = run.spec.model_copy(update={"preempted": victim.preempted})
            await client.update(run.model_copy(update={"spec": spec}))
        except Conflict:
            continue
        except NotFound:
            return "dropped"
        log.info("A run has to make room.", run=run.key, cluster=run.spec.cluster, by=victim.preempted.by)
        return "evicted"
    return "dropped"


def _is_leaving(run: Run) -> bool:
    is_over = run.status.phase in FINISHED_RUN_PHASES or run.status.phase == "Committing"
    return is_over or run.spec.cancelled or run.spec.preempted is not None


async def _tell(waiting: Waiting, client: Writer) -> Outcome:
    """Say in the job's status why it waits."""
    job, old = waiting.job, waiting.job.status
    update = {
        "reason": waiting.reason,
        "message": waiting.message,
        "decision": waiting.record(),
        "observed_generation": job.metadata.generation,
    }
    try:
        await client.update_status(job.model_copy(update={"status": old.model_copy(update=update)}))
    except (Conflict, NotFound):
        return "dropped"
    return "told"
