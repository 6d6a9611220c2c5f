"""A work queue of keys: each key is worked on by one worker at a time, and keys that arrive meanwhile run once more.

Owns order, merging and delays; must not know what keys mean. After client-go's util/workqueue.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Backoff:
    """How long a failing key waits: doubling, with jitter so that keys that failed together do not return together."""

    first_seconds: float = 0.05
    longest_seconds: float = 30.0
    chance: Callable[[], float] = random.random

    def seconds(self, failures: int) -> float:
        """Give the wait after so many failures in a row: between half and the whole of the doubled time."""
        full = min(self.longest_seconds, self.first_seconds * 2.0 ** min(failures - 1, 20))
        return full * (0.5 + 0.5 * self.chance())


class WorkQueue(Generic[K]):
    """Keys that wait, keys that are worked on, and keys that will wait later."""

    def __init__(self) -> None:
        self._waiting: deque[K] = deque()
        self._dirty: set[K] = set()
        self._working: set[K] = set()
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._ready = asyncio.Semaphore(0)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, key: K, *, after: float = 0.0) -> None:
        """Let a key be worked on, after some seconds. The sooner of two delays holds."""
        if after <= 0:
            self._drop_timer(key)
            self._add_now(key)
            return
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None and timer.when() <= loop.time() + after:
            return
        self._drop_timer(key)
        self._timers[key] = loop.call_later(after, self._due, key)

    def _due(self, key: K) -> None:
        self._timers.pop(key, None)
        self._add_now(key)

    def _add_now(self, key: K) -> None:
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._working:
            self._waiting.append(key)
            self._ready.release()

    async def take(self) -> K:
        """Wait for a key; it is the caller's until `done`."""
        await self._ready.acquire()
        key = self._waiting.popleft()
        self._dirty.discard(key)
        self._working.add(key)
        return key

    def done(self, key: K) -> None:
        """Give a key back; if it was added meanwhile it waits again."""
        self._working.discard(key)
        if key in self._dirty:
            self._waiting.append(key)
            self._ready.release()

    def close(self) -> None:
        """Forget all delays."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def _drop_timer(self, key: K) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
