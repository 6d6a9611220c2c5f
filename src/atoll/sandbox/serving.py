"""HTTP servers inside the sandbox's process: on loopback ports and on unix sockets.

Owns the only use of uvicorn in this room; the process's signals stay the caller's.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from atoll.federation.errors import InvalidInput, Unavailable

_MAX_SOCKET_PATH = 100  # sockaddr_un has 108 bytes on Linux and 104 on macOS, with the closing zero
_BACKLOG = 1024
_CLOSE_SECONDS = 1
"""How long open requests may go on at the end: watches and followed logs never end by themselves."""


class Server(uvicorn.Server):
    """One server that runs."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: the process has several servers and one owner of its signals."""
        yield

    def cut(self) -> None:
        """Break every connection, as the death of a process does: nobody is told, nothing is finished."""
        for connection in tuple(self.server_state.connections):
            if connection.transport is not None:
                connection.transport.abort()


@dataclass(frozen=True)
class Identity:
    """The files of a server's certificate and its key."""

    certificate: Path
    key: Path


def listen(port: int) -> socket.socket:
    """Return a listening socket on loopback; port 0 takes any free one. Raises Unavailable if the port is taken."""
    # With the protocol named asyncio sets TCP_NODELAY; without, a small answer waits 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(_BACKLOG)
        return listener
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise Unavailable(
                f"port {port} is in use: stop what listens on it, or let the sandbox choose (0)"
            ) from None
        raise


def listen_unix(path: Path) -> socket.socket:
    """Return a listening unix socket in the place of what is left of an earlier one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(128)
    return listener


@contextlib.contextmanager
def socket_folder(home: Path, longest_name: str) -> Iterator[Path]:
    """Give a folder for sockets: `home`, or a temporary one if the paths would be longer than sockets can have.

    The temporary one is the same after a restart: agents keep the path of the socket they were started with.
    """
    if len(str(home / longest_name)) <= _MAX_SOCKET_PATH:
        yield home
        return
    digest = hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:12]
    folder = Path(tempfile.gettempdir()) / f"atoll-{digest}"
    if len(f"{folder}/{longest_name}") > _MAX_SOCKET_PATH:
        raise InvalidInput(f"{home} is too long a path for unix sockets, and so is TMPDIR: choose a shorter home")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise InvalidInput(f"{folder} belongs to somebody else: remove it, or choose a shorter home")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def serving(app: ASGIApp, listener: socket.socket, *, identity: Identity | None = None) -> AsyncIterator[Server]:
    """Serve an application on a socket while the context is open; the socket is closed with it. TLS by `identity`."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        loop="none",
        ws="wsproto",
        ws_per_message_deflate=False,
        ws_ping_interval=None,  # while a command does not read, what is typed is not read either, nor are pongs
        timeout_graceful_shutdown=_CLOSE_SECONDS,
        ssl_certfile=identity.certificate if identity else None,
        ssl_keyfile=identity.key if identity else None,
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]), name="http-server")
    try:
        while not server.started:
            if task.done():
                raise Unavailable("the HTTP server could not start")
            await asyncio.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listener.close()
