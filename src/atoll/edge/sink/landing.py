"""Brings files from a lab's chunks to the volume: whole, verified and durable, and not yet in any version.

Owns the parts: of large files under `.atoll/uploads`, which fill while the chunks still arrive (see ahead), and under
`.atoll/parts` what is whole. A part may be left by a process that was killed: what of it is proven by its mark is not
brought again. It must not know versions or ledgers.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from atoll.edge.sink.ahead import ReadAhead
from atoll.edge.sink.filing import BroughtFile, clear_parts
from atoll.edge.sink.part import Part, write_whole
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.bus.chunk_reader import ChunkReader
from atoll.federation.bus.chunks import Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.bus.file_messages import FileManifest, WantedUpload, unpack
from atoll.federation.durable import make_folder
from atoll.federation.errors import AtollError, Internal

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
# A part is brought on with within seconds; what is as old as this belongs to a Stream that is no more.
_FORGOTTEN_SECONDS = 7 * 86_400.0

# What a Stream lacks now; empty when nothing.
Wants = Callable[[Envelope, tuple[WantedUpload, ...]], None]


class _LostError(Exception):
    """The content will never come; the text says why."""


class Landing:
    """Brings the files of envelopes. `wants` passes on to the gateway what has to be sent once more."""

    def __init__(self, bus: Bus, volume: Volume, wants: Wants) -> None:
        self._bus, self._wants = bus, wants
        self._parts, self._uploads = (volume.root / RESERVED / name for name in ("parts", "uploads"))
        self._ahead: dict[tuple[str, str, str], ReadAhead] = {}
        for folder in (self._parts, self._uploads):
            clear_parts(folder, before=time.time() - _FORGOTTEN_SECONDS)

    def ahead(self, gateway: str, namespace: str, stream: str) -> ReadAhead:
        """Give what reads the large files of a Stream ahead while it runs."""
        key = gateway, namespace, stream
        if key not in self._ahead:
            folder, reader = self._uploads / gateway / stream, ChunkReader(self._bus, gateway)
            self._ahead[key] = ReadAhead(reader, folder, namespace=namespace, stream=stream)
        return self._ahead[key]

    async def insist(self, envelope: Envelope, on_problem: Callable[[str], None]) -> tuple[BroughtFile, ...]:
        """Bring all files of an envelope, however long that takes; one per reading, in their order.

        Args:
            envelope: one that holds files.
            on_problem: hears why it does not go on now, as with a full volume.
        """
        problem = ""
        while True:
            try:
                brought = await self.bring(envelope)
                break
            except (OSError, AtollError) as error:
                if str(error) != problem:
                    log.error(
                        "cannot bring files; tries again until it can", stream=envelope.stream, problem=str(error)
                    )
                problem = str(error)
                on_problem(problem)
                await asyncio.sleep(_RETRY_SECONDS)
        if problem:
            log.info("brings files again", stream=envelope.stream)
        return brought

    async def bring(self, envelope: Envelope) -> tuple[BroughtFile, ...]:
        """Bring all files of an envelope; one per reading, in their order.

        Raises:
            OSError: the volume does not take them now. Unavailable: NATS is away. What was brought is kept.
        """
        await asyncio.to_thread(make_folder, self._parts)
        return tuple(
            [await self._bring_one(envelope, reading, index) for index, reading in enumerate(envelope.readings)]
        )

    async def _bring_one(self, envelope: Envelope, reading: Reading, index: int) -> BroughtFile:
        place = self._parts / f"{envelope.outbox}-{envelope.number}-{index}"
        try:
            manifest, content = unpack(reading.payload)
            if manifest.upload is None:
                await asyncio.to_thread(write_whole, place, manifest, content)
            else:
                await self._fetch(envelope, manifest, place)
        except (_LostError, Internal) as error:
            log.error("a file was lost", gateway=envelope.gateway, path=reading.topic, reason=str(error))
            return BroughtFile(reading.topic, None, 0, "", 0.0, str(error))
        return BroughtFile(manifest.path, place, manifest.size, manifest.sha256, manifest.modified_at.timestamp())

    async def _fetch(self, envelope: Envelope, manifest: FileManifest, place: Path) -> None:
        """Bring a large file to its place, with what of it was read ahead."""
        upload = Upload(envelope.namespace, envelope.stream, str(manifest.upload), 0)
        reader = ChunkReader(self._bus, envelope.gateway)
        ahead = self.ahead(envelope.gateway, envelope.namespace, envelope.stream)
        async with ahead.part(upload, manifest) as part:
            while not part.is_whole:
                await _read_on(reader, upload, part)
                if part.is_whole:
                    break
                wanted = WantedUpload(stream=envelope.stream, upload=upload.name, attempt=part.attempt)
                self._wants(envelope, (wanted,))
                await asyncio.sleep(_RETRY_SECONDS)
                if await reader.end(upload) < part.sequence:  # the hub's chunks are not those of before
                    part.sequence = 0
            self._wants(envelope, ())
            await asyncio.to_thread(part.finish, place)


async def _read_on(reader: ChunkReader, upload: Upload, part: Part) -> None:
    """Take what is stored behind the place where a part is."""
    async with contextlib.aclosing(reader.read(upload, after=part.sequence)) as chunks:
        async for chunk in chunks:
            if chunk.gone:
                await asyncio.to_thread(part.discard)
                raise _LostError(chunk.gone)
            await asyncio.to_thread(part.take, chunk)
