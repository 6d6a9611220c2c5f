"""A job's log for a page: what the API's own route gives to the user who looks, as it comes.

Owns the path, and that a log ends for who is nobody any more; lines, rights and errors are the API's.
"""

import asyncio
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from atoll.hub.dashboard import session
from atoll.hub.dashboard.actions import path_of
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.dashboard.sources import Sources

# A page begins near the end: who wants all of a log downloads it by the command that stands beside it.
_TAIL_LINES = 1000
# How often credentials are looked at again, as those of who listens for changes.
_BEAT_SECONDS = 20.0


class JobLogs:
    """Answers at `/dashboard/jobs/NAMESPACE/NAME/log`."""

    def __init__(self, sources: Sources, visitors: Visitors, *, beat_seconds: float = _BEAT_SECONDS) -> None:
        self._sources, self._visitors, self._beat_seconds = sources, visitors, beat_seconds

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/jobs/{namespace}/{name}/log", self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Stream the log; it goes on until the run is over, the page is left, or the user is signed out."""
        namespace, name = (quote(request.path_params[part], safe="") for part in ("namespace", "name"))
        path = f"{path_of('jobs', namespace, name)}/log?follow=true&tailLines={_TAIL_LINES}"

        async def receive() -> Message:
            while True:
                try:
                    async with asyncio.timeout(self._beat_seconds):
                        return await request.receive()
                except TimeoutError:
                    if not await self._visitors.knows(request):
                        return {"type": "http.disconnect"}

        return _Relayed(self._sources, request, path, receive)


class _Relayed(Response):
    """An answer that the API gives in our place."""

    def __init__(self, sources: Sources, request: Request, path: str, receive: Receive) -> None:
        super().__init__()
        self._sources, self._request, self._path, self._receive = sources, request, path, receive

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Hand the request on."""
        found = session.credential(self._request)
        await self._sources.inside.relay(self._request, self._path, credential=found, receive=self._receive, send=send)
