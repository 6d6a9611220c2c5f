"""Sends one large file as chunks, from wherever an earlier attempt ended.

The file is read once from its start whatever is stored already: its hash needs all of it, and reading is cheap beside
sending. Nothing is acknowledged by this; that a file is whole at the hub is for the catalogue to remember.
"""

import asyncio
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from atoll.edge.gateway.file_source.pace import Pace
from atoll.edge.gateway.file_source.reading import FileChanged, OpenFile, opened
from atoll.edge.gateway.file_source.records import Entry
from atoll.federation.bus.chunks import DIGEST_BYTES, ChunkWriter, Upload


class Sender:
    """Sends files to one lab's chunks. `progress` hears of every chunk: the bytes that are through, and those sent."""

    def __init__(self, writer: ChunkWriter, ident: str, *, progress: Callable[[Entry, int, int], None]) -> None:
        self._writer, self._ident, self._progress = writer, ident, progress

    @property
    def chunk_bytes(self) -> int:
        """Size of the chunks of a new upload."""
        return self._writer.chunk_bytes

    def upload_of(self, entry: Entry) -> Upload:
        """Give the name under which a file's chunks are stored."""
        return Upload(*entry.stream, f"{self._ident}-{entry.upload}", entry.attempt)

    async def send(self, entry: Entry, root: Path, folder: str, pace: Pace) -> str:
        """Store what is missing of a file's chunks; give its SHA-256.

        Raises:
            FileGone, FileChanged, FileUnreadable: it cannot be sent as it was found.
            InvalidInput: the hub has no room for a file of its size.
            NotFound, Unavailable: the hub does not take it now; send it again, and it goes on.
        """
        present = await self._writer.present(self.upload_of(entry), size=entry.signature.size)
        with ExitStack() as stack:
            file = await asyncio.to_thread(stack.enter_context, opened(root, folder, entry))
            async with self._writer.session():
                await self._send_chunks(entry, file, present, pace)
                await self._writer.flush()
            await asyncio.to_thread(file.check)
            return file.digest().hex()

    async def _send_chunks(self, entry: Entry, file: OpenFile, present: set[int], pace: Pace) -> None:
        upload, size, step = self.upload_of(entry), entry.signature.size, entry.chunk_bytes
        frame = memoryview(bytearray(DIGEST_BYTES + step))
        for index, start in enumerate(range(0, size, step)):
            wanted = min(step, size - start)
            if await asyncio.to_thread(_read, file, frame[: DIGEST_BYTES + wanted]) < wanted:
                raise FileChanged
            if index not in present:
                await pace.pay(wanted)
                await self._writer.send(upload, index, frame[: DIGEST_BYTES + wanted])
            self._progress(entry, start + wanted, 0 if index in present else wanted)

    async def give_up(self, upload: Upload, reason: str) -> None:
        """Say that a file that was announced cannot be sent any more. Raises Unavailable."""
        await self._writer.give_up(upload, reason)


def _read(file: OpenFile, frame: memoryview) -> int:
    """Fill a chunk: its content, and before that the hash of the file up to its end."""
    count = file.read_into(frame[DIGEST_BYTES:])
    frame[:DIGEST_BYTES] = file.digest()
    return count
