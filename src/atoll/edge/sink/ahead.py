"""Takes the content of large files of one Stream to the volume while their chunks still arrive.

Owns the parts of one Stream, and who fills each: a reader of its own from the moment at which the upload is seen, then
who lands it. A part is only content: what the file is, and that it is wanted at all, is known when its envelope comes.
So whatever goes wrong here costs time and nothing else.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NoReturn

import structlog

from atoll.edge.sink.part import MARK_SUFFIX, Part, mark_of
from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import Upload
from atoll.federation.bus.file_messages import FileManifest
from atoll.federation.durable import make_folder
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

# A gateway sends a Stream's files one after the other, so one grows while one waits for its envelope. More are those
# that it began and gave up, which stay until the hub has dropped them.
_MOST_PARTS = 4
# Nothing came for so long: what is missing is looked for by a new read of the chunks, which also says if it lacks some.
_QUIET_SECONDS = 1.0


class ReadAhead:
    """The parts of one Stream's files, in a folder that nobody else uses."""

    def __init__(self, reader: ChunkReader, folder: Path, *, namespace: str, stream: str) -> None:
        self._reader, self._folder, self._namespace, self._stream = reader, folder, namespace, stream
        self._filling: dict[str, _Filling] = {}
        self._landing: set[str] = set()
        self._turn = asyncio.Lock()
        self._log = log.bind(stream=stream)

    async def run(self) -> NoReturn:
        """Read ahead until cancelled; what lies on the volume then is gone on with later."""
        try:
            await self._begin(None)
            async with contextlib.aclosing(self._reader.begun(self._namespace, self._stream)) as uploads:
                async for upload in uploads:
                    await self._begin(upload)
        finally:
            for filling in self._filling.values():
                await filling.end()
                filling.part.close()
            self._filling.clear()
        raise AssertionError("uploads are told of for ever")

    async def _begin(self, upload: Upload | None) -> None:
        """Make room, and begin to fill a part."""
        try:
            async with self._turn:
                await self._drop_forgotten()
                known = self._filling.keys() | self._landing
                if upload is not None and upload.name not in known and len(self._filling) < _MOST_PARTS:
                    part = await asyncio.to_thread(self._open, upload.name)
                    self._filling[upload.name] = _Filling(self._reader, upload, part)
        except (OSError, AtollError) as error:
            self._log.warning("does not read a file ahead", reason=str(error))

    def _open(self, name: str) -> Part:
        make_folder(self._folder)
        return Part.open(self._folder / name)

    async def _drop_forgotten(self) -> None:
        """Remove the parts of uploads that the hub has dropped."""
        for name in await asyncio.to_thread(self._names):
            if name in self._landing or await self._reader.is_stored(Upload(self._namespace, self._stream, name, 0)):
                continue
            if filling := self._filling.pop(name, None):
                await filling.end()
                filling.part.close()
            for path in (mark_of(self._folder / name), self._folder / name):
                await asyncio.to_thread(path.unlink, missing_ok=True)

    def _names(self) -> list[str]:
        if not self._folder.is_dir():
            return []
        return sorted({path.name.removesuffix(MARK_SUFFIX) for path in self._folder.iterdir()})

    @contextlib.asynccontextmanager
    async def part(self, upload: Upload, manifest: FileManifest) -> AsyncIterator[Part]:
        """Give the part of a file to who lands it, with all that was read ahead; from then on nobody else fills it.

        Raises:
            OSError: the volume does not take it.
        """
        self._landing.add(upload.name)
        part: Part | None = None
        try:
            part = await self._handed_over(upload.name, manifest)
            yield part
        finally:
            self._landing.discard(upload.name)
            if part is not None:
                await asyncio.to_thread(part.close)

    async def _handed_over(self, name: str, manifest: FileManifest) -> Part:
        async with self._turn:
            filling = self._filling.pop(name, None)
            if filling is not None:
                try:
                    if await asyncio.to_thread(filling.part.expect, manifest):
                        await filling.catch_up()
                finally:
                    await filling.end()
                if filling.part.is_open:
                    return filling.part
            part = await asyncio.to_thread(self._open, name)
            await asyncio.to_thread(part.expect, manifest)
            return part


class _Filling:
    """Fills one part from one upload, from its start on."""

    def __init__(self, reader: ChunkReader, upload: Upload, part: Part) -> None:
        self.part = part
        self._moved = asyncio.Event()
        self._task = asyncio.create_task(self._fill(reader, upload))

    async def _fill(self, reader: ChunkReader, upload: Upload) -> None:
        try:
            async with contextlib.aclosing(reader.read(upload, after=self.part.sequence, stays=True)) as chunks:
                async for chunk in chunks:
                    if chunk.gone:
                        return
                    await asyncio.to_thread(self.part.take, chunk)
                    self._moved.set()
        except OSError as error:
            log.warning("does not read a file ahead", stream=upload.stream, reason=str(error))
            await asyncio.to_thread(self.part.discard)

    async def catch_up(self) -> None:
        """Return when the part, which knows its manifest, is whole, or when nothing comes any more."""
        with contextlib.suppress(TimeoutError):
            while not (self.part.is_whole or self._task.done()):
                self._moved.clear()
                async with asyncio.timeout(_QUIET_SECONDS):
                    await self._moved.wait()

    async def end(self) -> None:
        """Fill no more. What a thread is writing still comes before what the part is given next."""
        self._task.cancel()
        await asyncio.wait({self._task})
