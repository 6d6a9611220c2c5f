"""The HTTP server of the hub: the only door to uvicorn in this room. Owns the socket and a clean end."""

import asyncio
import contextlib
import errno
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from starlette.types import ASGIApp

from atoll.federation.errors import Conflict, InvalidInput

# Watches end by themselves when the store closes; a client that does not read its last bytes gets this long.
_GRACE_SECONDS = 2
_BACKLOG = 2048  # uvicorn's own default


def listen(host: str, port: int) -> socket.socket:
    """Open the listening socket; port 0 lets the system choose.

    Raises:
        Conflict: the port is in use. InvalidInput: the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
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


def url_of(listener: socket.socket) -> str:
    """Give the URL at which a listening socket is reached."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """A server that leaves signals to the process's own handlers."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket) -> AsyncIterator["asyncio.Task[None]"]:
    """Serve an application during the context; gives the serving task, which ends early only by a failure."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="hub-http")
    try:
        yield task
    finally:
        server.should_exit = True
        await asyncio.wait({task})
