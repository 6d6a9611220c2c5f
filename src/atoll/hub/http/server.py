"""The HTTP server of the hub: the only door to uvicorn in this room.

Owns the socket, a clean end, and what the application learns of the TLS of a connection. What a proxy says about whose
request it hands on is not believed: anybody can write such headers.
"""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.wsproto_impl import WSProtocol

from atoll.federation.errors import Conflict, InvalidInput
from atoll.hub.access.certificates import tls_extension
from atoll.hub.http.tls import Tls

# Watches end by themselves when the store closes; a client that does not read its last bytes gets this long.
_GRACE_SECONDS = 2
_BACKLOG = 2048  # uvicorn's own default
# Both as kube-apiserver has them: IdleTimeout in its secure_serving.go, and net/http's DefaultMaxHeaderBytes. A server
# that hangs up earlier than its clients do meets requests on the way, and TLS makes new connections dear.
_IDLE_SECONDS = 90
_LONGEST_HEAD_BYTES = 1024 * 1024


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 lets the system choose.

    Raises:
        Conflict: the port is in use. InvalidInput: the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named asyncio sets TCP_NODELAY; without, a small answer waits 40 ms for an acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Conflict(
                f"port {port} of {host} is in use: stop what listens there, or choose another port"
            ) from error
        raise InvalidInput(f"cannot listen on {host} port {port}: {error.strerror or error}") from error
    return listener


def url_of(listener: socket.socket, *, scheme: str) -> str:
    """Give the URL at which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


class _Protocol(HttpToolsProtocol):
    """HTTP that tells the application about TLS, in the form of ASGI's TLS extension, and that bounds heads.

    uvicorn does neither: it keeps the head of a request, however long, before anybody is asked who sent it.
    """

    _extensions: dict[str, Any] | None = None
    _head_bytes = 0
    _in_head = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn does
        """Look at the client's certificate, once for all requests of the connection."""
        super().connection_made(transport)
        self._extensions = _extensions(transport)

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self._head_bytes, self._in_head = 0, True
        if self._extensions is not None:
            self.scope["extensions"] = self._extensions

    def on_headers_complete(self) -> None:
        """End the head of a request."""
        self._in_head = False
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Take what was sent; a head that does not end is refused."""
        super().data_received(data)
        self._head_bytes += len(data)
        if self._in_head and self._head_bytes > _LONGEST_HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response("The head of the request is too long.")


class _WebSocket(WSProtocol):
    """A WebSocket of which the application learns the same."""

    async def run_asgi(self) -> None:
        """Talk, once the handshake was read."""
        self.scope["extensions"] = {**(self.scope["extensions"] or {}), **(_extensions(self.transport) or {})}
        await super().run_asgi()


def _extensions(transport: asyncio.Transport) -> dict[str, Any] | None:
    """Describe the TLS of a connection; None without any."""
    tls = transport.get_extra_info("ssl_object")
    return None if tls is None else {"tls": tls_extension(tls.getpeercert(binary_form=True), tls.version())}


class _Server(uvicorn.Server):
    """A server that leaves signals to the process's own handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def serving(
    app: ASGIApp, listener: socket.socket, *, tls: Tls | None = None
) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve an application during the context; gives the serving task, which ends early only by a failure."""
    config = uvicorn.Config(
        app,
        http=_Protocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws=_WebSocket,
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # what a slow command has not read yet is not read here either, nor are pongs
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    config.load()
    config.ssl = tls.context if tls is not None else None  # uvicorn would read the files, and only once
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="hub-http")
    try:
        yield task
    finally:
        server.should_exit = True
        await asyncio.wait({task})
