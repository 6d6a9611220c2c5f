"""Datasets over HTTP: what files a version has, their bytes, and the proof, read through a mover where the files are.

    GET  …/namespaces/NS/datasets/NAME/files           the version's manifest (ManifestPage, with all files)
    GET  …/namespaces/NS/datasets/NAME/files/PATH      the bytes of one file, also of .atoll/ledger.json and index.bin
    GET  …/namespaces/NS/datasets/NAME/verify          read every file again, there (VerifyReport); POST does the same

`?version=N` chooses a version other than the newest, `?cluster=C` a copy other than the nearest to home.
Owns the routes and the choice of the copy. No byte is kept here.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll.federation.bus.capabilities import Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.bus.datasets import PROOFS, DatasetReader
from atoll.federation.bus.messages import Message
from atoll.federation.errors import AtollError
from atoll.federation.errors import InvalidInput as BadName
from atoll.federation.errors import NotFound as NoSuchFile
from atoll.federation.errors import Unavailable as NoMover
from atoll.federation.resources import API_GROUP, API_VERSION, Cluster, Dataset
from atoll.hub.client import Client
from atoll.hub.controllers.copy_sources import holders_of
from atoll.kubeapi.errors import ApiError, BadRequest, Internal, NotFound, Unavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
Work = Callable[[DatasetReader, str, int], Awaitable[T]]
_RETRY_AFTER_SECONDS = 5


class Datasets:
    """Answers requests for what datasets hold."""

    def __init__(self, client: Client, bus: Bus, capabilities: Capabilities) -> None:
        self._client, self._bus, self._capabilities = client, bus, capabilities

    def routes(self) -> list[Route]:
        """Give the routes."""
        base = f"/apis/{API_GROUP}/{API_VERSION}/namespaces/{{namespace}}/datasets/{{name}}"
        return [
            Route(f"{base}/files", self.manifest, methods=["GET"]),
            Route(f"{base}/files/{{path:path}}", self.file, methods=["GET"]),
            Route(f"{base}/verify", self.verify, methods=["GET", "POST"]),
        ]

    async def manifest(self, request: Request) -> Response:
        """Answer with the manifest of a version."""
        return _json(await self._ask(request, lambda reader, name, version: reader.manifest(name, version)))

    async def verify(self, request: Request) -> Response:
        """Answer with the proof of a version, after every byte of it was read."""
        return _json(await self._ask(request, lambda reader, name, version: reader.verify(name, version)))

    async def file(self, request: Request) -> Response:
        """Stream one file of a version."""
        path = request.path_params["path"]

        async def find(
            reader: DatasetReader, name: str, version: int
        ) -> tuple[ManifestFile | None, AsyncIterator[bytes]]:
            if path in PROOFS:
                return None, await _begun(reader.proof(name, version, path))
            file = await reader.find(name, version, path)
            return file, await _begun(reader.read(name, version, path, size=file.bytes))

        file, chunks = await self._ask(request, find)
        headers = {"Content-Length": str(file.bytes), "ETag": f'"{file.sha256}"'} if file is not None else {}
        return StreamingResponse(chunks, media_type="application/octet-stream", headers=headers)

    async def _ask(self, request: Request, work: Work[T]) -> T:
        """Ask the copies in turn until a mover answers."""
        namespace, name = request.path_params["namespace"], request.path_params["name"]
        dataset = await self._client.get(Dataset, namespace, name)
        if dataset is None:
            raise NotFound.of(API_GROUP, "datasets", name)
        version = _version(request, dataset)
        silent: list[str] = []
        for cluster in await self._holders(request, dataset, version):
            try:
                token = self._capabilities.reading(cluster, namespace)
                return await work(DatasetReader(self._bus, cluster, namespace, token=token), name, version)
            except NoMover as error:
                silent.append(f"{cluster}: {error}")
            except AtollError as error:
                raise _translated(error) from error
        message = f"no mover gives version {version} of dataset {name!r} now: {'; '.join(silent) or 'nobody has it'}"
        raise Unavailable(message, retry_after_seconds=_RETRY_AFTER_SECONDS)

    async def _holders(self, request: Request, dataset: Dataset, version: int) -> list[str]:
        """Name the clusters to ask, the home first and those that cannot be heard last."""
        chosen = request.query_params.get("cluster")
        if chosen:
            if await self._client.get(Cluster, None, chosen) is None:
                raise NotFound.of(API_GROUP, "clusters", chosen)
            return [chosen]
        home = dataset.spec.home
        names = set(holders_of(dataset, version)) | ({home} if home is not None else set())
        clusters = {name: await self._client.get(Cluster, None, name) for name in names}
        known = {name: cluster for name, cluster in clusters.items() if cluster is not None}
        return sorted(known, key=lambda name: (known[name].status.is_silent, name != home, name))


async def _begun(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Read the first chunk now: a file that is not there is an answer of its own, not a body that breaks off."""
    return _joined(await anext(chunks, b""), chunks)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _version(request: Request, dataset: Dataset) -> int:
    text = request.query_params.get("version")
    if text is None:
        if dataset.status.version == 0:
            raise BadRequest(f"dataset {dataset.metadata.name!r} has no version yet: nothing has been written to it")
        return dataset.status.version
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise BadRequest(f"version: Invalid value: {text!r}: must be a whole number, 1 or more")
    return int(text)


def _translated(error: AtollError) -> ApiError:
    match error:
        case NoSuchFile():
            return NotFound(str(error))
        case BadName():
            return BadRequest(str(error))
    log.error("a mover gave no answer that can be used", error=str(error))
    return Internal(str(error))


def _json(message: Message) -> Response:
    return Response(message.encode(), media_type="application/json")
