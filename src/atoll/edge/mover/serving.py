"""Hand out what is committed on the volume: manifests, pieces of files, proofs. Reads only.

Owns what may be read: a file is found by looking its path up in the version's ledger, never by joining paths that came
from outside, so nothing outside a version can be named; and of a growing file only the committed part is given.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path

from atoll.edge.sink.ledger import LEDGER, VersionLedger, load
from atoll.edge.sink.verify import verify
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import ManifestFile, ManifestPage, ReadRequest, VerifyRequest
from atoll.federation.bus.datasets import failure, result
from atoll.federation.errors import AtollError, Internal, InvalidInput, NotFound

_SIGN_OF_LIFE_SECONDS = 2.0
# With room for the rest of the page below NATS's 1 MB.
_PAGE_BYTES = 400_000
_CACHED_VERSIONS = 64


class ReadService:
    """Answers for one volume."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._cache: dict[Path, tuple[int, VersionLedger, dict[str, ManifestFile]]] = {}

    async def read(self, payload: bytes) -> bytes:
        """Answer a ReadRequest."""
        return await asyncio.to_thread(_answered, lambda: self._read(ReadRequest.decode(payload)))

    async def verify(self, payload: bytes) -> AsyncIterator[bytes]:
        """Answer a VerifyRequest: empty signs of life, then the report."""
        work = asyncio.create_task(asyncio.to_thread(_answered, lambda: self._verify(VerifyRequest.decode(payload))))
        while not (await asyncio.wait({work}, timeout=_SIGN_OF_LIFE_SECONDS))[0]:
            yield b""
        yield work.result()

    def _verify(self, request: VerifyRequest) -> bytes:
        return verify(self._volume.root, request.dataset, request.version).encode()

    def _read(self, request: ReadRequest) -> bytes:
        folder = self._volume.version(request.dataset, request.version)
        ledger, files = self._committed(folder, request)
        if request.file is None and request.only is not None:
            return _page(ledger, [files[request.only]] if request.only in files else []).encode()
        if request.file is None:
            return _page(ledger, _some(ledger.files[request.offset :])).encode()
        if request.file == LEDGER and ledger.complete:
            return _piece(folder / LEDGER, request.offset, request.length, None)
        known = files.get(request.file)
        if known is None:
            raise NotFound(f"dataset {request.dataset} version {request.version} has no file {request.file!r}")
        try:
            return _piece(folder / known.path, request.offset, request.length, known.bytes)
        except (FileNotFoundError, NotADirectoryError):
            raise Internal(
                f"file {known.path!r} of dataset {request.dataset} version {request.version} is gone from the volume,"
                " though the ledger names it: verify the dataset, and read another copy"
            ) from None

    def _committed(self, folder: Path, request: ReadRequest) -> tuple[VersionLedger, dict[str, ManifestFile]]:
        try:
            stamp = (folder / LEDGER).stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"dataset {request.dataset} has no version {request.version} here") from None
        cached = self._cache.get(folder)
        if cached is not None and cached[0] == stamp:
            return cached[1], cached[2]
        ledger = load(folder)
        if ledger is None or ledger.erased_at is not None:
            raise NotFound(f"dataset {request.dataset} has no version {request.version} here")
        if len(self._cache) >= _CACHED_VERSIONS:
            self._cache.clear()
        files = {file.path: file for file in ledger.proven_files()}
        self._cache[folder] = stamp, ledger, files
        return ledger, files


def _answered(work: Callable[[], bytes]) -> bytes:
    """Do the work and wrap its outcome: an asker must never wait for an answer that cannot come."""
    try:
        return result(work())
    except AtollError as error:
        return failure(error)
    except OSError as error:
        return failure(Internal(f"the volume cannot be read: {error.strerror}"))


def _some(files: Iterable[ManifestFile]) -> list[ManifestFile]:
    """Give so many of them as fit into a page, one at least."""
    page: list[ManifestFile] = []
    room = _PAGE_BYTES
    for file in files:
        room -= len(file.path.encode()) + 120
        if page and room < 0:
            break
        page.append(file)
    return page


def _page(ledger: VersionLedger, files: Sequence[ManifestFile]) -> ManifestPage:
    return ManifestPage(
        dataset=ledger.dataset,
        version=ledger.version,
        complete=ledger.complete,
        total_files=len(ledger.files),
        total_bytes=ledger.bytes,
        manifest_sha256=ledger.manifest_sha256,
        produced_by=ledger.produced_by,
        completed_at=ledger.completed_at,
        files=tuple(files),
    )


def _piece(path: Path, offset: int, length: int, size: int | None) -> bytes:
    if length == 0:
        raise InvalidInput("length: ask for 1 to 524288 bytes")
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        end = size if size is not None else os.fstat(descriptor).st_size
        return os.pread(descriptor, max(0, min(length, end - offset)), offset)
    finally:
        os.close(descriptor)
