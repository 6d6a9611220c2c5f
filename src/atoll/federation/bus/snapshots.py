"""Whole streams as bytes: taken while they are written to, and put back with their sequences and dates.

JetStream's own snapshots: a stream as it is at one instant. Owns that protocol (JetStream API: STREAM.SNAPSHOT and
STREAM.RESTORE) and how much of it is on the way at once; it must not know what is in a stream.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atoll.federation.bus.answers import raise_for, read_answer
from atoll.federation.errors import AtollError, Conflict, Internal, NotFound, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

CHUNK_BYTES = 128 * 1024
# What is under way and not read yet: small, since a reader may be on a slow link, and the hub has other work.
_WINDOW_BYTES = 2 * 1024 * 1024
# The server packs a whole block (some 8 MB) before it sends: slow disks need seconds.
_SILENCE_SECONDS = 30.0
_RESTORED_SECONDS = 120.0


@dataclass(frozen=True)
class StreamHead:
    """Which stream a snapshot is of: how it was set up, and how far it went."""

    config: Mapping[str, Any]
    state: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The stream's name."""
        return str(self.config["name"])

    @property
    def messages(self) -> int:
        """How many messages it held."""
        return int(self.state["messages"])


class Snapshot:
    """A stream that is being read. `chunks` may be read once."""

    def __init__(self, bus: "Bus", head: StreamHead, queue: "deque[Msg]", wake: asyncio.Event) -> None:
        self.head = head
        self._bus, self._queue, self._wake = bus, queue, wake

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the bytes, in order.

        Raises:
            Unavailable: the server has stopped in the middle; all of it has to be taken again.
        """
        while True:
            message = await self._next()
            if message.reply:  # it may send so much more
                await self._bus.publish(message.reply, b"")
            if not message.data:
                self._check_end(message)
                return
            yield message.data

    async def _next(self) -> "Msg":
        if not self._queue:
            self._wake.clear()
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    await self._wake.wait()
            except TimeoutError:
                raise Unavailable(f"the snapshot of stream {self.head.name} came to a halt: try again") from None
        return self._queue.popleft()

    def _check_end(self, message: "Msg") -> None:
        description = (message.headers or {}).get("Description") or (message.headers or {}).get("Status", "")
        if description and not description.startswith("2"):
            raise Unavailable(f"the snapshot of stream {self.head.name} was given up: {description}")


@contextlib.asynccontextmanager
async def snapshot(bus: "Bus", stream: str) -> AsyncIterator[Snapshot]:
    """Read a stream as it is now; those who write to it go on.

    Raises:
        NotFound: no such stream. Unavailable: NATS does not answer.
    """
    queue: deque[Msg] = deque()
    wake = asyncio.Event()

    def arrived(message: "Msg") -> None:
        queue.append(message)
        wake.set()

    inbox = bus.new_inbox()
    subscription = await bus.subscribe(inbox, arrived)
    try:
        wanted = {
            "deliver_subject": inbox,
            "no_consumers": True,
            "chunk_size": CHUNK_BYTES,
            "window_size": _WINDOW_BYTES,
        }
        answer = await bus.api(f"STREAM.SNAPSHOT.{stream}", wanted, timeout_seconds=_SILENCE_SECONDS)
        yield Snapshot(bus, StreamHead(answer["config"], answer["state"]), queue, wake)
    finally:
        await bus.unsubscribe(subscription)


async def restore(bus: "Bus", head: StreamHead, chunks: AsyncIterator[bytes]) -> int:
    """Make a stream of its snapshot, kept by as many servers as `bus.replicas`; give how many messages it holds.

    Sequences and dates are those of the snapshot; when the stream itself was made is not. What came of a restore that
    fails is removed again.

    Raises:
        Conflict: a stream of this name is there. Internal: the bytes are no snapshot of it. Unavailable: try again.
    """
    if await exists(bus, head.name):
        raise Conflict(f"stream {head.name} is there already")
    try:
        return await _restored(bus, head, chunks)
    except AtollError:
        with contextlib.suppress(AtollError):
            await remove(bus, head.name)
        raise


async def _restored(bus: "Bus", head: StreamHead, chunks: AsyncIterator[bytes]) -> int:
    config = {**head.config, "num_replicas": bus.replicas}
    wanted = {"config": config, "state": dict(head.state)}
    answer = await bus.api(f"STREAM.RESTORE.{head.name}", wanted, timeout_seconds=_SILENCE_SECONDS)
    subject = str(answer["deliver_subject"])
    async for chunk in chunks:
        said = await bus.ask(subject, chunk, timeout_seconds=_SILENCE_SECONDS)
        if said:  # the server keeps silent about what it took
            raise_for(read_answer(said), f"stream {head.name}")
    done = read_answer(await bus.ask(subject, b"", timeout_seconds=_RESTORED_SECONDS))
    raise_for(done, f"stream {head.name}")
    held = int(done["state"]["messages"])
    if held < head.messages:
        raise Internal(f"stream {head.name} came back with {held} messages of {head.messages}")
    return held


async def exists(bus: "Bus", stream: str) -> bool:
    """Tell whether a stream is there. Raises Unavailable."""
    try:
        await bus.api(f"STREAM.INFO.{stream}")
    except NotFound:
        return False
    return True


async def remove(bus: "Bus", stream: str) -> None:
    """Delete a stream and all that it holds; one that is not there is fine. Raises Unavailable."""
    with contextlib.suppress(NotFound):
        await bus.api(f"STREAM.DELETE.{stream}")
