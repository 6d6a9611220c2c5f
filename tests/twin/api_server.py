"""A member's API server at the agent's door, without sockets: kubeapi's own HTTP application is called directly.

`TwinApi` stands where the agent's Kube has its generated client, so the whole of Kube is real. Owns what goes wrong
between agent and API server; it must not know what is asked.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
from starlette.types import ASGIApp

from twin.machine import Process

_LEAST_SECONDS, _MOST_SECONDS = 0.001, 0.006


@dataclass
class Manners:
    """How an API server answers now. `refuses` is a part of all requests, and `code` is what those get; of the
    part `loses` it does what it is asked, and the answer is lost.
    """

    is_away: bool = False
    hangs: bool = False
    refuses: float = 0.0
    loses: float = 0.0
    code: int = 500
    watches: "dict[Response, None]" = field(default_factory=dict)

    def cut(self) -> None:
        """Break every watch."""
        for watch in tuple(self.watches):
            watch.cut()


class Response:
    """What aiohttp's response is to Kube."""

    def __init__(self, on_end: Callable[["Response"], None] = lambda _response: None) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.content = self
        self.begun = asyncio.Event()
        self._chunks: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._on_end = on_end
        self.silence_seconds: float | None = None
        self._is_cut = False

    def feed(self, event: dict[str, Any]) -> None:
        if event["type"] == "http.response.start":
            self.status = event["status"]
            self.headers = {k.decode().title(): v.decode() for k, v in event.get("headers", ())}
            return
        if body := event.get("body", b""):
            self._chunks.put_nowait(body)
        if not event.get("more_body", False):
            self._chunks.put_nowait(None)
        self.begun.set()

    async def began(self) -> int:
        """Wait for the answer; give its status."""
        await self.begun.wait()
        return self.status

    def cut(self) -> None:
        self._is_cut = True
        self._chunks.put_nowait(None)

    async def iter_any(self) -> AsyncIterator[bytes]:
        while True:
            async with asyncio.timeout(self.silence_seconds):
                chunk = await self._chunks.get()
            if self._is_cut:
                raise aiohttp.ClientPayloadError("the connection was cut")
            if chunk is None:
                return
            yield chunk

    async def read(self) -> bytes:
        return b"".join([chunk async for chunk in self.iter_any()])

    async def __aenter__(self) -> "Response":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._on_end(self)


@dataclass
class _Wrapped:
    response: Response


class TwinApi:
    """In the place of kubernetes.aio's ApiClient."""

    def __init__(self, app: ASGIApp, server: Process, manners: Manners, chance: Random) -> None:
        self._app, self._server, self._manners, self._chance = app, server, manners, chance

    async def param_serialize(
        self, method: str, path: str, *, query_params: Any, header_params: Any, body: Any, auth_settings: Any
    ) -> tuple[Any, ...]:
        return method, path, query_params, header_params, body

    async def call_api(
        self, method: str, path: str, query: Any, headers: Any, body: Any, *, _request_timeout: aiohttp.ClientTimeout
    ) -> _Wrapped:
        payload = orjson.dumps(body) if body is not None else b""
        async with asyncio.timeout(_request_timeout.total):
            await asyncio.sleep(self._chance.uniform(_LEAST_SECONDS, _MOST_SECONDS))
            manners = self._manners
            if manners.is_away:
                raise aiohttp.ClientConnectionError("connection refused")
            if manners.hangs:
                await asyncio.sleep(3600)
            if manners.refuses and self._chance.random() < manners.refuses:
                return _Wrapped(self._refusal(method))
            response = self._serve(method, path, query, headers, payload)
            await response.began()
        if manners.loses and self._chance.random() < manners.loses:
            raise aiohttp.ServerDisconnectedError
        if _request_timeout.sock_read:
            response.silence_seconds = _request_timeout.sock_read
            self._manners.watches[response] = None
        return _Wrapped(response)

    def _refusal(self, method: str) -> Response:
        """Answer as a server in bad times does; a conflict only to who writes."""
        code = self._manners.code
        code = 500 if code == 409 and method == "GET" else code
        response = Response()
        head = [(b"content-type", b"application/json"), (b"retry-after", b"1")]
        status = {"kind": "Status", "apiVersion": "v1", "message": "in bad times", "code": code}
        response.feed({"type": "http.response.start", "status": code, "headers": head})
        response.feed({"type": "http.response.body", "body": orjson.dumps(status)})
        return response

    def _serve(self, method: str, path: str, query: Any, headers: Any, payload: bytes) -> Response:
        gone = asyncio.Event()

        def end(response: Response) -> None:
            self._manners.watches.pop(response, None)
            gone.set()

        response = Response(end)
        self._server.start(called(self._app, (method, path, urlencode(query), headers, payload), response, gone))
        return response

    async def close(self) -> None:
        pass


async def called(
    app: ASGIApp, request: tuple[str, str, str, Any, bytes], response: Response, gone: asyncio.Event
) -> None:
    """Call an ASGI application with a request, and feed what it answers to a response."""
    method, path, query, headers, payload = request
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "client": ("twin", 1),
        "server": ("twin", 80),
        "state": {},
    }
    is_read = False

    async def receive() -> dict[str, Any]:
        nonlocal is_read
        if not is_read:
            is_read = True
            return {"type": "http.request", "body": payload, "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(event: dict[str, Any]) -> None:
        response.feed(event)

    with contextlib.suppress(asyncio.CancelledError):
        await app(scope, receive, send)
