"""One ordered, gap-checked read of a stream: an ephemeral push consumer with flow control and heartbeats.

Nothing of it is durable on the server and nothing is acknowledged: the reader knows where it is. Any doubt (a gap in
the consumer's numbering, silence, a reconnect) ends the cursor with `CursorLost`; the reader opens a new one from what
it has. nats-py's own ordered consumer noticed a killed server after 18 s.
"""

import asyncio
import contextlib
import secrets
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

HEARTBEAT_SECONDS = 2.0
# Two missed heartbeats; shorter and a busy machine looks like a dead server.
SILENCE_SECONDS = 5.0
# For so long who answers may be behind: a replica that starts is; a leader's change took up to 5.8 s when measured.
CATCH_UP_SECONDS = 10.0
# A cursor whose connection was lost is not gone on with, and members may not delete: of a thousand that start, each
# reads its own part once, and NATS holds some 40 kB for every consumer until then.
_INACTIVE_SECONDS = 5
_SECOND = 1_000_000_000


class CursorLost(Exception):
    """The read may have missed something; open a new cursor."""


@dataclass(frozen=True)
class Entry:
    """One stored message. `pending` is how many more the stream held for this cursor when it was sent.

    `stored_at` is the server's clock, in seconds since 1970.
    """

    sequence: int
    subject: str
    payload: bytes
    headers: Mapping[str, str] | None
    pending: int
    stored_at: float


class Cursor:
    """Reads what matches one subject filter, from a sequence or an instant on, or the last per subject.

    With `headers_only` the messages come without their content.
    """

    def __init__(self, bus: "Bus", stream: str, subject_filter: str, *, headers_only: bool = False) -> None:
        self._bus, self._stream, self._filter, self._headers_only = bus, stream, subject_filter, headers_only
        self._queue: deque[Msg] = deque()
        self._wake = asyncio.Event()
        self._is_lost = False

    @contextlib.asynccontextmanager
    async def open(self, start: int | datetime | None) -> AsyncIterator[int]:
        """Start reading at a stream sequence or an instant, or with the last message of each subject if None.

        Gives the number of messages that wait.

        Raises:
            NotFound: no such stream. Unavailable: NATS does not answer.
        """
        inbox = self._bus.new_inbox()
        subscription = await self._bus.subscribe(inbox, self._arrived)
        try:
            with self._bus.on_reconnect(self._lost):
                yield await self._create(inbox, start)
        finally:
            await self._bus.unsubscribe(subscription)

    async def _create(self, inbox: str, start: int | datetime | None) -> int:
        name = secrets.token_hex(8)
        config: dict[str, Any] = {
            "name": name,
            "deliver_subject": inbox,
            "filter_subject": self._filter,
            "ack_policy": "none",
            **_start(start),
            "flow_control": True,
            "idle_heartbeat": int(HEARTBEAT_SECONDS * _SECOND),
            "inactive_threshold": _INACTIVE_SECONDS * _SECOND,
            "headers_only": self._headers_only,
            "mem_storage": True,
            "num_replicas": 1,
        }
        # Stream, name and filter stand in the subject, so that permissions can restrict them.
        verb = f"CONSUMER.CREATE.{self._stream}.{name}.{self._filter}"
        answer = await self._bus.api(verb, {"stream_name": self._stream, "config": config, "action": "create"})
        return int(answer.get("num_pending", 0))

    async def end(self) -> int:
        """Give the stream's last sequence: a consumer of new messages begins behind it."""
        return int((await self._look("new"))["delivered"]["stream_seq"])

    async def waiting(self) -> int:
        """Give how many messages match."""
        return int((await self._look("all"))["num_pending"])

    async def _look(self, policy: str) -> dict[str, Any]:
        """Make a consumer for what the server says of it; it delivers nothing and is gone after a second."""
        name = secrets.token_hex(8)
        config = {
            "name": name,
            "filter_subject": self._filter,
            "ack_policy": "none",
            "deliver_policy": policy,
            "inactive_threshold": _SECOND,
            "mem_storage": True,
            "num_replicas": 1,
        }
        verb = f"CONSUMER.CREATE.{self._stream}.{name}.{self._filter}"
        return await self._bus.api(verb, {"stream_name": self._stream, "config": config, "action": "create"})

    def _arrived(self, message: "Msg") -> None:
        self._queue.append(message)
        self._wake.set()

    def _lost(self) -> None:
        self._is_lost = True
        self._wake.set()

    async def batches(self) -> AsyncIterator[list[Entry]]:
        """Give messages as they come, all that are there at once.

        Raises:
            CursorLost: something may have been missed.
        """
        expected = 1
        while True:
            await self._something()
            batch: list[Entry] = []
            while self._queue:
                message = self._queue.popleft()
                if (message.headers or {}).get("Status") == "100":
                    await self._control(message, expected - 1)
                    continue
                entry, number = _entry(message)
                if number != expected:
                    raise CursorLost(f"expected message {expected} of the consumer, got {number}")
                expected += 1
                batch.append(entry)
            if batch:
                yield batch

    async def _something(self) -> None:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            raise CursorLost("no heartbeat") from None
        if self._is_lost:
            raise CursorLost("the connection was renewed")
        self._wake.clear()

    async def _control(self, message: "Msg", delivered: int) -> None:
        """Answer flow control; compare a heartbeat's numbering with ours (ADR-15 of NATS)."""
        headers = message.headers or {}
        stalled = headers.get("Nats-Consumer-Stalled")
        if message.reply:
            await self._bus.publish(message.reply, b"")
        elif stalled:
            await self._bus.publish(stalled, b"")
        last = headers.get("Nats-Last-Consumer")
        if last is not None and int(last) != delivered:
            raise CursorLost(f"the consumer sent {last} messages, {delivered} arrived")


def _start(start: int | datetime | None) -> dict[str, Any]:
    match start:
        case None:
            return {"deliver_policy": "last_per_subject"}
        case datetime():
            return {"deliver_policy": "by_start_time", "opt_start_time": start.astimezone(UTC).isoformat()}
    return {"deliver_policy": "by_start_sequence", "opt_start_seq": max(1, start)}


def _entry(message: "Msg") -> tuple[Entry, int]:
    """Read the numbers out of the acknowledgement subject.

    `$JS.ACK.<stream>.<consumer>.<delivered>.<sseq>.<cseq>.<time>.<pending>`, or the form with domain and account hash
    before and a random token after (ADR-37 of NATS).
    """
    tokens = message.reply.split(".")
    tail = tokens[5:9] if len(tokens) == 9 else tokens[7:11]
    if len(tail) < 4:
        raise CursorLost("a message came without its position")
    entry = Entry(int(tail[0]), message.subject, message.data, message.headers, int(tail[3]), int(tail[2]) / _SECOND)
    return entry, int(tail[1])
