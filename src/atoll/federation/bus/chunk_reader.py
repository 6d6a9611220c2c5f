"""The reading side of chunks (see chunks): one upload's content in order, and which uploads have begun.

Owns the subjects that are read; it must not know where the content goes. Names that come from a gateway are checked
here before anybody makes a path of one.
"""

import contextlib
import re
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from atoll.federation.bus.chunks import DIGEST_BYTES, Chunk, Upload
from atoll.federation.bus.log import LogEntry, LogReader
from atoll.federation.bus.subjects import chunks_stream, files_subject

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

# An upload is worth telling of once it has this chunk, some 10 MB from its start: a file that is whole by then comes no
# sooner for it, and would cost a second look at the server.
_LARGE_FROM_CHUNK = 4
_ALL = (1 << 63) - 1
_UPLOAD = re.compile(r"[0-9a-f]{1,32}-[0-9]{1,18}")


class ChunkReader:
    """Reads the chunks of one lab's uploads. Reading goes on by itself when the connection was lost."""

    def __init__(self, bus: "Bus", gateway: str) -> None:
        self._bus, self._gateway = bus, gateway

    async def read(self, upload: Upload, *, after: int = 0, stays: bool = False) -> AsyncGenerator[Chunk, None]:
        """Give the chunks of all attempts that are stored, in the order in which they were.

        Args:
            upload: whose chunks.
            after: leave out what is stored up to this sequence.
            stays: give those that are still to come, too, for ever; else end with those that are stored now.
        """
        subject = self._subject(upload)
        async with contextlib.aclosing(self._log(subject).read(after, through=None if stays else _ALL)) as batches:
            async for entries in batches:
                for entry in entries:
                    yield _chunk(entry, subject)

    async def begun(self, namespace: str, stream: str) -> AsyncGenerator[Upload, None]:
        """Give large uploads of a Stream as they come, for ever; of several at once only the newest one.

        A gateway sends one after the other, so those before the newest are whole.
        """
        prefix = files_subject(self._gateway, namespace, stream)
        begun = f"{prefix}.*.*.{_LARGE_FROM_CHUNK}"
        reader = LogReader(self._bus, chunks_stream(self._gateway), begun, headers_only=True)
        async with contextlib.aclosing(reader.read(0)) as batches:
            async for entries in batches:
                name, *_ = entries[-1].subject.removeprefix(f"{prefix}.").split(".")
                if _UPLOAD.fullmatch(name):
                    yield Upload(namespace, stream, name, 0)

    async def is_stored(self, upload: Upload) -> bool:
        """Tell whether any chunk of an upload is stored: one that nobody needs any more is dropped whole.

        Raises:
            NotFound: the stream does not exist yet. Unavailable: NATS does not answer.
        """
        return await self._log(self._subject(upload)).waiting() > 0

    async def end(self, upload: Upload) -> int:
        """Give the newest sequence of all chunks of the lab. Raises as `is_stored`."""
        return await self._log(self._subject(upload)).end()

    def _subject(self, upload: Upload) -> str:
        return f"{files_subject(self._gateway, upload.namespace, upload.stream)}.{upload.name}"

    def _log(self, subject: str) -> LogReader:
        return LogReader(self._bus, chunks_stream(self._gateway), f"{subject}.>")


def _chunk(entry: LogEntry, subject: str) -> Chunk:
    attempt, _, index = entry.subject.removeprefix(f"{subject}.").partition(".")
    if not (attempt.isdecimal() and index.isdecimal()):
        return Chunk(entry.sequence, gone=entry.payload.decode(errors="replace") or "its gateway has given it up")
    # A view: the content of a chunk is two megabytes, and copying it takes as long as half of its hash.
    digest, content = entry.payload[:DIGEST_BYTES], memoryview(entry.payload)[DIGEST_BYTES:]
    return Chunk(entry.sequence, int(attempt), int(index), digest, content)
