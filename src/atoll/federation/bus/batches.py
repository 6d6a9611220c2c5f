"""Durable writes that share a commit: what is asked for while one commit is under way goes into the next one together.

Owns who commits with whom, and what each writer hears of it; it must not know what a value means. Nobody waits for
company: a write that comes alone goes at once, as a plain message.

A plain message costs the server one sync to disk, an atomic batch of any size about six (it is staged beside the
stream first; counted with strace on nats-server 2.15.1, one replica, `sync_interval: always`). The batch is the
server's ADR-50: all of its messages are stored, with consecutive sequences, or none.
"""

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atoll.federation.bus.table import Table, Write
from atoll.federation.errors import AtollError, Conflict, Unavailable

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

# Below it, plain messages sent at once need no more syncs than a batch.
SMALLEST_BATCH = 8
# The server takes 1000. More share a sync, but all of them wait for the last one's bytes.
_LARGEST_BATCH = 256
_LARGEST_BATCH_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, eq=False)
class _Waiting:
    """A write that was asked for, and where its revision or error goes; a writer that left has cancelled it."""

    write: Write
    done: "asyncio.Future[int]"

    def stored(self, revision: int) -> None:
        if not self.done.done():
            self.done.set_result(revision)

    def failed(self, error: AtollError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class GroupedWrites:
    """Writes to one table. One commit is under way at a time, so writes of one key happen in the order asked for."""

    def __init__(self, bus: "Bus", table: Table) -> None:
        self._bus, self._table = bus, table
        self._queue: deque[_Waiting] = deque()
        self._committer: asyncio.Task[None] | None = None

    async def write(self, write: Write) -> int:
        """Write one key and give its revision once it is durable. Cancelling leaves the outcome open.

        Raises:
            Conflict: `expected` does not hold. Unavailable: the outcome is unknown.
        """
        waiting = _Waiting(write, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        if self._committer is None:
            self._committer = asyncio.create_task(self._commit_all(), name="bus-grouped-writes")
        return await waiting.done

    async def _commit_all(self) -> None:
        group: list[_Waiting] = []
        try:
            while group := next_group(self._queue):
                await self._commit(group)
        finally:  # the queue is empty, or the process ends
            self._committer = None
            for waiting in (*group, *self._queue):
                waiting.done.cancel()
            self._queue.clear()

    async def _commit(self, group: Sequence[_Waiting]) -> None:
        """Write a group together; if the server refuses that, let only those fail whose own write is refused."""
        if large := [waiting for waiting in group if waiting.write.is_large]:  # each takes several messages
            small = [waiting for waiting in group if not waiting.write.is_large]
            await asyncio.gather(self._one_by_one(large), self._commit(small))
            return
        if len(group) < SMALLEST_BATCH:
            await self._one_by_one(group)
            return
        try:
            newest = await self._together([waiting.write for waiting in group])
        except Unavailable as lost:
            for waiting in group:
                waiting.failed(Unavailable(f"{waiting.write.key}: {lost}"))
        except Conflict:
            await self._without_the_refused(group)
        except AtollError:  # too many batches at once, or a part of one was lost with the connection: nothing is stored
            await self._one_by_one(group)
        else:
            for revision, waiting in enumerate(group, newest - len(group) + 1):
                waiting.stored(revision)

    async def _together(self, writes: Sequence[Write]) -> int:
        """Store all or none; give the last one's sequence. Raises Conflict without saying whose, as the server does."""
        batch = secrets.token_urlsafe(12)
        messages = [self._table.message(write) for write in writes]
        for number, (subject, payload, headers) in enumerate(messages, 1):
            headers |= {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            if number < len(messages):
                await self._bus.publish(subject, payload, headers=headers)
        subject, payload, headers = messages[-1]
        return await self._bus.store(subject, payload, headers | {"Nats-Batch-Commit": "1"})

    async def _without_the_refused(self, group: Sequence[_Waiting]) -> None:
        """Write those together whose keys are as expected, and the others alone, which tells each its own error."""
        try:
            holds = await asyncio.gather(*(self._table.holds(waiting.write) for waiting in group))
        except AtollError:
            await self._one_by_one(group)
            return
        fine = [waiting for waiting, held in zip(group, holds, strict=True) if held]
        if len(fine) == len(group):  # somebody wrote and deleted in between: do not try the same for ever
            await self._one_by_one(group)
            return
        refused = [waiting for waiting, held in zip(group, holds, strict=True) if not held]
        await asyncio.gather(self._one_by_one(refused), self._commit(fine))

    async def _one_by_one(self, group: Sequence[_Waiting]) -> None:
        """Write each alone, all at the same time: nobody's failure is another's."""
        await asyncio.gather(*(self._alone(waiting) for waiting in group))

    async def _alone(self, waiting: _Waiting) -> None:
        try:
            waiting.stored(await self._table.write(waiting.write))
        except AtollError as error:
            waiting.failed(error)


def next_group(queue: deque[_Waiting]) -> list[_Waiting]:
    """Take from a queue what can be committed together, in order: each key once, within the bounds of a batch."""
    group: list[_Waiting] = []
    keys: set[str] = set()
    left: list[_Waiting] = []
    room = _LARGEST_BATCH_BYTES
    while queue and len(group) < _LARGEST_BATCH and room > 0:
        waiting = queue.popleft()
        if waiting.done.done():  # its writer left before anything was sent
            continue
        if waiting.write.key in keys:
            left.append(waiting)
            continue
        keys.add(waiting.write.key)
        group.append(waiting)
        room -= len(waiting.write.value or b"")
    queue.extendleft(reversed(left))
    return group
