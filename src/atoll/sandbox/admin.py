"""The sandbox's admin API on a unix socket: plants faults and takes them back.

Owns the routes; each changes one thing that the simulation reads. JSON in, JSON out:

    GET /clusters                                          names, free bytes, isolation
    GET /links                                             every link as each end sees it
    PUT /links/{near}/{far}         {"up": bool, "bothWays": bool = true}
    PUT /clusters/{name}/capacity   {"bytes": int}         how much its storage may hold
    PUT /clusters/{name}/nodes/{node} {"ready": bool}      heartbeats stop or go on
    PUT /clusters/{name}/cilium     {"forbidden": ["/endpoint", …]}  paths of its agent that answer 403
                                    {"stuck": ["node-1", …]}  nodes that realize no more policies than by now
    PUT /clusters/{name}            {"meshed": bool = false}  start one more; its form follows from its name
                                    {"podNetwork": "127.N.0.0/16"}  on whose addresses its pods really are
    DELETE /clusters/{name}                                end one
    GET /faults                                            those that stand: what, since when
    POST /faults                    {"kind", "cluster", "peer", "oneWay", "delaySeconds", "once"}, see faults/fault.py
    DELETE /faults?cluster=NAME                            heal all, or those that concern a cluster
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.federation.errors import AtollError, Conflict, InvalidInput, Unavailable
from atoll.federation.resources.base import Model
from atoll.kubeapi import errors as api_errors
from atoll.sandbox.cilium.answers import instant
from atoll.sandbox.cilium.links import UnknownLink
from atoll.sandbox.cilium.traffic import Connection
from atoll.sandbox.faults.fault import Fault, FaultKind, Standing
from atoll.sandbox.forms import generated
from atoll.sandbox.hosting import Site
from atoll.sandbox.running import Sandbox
from atoll.sandbox.spec import check_pod_network


class Admin:
    """The admin API of one sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Control this sandbox."""
        self._sandbox = sandbox

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/clusters", self._list),
            Route("/links", self._list_links),
            Route("/links/{near}/{far}", self._set_link, methods=["PUT"]),
            Route("/clusters/{name}/capacity", self._set_capacity, methods=["PUT"]),
            Route("/clusters/{name}/nodes/{node}", self._set_node, methods=["PUT"]),
            Route("/clusters/{name}/cilium", self._set_cilium, methods=["PUT"]),
            Route("/clusters/{name}", self._start_cluster, methods=["PUT"]),
            Route("/clusters/{name}", self._stop_cluster, methods=["DELETE"]),
            Route("/faults", self._list_faults, methods=["GET"]),
            Route("/faults", self._plant, methods=["POST"]),
            Route("/faults", self._heal, methods=["DELETE"]),
        ]
        handlers: dict[Any, Any] = {AtollError: _refuse, UnknownLink: _refuse, api_errors.NotFound: _refuse}
        return Starlette(routes=routes, exception_handlers=handlers)

    async def _list(self, _: Request) -> Response:
        return _json(
            {
                name: {
                    "freeBytes": site.cluster.capacity.free_bytes(),
                    "limitBytes": site.cluster.capacity.limit_bytes,
                }
                for name, site in self._sandbox.host.sites.items()
            }
        )

    async def _list_links(self, _: Request) -> Response:
        links = self._sandbox.links
        names = links.names
        views = {f"{near}/{far}": links.view(near, far) for near in names for far in names if near != far}
        return _json(
            {
                name: {"up": link.is_up, "failures": link.failures, "lastFailure": instant(link.last_failure_at)}
                for name, link in views.items()
            }
        )

    async def _set_link(self, request: Request) -> Response:
        body = await _body(request, {"up": bool}, {"bothWays": bool})
        near, far = request.path_params["near"], request.path_params["far"]
        self._sandbox.links.set_up(near, far, is_up=body["up"], both_ways=body.get("bothWays", True))
        return _json({"up": body["up"]})

    async def _set_capacity(self, request: Request) -> Response:
        cluster = self._site(request).cluster
        body = await _body(request, {"bytes": int})
        cluster.capacity.set_limit(body["bytes"])
        return _json({"freeBytes": cluster.capacity.free_bytes()})

    async def _set_node(self, request: Request) -> Response:
        cluster = self._site(request).cluster
        body = await _body(request, {"ready": bool})
        await cluster.heartbeats.set_ready(request.path_params["node"], is_ready=body["ready"])
        return _json(body)

    async def _set_cilium(self, request: Request) -> Response:
        agent = self._site(request).cilium
        body = await _body(request, {}, {"forbidden": list, "stuck": list, "hubble": bool, "connections": list})
        if "forbidden" in body:
            agent.forbidden = {str(path) for path in body["forbidden"]}
        if "stuck" in body:
            await agent.policies.stick(str(node) for node in body["stuck"])
        agent.traffic.has_hubble = body.get("hubble", agent.traffic.has_hubble)
        opened = [await agent.connect(Connection.read(each)) for each in body.get("connections", ())]
        return _json({**body, "opened": opened})

    async def _start_cluster(self, request: Request) -> Response:
        body = await _body(request, {}, {"meshed": bool, "podNetwork": str})
        taken = {spec.mesh_id for spec in self._sandbox.settings.clusters}
        kinds = self._sandbox.settings.clusters[0].kinds
        network = check_pod_network(body.get("podNetwork", ""))
        spec = replace(generated(request.path_params["name"], taken), kinds=kinds, pod_network=network)
        site = await self._sandbox.start_cluster(spec, is_meshed=body.get("meshed", False))
        return _json(asdict(site.state))

    async def _stop_cluster(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._sandbox.stop_cluster(name)
        return _json({"stopped": name})

    async def _list_faults(self, _: Request) -> Response:
        return _json([wire(standing) for standing in self._sandbox.faults.standing])

    async def _plant(self, request: Request) -> Response:
        wanted = _read(FaultRequest, await request.body())
        fault = wanted.fault()
        if wanted.once:
            await self._sandbox.faults.kill_once(fault)
            return _json({"text": fault.text(), "since": None})
        return _json(wire(await self._sandbox.faults.plant(fault)))

    async def _heal(self, request: Request) -> Response:
        healed = await self._sandbox.faults.heal(request.query_params.get("cluster", ""))
        return _json([wire(standing) for standing in healed])

    def _site(self, request: Request) -> Site:
        return self._sandbox.host.site(request.path_params["name"])


class FaultRequest(Model):
    """A fault that somebody wants; with `once` it is a death from which whoever looks after the dead brings it back."""

    kind: FaultKind
    cluster: str
    peer: str = ""
    one_way: bool = False
    delay_seconds: float = 0.0
    once: bool = False

    def fault(self) -> Fault:
        """Give the fault. Raises InvalidInput."""
        return Fault(self.kind, self.cluster, self.peer, self.one_way, self.delay_seconds)


def wire(standing: Standing) -> dict[str, Any]:
    """Give a standing fault as JSON has it."""
    return {"text": standing.fault.text(), "since": standing.since.isoformat(), **standing.fault.wire()}


def _read(model: type[FaultRequest], body: bytes) -> FaultRequest:
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise InvalidInput(f"{'.'.join(map(str, first['loc'])) or 'the body'}: {first['msg']}") from None


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
    codes = {InvalidInput: 400, Conflict: 409, Unavailable: 503}
    return _json({"error": str(error)}, codes.get(type(error), 404))


def _json(value: object, code: int = 200) -> Response:
    return Response(orjson.dumps(value), code, media_type="application/json")
