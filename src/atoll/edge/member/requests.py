"""Requests to one cluster's API server: credentials, deadlines, patience, and what its failures mean here.

With `execution.py` the only door to `kubernetes.aio` and to aiohttp, its transport: no client type or exception leaves
but through `kube.py`. It must not know verbs or kinds. 429 and Retry-After are waited out here; other retries are the
caller's.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.request import getproxies_environment

import aiohttp
import orjson
import yaml
from kubernetes.aio import client, config

from atoll.edge.member.errors import Throttled, error_of
from atoll.edge.member.execution import Command, Remote, started
from atoll.edge.member.objects import Object
from atoll.federation.errors import Internal, InvalidInput, Unavailable

Query = list[tuple[str, str]]

REQUEST_SECONDS = 30.0
CONNECT_SECONDS = 5.0
# The client checks little of a kubeconfig: a malformed one surfaces as whatever it trips over.
_UNUSABLE_CREDENTIALS = (config.ConfigException, OSError, ValueError, TypeError, AttributeError, yaml.YAMLError)


class ApiServer:
    """The connection to one API server. Make it with `connect`; close it when done."""

    def __init__(self, client_: client.ApiClient) -> None:
        self._client = client_

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, context: str | None = None) -> "ApiServer":
        """Read credentials: a kubeconfig's context, or the pod's service account; nothing is asked yet.

        Raises:
            InvalidInput: the kubeconfig or the service account cannot be used.
        """
        configuration = client.Configuration()
        # For the sake of proxies aiohttp is told to trust the environment: it then looks for a netrc file, in a thread,
        # before every request. That is a tenth of what a request costs, and no API server's credentials stand there.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        try:
            if kubeconfig is None:
                config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]  # generated client
            else:
                await config.load_kube_config(  # type: ignore[no-untyped-call]  # generated client
                    str(kubeconfig), context, configuration, persist_config=False
                )
        except _UNUSABLE_CREDENTIALS as error:
            where = kubeconfig or "the pod's service account (no kubeconfig was given)"
            raise InvalidInput(f"cannot read cluster credentials from {where}: {error}") from error
        return cls(client.ApiClient(configuration))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()  # type: ignore[no-untyped-call]  # generated client

    async def call(
        self, method: str, path: str, *, query: Query | None = None, body: Object | None = None, **how: str
    ) -> Object:
        """Send one request and read the whole answer, waiting while the server asks for patience.

        Raises:
            Unavailable: no answer in time. Throttled: it asks for more patience than there is. Others: see `error_of`.
        """
        deadline = asyncio.get_running_loop().time() + REQUEST_SECONDS
        while True:
            try:
                async with self.open(method, path, query=query or [], body=body, **how) as answer:
                    return object_of(await answer.read(), f"{method} {path}")
            except Throttled as busy:
                if asyncio.get_running_loop().time() + busy.retry_after_seconds > deadline:
                    raise
                await asyncio.sleep(busy.retry_after_seconds)

    @contextlib.asynccontextmanager
    async def open(
        self, method: str, path: str, *, query: Query, body: Object | None = None, **how: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request and give the answer to read; `how`: timeout, accept, content_type."""
        what = f"{method} {path}"
        timeout = how.get("timeout") or aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS)
        with _translated(what):
            accept = how.get("accept") or "application/json"
            headers = {"Accept": accept, "Content-Type": how.get("content_type") or "application/json"}
            request = await self._client.param_serialize(
                method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            response: aiohttp.ClientResponse = (
                await self._client.call_api(*request, _request_timeout=timeout)
            ).response
            async with response:
                if response.status >= 300:
                    raise error_of(response.status, await response.read(), what=what, headers=response.headers)
                yield response

    @contextlib.asynccontextmanager
    async def running(self, path: str, command: Command, *, within: float | None = None) -> AsyncIterator[Remote]:
        """Run a command in a container while the context is open, for some seconds at most if it says so."""
        with _translated(f"exec {path}"):
            async with asyncio.timeout(within), started(self._client, path, command) as remote:
                yield remote


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        raise Unavailable(f"{what}: the API server did not answer in time") from error
    except (aiohttp.ClientError, client.OpenApiException, config.ConfigException, OSError) as error:
        raise Unavailable(f"{what}: the API server cannot be reached: {error}") from error


async def lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Split a watch into lines; unlike the stream's own readline, without a bound on their length."""
    pieces: list[bytes] = []
    async for chunk in response.content.iter_any():
        head, *rest = chunk.split(b"\n")
        pieces.append(head)
        for piece in rest:
            if line := b"".join(pieces).strip():
                yield line
            pieces = [piece]


def object_of(data: bytes, what: str) -> Object:
    """Read the object that an answer is."""
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise Internal(f"{what}: the API server answered with something that is no JSON") from error
    if not isinstance(value, dict):
        raise Internal(f"{what}: the API server answered with something that is no object")
    return value
