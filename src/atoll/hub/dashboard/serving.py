"""Requests for pages: who asks, what the page reads, and its answer; whole, or one part that changed.

Owns the way from a request to an answer for every page alike. What pages show is theirs.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from atoll.hub.access.oidc_code import CodeFlow
from atoll.hub.dashboard import session
from atoll.hub.dashboard.ask import FRAGMENT, ROOT, Ask, link
from atoll.hub.dashboard.live import Live
from atoll.hub.dashboard.page import NoSuchThing, Page
from atoll.hub.dashboard.rendering import Renderer
from atoll.hub.dashboard.rights import Rights
from atoll.hub.dashboard.sources import Sources
from atoll.kubeapi.errors import ApiError, Unauthorized
from atoll.kubeapi.http.access import Access, User


@dataclass(frozen=True)
class Visitors:
    """Tells who sent a request: by the cookie, or as the API tells it (a client's certificate, or nobody at all)."""

    access: Access
    flow: CodeFlow | None = None
    """How the identity provider is asked; None if the hub trusts none."""
    forms: session.Forms = field(default_factory=session.Forms)

    @property
    def may_sign_in(self) -> bool:
        """Whether there is anybody to be."""
        return self.access.authenticator is not None

    async def who(self, request: Request) -> User:
        """Give the user.

        Raises:
            Unauthorized: nobody is signed in, or not any more.
        """
        return await self.access.authenticate(_as_bearer(request))

    async def knows(self, request: Request) -> bool:
        """Tell whether who sent a request is still signed in: of what stays open longer than that takes to change."""
        try:
            await self.who(request)
        except ApiError:
            return False
        return True


def _as_bearer(request: Request) -> Request:
    """Show a cookie's credential where the API looks for it; a page takes no other header's."""
    headers = [(name, value) for name, value in request.scope["headers"] if name != b"authorization"]
    if found := session.credential(request):
        headers.append((b"authorization", b"Bearer " + found.encode()))
    return Request({**request.scope, "headers": headers}, request.receive)


class Serving:
    """Answers requests for pages, their parts, and the stream of changes."""

    def __init__(
        self, pages: Sequence[Page], sources: Sources, visitors: Visitors, *, renderer: Renderer, live: Live
    ) -> None:
        self._pages, self._sources, self._visitors, self._live = pages, sources, visitors, live
        self._renderer = renderer

    def routes(self) -> list[Route]:
        """Give the routes below `/dashboard`; the first page is where one begins."""
        routes = [Route(page.path, self._endpoint(page), methods=["GET"], name=page.name) for page in self._pages]
        first = link(self._pages[0].path.strip("/"))
        begin = Route("/", lambda _request: RedirectResponse(first, 303), methods=["GET"])
        return [begin, Route("/live", self.stream, methods=["GET"]), *routes]

    def _endpoint(self, page: Page) -> Any:
        async def answer(request: Request) -> Response:
            return await self.show(page, request)

        return answer

    async def show(self, page: Page, request: Request) -> Response:
        """Answer with a page, or the part of it that is asked for."""
        try:
            ask = await self.ask(request)
        except Unauthorized:
            return to_sign_in(request)
        started = time.thread_time()  # CPU time: how busy others keep the machine is no cost of ours
        try:
            values = {"model": page.view(await page.fetch(self._sources, ask), ask)}
        except NoSuchThing as missing:
            return self.plain("missing.html", ask, {"missing": missing}, code=404)
        return self._draw(page, ask, values, started)

    def _draw(self, page: Page, ask: Ask, values: Mapping[str, Any], started: float) -> Response:
        block = ask.text(FRAGMENT)
        values = {**values, "page": page, **self._frame(ask)}
        if not block:
            return HTMLResponse(self._renderer.page(page.template, values))
        part = self._renderer.part(page.template, block, values)
        self._live.drew(time.thread_time() - started)
        return HTMLResponse(part) if part is not None else Response(f"this page has no part {block!r}", 404)

    def plain(self, template: str, ask: Ask | None, values: Mapping[str, Any], *, code: int = 200) -> Response:
        """Answer with a page of ours that is none of `pages`."""
        frame = {**self._frame(ask), "page": None, **values}
        return HTMLResponse(self._renderer.page(template, frame), code)

    def _frame(self, ask: Ask | None) -> dict[str, Any]:
        nav = [page for page in self._pages if page.nav]
        return {"ask": ask, "nav": nav, "may_sign_in": self._visitors.may_sign_in}

    async def ask(self, request: Request) -> Ask:
        """Read who asks for what.

        Raises:
            Unauthorized: nobody is signed in.
        """
        user = await self._visitors.who(request)
        rights = await Rights.load(self._visitors.access, user, self._sources.namespaces())
        found = session.credential(request)
        return Ask(
            path=request.scope["path"],
            rights=rights,
            now=self._sources.clock(),
            query=dict(request.query_params),
            params=request.path_params,
            csrf=self._visitors.forms.proof(found),
            credential=found,
        )

    async def stream(self, request: Request) -> Response:
        """Stream which kinds have changed, of those in `topics`."""
        try:
            user = (await self._visitors.who(request)).name
        except Unauthorized:
            return Response("sign in again", 401)
        if not self._live.has_room(user):
            return Response("too many pages are open; this one shows what was when it was opened", 503)

        topics = request.query_params.get("topics", "").split()
        events = self._live.events(user, topics, lambda: self._visitors.knows(request))
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})


def to_sign_in(request: Request) -> Response:
    """Lead to the sign-in page, and back afterwards."""
    query = request.url.query
    here = request.scope["path"] + (f"?{query}" if query else "")
    if request.headers.get("hx-request"):
        return Response("sign in again", 401, {"HX-Redirect": link("login")})
    return RedirectResponse(link("login", next="" if here.rstrip("/") == ROOT else here), 303)
