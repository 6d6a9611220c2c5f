"""The hub's own API, asked from within as the user who looks at a page.

Owns the request: it passes the same guard as one from outside, so that authentication, roles, admission and the audit
log are those of every client. It must not add rights, and hands on no header of the browser but those named here.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_MERGE_PATCH = b"application/merge-patch+json"
_KEPT = (b"user-agent", b"host")


@dataclass(frozen=True)
class Origin:
    """Of a browser's request what the API learns: its address, its TLS, and the headers that records name."""

    client: Any = None
    extensions: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    scheme: str = "http"

    @classmethod
    def of(cls, request: Request) -> "Origin":
        """Take it from a request."""
        kept = tuple((name, value) for name, value in request.scope["headers"] if name in _KEPT)
        scope = request.scope
        return cls(scope.get("client"), scope.get("extensions") or {}, kept, scope.get("scheme", "http"))


@dataclass(frozen=True)
class Answer:
    """What the API answered."""

    code: int
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it was done."""
        return 200 <= self.code < 300

    @property
    def json(self) -> Any:
        """The document; None if it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return None

    @property
    def message(self) -> str:
        """What it says: the message of a Status, or the text."""
        found = self.json
        if isinstance(found, dict) and found.get("kind") == "Status":
            return str(found.get("message", ""))
        return self.body.decode(errors="replace")


class Inside:
    """Calls the API application in this process."""

    def __init__(self, api: ASGIApp) -> None:
        self._api = api

    async def call(
        self,
        method: str,
        path: str,
        *,
        credential: str = "",
        body: Any = None,
        origin: Origin = Origin(),
    ) -> Answer:
        """Send one request and give its whole answer. A PATCH is a merge patch."""
        sent = orjson.dumps(body) if body is not None else b""
        scope, messages = _scope(method, path, credential=credential, origin=origin), iter((sent, None))
        code, chunks = 500, []

        async def receive() -> Message:
            part = next(messages, None)
            if part is None:
                await asyncio.Event().wait()  # nothing more comes, and the caller does not go away
            return {"type": "http.request", "body": part or b"", "more_body": False}

        async def send(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            else:
                chunks.append(message.get("body", b""))

        await self._api(scope, receive, send)
        return Answer(code, b"".join(chunks))

    async def relay(self, request: Request, path: str, *, credential: str, receive: Receive, send: Send) -> None:
        """Answer a browser's GET with what the API answers to another path, as it comes: for logs."""
        scope = _scope("GET", path, credential=credential, origin=Origin.of(request))
        await self._api(scope, receive, send)


def _scope(method: str, path: str, *, credential: str, origin: Origin) -> Scope:
    plain, _, query = path.partition("?")
    headers = list(origin.headers)
    if credential:
        headers.append((b"authorization", b"Bearer " + credential.encode()))
    if method == "PATCH":
        headers.append((b"content-type", _MERGE_PATCH))
    elif method in ("POST", "DELETE"):
        headers.append((b"content-type", b"application/json"))
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": origin.scheme,
        "path": plain,
        "raw_path": plain.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers,
        "client": origin.client,
        "server": None,
        "extensions": dict(origin.extensions),
    }
