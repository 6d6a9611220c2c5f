"""Commands in containers: the part of the door to the API server that speaks Kubernetes' remote command protocol.

Source: k8s.io/apimachinery/pkg/util/remotecommand, k8s.io/client-go/tools/remotecommand. Over a WebSocket each message
begins with the number of its channel; what the command came to is a meta/v1 Status on channel 3. Nothing is typed in.
"""

from collections.abc import Sequence

import aiohttp
import orjson
from kubernetes.aio import client

from atoll.edge.member.errors import error_of
from atoll.federation.errors import AtollError, Internal, Unavailable

# v5 adds that the client may close standard input; a server that knows neither refuses the handshake.
_PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
_STDOUT, _STDERR, _RESULT = 1, 2, 3
# A status of a mesh with 511 clusters has some 500 kB.
_LONGEST_OUTPUT_BYTES = 16 * 1024 * 1024
_TOLD_ERROR_CHARS = 300


async def run_command(api: client.ApiClient, path: str, container: str, command: Sequence[str]) -> bytes:
    """Run a command to its end and give what it wrote to its standard output; raises as Kube.execute, and aiohttp's."""
    what = f"exec {path}"
    query = [("container", container), ("stdout", "true"), ("stderr", "true"), *(("command", part) for part in command)]
    method, url, headers, *_ = await api.param_serialize(
        "GET", path, query_params=query, header_params={}, auth_settings=["BearerToken"]
    )
    session = api.rest_client.pool_manager or api.rest_client._create_pool_manager()
    api.rest_client.pool_manager = session
    address = f"ws{url.removeprefix('http')}"
    try:
        async with session.ws_connect(
            address, method=method, headers=headers, protocols=_PROTOCOLS, proxy=api.rest_client.proxy
        ) as socket:
            return await _output(socket, what)
    except aiohttp.WSServerHandshakeError as error:
        raise error_of(error.status, b"", what=what, headers=error.headers or {}) from error


async def _output(socket: aiohttp.ClientWebSocketResponse, what: str) -> bytes:
    written: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray()}
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
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
