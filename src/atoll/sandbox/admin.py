"""The sandbox's admin API on a unix socket: plants faults and takes them back.

Owns the routes; each changes one thing that the simulation reads. JSON in, JSON out:

    GET /clusters                                          names, free bytes, isolation
    GET /links                                             every link as each end sees it
    PUT /links/{near}/{far}         {"up": bool, "bothWays": bool = true}
    PUT /clusters/{name}/capacity   {"bytes": int}         how much its storage may hold
    PUT /clusters/{name}/nodes/{node} {"ready": bool}      heartbeats stop or go on
    PUT /clusters/{name}/cilium     {"forbidden": ["/endpoint", …]}  paths of its agent that answer 403
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.errors import AtollError, InvalidInput, NotFound
from atoll.kubeapi import errors as api_errors
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.answers import instant
from atoll.sandbox.cilium.links import Links, UnknownLink
from atoll.sandbox.cluster import SimulatedCluster


class Admin:
    """The admin API of one sandbox."""

    def __init__(
        self, clusters: Mapping[str, SimulatedCluster], agents: Mapping[str, CiliumAgent], links: Links
    ) -> None:
        """Control these clusters, their Cilium agents, and the links between them."""
        self._clusters = clusters
        self._agents = agents
        self._links = links

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/clusters", self._list),
            Route("/links", self._list_links),
            Route("/links/{near}/{far}", self._set_link, methods=["PUT"]),
            Route("/clusters/{name}/capacity", self._set_capacity, methods=["PUT"]),
            Route("/clusters/{name}/nodes/{node}", self._set_node, methods=["PUT"]),
            Route("/clusters/{name}/cilium", self._set_forbidden, methods=["PUT"]),
        ]
        handlers: dict[Any, Any] = {AtollError: _refuse, UnknownLink: _refuse, api_errors.NotFound: _refuse}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _list(self, _: Request) -> Response:
        return _json(
            {
                name: {"freeBytes": cluster.capacity.free_bytes(), "limitBytes": cluster.capacity.limit_bytes}
                for name, cluster in self._clusters.items()
            }
        )

    async def _list_links(self, _: Request) -> Response:
        names = self._links.names
        views = {f"{near}/{far}": self._links.view(near, far) for near in names for far in names if near != far}
        return _json(
            {
                name: {"up": link.is_up, "failures": link.failures, "lastFailure": instant(link.last_failure_at)}
                for name, link in views.items()
            }
        )

    async def _set_link(self, request: Request) -> Response:
        body = await _body(request, {"up": bool}, {"bothWays": bool})
        near, far = request.path_params["near"], request.path_params["far"]
        self._links.set_up(near, far, is_up=body["up"], both_ways=body.get("bothWays", True))
        return _json({"up": body["up"]})

    async def _set_capacity(self, request: Request) -> Response:
        cluster = self._cluster(request)
        body = await _body(request, {"bytes": int})
        cluster.capacity.set_limit(body["bytes"])
        return _json({"freeBytes": cluster.capacity.free_bytes()})

    async def _set_node(self, request: Request) -> Response:
        cluster = self._cluster(request)
        body = await _body(request, {"ready": bool})
        await cluster.heartbeats.set_ready(request.path_params["node"], is_ready=body["ready"])
        return _json(body)

    async def _set_forbidden(self, request: Request) -> Response:
        agent = self._agents[self._cluster(request).spec.name]
        body = await _body(request, {"forbidden": list})
        agent.forbidden = {str(path) for path in body["forbidden"]}
        return _json(body)

    def _cluster(self, request: Request) -> SimulatedCluster:
        name = request.path_params["name"]
        if name not in self._clusters:
            raise NotFound(f"there is no cluster {name!r}: there are {', '.join(self._clusters)}")
        return self._clusters[name]


async def _body(request: Request, needed: Mapping[str, type], optional: Mapping[str, type] | None = None) -> Any:
    """Read a JSON object with exactly these fields. Raises InvalidInput naming the field."""
    known = {**needed, **(optional or {})}
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise InvalidInput(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise InvalidInput(f"the body must be an object with {', '.join(known)}")
    for name in (*needed, *body):
        if name not in known:
            raise InvalidInput(f"{name}: unknown field: there are {', '.join(known)}")
        if type(body.get(name)) is not known[name]:
            raise InvalidInput(f"{name}: must be of type {known[name].__name__}")
    return body


async def _refuse(_: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, 400 if isinstance(error, InvalidInput) else 404)


def _json(value: object, code: int = 200) -> Response:
    return Response(orjson.dumps(value), code, media_type="application/json")
