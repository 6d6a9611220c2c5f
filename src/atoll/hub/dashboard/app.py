"""The dashboard put together: pages, sign-in, actions, assets and live updates as one application.

Owns who gets what; nothing here decides anything.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from atoll.federation.resources import KINDS
from atoll.hub.client import Client
from atoll.hub.dashboard.ask import ROOT
from atoll.hub.dashboard.data.shelves import DATASETS
from atoll.hub.dashboard.doing import Doing
from atoll.hub.dashboard.failing import Failing
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.front import Front
from atoll.hub.dashboard.inside import Inside
from atoll.hub.dashboard.jobs.book import JOBS
from atoll.hub.dashboard.jobs.logs import JobLogs
from atoll.hub.dashboard.live import Live
from atoll.hub.dashboard.pages import PAGES
from atoll.hub.dashboard.rendering import STATIC, Renderer
from atoll.hub.dashboard.serving import Serving, Visitors
from atoll.hub.dashboard.signin import SignIn
from atoll.hub.dashboard.sources import Orders, Sources
from atoll.kubeapi.errors import ApiError

_FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of one hub process: `app` serves it before the API."""

    app: ASGIApp
    sources: Sources
    live: Live

    @classmethod
    def before(
        cls, api: ASGIApp, client: Client, visitors: Visitors, *, clock: Callable[[], datetime], orders: Orders
    ) -> "Dashboard":
        """Put the dashboard before the application of the API; `orders` tells what policies clusters shall hold."""
        sources = Sources(client, Inside(api), clock=clock, orders=orders)
        live, renderer = Live(client.store.cache), Renderer()
        for kind in KINDS:
            live.watch(kind.plural, client.type_of(kind.model).prefix)
        serving = Serving(PAGES, sources, visitors, renderer=renderer, live=live)
        routes = [
            Route("/static/{path:path}", _asset, methods=["GET"]),
            *SignIn(visitors, renderer).routes(),
            *Doing(sources, visitors, renderer).routes(),
            *JobLogs(sources, visitors).routes(),
            *serving.routes(),
        ]
        failing = Failing(renderer)
        handlers: dict[Any, Any] = {ApiError: failing.refused, 404: failing.missing, Exception: failing.failed}
        dashboard = Starlette(routes=[Mount(ROOT, routes=routes)], exception_handlers=handlers)
        return cls(Front(api, dashboard), sources, live)

    async def run(self) -> None:
        """Follow what changes, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.live.run(), name="dashboard-live")
            group.create_task(self.sources.keep_up(CLUSTERS, JOBS, DATASETS), name="dashboard-rows")
            group.create_task(self.sources.keep_trend(), name="dashboard-trend")


async def _asset(request: Request) -> Response:
    """Give a file of `static/`; its URL changes with what is in it."""
    wanted = (STATIC / request.path_params["path"]).resolve()
    if not wanted.is_relative_to(STATIC) or not wanted.is_file():
        return Response("no such file", 404)
    return FileResponse(wanted, headers=_FOR_EVER)
