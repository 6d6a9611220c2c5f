"""Bring one version here from another cluster's mover: in ranges, resumable, verified, in place by one rename.

    .transfers/<dataset>/v<version>/<files…>            files that are whole and verified
    .transfers/<dataset>/v<version>/.atoll/parts/…      files under way (parts.py); a restart fetches what is missing
    .transfers/<dataset>/v<version>/.atoll/source       the manifest hash at the source, to notice another one

What is here is of the version, not of who gave it: another replica goes on where the one before fell silent.
Owns the staging folder. It must not decide what is copied where, nor from whom.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Coroutine, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from atoll.edge.mover.pace import Pace
from atoll.edge.mover.parts import Part
from atoll.edge.mover.threads import in_thread
from atoll.edge.sink.hashing import sha256_of
from atoll.edge.sink.index import INDEX
from atoll.edge.sink.ledger import LEDGER, VersionLedger, as_text, load, manifest_sha256, save
from atoll.edge.sink.volume import RESERVED, Volume, replace_durably
from atoll.federation.bus.data_messages import ManifestFile, ReadRequest, TransferOrder
from atoll.federation.bus.datasets import CHUNK_BYTES, WINDOW_CHUNKS, DatasetReader
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Conflict, Internal, InvalidInput

_NOTE = f"{RESERVED}/source"
# Ranges under way at once. With eight chunks of each, 8 MB: a link of 1 Gb/s stays full up to 64 ms of round trip.
_PARALLEL_RANGES = 4
# Below this rate a copy that is held to one asks for a single chunk at a time, and the rate is kept from the start.
_FULL_SPEED_BYTES = 32 * 1024 * 1024
# The ledger of three million files; a source that says more is not asked to the end.
_LARGEST_LEDGER_BYTES = 512 * 1024 * 1024


class SourceDamaged(Internal):
    """What the source gives is not what its ledger says."""

    reason = "SourceDamaged"


class Copy:
    """One version on its way. `copied_bytes` counts what is here, `total_bytes` what it will be."""

    def __init__(self, volume: Volume, order: TransferOrder) -> None:
        self._volume, self._order = volume, order
        self._target = volume.version(order.dataset, order.version)
        self._stage = volume.transfer(order.dataset, order.version)
        self._parts = self._stage / RESERVED / "parts"
        self._pace = Pace(order.bytes_per_second)
        rate = order.bytes_per_second
        share = 1.0 if not rate else min(1.0, rate / _FULL_SPEED_BYTES)
        self._places = asyncio.Semaphore(1)
        self._parallel, self._window = max(1, round(_PARALLEL_RANGES * share)), max(1, round(WINDOW_CHUNKS * share))
        self.total_bytes = 0
        self.copied_bytes = 0
        self.fetched_bytes = 0
        self.fetching_since = time.monotonic()

    @property
    def chunks_under_way(self) -> int:
        """Give how many chunks are asked for at a time, at most."""
        return self._parallel * self._window

    def slow_down(self) -> None:
        """Have half as much on its way at a time: on a thin link chunks that wait for others are not there in time."""
        self._parallel, self._window = max(1, self._parallel // 2), max(1, self._window // 2)

    async def run(self, reader: DatasetReader, source: str) -> VersionLedger:
        """Copy what is missing; give the ledger of the version once it is in place.

        Raises:
            Unavailable, NotFound, OSError: it may work later; what is here stays.
            SourceDamaged: another source may give it. Conflict, InvalidInput: it will not work.
        """
        here = await in_thread(self._finished)
        if here is not None:
            return here
        ledger = await self._source_ledger(reader, source)
        await in_thread(self._prepare, ledger)
        self.total_bytes = sum(file.bytes for file in ledger.proven_files())
        self.copied_bytes = self.fetched_bytes = 0
        self.fetching_since = time.monotonic()
        self._places = asyncio.Semaphore(self._parallel)
        await _at_once((self._fetch(reader, file) for file in ledger.proven_files()), most=self._parallel)
        return await in_thread(self._finish, ledger)

    def _finished(self) -> VersionLedger | None:
        ledger = load(self._target)
        if ledger is None or ledger.erased_at is not None:
            return None
        if not ledger.complete:
            raise Conflict(f"dataset {ledger.dataset} version {ledger.version} grows here already")
        self.total_bytes = self.copied_bytes = sum(file.bytes for file in ledger.proven_files())
        return ledger

    async def _source_ledger(self, reader: DatasetReader, source: str) -> VersionLedger:
        """Read the source's ledger and make it this copy's: who fed it where is the source's business."""
        order, data = self._order, bytearray()
        while True:
            request = ReadRequest(
                dataset=order.dataset, version=order.version, file=LEDGER, offset=len(data), length=CHUNK_BYTES
            )
            piece = await reader.chunk(request)
            data += piece
            if len(piece) < CHUNK_BYTES:
                break
            if len(data) > _LARGEST_LEDGER_BYTES:
                raise SourceDamaged(f"the ledger at {source} is larger than any")
        try:
            ledger = VersionLedger.model_validate_json(bytes(data))
        except ValidationError as error:
            raise SourceDamaged(f"the ledger at {source} is not readable") from error
        if (ledger.dataset, ledger.version, ledger.complete) != (order.dataset, order.version, True):
            raise SourceDamaged(f"the ledger at {source} is that of {ledger.dataset} v{ledger.version}")
        if manifest_sha256(ledger.files) != ledger.manifest_sha256:
            raise SourceDamaged(f"the manifest hash at {source} is not that of its files")
        if order.manifest_sha256 not in ("", ledger.manifest_sha256):
            raise SourceDamaged(f"what {source} has of {ledger.dataset} v{ledger.version} is not what others have")
        return ledger.model_copy(update={"marks": (), "checkpoints": ()})

    def _prepare(self, ledger: VersionLedger) -> None:
        for file in ledger.proven_files():
            _check_path(file.path)
        size, room = sum(file.bytes for file in ledger.proven_files()), shutil.disk_usage(self._volume.root).total
        if size > room:
            raise InvalidInput(
                f"the version has {size:,} bytes, and all of this volume {room:,}: make its claim larger"
            )
        try:
            as_text(ledger)
        except TypeError as error:
            raise SourceDamaged(f"the ledger has what cannot be written here: {error}") from error
        note = self._stage / _NOTE
        wanted = ledger.manifest_sha256.encode()
        if self._stage.exists() and not (note.is_file() and note.read_bytes() == wanted):
            shutil.rmtree(self._stage)
        make_folder(self._parts)
        if not note.exists():
            replace_durably(note, wanted)

    async def _fetch(self, reader: DatasetReader, file: ManifestFile) -> None:
        """Bring one file; it is under its name only after its hash was checked."""
        place = self._stage / file.path
        if place.is_file() and place.stat().st_size == file.bytes:
            self.copied_bytes += file.bytes
            return
        path = self._parts / hashlib.sha256(file.path.encode()).hexdigest()
        with Part(path, file.bytes) as part:
            missing = await in_thread(part.missing)
            self.copied_bytes += file.bytes - sum(length for _, length in missing)
            await _at_once((self._fetch_range(reader, file, part, span) for span in missing), most=self._parallel)
            size, digest = await asyncio.to_thread(sha256_of, path)
            if (size, digest) != (file.bytes, file.sha256):
                part.discard()
                raise SourceDamaged(f"{file.path}: the copy has SHA-256 {digest}, the ledger says {file.sha256}")
            await in_thread(part.finish, place)

    async def _fetch_range(self, reader: DatasetReader, file: ManifestFile, part: Part, span: tuple[int, int]) -> None:
        order, (start, length) = self._order, span
        offset, crc = start, 0
        pieces = reader.read(
            order.dataset, order.version, file.path, size=start + length, start=start, window=self._window
        )
        async with self._places, contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                await in_thread(part.write, offset, piece)
                crc = zlib.crc32(piece, crc)
                offset += len(piece)
                self.copied_bytes += len(piece)
                self.fetched_bytes += len(piece)
                await self._pace.spend(len(piece))
        part.note(start, length, crc)

    def _finish(self, ledger: VersionLedger) -> VersionLedger:
        stub = load(self._target)
        if stub is not None:  # of a version that was erased here: how far its Streams were outlives this copy too
            ledger = ledger.model_copy(update={"marks": stub.marks, "checkpoints": stub.checkpoints})
        save(self._stage, ledger)
        shutil.rmtree(self._parts)
        for folder, _, _ in os.walk(self._stage):
            sync_folder(Path(folder))
        make_folder(self._target.parent)
        if stub is not None:
            shutil.rmtree(self._target)
        try:
            self._stage.rename(self._target)
        except OSError as error:
            raise Conflict(f"dataset {ledger.dataset} version {ledger.version} appeared here meanwhile") from error
        (self._target / _NOTE).unlink()  # last: until the rename a restart needs it
        sync_folder(self._target.parent)
        return ledger

    @property
    def bytes_per_second(self) -> float:
        """Mean rate since this process began to fetch."""
        return self.fetched_bytes / max(1e-3, time.monotonic() - self.fetching_since)


async def _at_once(works: Iterator[Coroutine[Any, Any, None]], *, most: int) -> None:
    """Do all of them, at most so many at a time; the first error ends the rest and is raised."""

    async def some() -> None:
        for work in works:  # shared: each takes the next one
            await work

    tasks = [asyncio.create_task(some()) for _ in range(most)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _check_path(path: str) -> None:
    """Refuse a path that does not stay in the version's folder; the source is another cluster."""
    parts = PurePosixPath(path).parts
    is_plain = bool(parts) and "/".join(parts) == path and not {"..", ".", "/"} & set(parts)
    is_reserved = bool(parts) and parts[0] == RESERVED and path != INDEX
    if not is_plain or is_reserved or not path.isprintable():
        raise InvalidInput(f"file {path[:80]!r}: not a path inside a dataset")
