"""Connect subresources, such as `exec` of pods: a client and what stands behind an object talk over a WebSocket.

Owns the routes and the handshake; must not know any kind, nor what is said. Who may connect is decided by the guard.
"""

from __future__ import annotations

from typing import Any, Protocol

from starlette.datastructures import QueryParams
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.http.access import Action
from atoll.kubeapi.http.channels import PROTOCOLS, Channels, ClientGone, chosen
from atoll.kubeapi.http.target import Target
from atoll.kubeapi.resource import ResourceType


class Session(Protocol):
    """One conversation."""

    async def run(self, channels: Channels) -> dict[str, Any]:
        """Talk to the end; return the Status that it came to. Raises ClientGone."""


class Connector(Protocol):
    """What stands behind a connect subresource."""

    async def connect(self, target: Target, query: QueryParams) -> Session:
        """Make ready what is asked for. Raises ApiError, and no WebSocket is opened."""


def connect_routes(rt: ResourceType, subresource: str, connector: Connector) -> list[BaseRoute]:
    """Return the routes of a connect subresource, to go before the API's own."""
    prefix = f"/apis/{rt.group}/{rt.version}" if rt.group else f"/api/{rt.version}"
    where = "/namespaces/{namespace}" if rt.namespaced else ""
    path = f"{prefix}{where}/{rt.plural}/{{name}}/{subresource}"
    connecting = _Connecting(connector)
    return [WebSocketRoute(path, connecting.talk), Route(path, connecting.refuse, methods=["GET", "POST"])]


class _Connecting:
    """Answers requests to one connect subresource."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector

    async def talk(self, socket: WebSocket) -> None:
        """Open the WebSocket and have the session talk."""
        session = await self._session(socket)
        protocol = chosen(socket.scope["subprotocols"])
        if protocol is None:
            raise _unspoken()
        await socket.accept(subprotocol=protocol)
        channels = Channels(socket, protocol)
        try:
            await channels.end(await session.run(channels))
        except ClientGone:
            return

    async def refuse(self, request: Request) -> Response:
        """Say what is wrong with the request itself, else that it needs a WebSocket.

        Clients whose WebSocket was refused ask again so, by SPDY, and show the answer to this.
        """
        await self._session(request)
        raise _unspoken()

    async def _session(self, connection: HTTPConnection) -> Session:
        action: Action = connection.state.action
        assert action.target is not None, "the path of this route names a resource"
        return await self._connector.connect(action.target, connection.query_params)


def _unspoken() -> BadRequest:
    return BadRequest(f"this needs a WebSocket that speaks {' or '.join(PROTOCOLS)}: connect with such a client")
