"""Logs: envelopes written once and in order into a stream, and read back without a gap.

The writer is the forwarder chain of NATS.md 1.6: every message names the one before it, so that one lost publish makes
all later ones fail; on any doubt the writer asks the stream what it holds and goes on from there. Neither a dedupe
window nor an acknowledgement that came late can make a reading appear twice.
"""

import asyncio
import base64
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from atoll.federation.bus.cursor import Cursor, CursorLost
from atoll.federation.errors import AtollError, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class LogEntry:
    """One message of a log; `sequence` is the stream's."""

    sequence: int
    subject: str
    payload: bytes


@dataclass(frozen=True)
class LogExtent:
    """Which stream a log is, and its newest sequence. One made anew has another `created` and counts from 1 again."""

    created: str
    last_sequence: int


class LogWriter:
    """Appends numbered entries to one stream. One writer per stream; `ident` names the numbering (the outbox's id)."""

    def __init__(self, bus: "Bus", stream: str, *, ident: str, window: int = 64, deadline_seconds: float = 5.0) -> None:
        self._bus, self._stream, self._ident = bus, stream, ident
        self._window, self._deadline_seconds = window, deadline_seconds
        self._pending: dict[int, float] = {}
        self._previous: str | None = None
        self._inbox = ""
        self._subscription: Any = None
        self._session = 0
        self._broken = ""
        self._moved = asyncio.Event()
        self.acknowledged = 0

    async def resume(self) -> int:
        """Start a session: give the number of the newest entry that the log holds of this numbering, 0 if none.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        await self.close()
        self._session += 1
        self._pending.clear()
        self._broken = ""
        self._previous = await self._last_message_id()
        ident, _, number = (self._previous or "").rpartition(":")
        self.acknowledged = int(number) if ident == self._ident else 0
        self._inbox = self._bus.new_inbox()
        session = self._session
        self._subscription = await self._bus.subscribe(f"{self._inbox}.*", lambda msg: self._answered(msg, session))
        return self.acknowledged

    async def close(self) -> None:
        """End the session; what was not acknowledged is in doubt until the next `resume`."""
        if self._subscription is not None:
            await self._bus.unsubscribe(self._subscription)
            self._subscription = None

    async def _last_message_id(self) -> str | None:
        state = (await self._bus.api(f"STREAM.INFO.{self._stream}"))["state"]
        if not state["messages"]:
            return None
        answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"seq": state["last_seq"]})
        head = base64.b64decode(answer["message"].get("hdrs", "")).decode(errors="replace")
        ids = [line[12:].strip() for line in head.split("\r\n") if line.lower().startswith("nats-msg-id:")]
        return ids[0] if ids else None

    async def append(self, number: int, subject: str, payload: bytes) -> None:
        """Send the next entry; wait only while the window is full.

        Args:
            number: one more than the one before; the first after `resume` may be any (the log's past may be trimmed).

        Raises:
            Unavailable: the chain broke or a deadline passed; call `resume` and go on from what it says.
        """
        while len(self._pending) >= self._window:
            await self._wait()
        self._check()
        message_id = f"{self._ident}:{number}"
        headers = {"Nats-Msg-Id": message_id}
        if self._previous is not None:
            headers["Nats-Expected-Last-Msg-Id"] = self._previous
        self._pending[number] = time.monotonic() + self._deadline_seconds
        self._previous = message_id
        await self._bus.publish(subject, payload, reply=f"{self._inbox}.{number}", headers=headers)

    async def flush(self) -> int:
        """Wait until everything sent is durable; give the newest number.

        Raises:
            Unavailable: as `append`.
        """
        while self._pending:
            await self._wait()
        self._check()
        return self.acknowledged

    def _answered(self, message: "Msg", session: int) -> None:
        if session != self._session:
            return
        number = int(message.subject.rpartition(".")[2])
        problem = _refusal(message)
        if problem:
            self._broken = self._broken or problem
        elif self._pending.pop(number, None) is not None:
            self.acknowledged = max(self.acknowledged, number)
        self._moved.set()

    async def _wait(self) -> None:
        self._check()
        self._moved.clear()
        remaining = min(self._pending.values()) - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, remaining)):
                await self._moved.wait()
        except TimeoutError:
            self._broken = f"no acknowledgement within {self._deadline_seconds:g} s"
        self._check()

    def _check(self) -> None:
        if self._broken:
            raise Unavailable(f"{self._stream}: {self._broken}")
        if self._subscription is None:
            raise Unavailable(f"{self._stream}: not resumed")


def _refusal(message: "Msg") -> str:
    """Say why an entry was not stored; empty if it was (or had been before)."""
    if not message.data:
        return "no stream takes this subject"
    answer = orjson.loads(message.data)
    error = answer.get("error")
    return str(error.get("description", "refused")) if error else ""


class LogReader:
    """Reads one stream's entries under a subject filter, in order, from where the reader says it is."""

    def __init__(self, bus: "Bus", stream: str, subject_filter: str) -> None:
        self._bus, self._stream, self._filter = bus, stream, subject_filter

    async def extent(self) -> LogExtent:
        """Tell which stream this is and how far it goes: a position in another stream means nothing.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        info = await self._bus.api(f"STREAM.INFO.{self._stream}")
        return LogExtent(str(info.get("created", "")), int(info["state"]["last_seq"]))

    async def read(self, after: int) -> AsyncIterator[list[LogEntry]]:
        """Give batches of entries with a stream sequence above `after`, for ever; recovers by itself.

        A stream that does not exist yet is waited for.
        """
        position = after
        while True:
            try:
                cursor = Cursor(self._bus, self._stream, self._filter)
                async with cursor.open(position + 1):
                    async for batch in cursor.batches():
                        yield [LogEntry(entry.sequence, entry.subject, entry.payload) for entry in batch]
                        position = batch[-1].sequence
            except CursorLost as lost:
                log.debug("a log is read again", stream=self._stream, reason=str(lost), position=position)
            except AtollError as error:
                log.debug("a log cannot be read", stream=self._stream, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
