"""Finished Jobs and Transfers go when they are old, or when there are too many: what was spent stays in the accounts.

Owns their deletion. What unfinished jobs depend on stays. It reads undecoded entries now and then, not every change:
that a record stays some minutes longer harms nobody.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import structlog

from atoll.federation.errors import AtollError
from atoll.federation.resources import FINISHED_JOB_PHASES, Job, Resource, Transfer, resolve
from atoll.hub.client import Client
from atoll.kubeapi.resource import Object

log = structlog.get_logger(__name__)

FINISHED_TRANSFER_PHASES = frozenset({"Succeeded", "Failed"})
_PERIOD_SECONDS = 600.0
# Decoding one takes some 20 µs; others have their turn after so many.
_AT_ONCE = 250


@dataclass(frozen=True)
class Keep:
    """How many finished objects of a kind stay, and for how long; 0 means without end."""

    count: int
    seconds: float


class Ended(NamedTuple):
    """A finished object: namespace, name, and when it ended."""

    namespace: str
    name: str
    at: datetime


def plan_sweep(
    ended: Iterable[Ended], keep: Keep, *, needed: Collection[tuple[str, str]], now: datetime
) -> tuple[Ended, ...]:
    """Choose what goes: what is too old, and of too many the oldest; never what is needed."""
    ordered = sorted(ended, key=lambda each: (each.at, each.namespace, each.name), reverse=True)
    return tuple(
        each
        for number, each in enumerate(ordered)
        if (each.namespace, each.name) not in needed
        and ((keep.count and number >= keep.count) or (keep.seconds and (now - each.at).total_seconds() > keep.seconds))
    )


class FinishedSweeper:
    """Deletes finished objects, as the leading hub."""

    def __init__(self, client: Client, keep: Keep, *, clock: Callable[[], datetime]) -> None:
        self._client, self._keep, self._clock = client, keep, clock

    async def run(self) -> None:
        """Sweep now and then, for ever."""
        while True:
            try:
                await self.sweep()
            except AtollError as error:
                log.warning("finished objects could not be deleted", error=str(error))
            await asyncio.sleep(_PERIOD_SECONDS)

    async def sweep(self) -> int:
        """Delete what is too old or too many; give how much that was."""
        awaited = await self._awaited()
        return sum(
            [
                await self._sweep(Job, FINISHED_JOB_PHASES, awaited),
                await self._sweep(Transfer, FINISHED_TRANSFER_PHASES, frozenset()),
            ]
        )

    async def _sweep(self, model: type[Resource], phases: Collection[str], needed: Collection[tuple[str, str]]) -> int:
        ended = [each async for each in self._ended(model, phases)]
        doomed = plan_sweep(ended, self._keep, needed=needed, now=self._clock())
        for each in doomed:
            await self._client.delete(model, each.namespace, each.name)
        if doomed:
            log.info("deleted finished objects", kind=model.__name__, count=len(doomed))
        return len(doomed)

    async def _ended(self, model: type[Resource], phases: Collection[str]) -> AsyncIterator[Ended]:
        bucket = self._client.store.cache.bucket(self._client.type_of(model).prefix)
        for number, key in enumerate(list(bucket.entries)):
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            entry = bucket.entries.get(key)
            found = _ended(entry.decode(), phases) if entry is not None else None
            if found is not None:
                yield found

    async def _awaited(self) -> frozenset[tuple[str, str]]:
        """Name the jobs that unfinished ones depend on."""
        jobs = await self._client.list_unfinished(Job, FINISHED_JOB_PHASES)
        return frozenset(_dependencies(jobs))


def _dependencies(jobs: Iterable[Job]) -> Iterator[tuple[str, str]]:
    for job in jobs:
        for given in job.spec.depends_on:
            yield resolve(given.job, job.metadata.namespace or "")


def _ended(obj: Object, phases: Collection[str]) -> Ended | None:
    """Read when an object ended; None if it has not, is asked to begin again, or is being deleted."""
    metadata, status, spec = obj["metadata"], obj.get("status", {}), obj.get("spec", {})
    is_asked = spec.get("requeues", 0) > status.get("requeue", {}).get("answered", 0) and not spec.get("cancelled")
    at = status.get("finishedAt") or metadata.get("creationTimestamp")
    if status.get("phase") not in phases or is_asked or "deletionTimestamp" in metadata or not at:
        return None
    return Ended(metadata.get("namespace", ""), metadata["name"], datetime.fromisoformat(str(at)))
