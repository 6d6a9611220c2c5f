"""Logs: envelopes written once and in order into a stream, and read back without a gap.

The writer is the forwarder chain of NATS.md 1.6: every message names the one before it, so that one lost publish makes
all later ones fail; on any doubt the writer asks the stream what it holds and goes on from there. Neither a dedupe
window nor an acknowledgement that came late can make a reading appear twice.
"""

import asyncio
import base64
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from atoll.federation.bus.cursor import Cursor, CursorLost, Entry
from atoll.federation.errors import AtollError, NotFound, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
_LAST_ID, _LAST_SEQUENCE = "Nats-Expected-Last-Msg-Id", "Nats-Expected-Last-Sequence"


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
    bytes: int = 0
    max_bytes: int = 0

    @classmethod
    async def read(cls, bus: "Bus", stream: str) -> "LogExtent":
        """Ask the server.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        info = await bus.api(f"STREAM.INFO.{stream}")
        state = info["state"]
        return cls(
            str(info.get("created", "")), int(state["last_seq"]), int(state["bytes"]), int(info["config"]["max_bytes"])
        )


class LogWriter:
    """Appends numbered entries to one stream. One writer per stream; `ident` names the numbering (the outbox's id)."""

    def __init__(self, bus: "Bus", stream: str, *, ident: str, window: int = 64, deadline_seconds: float = 5.0) -> None:
        self._bus, self._stream, self._ident = bus, stream, ident
        self._window, self._deadline_seconds = window, deadline_seconds
        self._pending: dict[int, float] = {}
        self._expectation: dict[str, str] = {}
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
        ident, _, number = (await self._find_end()).rpartition(":")
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

    async def _find_end(self) -> str:
        """Give the id of the newest entry that is stored, empty if none, and set what the next one must follow.

        The server remembers the id of the message at the stream's last sequence, and after a restart reads it there. If
        that message was deleted the memory is gone then, and only the sequence says that nothing came in between.
        """
        info = await self._bus.api(f"STREAM.INFO.{self._stream}")
        last_sequence, config = info["state"]["last_seq"], info["config"]
        subject = (config.get("subject_transform") or {}).get("dest") or config["subjects"][0]  # as it is stored
        sequence, message_id = 0, ""
        with contextlib.suppress(NotFound):
            answer = await self._bus.api(f"STREAM.MSG.GET.{self._stream}", {"last_by_subj": subject})
            sequence, message_id = answer["message"]["seq"], _message_id(answer["message"])
        if sequence == last_sequence and message_id:
            self._expectation = {_LAST_ID: message_id}
        else:
            # A new log needs no guard: what two sessions send first has one id, and that is taken once.
            self._expectation = {_LAST_SEQUENCE: str(last_sequence)} if last_sequence else {}
        return message_id

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
        headers = {"Nats-Msg-Id": message_id, **self._expectation}
        self._pending[number] = time.monotonic() + self._deadline_seconds
        self._expectation = {_LAST_ID: message_id}
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


def _message_id(message: Mapping[str, Any]) -> str:
    head = base64.b64decode(message.get("hdrs", "")).decode(errors="replace")
    ids = [line[12:].strip() for line in head.split("\r\n") if line.lower().startswith("nats-msg-id:")]
    return ids[0] if ids else ""


class LogReader:
    """Reads one stream's entries under a subject filter, in order, from where the reader says it is."""

    def __init__(self, bus: "Bus", stream: str, subject_filter: str) -> None:
        self._bus, self._stream, self._filter = bus, stream, subject_filter

    async def extent(self) -> LogExtent:
        """Tell which stream this is and how far it goes: a position in another stream means nothing.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        return await LogExtent.read(self._bus, self._stream)

    async def end(self) -> int:
        """Give the log's newest sequence, whatever its subject, to one who may create a consumer and nothing else.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        return await Cursor(self._bus, self._stream, self._filter).end()

    async def read(self, after: int | datetime, *, through: int | None = None) -> AsyncGenerator[list[LogEntry], None]:
        """Give batches of entries, for ever; recovers by itself. A stream that does not exist yet is waited for.

        Args:
            after: a stream sequence to begin above, or an instant: what was stored before it is left out.
            through: end with this sequence, or when the log holds nothing more up to it.
        """
        position, start = (0, after) if isinstance(after, datetime) else (after, after + 1)
        while through is None or position < through:
            try:
                cursor = Cursor(self._bus, self._stream, self._filter)
                async with cursor.open(start) as waiting:
                    if through is not None and not waiting:
                        return
                    async for batch in cursor.batches():
                        yield [_log_entry(one) for one in batch if through is None or one.sequence <= through]
                        position, start = batch[-1].sequence, batch[-1].sequence + 1
                        if through is not None and (position >= through or not batch[-1].pending):
                            return
            except CursorLost as lost:
                log.debug("a log is read again", stream=self._stream, reason=str(lost), position=position)
            except AtollError as error:
                log.debug("a log cannot be read", stream=self._stream, reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)


def _log_entry(entry: Entry) -> LogEntry:
    return LogEntry(entry.sequence, entry.subject, entry.payload)


class LogTrimmer:
    """Makes room in one log. It never takes the log's newest entry: `LogWriter.resume` goes on from that."""

    def __init__(self, bus: "Bus", stream: str) -> None:
        self._bus, self._stream = bus, stream

    async def extent(self) -> LogExtent:
        """Tell which stream this is and how full it is. Raises as `LogReader.extent`."""
        return await LogExtent.read(self._bus, self._stream)

    async def subjects(self) -> list[str]:
        """Name the subjects that have entries."""
        info = await self._bus.api(f"STREAM.INFO.{self._stream}", {"subjects_filter": ">"})
        return sorted(info["state"].get("subjects") or {})

    async def drop(self, subject: str, *, through: int) -> int:
        """Delete a subject's entries up to a stream sequence, that one included; give how many there were.

        Raises:
            NotFound: the stream does not exist. Unavailable: the outcome is unknown; the same again does no harm.
        """
        newest = (await self.extent()).last_sequence
        return await self._bus.purge(self._stream, subject, before=min(through + 1, newest))
