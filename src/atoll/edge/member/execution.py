"""Commands in containers: the part of the door to the API server that speaks Kubernetes' remote command protocol.

Source: k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/client-go/tools/remotecommand. Over a WebSocket each message
begins with the number of its channel; what the command came to is a meta/v1 Status on channel 3.
"""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import aiohttp
import orjson
from kubernetes.aio import client

from atoll.edge.member.errors import error_of
from atoll.federation.errors import AtollError, Internal, Unavailable

# v5 adds that the client may close standard input; a server that knows neither refuses the handshake.
_V5, _V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
_CLOSE = 255
_STDOUT, _STDERR, _RESULT = 1, 2, 3
# A status of a mesh with 511 clusters has some 500 kB.
_LONGEST_OUTPUT_BYTES = 16 * 1024 * 1024
_TOLD_ERROR_CHARS = 300


@dataclass(frozen=True)
class Command:
    """A command and where it runs; without `has_stdin` nothing can be typed in."""

    container: str
    words: Sequence[str]
    has_stdin: bool = False
    has_terminal: bool = False

    def query(self) -> list[tuple[str, str]]:
        """Give PodExecOptions (core/v1): a terminal has one output only."""
        flags = {"stdin": self.has_stdin, "stdout": True, "stderr": not self.has_terminal, "tty": self.has_terminal}
        chosen = [(name, "true") for name, is_wanted in flags.items() if is_wanted]
        return [("container", self.container), *chosen, *(("command", word) for word in self.words)]


class Remote:
    """A command that runs in a container."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """Give what it writes, each with its channel, until the API server ends the connection."""
        async for message in self._socket:
            if message.type is aiohttp.WSMsgType.BINARY and message.data:
                yield message.data[0], message.data[1:]

    async def send(self, channel: int, data: bytes) -> None:
        """Send something on a channel, as soon as the API server takes it."""
        await self._socket.send_bytes(bytes((channel,)) + data)

    async def end(self, channel: int) -> bool:
        """Say that no more comes on a channel; False if the API server is too old to be told (before 1.30)."""
        if self._socket.protocol != _V5:
            return False
        await self._socket.send_bytes(bytes((_CLOSE, channel)))
        return True


@contextlib.asynccontextmanager
async def started(api: client.ApiClient, path: str, command: Command) -> AsyncIterator[Remote]:
    """Run a command while the context is open; raises as Kube.running, and aiohttp's."""
    method, url, headers, *_ = await api.param_serialize(
        "GET", path, query_params=command.query(), header_params={}, auth_settings=["BearerToken"]
    )
    session = api.rest_client.pool_manager or api.rest_client._create_pool_manager()
    api.rest_client.pool_manager = session
    address = f"ws{url.removeprefix('http')}"
    try:
        async with session.ws_connect(
            address, method=method, headers=headers, protocols=(_V5, _V4), proxy=api.rest_client.proxy
        ) as socket:
            yield Remote(socket)
    except aiohttp.WSServerHandshakeError as error:
        raise error_of(error.status, b"", what=f"exec {path}", headers=error.headers or {}) from error


async def output_of(remote: Remote, what: str) -> bytes:
    """Wait for a command's end and give what it wrote to its standard output; raises as Kube.execute."""
    written: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray()}
    async for channel, data in remote.frames():
        if channel == _RESULT:
            if failure := _failure(data, bytes(written[_STDERR]), what):
                raise failure
            return bytes(written[_STDOUT])
        written.setdefault(channel, bytearray()).extend(data)
        if len(written[channel]) > _LONGEST_OUTPUT_BYTES:
            raise Internal(f"{what}: the command wrote more than {_LONGEST_OUTPUT_BYTES} bytes")
    raise Unavailable(f"{what}: the connection ended before the command did")


def _failure(data: bytes, errors: bytes, what: str) -> AtollError | None:
    """Read the Status with which a command ends; None if it succeeded."""
    try:
        status = orjson.loads(data)
        if status.get("status") == "Success":
            return None
        message = str(status.get("message") or status.get("reason") or "it failed")
    except (orjson.JSONDecodeError, AttributeError):
        return Internal(f"{what}: the API server told the command's end with something that is no Status")
    said = errors.decode(errors="replace").strip()[:_TOLD_ERROR_CHARS]
    return Unavailable(f"{what}: {message}" + (f": {said}" if said else ""))
