"""Reading datasets where they are: the asker's side of a mover's read service, for movers, the hub and the CLI.

Owns the form of the answers (one byte that tells a result from an error) and the window of chunks. It must not write
files. Errors of the mover arrive as the errors that they were there.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

import orjson

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import ManifestFile, ManifestPage, ReadRequest, VerifyReport, VerifyRequest
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import OPEN_TOKEN, data_subject, verify_subject
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable

CHUNK_BYTES = 256 * 1024
# 8 chunks are 2 MB in flight: a link of 1 Gb/s stays full up to 16 ms of round trip; more would crowd out telemetry.
WINDOW_CHUNKS = 8
# What lies beside the files of a version that is complete, and proves them.
LEDGER_PATH, INDEX_PATH = PROOFS = (".atoll/ledger.json", ".atoll/index.bin")
_TIMEOUT_SECONDS = 10.0
_RESULT, _ERROR = b"\x00", b"\x01"
_ERRORS = {kind.reason: kind for kind in (NotFound, Conflict, InvalidInput, Unavailable)}


def result(data: bytes) -> bytes:
    """Give the answer that carries a result."""
    return _RESULT + data


def failure(error: AtollError) -> bytes:
    """Give the answer that carries an error."""
    return _ERROR + orjson.dumps({"reason": error.reason, "message": str(error)})


def opened(answer: bytes) -> bytes:
    """Give the result that an answer carries, or raise the error."""
    if answer[:1] == _RESULT:
        return answer[1:]
    if answer[:1] != _ERROR:
        raise Internal("the mover's answer is neither result nor error")
    try:
        error = orjson.loads(answer[1:])
        kind, message = _ERRORS.get(error["reason"], Internal), str(error["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as problem:
        raise Internal("the mover's error is not readable") from problem
    raise kind(message)


class DatasetReader:
    """Asks the mover of one namespace in one cluster.

    Every method raises NotFound (no such version or file there), InvalidInput (a name that is none) and Unavailable (no
    mover answers; try again).
    """

    def __init__(self, bus: Bus, cluster: str, namespace: str, *, token: str = OPEN_TOKEN) -> None:
        """`token` is the one by which that mover is asked."""
        self._bus = bus
        self._subject = data_subject(cluster, namespace, token)
        self._verify_subject = verify_subject(cluster, namespace, token)

    async def manifest(self, dataset: str, version: int) -> ManifestPage:
        """Give what the version is and all of its files, in one page."""
        first = await self._page(dataset, version, 0)
        files: list[ManifestFile] = [*first.files]
        while len(files) < first.total_files:
            page = await self._page(dataset, version, len(files))
            if not page.files or page.manifest_sha256 != first.manifest_sha256:
                raise Unavailable(f"dataset {dataset} version {version} changed while its manifest was read")
            files.extend(page.files)
        return first.model_copy(update={"files": tuple(files)})

    async def find(self, dataset: str, version: int, path: str) -> ManifestFile:
        """Give what the manifest says of one file."""
        page = ManifestPage.decode(await self._ask(ReadRequest(dataset=dataset, version=version, only=path)))
        if page.files and page.files[0].path != path:  # a mover of before looks nothing up
            page = await self.manifest(dataset, version)
        for file in page.files:
            if file.path == path:
                return file
        raise NotFound(f"dataset {dataset} version {version} has no file {path!r}")

    async def _page(self, dataset: str, version: int, offset: int) -> ManifestPage:
        return ManifestPage.decode(await self._ask(ReadRequest(dataset=dataset, version=version, offset=offset)))

    async def chunk(self, request: ReadRequest) -> bytes:
        """Give some bytes of a file; fewer than asked for at its end."""
        return await self._ask(request)

    async def read(
        self, dataset: str, version: int, file: str, *, size: int, start: int = 0, window: int = WINDOW_CHUNKS
    ) -> AsyncIterator[bytes]:
        """Give a file's bytes from `start` up to `size`, in order, with `window` chunks on their way at a time.

        Raises:
            Internal: the file is shorter than `size`.
        """
        ahead: deque[asyncio.Task[bytes]] = deque()
        offset = start
        try:
            while offset < size or ahead:
                while offset < size and len(ahead) < window:
                    length = min(CHUNK_BYTES, size - offset)
                    request = ReadRequest(dataset=dataset, version=version, file=file, offset=offset, length=length)
                    ahead.append(asyncio.create_task(self._whole_chunk(request)))
                    offset += length
                yield await ahead[0]
                ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)

    async def proof(self, dataset: str, version: int, file: str) -> AsyncIterator[bytes]:
        """Give the ledger or the index of a complete version; no manifest says how large they are."""
        offset = 0
        while True:
            request = ReadRequest(dataset=dataset, version=version, file=file, offset=offset, length=CHUNK_BYTES)
            piece = await self.chunk(request)
            offset += len(piece)
            yield piece
            if len(piece) < CHUNK_BYTES:
                return

    async def _whole_chunk(self, request: ReadRequest) -> bytes:
        data = await self.chunk(request)
        if len(data) != request.length:
            raise Internal(f"{request.file} of dataset {request.dataset} ends at {request.offset + len(data)} bytes")
        return data

    async def verify(self, dataset: str, version: int) -> VerifyReport:
        """Have the version proven where it is; takes as long as reading all of it there."""
        request = VerifyRequest(dataset=dataset, version=version).encode()
        # Empty chunks are signs of life while the files are read.
        async for answer in self._bus.request_many(self._verify_subject, request, timeout_seconds=_TIMEOUT_SECONDS):
            if answer:
                return VerifyReport.decode(opened(answer))
        raise Unavailable(f"the mover ended the verification of {dataset} version {version} without a report")

    async def _ask(self, request: Message) -> bytes:
        return opened(await self._bus.request(self._subject, request.encode(), timeout_seconds=_TIMEOUT_SECONDS))
