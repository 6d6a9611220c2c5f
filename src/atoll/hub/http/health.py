"""Health and metrics over HTTP: `/readyz` and `/metrics`. Owns these routes."""

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from atoll.federation.bus.connection import Bus
from atoll.hub.access.service import AccessService
from atoll.hub.metrics import CONTENT_TYPE, Metrics
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.store import Store


class Health:
    """Answers whether the hub can serve, and what it has counted."""

    def __init__(self, store: Store, bus: Bus, metrics: Metrics, access: AccessService) -> None:
        self._store, self._bus, self._metrics, self._access = store, bus, metrics, access

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [Route("/readyz", self.ready), Route("/metrics", self.expose)]

    async def ready(self, _request: Request) -> Response:
        """Answer ok while reads are served from a complete cache, callers are known, and writes can reach NATS."""
        if not self._store.cache.is_synced:
            raise Unavailable("the cache has not loaded the store yet", retry_after_seconds=1)
        if not self._access.is_synced:
            raise Unavailable("the tokens have not been loaded yet", retry_after_seconds=1)
        if not self._bus.is_connected:
            raise Unavailable("the hub has no connection to NATS", retry_after_seconds=1)
        return PlainTextResponse("ok")

    async def expose(self, _request: Request) -> Response:
        """Answer with all metrics."""
        return Response(self._metrics.expose(), media_type=CONTENT_TYPE)
