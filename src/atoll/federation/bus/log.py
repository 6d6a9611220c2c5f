"""Logs as their readers and keepers see them: entries read back without a gap, how far they go, and room made in them.

What is written into one, and that it is there once and in order, is the writer's (log_writer.py).
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import structlog

from atoll.federation.bus.cursor import Cursor, CursorLost, Entry
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.errors import AtollError

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5


@dataclass(frozen=True)
class LogEntry:
    """One message of a log; `sequence` is the stream's."""

    sequence: int
    subject: str
    payload: bytes


class LogReader:
    """Reads one stream's entries under a subject filter, in order, from where the reader says it is.

    With `headers_only` it reads which there are, and all payloads are empty.
    """

    def __init__(self, bus: "Bus", stream: str, subject_filter: str, *, headers_only: bool = False) -> None:
        self._bus, self._stream, self._filter, self._headers_only = bus, stream, subject_filter, headers_only

    async def extent(self) -> StreamExtent:
        """Tell which stream this is and how far it goes: a position in another stream means nothing.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        return await StreamExtent.read(self._bus, self._stream)

    async def end(self) -> int:
        """Give the log's newest sequence, whatever its subject, to one who may create a consumer and nothing else.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        return await Cursor(self._bus, self._stream, self._filter).end()

    async def waiting(self) -> int:
        """Give how many entries are stored. Raises as `end`."""
        return await Cursor(self._bus, self._stream, self._filter).waiting()

    async def read(self, after: int | datetime, *, through: int | None = None) -> AsyncGenerator[list[LogEntry], None]:
        """Give batches of entries, for ever; recovers by itself. A stream that does not exist yet is waited for.

        Args:
            after: a stream sequence to begin above, or an instant: what was stored before it is left out.
            through: end with this sequence, or when the log holds nothing more up to it.
        """
        position, start = (0, after) if isinstance(after, datetime) else (after, after + 1)
        while through is None or position < through:
            try:
                cursor = Cursor(self._bus, self._stream, self._filter, headers_only=self._headers_only)
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

    async def extent(self) -> StreamExtent:
        """Tell which stream this is and how full it is. Raises as `LogReader.extent`."""
        return await StreamExtent.read(self._bus, self._stream)

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
