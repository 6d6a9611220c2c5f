"""Health and metrics over HTTP: `/readyz` and `/metrics`. Owns these routes."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atoll.federation.bus.connection import Bus
from atoll.federation.mesh import Census, census, members_of
from atoll.federation.resources import Cluster, Dataset, Gateway, PolicySet, Transfer
from atoll.hub.access.service import AccessService
from atoll.hub.client import Client
from atoll.hub.metrics import CONTENT_TYPE, Fleet, Metrics
from atoll.kubeapi.errors import Unavailable

# To count the links of 511 clusters, which is as many as can be meshed, takes half a second of one core.
_MESH_EVERY = timedelta(seconds=20)


class Health:
    """Answers whether the hub can serve, and what it has counted."""

    def __init__(self, client: Client, bus: Bus, metrics: Metrics, access: AccessService) -> None:
        self._client, self._bus, self._metrics, self._access = client, bus, metrics, access
        self._mesh = MeshCounter()

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [Route("/readyz", self.ready), Route("/metrics", self.expose)]

    async def ready(self, _request: Request) -> Response:
        """Answer ok while reads are served from a complete cache, callers are known, and writes can reach NATS."""
        if not self._client.store.cache.is_synced:
            raise Unavailable("the cache has not loaded the store yet", retry_after_seconds=1)
        if not self._access.is_synced:
            raise Unavailable("the tokens have not been loaded yet", retry_after_seconds=1)
        if not self._bus.is_connected:
            raise Unavailable("the hub has no connection to NATS", retry_after_seconds=1)
        return PlainTextResponse("ok")

    async def expose(self, _request: Request) -> Response:
        """Answer with all metrics. What there is of the fleet is read when it is asked: any replica can tell."""
        clusters, now = await self._client.list(Cluster), self._client.store.clock()
        self._metrics.clusters(Counter(each.status.phase for each in clusters))
        self._metrics.mesh(await self._mesh.count(clusters, now), now)
        self._metrics.fleet(await self._fleet(clusters))
        self._metrics.unreadable(self._client.unreadable())
        return Response(await asyncio.to_thread(self._metrics.expose), media_type=CONTENT_TYPE)

    async def _fleet(self, clusters: Sequence[Cluster]) -> Fleet:
        client = self._client
        gateways, policysets = await client.list(Gateway), await client.list(PolicySet)
        datasets, transfers = await client.tally(Dataset), await client.tally(Transfer)
        return Fleet(clusters, gateways, policysets, datasets=datasets, transfers=transfers)


class MeshCounter:
    """Counts the mesh's links and broken rules, no more often than can be afforded."""

    def __init__(self) -> None:
        self._counted: tuple[datetime, Census] | None = None

    async def count(self, clusters: Sequence[Cluster], now: datetime) -> Census:
        """Count, or give what was counted a moment ago."""
        if self._counted is None or now - self._counted[0] >= _MESH_EVERY:
            members = members_of(clusters)
            self._counted = now, await asyncio.to_thread(census, members, now=now)
        return self._counted[1]
