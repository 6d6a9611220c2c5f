"""Runs level-based controllers over a cluster's store.

Owns the queue of keys: equal keys merge, one reconcile per key at a time, errors back off; must not know any kind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog

from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.sandbox.watching import follow

log = structlog.get_logger()

FIRST_RETRY_SECONDS, LAST_RETRY_SECONDS = 0.1, 30.0
"""Back-off of a failing key: below the first, lost races spin; above the last, a mended cluster stays broken long."""

Reconcile = Callable[[str], Awaitable[float | None]]
"""Brings one key to where it should be. Returns seconds until it wants to be called again, None if only on a change."""


@dataclass(frozen=True)
class Source:
    """A kind to watch, and which keys an object of it concerns."""

    resource: ResourceType
    keys: Callable[[Object], Iterable[str]]


@dataclass(frozen=True)
class Controller:
    """What is watched and what is done."""

    name: str
    sources: tuple[Source, ...]
    reconcile: Reconcile


def own_key(obj: Object) -> tuple[str]:
    """Return `namespace/name`, or `/name` for a cluster-scoped object."""
    metadata = obj["metadata"]
    return (f"{metadata.get('namespace', '')}/{metadata['name']}",)


def owner_key(kind: str) -> Callable[[Object], Iterable[str]]:
    """Return the key of the controlling owner of that kind, if there is one."""

    def keys(obj: Object) -> Iterable[str]:
        for owner in obj["metadata"].get("ownerReferences", ()):
            if owner["kind"] == kind and owner.get("controller"):
                yield f"{obj['metadata']['namespace']}/{owner['name']}"

    return keys


def one_key(_: Object) -> tuple[str]:
    """Return the same key for every object, for controllers that look at everything at once."""
    return ("all",)


def split(key: str) -> tuple[str, str]:
    """Return (namespace, name) of a key."""
    namespace, _, name = key.partition("/")
    return namespace, name


class Queue:
    """Keys that are due, now or at a time."""

    def __init__(self, now: Callable[[], float]) -> None:
        """Start empty; `now` is a monotonic clock in seconds."""
        self._now = now
        self._due: dict[str, float] = {}
        self._changed = asyncio.Event()

    def add(self, key: str, delay_seconds: float = 0.0) -> None:
        """Make a key due, not later than it already is."""
        due = self._now() + delay_seconds
        self._due[key] = min(due, self._due.get(key, due))
        self._changed.set()

    async def next(self) -> str:
        """Wait for a due key and take it."""
        while True:
            self._changed.clear()
            key = min(self._due, key=lambda each: self._due[each], default=None)
            if key is None:
                await self._changed.wait()
                continue
            left = self._due[key] - self._now()
            if left <= 0:
                del self._due[key]
                return key
            try:
                async with asyncio.timeout(left):
                    await self._changed.wait()
            except TimeoutError:
                continue


async def run(controller: Controller, store: Store) -> None:
    """Run a controller until cancelled."""
    queue = Queue(asyncio.get_running_loop().time)
    async with asyncio.TaskGroup() as group:
        for source in controller.sources:
            group.create_task(_feed(source, store, queue), name=f"{controller.name}-watch-{source.resource.plural}")
        group.create_task(_work(controller, queue), name=controller.name)


async def _feed(source: Source, store: Store, queue: Queue) -> None:
    async for event in follow(store, source.resource):
        for key in source.keys(event.object):
            queue.add(key)


async def _work(controller: Controller, queue: Queue) -> None:
    retries: dict[str, float] = {}
    while True:
        key = await queue.next()
        try:
            again = await controller.reconcile(key)
        except Exception as error:  # noqa: BLE001 - the edge of the runtime: every failure is retried
            _report(controller.name, key, error)
            retries[key] = min(2 * retries.get(key, FIRST_RETRY_SECONDS / 2), LAST_RETRY_SECONDS)
            queue.add(key, retries[key])
        else:
            retries.pop(key, None)
            if again is not None:
                queue.add(key, again)


def _report(name: str, key: str, error: Exception) -> None:
    if isinstance(error, ApiError) and error.code in (404, 409):  # somebody was faster: the retry sees it
        log.debug("a reconcile lost a race", controller=name, key=key, error=error.message)
    else:
        log.error("a reconcile failed", controller=name, key=key, exc_info=error)
