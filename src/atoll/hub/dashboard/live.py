"""Live updates: server-sent events that name the kinds that changed; the page then draws anew what shows them.

Owns who listens, and how often each is told. What is told of one listener is a set of topics, however many changes it
stands for; a listener who reads slowly misses none and costs no memory. It sends no data: each part is asked for with
the rights of who looks.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field

from atoll.kubeapi.cache import WatchCache

# Changes gather this long: shorter, and one job that starts is told five times; longer, and a person notices.
_SETTLE_SECONDS = 0.25
_LEAST_SECONDS = 1.0
_MOST_SECONDS = 30.0
# Of one core's time, what drawing parts anew may take in all; more, and those who look slow down those who work.
_SHARE = 0.1
# Parts of a page that one event has drawn anew, on most pages.
_PARTS = 2
# A proxy between hangs up on what is silent, after 60 s mostly; and the credentials are looked at again as often.
_BEAT_SECONDS = 20.0
_MOST_LISTENERS = 512
# Of one user, so that nobody's forgotten tabs take the places of all; where nobody signs in, all are one.
MOST_OF_ONE = 64


@dataclass(eq=False)
class Listener:
    """One open page: whose it is, the topics that it waits for, and those of them that changed."""

    user: str
    topics: frozenset[str]
    due: set[str] = field(default_factory=set)
    woken: asyncio.Event = field(default_factory=asyncio.Event)


class Live:
    """Tells listeners what changed. `run` follows the cache for ever."""

    def __init__(self, cache: WatchCache) -> None:
        self._cache = cache
        self._prefixes: dict[str, str] = {}
        self._listeners: set[Listener] = set()
        self._drawing_seconds = 0.0
        self._is_over = False

    def watch(self, topic: str, prefix: str) -> None:
        """Follow one kind: `topic` is its plural, `prefix` where the cache keeps it. Before `run`."""
        self._prefixes[topic] = prefix

    @property
    def listeners(self) -> int:
        """How many listen."""
        return len(self._listeners)

    def has_room(self, user: str) -> bool:
        """Tell whether one more page of a user may listen."""
        return self.listeners < _MOST_LISTENERS and sum(each.user == user for each in self._listeners) < MOST_OF_ONE

    @property
    def topics(self) -> frozenset[str]:
        """What can be listened to."""
        return frozenset(self._prefixes)

    def drew(self, seconds: float) -> None:
        """Take in how long one part took; what is told how often depends on it."""
        self._drawing_seconds += 0.1 * (seconds - self._drawing_seconds)

    async def run(self) -> None:
        """Follow every topic for ever."""
        try:
            async with asyncio.TaskGroup() as group:
                for topic, prefix in self._prefixes.items():
                    group.create_task(self._follow(topic, prefix))
        finally:
            self._is_over = True
            for listener in self._listeners:
                listener.woken.set()

    async def _follow(self, topic: str, prefix: str) -> None:
        changed = self._cache.bucket(prefix).changed
        while True:
            await changed.wait()
            changed = self._cache.bucket(prefix).changed  # before it is told: what comes from now on is told again
            for listener in self._listeners:
                if topic in listener.topics:
                    listener.due.add(topic)
                    listener.woken.set()
            await asyncio.sleep(_SETTLE_SECONDS)

    async def events(
        self, user: str, topics: Iterable[str], still_there: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[str]:
        """Give events as text until the hub ends, or `still_there` says that who listens is nobody any more."""
        listener = Listener(user, frozenset(topics) & self.topics)
        self._listeners.add(listener)
        try:
            yield "retry: 2000\nevent: hello\ndata: \n\n"
            while await still_there():
                is_woken = await self._woken(listener)
                if self._is_over:
                    return
                if is_woken:
                    listener.woken.clear()
                    due, listener.due = listener.due, set()
                    yield f"event: changed\ndata: {' '.join(sorted(due))}\n\n"
                    await asyncio.sleep(pace(len(self._listeners), self._drawing_seconds))
                else:
                    yield ": \n\n"
        finally:
            self._listeners.discard(listener)

    async def _woken(self, listener: Listener) -> bool:
        try:
            async with asyncio.timeout(_BEAT_SECONDS):
                await listener.woken.wait()
        except TimeoutError:
            return False
        return bool(listener.due)


def pace(listeners: int, drawing_seconds: float) -> float:
    """Give the seconds between two events of one listener, for all of them together to cost `_SHARE` of a core."""
    return min(_MOST_SECONDS, max(_LEAST_SECONDS, listeners * _PARTS * drawing_seconds / _SHARE))
