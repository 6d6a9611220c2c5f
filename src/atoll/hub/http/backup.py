"""A backup over HTTP: `GET /backup`, the hub's state as a tar, while the hub goes on. Owns this route.

Only an Admin may ask: it holds all objects, who may come in, and the key that members' subjects are derived from.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from datetime import datetime

import structlog
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from atoll.federation.bus.connection import Bus
from atoll.federation.errors import AtollError
from atoll.hub.backups import archive
from atoll.kubeapi.errors import TooManyRequests, Unavailable

log = structlog.get_logger(__name__)

BACKUP_PATH = "/backup"
_RETRY_AFTER_SECONDS = 30


class Backup:
    """Answers with the hub's state; one backup at a time, since each reads all of NATS's disk."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime]) -> None:
        self._bus, self._clock = bus, clock
        self._turn = asyncio.Lock()

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route(BACKUP_PATH, self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Stream the backup."""
        if self._turn.locked():
            message = "another backup is being taken: ask again when it has ended"
            raise TooManyRequests(message, retry_after_seconds=_RETRY_AFTER_SECONDS)
        if not self._bus.is_connected:
            raise Unavailable("the hub has no connection to NATS: nothing can be backed up", retry_after_seconds=5)
        log.info("a backup is being taken", user=request.state.user.name)
        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(self._stream(), media_type="application/x-tar", headers=headers)

    async def _stream(self) -> AsyncIterator[bytes]:
        """Give the tar. An answer that has begun cannot become an error: without its end nobody takes it for whole."""
        async with self._turn:
            try:
                async with aclosing(archive(self._bus, clock=self._clock)) as parts:
                    async for part in parts:
                        yield part
            except AtollError as error:
                log.error("a backup was given up", reason=error.reason, error=str(error))
                raise
