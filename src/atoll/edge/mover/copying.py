"""Bring one version here from another cluster's mover: resumable, verified, in place by one rename.

    .transfers/<dataset>/v<version>/<files…>            files that are whole and verified
    .transfers/<dataset>/v<version>/.atoll/parts/…      files under way; a restart goes on at their end
    .transfers/<dataset>/v<version>/.atoll/source       the manifest hash at the source, to notice another one

Owns the staging folder. It must not decide what is copied where.
"""

import asyncio
import contextlib
import hashlib
import os
import shutil
import time
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import ValidationError

from atoll.edge.sink.ledger import LEDGER, VersionLedger, load, manifest_sha256, save
from atoll.edge.sink.volume import RESERVED, Volume, make_folder, replace_durably, sync_folder, write_at
from atoll.federation.bus.data_messages import ManifestFile, ReadRequest, TransferOrder
from atoll.federation.bus.datasets import CHUNK_BYTES, DatasetReader
from atoll.federation.errors import Conflict, Internal, InvalidInput

_READ_BYTES = 1 << 20
_NOTE = f"{RESERVED}/source"


class SourceDamaged(Internal):
    """What the source gives is not what its ledger says."""

    reason = "SourceDamaged"


class Copy:
    """One version on its way. `copied_bytes` counts what is here, `total_bytes` what it will be."""

    def __init__(self, volume: Volume, reader: DatasetReader, order: TransferOrder) -> None:
        self._reader, self._order = reader, order
        self._target = volume.version(order.dataset, order.version)
        self._stage = volume.transfer(order.dataset, order.version)
        self._parts = self._stage / RESERVED / "parts"
        self.total_bytes = 0
        self.copied_bytes = 0
        self.fetched_bytes = 0
        self.fetching_since = time.monotonic()

    async def run(self) -> VersionLedger:
        """Copy what is missing; give the ledger of the version once it is in place.

        Raises:
            Unavailable, NotFound, OSError: it may work later; what is here stays.
            Conflict, InvalidInput, SourceDamaged: it will not work.
        """
        here = await asyncio.to_thread(self._finished)
        if here is not None:
            return here
        ledger = await self._source_ledger()
        await asyncio.to_thread(self._prepare, ledger)
        self.total_bytes = ledger.bytes
        self.copied_bytes = self.fetched_bytes = 0
        self.fetching_since = time.monotonic()
        for file in ledger.files:
            await self._fetch(file)
        return await asyncio.to_thread(self._finish, ledger)

    def _finished(self) -> VersionLedger | None:
        ledger = load(self._target)
        if ledger is None:
            return None
        if not ledger.complete:
            raise Conflict(f"dataset {ledger.dataset} version {ledger.version} grows here already")
        self.total_bytes = self.copied_bytes = ledger.bytes
        return ledger

    async def _source_ledger(self) -> VersionLedger:
        """Read the source's ledger and make it this copy's: who fed it where is the source's business."""
        data = bytearray()
        while True:
            request = ReadRequest(
                dataset=self._order.dataset,
                version=self._order.version,
                file=LEDGER,
                offset=len(data),
                length=CHUNK_BYTES,
            )
            piece = await self._reader.chunk(request)
            data += piece
            if len(piece) < CHUNK_BYTES:
                break
        try:
            ledger = VersionLedger.model_validate_json(bytes(data))
        except ValidationError as error:
            raise SourceDamaged(f"the ledger at {self._order.source} is not readable") from error
        if (ledger.dataset, ledger.version, ledger.complete) != (self._order.dataset, self._order.version, True):
            raise SourceDamaged(f"the ledger at {self._order.source} is that of {ledger.dataset} v{ledger.version}")
        if manifest_sha256(ledger.files) != ledger.manifest_sha256:
            raise SourceDamaged(f"the manifest hash at {self._order.source} is not that of its files")
        return ledger.model_copy(update={"marks": (), "checkpoints": ()})

    def _prepare(self, ledger: VersionLedger) -> None:
        for file in ledger.files:
            _check_path(file.path)
        note = self._stage / _NOTE
        wanted = ledger.manifest_sha256.encode()
        if self._stage.exists() and not (note.is_file() and note.read_bytes() == wanted):
            shutil.rmtree(self._stage)
        make_folder(self._parts)
        if not note.exists():
            replace_durably(note, wanted)

    async def _fetch(self, file: ManifestFile) -> None:
        place = self._stage / file.path
        if place.is_file() and place.stat().st_size == file.bytes:  # renamed here only after its hash was checked
            self.copied_bytes += file.bytes
            return
        part = self._parts / hashlib.sha256(file.path.encode()).hexdigest()
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            await self._fill(descriptor, file)
        finally:
            os.close(descriptor)
        await asyncio.to_thread(_put_in_place, part, place)

    async def _fill(self, descriptor: int, file: ManifestFile) -> None:
        """Append what the part lacks, and check the whole."""
        size, digest = await asyncio.to_thread(_resume, descriptor, file.bytes)
        self.copied_bytes += size
        pieces = self._reader.read(self._order.dataset, self._order.version, file.path, size=file.bytes, start=size)
        async with contextlib.aclosing(pieces):  # type: ignore[type-var]
            async for piece in pieces:
                await asyncio.to_thread(write_at, descriptor, piece, size)
                digest.update(piece)
                size += len(piece)
                self.copied_bytes += len(piece)
                self.fetched_bytes += len(piece)
        if digest.hexdigest() != file.sha256:
            os.ftruncate(descriptor, 0)
            raise SourceDamaged(
                f"{file.path}: the copy has SHA-256 {digest.hexdigest()}, the ledger says {file.sha256}"
            )
        await asyncio.to_thread(os.fsync, descriptor)

    def _finish(self, ledger: VersionLedger) -> VersionLedger:
        save(self._stage, ledger)
        shutil.rmtree(self._parts)
        for folder, _, _ in os.walk(self._stage):
            sync_folder(Path(folder))
        make_folder(self._target.parent)
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


def _check_path(path: str) -> None:
    """Refuse a path that does not stay in the version's folder; the source is another cluster."""
    parts = PurePosixPath(path).parts
    is_plain = bool(parts) and "/".join(parts) == path and not {"..", ".", "/"} & set(parts)
    if not is_plain or parts[0] == RESERVED or not path.isprintable():
        raise InvalidInput(f"file {path[:80]!r}: not a path inside a dataset")


def _resume(descriptor: int, limit: int) -> tuple[int, Any]:
    """Hash what a part holds already and cut what is too much; give its size and the running hash."""
    digest, size = hashlib.sha256(), 0
    while size < limit and (data := os.pread(descriptor, min(_READ_BYTES, limit - size), size)):
        digest.update(data)
        size += len(data)
    os.ftruncate(descriptor, size)
    return size, digest


def _put_in_place(part: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    part.replace(place)
