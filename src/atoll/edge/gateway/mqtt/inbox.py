"""Between the connection and the intake: messages wait here, in order, whichever thread they come from."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.edge.gateway.drafts import Message
from atoll.federation.errors import Internal

# Above this many waiting messages a connection that can be paused is: QoS 0 has no other back-pressure.
CROWDED = 20_000


@dataclass(frozen=True)
class Batch:
    """Messages in the order of arrival. `is_new_session`: the broker had forgotten us before these came."""

    messages: list[Message]
    is_new_session: bool = False


class Inbox:
    """A queue of messages; None stands in it where a new session begins."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._items: deque[Message | None] = deque()
        self._arrived = asyncio.Event()
        self._is_signalled = False
        self._failure: BaseException | None = None
        self._relieved: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._items)

    def end(self, task: "asyncio.Task[None]") -> None:
        """Take note that nothing more will come, if it is because of an error."""
        self._failure = None if task.cancelled() else task.exception()
        if self._failure is not None:
            self._arrived.set()

    def put(self, items: Sequence[Message | None]) -> None:
        """Add messages, from any thread."""
        with self._lock:
            self._items.extend(items)
            if self._is_signalled:
                return
            self._is_signalled = True
        self.call(self._arrived.set)

    def call(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function in the event loop; when the loop has ended there is nobody left to tell."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def when_relieved(self, function: Callable[[], None]) -> None:
        """Call a function, once, when the inbox is no longer crowded."""
        self._relieved.append(function)

    async def take(self, limit: int) -> Batch:
        """Wait for messages, and give at most `limit` of one session.

        Raises:
            Internal: nothing more will come.
        """
        await self._arrived.wait()
        if self._failure is not None:
            raise Internal("the broker connection's task has failed") from self._failure
        with self._lock:
            batch = self._cut(limit)
            if not self._items:
                self._is_signalled = False
                self._arrived.clear()
        if len(self._items) < CROWDED:
            relieved, self._relieved = self._relieved, []
            for function in relieved:
                function()
        return batch

    def _cut(self, limit: int) -> Batch:
        items = self._items
        is_new_session = items[0] is None
        if is_new_session:
            items.popleft()
        messages: list[Message] = []
        while items and len(messages) < limit and (item := items[0]) is not None:
            messages.append(item)
            items.popleft()
        return Batch(messages, is_new_session)
