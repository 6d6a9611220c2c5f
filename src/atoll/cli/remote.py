"""A terminal that is connected to a command elsewhere: the CLI's door to WebSockets, by aiohttp.

Owns the terminal's mode, the channels of Kubernetes' remote command protocol as a client sees them, and the exit code.
No aiohttp type or exception leaves this file. Source: k8s.io/client-go/tools/remotecommand, and KEP-4006 for v5.
"""

import asyncio
import contextlib
import os
import signal
import ssl
import sys
import termios
import threading
import tty
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

import aiohttp
import orjson

from atoll import __version__
from atoll.cli.refusals import refusal, unreached
from atoll.cli.trust import tls_trouble
from atoll.federation.errors import Internal, Unavailable
from atoll.local.credentials import Credentials, tls_context

_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_STDIN, _STDOUT, _STDERR, _RESULT, _RESIZE, _CLOSE = 0, 1, 2, 3, 4, 255
_READ_BYTES = 64 * 1024
_CONNECT_SECONDS = 30.0


@dataclass(frozen=True)
class Remote:
    """A command and where it is asked for: `path` is the exec subresource on the server."""

    server: str
    credentials: Credentials
    path: str
    query: tuple[tuple[str, str], ...]
    has_stdin: bool
    has_terminal: bool


def execute(remote: Remote) -> int:
    """Run a command with this process's stdin, stdout and stderr; give its exit code.

    Raises:
        Unavailable: the connection ended before the command did. Others: as the server refuses it.
    """
    with _raw_terminal() if remote.has_terminal else contextlib.nullcontext():
        return asyncio.run(_talk(remote))


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Hand on keys as they are pressed, Ctrl-C too, until the context ends."""
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setraw(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


async def _talk(remote: Remote) -> int:
    async with _connected(remote) as socket:
        typing = asyncio.create_task(_type(socket, remote))
        try:
            return await _print(socket)
        finally:
            typing.cancel()
            await asyncio.gather(typing, return_exceptions=True)


@contextlib.asynccontextmanager
async def _connected(remote: Remote) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    url = f"{remote.server.replace('http', 'ws', 1)}{remote.path}?{urlencode(remote.query)}"
    headers = {"User-Agent": f"atoll/{__version__}"}
    if remote.credentials.token:
        headers["Authorization"] = f"Bearer {remote.credentials.token}"
    tls: ssl.SSLContext | bool = tls_context(remote.credentials) if url.startswith("wss:") else True
    timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        try:
            socket = await session.ws_connect(url, protocols=(_V5, _V4), ssl=tls, max_msg_size=0)
        except aiohttp.WSServerHandshakeError:
            raise await _refusal(session, remote, tls) from None
        except (aiohttp.ClientError, OSError) as error:
            raise tls_trouble(remote.server, error) or unreached(remote.server, str(error)) from error
        async with socket:
            yield socket


async def _refusal(session: aiohttp.ClientSession, remote: Remote, tls: ssl.SSLContext | bool) -> Exception:
    """Ask again by plain HTTP, whose answer says why: aiohttp drops that of a refused handshake."""
    async with session.get(f"{remote.server}{remote.path}", params=remote.query, ssl=tls) as answer:
        return refusal(remote.server, remote.credentials, answer.status, await answer.read(), remote.path)


async def _print(socket: aiohttp.ClientWebSocketResponse) -> int:
    """Copy what the command prints, and give its exit code."""
    outputs: dict[int, BinaryIO] = {_STDOUT: sys.stdout.buffer, _STDERR: sys.stderr.buffer}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == _RESULT:
            return _exit_code(data)
        if channel in outputs:
            outputs[channel].write(data)
            outputs[channel].flush()
    raise Unavailable("the connection ended before the command did: whether it goes on is not known")


def _exit_code(data: bytes) -> int:
    """Read the Status of a command's end (meta/v1). Raises Unavailable: it was no end of the command's own."""
    try:
        status: dict[str, Any] = orjson.loads(data)
        if status.get("status") == "Success":
            return 0
        causes = (status.get("details") or {}).get("causes") or ()
        for cause in causes:
            if cause.get("reason") == "ExitCode":
                return int(cause["message"])
        message = str(status.get("message") or "the command failed")
    except (ValueError, AttributeError, KeyError) as error:
        raise Internal("the command's end was told by something that is no Status") from error
    raise Unavailable(message)


async def _type(socket: aiohttp.ClientWebSocketResponse, remote: Remote) -> None:
    """Hand on what is typed, and the terminal's size when it changes."""
    loop, resized = asyncio.get_running_loop(), asyncio.Event()
    sizes = asyncio.create_task(_send_sizes(socket, resized)) if remote.has_terminal else None
    if sizes is not None:
        resized.set()
        loop.add_signal_handler(signal.SIGWINCH, resized.set)
    try:
        if remote.has_stdin:
            typed = _typed()
            while data := await typed.get():
                await socket.send_bytes(bytes((_STDIN,)) + data)
            if socket.protocol == _V5:
                await socket.send_bytes(bytes((_CLOSE, _STDIN)))
        if sizes is not None:
            await sizes
    finally:
        if sizes is not None:
            loop.remove_signal_handler(signal.SIGWINCH)
            sizes.cancel()


async def _send_sizes(socket: aiohttp.ClientWebSocketResponse, resized: asyncio.Event) -> None:
    while await resized.wait():
        resized.clear()
        columns, rows = os.get_terminal_size(sys.stdin.fileno())
        size = orjson.dumps({"Width": columns, "Height": rows})
        await socket.send_bytes(bytes((_RESIZE,)) + size)


def _typed() -> asyncio.Queue[bytes]:
    """Give what comes on stdin, b"" at its end.

    A thread reads: files and terminals cannot be waited for alike. It is a daemon, since nothing can wake it from a
    read when the command has ended.
    """
    loop, queue = asyncio.get_running_loop(), asyncio.Queue[bytes](maxsize=4)

    def read() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody listens any more
            while True:
                data = os.read(sys.stdin.fileno(), _READ_BYTES)
                asyncio.run_coroutine_threadsafe(queue.put(data), loop).result()
                if not data:
                    return

    threading.Thread(target=read, name="stdin", daemon=True).start()
    return queue
