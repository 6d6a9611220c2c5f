"""A job's log for a page: what the API's own route gives to the user who looks, as it comes.

Owns the path; lines, rights and errors are the API's.
"""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from atoll.hub.dashboard import session
from atoll.hub.dashboard.actions import path_of
from atoll.hub.dashboard.sources import Sources

# A page begins near the end: who wants all of a log downloads it by the command that stands beside it.
_TAIL_LINES = 1000


class JobLogs:
    """Answers at `/dashboard/jobs/NAMESPACE/NAME/log`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/jobs/{namespace}/{name}/log", self.read, methods=["GET"])]

    async def read(self, request: Request) -> Response:
        """Stream the log; it goes on until the run is over or the page is left."""
        namespace, name = (quote(request.path_params[part], safe="") for part in ("namespace", "name"))
        path = f"{path_of('jobs', namespace, name)}/log?follow=true&tailLines={_TAIL_LINES}"
        return _Relayed(self._sources, request, path)


class _Relayed(Response):
    """An answer that the API gives in our place."""

    def __init__(self, sources: Sources, request: Request, path: str) -> None:
        super().__init__()
        self._sources, self._request, self._path = sources, request, path

    async def __call__(self, _scope: Scope, _receive: Receive, send: Send) -> None:
        """Hand the request on."""
        found = session.credential(self._request)
        await self._sources.inside.relay(self._request, self._path, credential=found, send=send)
