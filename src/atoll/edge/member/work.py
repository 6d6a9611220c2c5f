"""The agent's controller runtime: keys in, one reconcile per key at a time, retries with growing delays.

Rules (STYLE "A controller"): equal keys merge; a key that arrives while it is worked on is worked on once more; one bad
key delays no other. It must not know what a key means.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from atoll.edge.member.errors import is_passing
from atoll.federation.backoff import Backoff
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

_FIRST_RETRY_SECONDS = 0.25
# An order that keeps failing is tried about once a minute: soon enough when someone mends the cluster.
_LONGEST_RETRY_SECONDS = 60.0


@dataclass(frozen=True)
class Done:
    """Nothing to do until the key comes again."""


@dataclass(frozen=True)
class RequeueAfter:
    """Look at the key again after a while, even if nothing is heard of it."""

    seconds: float


Result = Done | RequeueAfter
DONE = Done()


class Worker:
    """Reconciles keys, several at once, never one key twice at once."""

    def __init__(self, name: str, reconcile: Callable[[str], Awaitable[Result]], *, parallel: int = 8) -> None:
        self._name, self._reconcile, self._parallel = name, reconcile, parallel
        self._ready: asyncio.Queue[str] = asyncio.Queue()
        self._waiting: set[str] = set()
        self._busy: set[str] = set()
        self._again: set[str] = set()
        self._soon: dict[str, float] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._backoffs: dict[str, Backoff] = {}

    def add(self, key: str, *, within_seconds: float = 0.0) -> None:
        """Ask for a key to be reconciled, now or as soon as its current reconcile ends.

        Args:
            within_seconds: how long it may wait for others of its kind, which then cost nothing.
        """
        if within_seconds:
            self._add_soon(key, within_seconds)
            return
        if timer := self._timers.pop(key, None):
            timer.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def _add_soon(self, key: str, seconds: float) -> None:
        if key in self._busy:
            self._soon[key] = seconds
        elif key not in self._waiting:
            self._call_in(seconds, key)

    def _call_in(self, seconds: float, key: str) -> None:
        """Add a key after a while, or when it is already to be, if that is sooner."""
        loop, standing = asyncio.get_running_loop(), self._timers.get(key)
        if standing is None or loop.time() + seconds < standing.when():
            if standing is not None:
                standing.cancel()
            self._timers[key] = loop.call_later(seconds, self.add, key)

    async def run(self) -> None:
        """Work until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._parallel):
                    group.create_task(self._work())
        finally:
            for timer in self._timers.values():
                timer.cancel()

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            self._waiting.discard(key)
            self._busy.add(key)
            try:
                delay = await self._attempt(key)
            finally:
                self._busy.discard(key)
            soon = self._soon.pop(key, None)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            else:
                for seconds in (each for each in (delay, soon) if each is not None):
                    self._call_in(seconds, key)

    async def _attempt(self, key: str) -> float | None:
        """Reconcile once; give the delay after which to try again, None if not by itself."""
        try:
            result = await self._reconcile(key)
        except AtollError as error:
            if not is_passing(error):
                log.error("an order was given up", worker=self._name, key=key, reason=error.reason, error=str(error))
                return None
            return self._retry(key, error)
        except Exception as error:  # the edge of the runtime: a bug in one order must not stop the others
            log.error("a reconcile broke", worker=self._name, key=key, exc_info=error)
            return self._retry(key, error)
        self._backoffs.pop(key, None)
        return result.seconds if isinstance(result, RequeueAfter) else None

    def _retry(self, key: str, error: Exception) -> float:
        backoff = self._backoffs.setdefault(key, Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS))
        delay = backoff.next_seconds()
        log.info("a reconcile is tried again", worker=self._name, key=key, error=str(error), retry_seconds=delay)
        return delay
