"""The controller runtime: turns changes into keys and keys into reconciles.

Owns what every controller may rely on: one run per key at a time, equal keys merge, failures come back with
backoff and jitter, cancellation is clean. It must not know any kind.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import structlog

from atoll.federation.errors import AtollError, Conflict, InvalidInput, NotFound, Unavailable
from atoll.federation.resources import Resource
from atoll.hub.client import Client, Seen
from atoll.hub.controllers.workqueue import Backoff, WorkQueue
from atoll.hub.members import Copy, Path
from atoll.hub.metrics import Metrics
from atoll.hub.parsing import Unreadable

log = structlog.get_logger(__name__)

Key = tuple[str, str]
"""(namespace, name); the namespace of a cluster-scoped object is empty."""
R = TypeVar("R", bound=Resource)
# What ten thousand objects or reports mean must not keep all else from its turn in the event loop.
_AT_ONCE = 64
Mapper = Callable[[R], Awaitable[Iterable[Key]]]
PathMapper = Callable[[Path], Awaitable[Iterable[Key]]]


@dataclass(frozen=True)
class Done:
    """The key is settled until something changes."""


@dataclass(frozen=True)
class RequeueAfter:
    """The key must be looked at again after some time, whatever happens."""

    seconds: float


Outcome = Done | RequeueAfter
DONE = Done()


class TerminalError(Exception):
    """Nothing will help but a change of the object: the key is not tried again until then."""


class Source(Protocol):
    """Something whose changes mean work, some seconds after they were seen."""

    @property
    def settle_seconds(self) -> float:
        """For how long changes gather before a key is looked at."""
        return 0.0

    def keys(self) -> AsyncIterator[Iterable[Key]]:
        """Give every key that there is, then keys as they change; for ever."""


class Reconciler(Protocol):
    """One controller. It knows only the key, reads everything again, and never asks what changed."""

    name: str

    def sources(self) -> Sequence[Source]:
        """Name what it watches."""

    async def reconcile(self, key: Key) -> Outcome:
        """Bring the world of one key closer to what it should be. Raise to be called again with backoff."""


@dataclass(frozen=True)
class ByKey:
    """Maps an object to keys by its own key: of most that a hub finds when it starts, no more has to be read."""

    to_keys: Callable[[Key], Iterable[Key]]


@dataclass(frozen=True)
class Objects(Source):
    """The objects of one kind, mapped to keys.

    `skips_ended` passes over what had ended before it was first seen (`Seen.has_ended`): of the work of a year, nearly
    all has. Right where the end is written last, so that nothing is left to do for what has it.
    `settle_seconds` lets changes of these objects gather; what another source says of a key is not kept waiting by it.
    """

    client: Client
    model: type[Resource]
    to_keys: Callable[..., Awaitable[Iterable[Key]]] | ByKey
    skips_ended: bool = False
    settle_seconds: float = 0.0
    # Set when all objects that there were have been mapped once.
    has_synced: asyncio.Event = field(default_factory=asyncio.Event, compare=False)

    async def keys(self) -> AsyncIterator[Iterable[Key]]:
        """Give the keys of all objects, then of those that change; also of what vanished while history was lost."""
        known: dict[Key, tuple[Key, ...]] = {}
        fresh: dict[Key, tuple[Key, ...]] = {}
        number = 0
        async for seen in self.client.watch(self.model):
            if seen.mark == "begin":
                fresh = {}
            elif seen.mark == "end":
                vanished = [keys for name, keys in known.items() if name not in fresh]
                known = fresh
                for keys in vanished:
                    yield keys
                self.has_synced.set()
            if seen.key is None or (self.skips_ended and not self.has_synced.is_set() and seen.has_ended):
                continue
            number += 1
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
            keys = await self._keys_of(seen.key, seen)
            before = known.get(seen.key, ())
            fresh[seen.key] = keys
            if seen.is_gone:
                del fresh[seen.key]
            yield {*before, *keys}

    async def _keys_of(self, key: Key, seen: Seen[Any]) -> tuple[Key, ...]:
        if isinstance(self.to_keys, ByKey):
            return tuple(self.to_keys.to_keys(key))
        with contextlib.suppress(Unreadable):  # what cannot be read asks for nothing; the log says so
            return tuple(await self.to_keys(seen.resource))
        return ()


@dataclass(frozen=True)
class Messages(Source):
    """Orders or reports, mapped to keys."""

    copy: Copy
    to_keys: PathMapper
    settle_seconds: float = 0.0

    async def keys(self) -> AsyncIterator[Iterable[Key]]:
        """Give the keys of all messages, then of those that change."""
        async for paths in self.copy.changes():
            for number, path in enumerate(paths, 1):
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)
                with contextlib.suppress(Unreadable):
                    yield await self.to_keys(path)


own_key = ByKey(lambda key: (key,))
"""Maps an object to its own key."""


def topic_key(*topics: str) -> PathMapper:
    """Map messages of these topics, `<topic>/<namespace>/<name>`, to (namespace, name)."""

    async def to_keys(path: Path) -> Iterable[Key]:
        if path.topic not in topics or len(path.names) != 2:
            return []
        return [(path.names[0], path.names[1])]

    return to_keys


class Controller:
    """Runs one reconciler until cancelled."""

    def __init__(
        self,
        reconciler: Reconciler,
        *,
        metrics: Metrics,
        backoff: Backoff | None = None,
        workers: int = 4,
        settle_seconds: float = 0.0,
    ) -> None:
        """Args: `settle_seconds` lets changes gather before a key is looked at."""
        self._reconciler, self._metrics = reconciler, metrics
        self._queue: WorkQueue[Key] = WorkQueue()
        self._backoff = backoff or Backoff()
        self._workers, self._settle_seconds = workers, settle_seconds
        self._failures: dict[Key, int] = {}

    async def run(self) -> None:
        """Watch and reconcile for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in self._reconciler.sources():
                    group.create_task(self._watch(source))
                for _ in range(self._workers):
                    group.create_task(self._work())
        finally:
            self._queue.close()

    async def _watch(self, source: Source) -> None:
        settle_seconds = max(source.settle_seconds, self._settle_seconds)
        async for keys in source.keys():
            for key in keys:
                self._queue.add(key, after=settle_seconds)

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            started = time.perf_counter()
            try:
                result = await self._once(key)
            finally:
                self._queue.done(key)
            self._metrics.reconciled(self._reconciler.name, result, time.perf_counter() - started)

    async def _once(self, key: Key) -> str:
        """Reconcile one key and decide when it is next; give the result's name for the metrics."""
        try:
            outcome = await self._reconciler.reconcile(key)
        except (Conflict, NotFound, Unavailable) as error:
            # Part of normal life: what was read is old or gone, or a part is away. The next run reads everything again.
            log.debug("a reconcile has to be repeated", controller=self._reconciler.name, key=key, error=str(error))
            self._retry(key)
            return error.reason.lower()
        except (TerminalError, InvalidInput) as error:
            log.warning("a reconcile gave up until something changes", **self._about(key, error))
            self._failures.pop(key, None)
            return "terminal"
        except Exception as error:  # the edge of the controller runtime: one key's failure stops no other
            log.error("a reconcile failed", exc_info=not isinstance(error, AtollError), **self._about(key, error))
            self._retry(key)
            return "error"
        self._failures.pop(key, None)
        if isinstance(outcome, RequeueAfter):
            self._queue.add(key, after=outcome.seconds)
        return "done"

    def _retry(self, key: Key) -> None:
        self._failures[key] = self._failures.get(key, 0) + 1
        self._queue.add(key, after=self._backoff.seconds(self._failures[key]))

    def _about(self, key: Key, error: Exception) -> dict[str, object]:
        return {"controller": self._reconciler.name, "key": "/".join(key), "error": str(error)}
