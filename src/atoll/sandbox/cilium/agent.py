"""The stand-in Cilium agent of one simulated cluster: an ASGI application for a unix socket.

Owns the routes of the agent API that Atoll reads; what they answer is in answers.py. One stands for the agents of all
nodes. It reports endpoints and links truthfully, and as realized what Cilium would have realized; it drops no packet.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.cilium import answers, health
from atoll.sandbox.cilium.links import Link, Links
from atoll.sandbox.cilium.policies import PolicyEngine, endpoint_policy, repository, selectors
from atoll.sandbox.cilium.traffic import Connection, Traffic
from atoll.sandbox.kinds.catalog import NAMESPACE, POD
from atoll.sandbox.spec import ClusterSpec, NodeSpec

_FIRST_CLIENT = 1


class CiliumAgent:
    """The agent API of one cluster."""

    def __init__(
        self,
        spec: ClusterSpec,
        mesh: Mapping[str, ClusterSpec],
        links: Links,
        store: Store,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        agents: Mapping[str, CiliumAgent] = MappingProxyType({}),
    ) -> None:
        """Report `links` to the other clusters of `mesh`, which may come and go, and the pods in `store`.

        `agents` are those of the clusters that run, this one or not: from them identities come over links.
        """
        self._agents = agents
        self._far: dict[str, dict[int, list[str]]] = {}  # identities of other clusters, as they were heard last
        self.policies = PolicyEngine(spec, store)
        self._clock = clock
        self._spec = spec
        self._mesh = mesh
        self._links = links
        self._store = store
        self._clients: dict[int, tuple[str, ...]] = {}  # which nodes a client has been told
        self.traffic = Traffic(spec, store, self.policies, clock)
        self.forbidden: set[str] = set()
        """Paths below /v1 or /v1beta that answer 403, as with --enable-cilium-api-server-access."""

    def app(self) -> Starlette:
        """Return the application."""
        routes = [
            Route("/v1/healthz", self._health),
            Route("/v1/config", self._config),
            Route("/v1/cluster/nodes", self._nodes),
            Route("/v1/endpoint", self._endpoints),
            Route("/v1/endpoint/{id:int}", self._endpoint),
            Route("/v1/identity", self._identities),
            Route("/v1/policy", self._policy),
            Route("/v1/policy/selectors", self._selectors),
        ]
        return self._guarded(routes)

    def health_app(self) -> Starlette:
        """Return the application of the health prober, which has a socket of its own."""
        return self._guarded(
            [
                Route("/v1beta/status", self._probes),
                Route("/v1beta/status/probe", self._probes, methods=["PUT"]),
            ]
        )

    def _guarded(self, routes: list[Route]) -> Starlette:
        return Starlette(routes=routes, middleware=[Middleware(BaseHTTPMiddleware, dispatch=self._guard)])

    async def _guard(self, request: Request, answer: RequestResponseEndpoint) -> Response:
        if request.url.path.removeprefix("/v1beta").removeprefix("/v1") in self.forbidden:
            return Response(status_code=403)
        return await answer(request)

    async def _health(self, request: Request) -> Response:
        if request.headers.get("brief") == "true":
            return _json({"cilium": {"state": "Ok"}, "kubernetes": {"state": "Ok"}})
        return _json(await self.status(self._spec.nodes[0].name))

    async def _probes(self, _: Request) -> Response:
        return _json(await self.probes(self._spec.nodes[0].name))

    async def status(self, node: str) -> dict[str, Any]:
        """Return the StatusResponse of the agent on one node."""
        return answers.health(self._spec, self._remotes(), await self._namespaces(), node=node)

    async def probes(self, node: str) -> dict[str, Any]:
        """Return the HealthStatusResponse of the prober on one node."""
        return health.status(self._spec, self._remotes(), self._clock(), node=node)

    async def cache(self, _node: str) -> list[dict[str, Any]]:
        """Return how KVStoreMesh itself sees the other clusters."""
        namespaces = await self._namespaces()
        return [answers.remote(far, link, namespaces) for far, link in self._remotes()]

    async def _namespaces(self) -> int:
        return len((await self._store.list(NAMESPACE)).items)

    @property
    def _others(self) -> list[ClusterSpec]:
        return [other for other in self._mesh.values() if other.name != self._spec.name]

    def _remotes(self) -> list[tuple[ClusterSpec, Link]]:
        return [(other, self._links.view(self._spec.name, other.name)) for other in self._others]

    async def _config(self, _: Request) -> Response:
        return _json(answers.configuration(self._spec))

    async def _nodes(self, request: Request) -> Response:
        """Answer with all nodes the first time, with the difference to a client that says which it is."""
        reached = [other for other in self._others if self._links.view(self._spec.name, other.name).is_up]
        now = {node["name"]: node for node in answers.nodes(self._spec, reached)}
        client = int(request.headers.get("client-id", "0"))
        known = self._clients.get(client, ())
        if client not in self._clients:
            client = max(self._clients, default=_FIRST_CLIENT - 1) + 1
        self._clients[client] = tuple(now)
        body = {
            "client-id": client,
            "self": answers.node_name(self._spec, 0),
            "nodes-added": [node for name, node in now.items() if name not in known],
            "nodes-removed": [{"name": name} for name in known if name not in now],
        }
        return _json(answers.omit_empty(body))

    async def _endpoints(self, _: Request) -> Response:
        found = await self.endpoints("")
        return _json(found) if found else Response(status_code=404)

    async def _endpoint(self, request: Request) -> Response:
        for endpoint in await self.endpoints(""):
            if endpoint["id"] == request.path_params["id"]:
                return _json(endpoint)
        return Response(status_code=404)

    async def _identities(self, _: Request) -> Response:
        found = await self.own_identities()
        listed = [{"id": number, "labels": labels} for number, labels in sorted(found.items())]
        return _json(listed) if listed else Response(status_code=404)

    async def _policy(self, _: Request) -> Response:
        return _json(await self.held(self._spec.nodes[0].name))

    async def _selectors(self, _: Request) -> Response:
        return _json(await self.selectors(self._spec.nodes[0].name))

    async def endpoints(self, node: str) -> list[dict[str, Any]]:
        """Return the Endpoints of one node; of all nodes if it is empty."""
        await self.policies.refresh()
        namespaces = await self._namespace_labels()
        found = [self._host(each) for each in self._spec.nodes if each.name == node or not node]
        for pod in await self._pods():
            place = pod["spec"].get("nodeName", "")
            if place == node or not node:
                labels = answers.identity_labels(self._spec, pod, namespaces)
                policy = endpoint_policy(self.policies.realized(place), labels)
                found.append(answers.endpoint(self._spec, pod, labels, policy))
        return found

    def _host(self, node: NodeSpec) -> dict[str, Any]:
        """Return the endpoint that a node is to its own agent."""
        labels = answers.host_labels(node)
        policy = endpoint_policy(self.policies.realized(node.name), labels, is_host=True)
        return answers.host(self._spec, node, labels, policy)

    async def connect(self, connection: Connection) -> bool:
        """Have connections opened; tell whether they are let through. Raises NotFound."""
        return await self.traffic.open(connection, await self._namespace_labels())

    async def held(self, _node: str) -> dict[str, Any]:
        """Return the Policy that the agents hold."""
        await self.policies.refresh()
        return repository(self.policies.held)

    async def selectors(self, node: str) -> list[dict[str, Any]]:
        """Return the SelectorCache of the agent on one node."""
        await self.policies.refresh()
        for far, link in self._remotes():
            if link.is_up and far.name in self._agents:
                self._far[far.name] = await self._agents[far.name].own_identities()
        known = await self.own_identities()
        for identities in self._far.values():
            known |= identities
        return selectors(self.policies.realized(node), known, self._spec.cilium_version)

    async def own_identities(self) -> dict[int, list[str]]:
        """Return the labels of the identities that pods of this cluster have, by their numbers."""
        namespaces = await self._namespace_labels()
        labels = [answers.identity_labels(self._spec, pod, namespaces) for pod in await self._pods()]
        return {answers.identity(self._spec, each): each for each in labels}

    async def _namespace_labels(self) -> dict[str, Mapping[str, str]]:
        listed = (await self._store.list(NAMESPACE)).items
        return {each["metadata"]["name"]: each["metadata"].get("labels") or {} for each in listed}

    async def _pods(self) -> list[Object]:
        pods = (await self._store.list(POD)).items
        return [pod for pod in pods if pod["status"]["phase"] == "Running" and not pod["spec"].get("hostNetwork")]


def _json(value: object) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")
