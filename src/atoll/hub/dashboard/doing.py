"""Actions over HTTP: a form of ours becomes a request to the API, as the user who sent the form.

Owns the route and the proof that the form is ours. Whether it is allowed is for the API to decide, whatever a page
showed; it admits and records it like any other request.
"""

from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from atoll.hub.dashboard import session
from atoll.hub.dashboard.actions import DEEDS, Deed, path_of
from atoll.hub.dashboard.inside import Answer, Origin
from atoll.hub.dashboard.rendering import Renderer
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.dashboard.signin import read_form, safe_next
from atoll.hub.dashboard.sources import Sources

_NO_NAMESPACE = "-"
_FOREIGN = "this form is not of a page that you opened while signed in: load the page again, and repeat it"


class Doing:
    """Answers at `/dashboard/do/WORD/PLURAL/NAMESPACE/NAME`."""

    def __init__(self, sources: Sources, visitors: Visitors, renderer: Renderer) -> None:
        self._sources, self._visitors, self._renderer = sources, visitors, renderer

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/do/{word}/{plural}/{namespace}/{name}", self.do, methods=["POST"])]

    async def do(self, request: Request) -> Response:
        """Do one thing to one object."""
        form, found = await read_form(request), session.credential(request)
        is_ours = session.is_same_site(request.headers) and self._visitors.forms.holds(found, form.get("proof", ""))
        if not is_ours:
            return self._note(request, _FOREIGN, 403)
        deed = DEEDS.get(request.path_params["word"])
        if deed is None or deed.plural != request.path_params["plural"]:
            return self._note(request, "there is no such action", 404)
        answer = await self._carry_out(deed, request, found)
        name = request.path_params["name"]
        if not answer.is_good:
            return self._note(request, answer.message, answer.code)
        return self._note(request, f"{deed.word}: {name} was told so")

    async def _carry_out(self, deed: Deed, request: Request, credential: str) -> Answer:
        """Read the object as this user, and patch it; what makes no sense for it is refused without asking."""
        given = request.path_params
        namespace = "" if given["namespace"] == _NO_NAMESPACE else given["namespace"]
        path, origin = path_of(deed.plural, namespace, given["name"]), Origin.of(request)
        inside = self._sources.inside
        found = await inside.call("GET", path, credential=credential, origin=origin)
        if not found.is_good:
            return found
        if why := deed.moot(found.json):
            return Answer(409, f"{given['name']}: {why}".encode())
        if request.query_params.get("seen", "") != deed.seen(found.json):
            return Answer(409, f"{given['name']} has changed since this page was drawn: look at it again".encode())
        return await inside.call("PATCH", path, credential=credential, body=deed.patch(found.json), origin=origin)

    def _note(self, request: Request, text: str, code: int = 200) -> Response:
        """Say what came of it: as a note in the page, or on the page that the form was on where no script runs."""
        if request.headers.get("hx-request"):
            note = self._renderer.page("note.html", {"text": text, "tone": "bad" if code >= 400 else "good"})
            return HTMLResponse(note, code)
        if code < 400:
            return RedirectResponse(_page_of(request), 303)
        return HTMLResponse(self._renderer.page("note.html", {"text": text, "tone": "bad"}), code)


def _page_of(request: Request) -> str:
    """Give the page that a form was on, as the browser tells it."""
    parts = urlsplit(request.headers.get("referer", ""))
    return safe_next(f"{parts.path}?{parts.query}" if parts.query else parts.path)
