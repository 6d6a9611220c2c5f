"""Actions over HTTP: a form of ours becomes a request to the API, as the user who sent the form.

Owns the route, the proof that the form is ours, and that what has to be confirmed is. Whether it is allowed is for the
API to decide, whatever a page showed; it admits and records it like any other request.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from atoll.hub.dashboard import session
from atoll.hub.dashboard.actions import Call, Deed, path_of
from atoll.hub.dashboard.ask import link
from atoll.hub.dashboard.deeds import DEEDS
from atoll.hub.dashboard.inside import Answer, Inside, Origin
from atoll.hub.dashboard.rendering import Renderer
from atoll.hub.dashboard.serving import Visitors
from atoll.hub.dashboard.signin import read_form, safe_next
from atoll.hub.dashboard.sources import Sources
from atoll.kubeapi.resource import Object

_NO_NAMESPACE = "-"
_FOREIGN = "this form is not of a page that you opened while signed in: load the page again, and repeat it"


@dataclass(frozen=True)
class _Order:
    """One deed that somebody asks for; `seen` is what they had looked at, `form` what they sent."""

    deed: Deed
    path: str
    name: str
    seen: str
    form: Mapping[str, str]

    @property
    def unconfirmed(self) -> str:
        """What is left to confirm; empty if nothing is."""
        if not self.deed.confirm or (self.form.get("sure") and self._is_typed):
            return ""
        return self.deed.confirm.format(name=self.name)

    @property
    def _is_typed(self) -> bool:
        return not self.deed.is_final or self.form.get("typed", "").strip() == self.name

    def objection(self, obj: Object) -> str:
        """Say why it is not to be done to an object as it is now; empty if it may."""
        if why := self.deed.moot(obj):
            return f"{self.name}: {why}"
        if self.seen != self.deed.seen(obj):
            return f"{self.name} has changed since this page was drawn: look at it again"
        if self.deed.asks_for_choice and not self.form.get("choice"):
            return f"{self.name}: nothing was chosen"
        return ""


class Doing:
    """Answers at `/dashboard/do/WORD/PLURAL/NAMESPACE/NAME`."""

    def __init__(self, sources: Sources, visitors: Visitors, renderer: Renderer) -> None:
        self._inside, self._visitors, self._renderer = sources.inside, visitors, renderer

    def routes(self) -> list[Route]:
        """Give the route."""
        return [Route("/do/{word}/{plural}/{namespace}/{name}", self.do, methods=["POST"])]

    async def do(self, request: Request) -> Response:
        """Do one thing to one object."""
        form, credential = await read_form(request), session.credential(request)
        proof = form.get("proof", "")
        if not (session.is_same_site(request.headers) and self._visitors.forms.holds(credential, proof)):
            return self._note(request, form, _FOREIGN, 403)
        order = _order(request, form)
        if order is None:
            return self._note(request, form, "there is no such action", 404)
        if order.unconfirmed:
            return self._ask_again(request, order)
        answer = await _Errand(self._inside, credential, Origin.of(request)).run(order)
        if not answer.is_good:
            return self._note(request, form, answer.message, answer.code)
        return self._note(request, form, f"{order.deed.word}: {order.name} was told so")

    def _ask_again(self, request: Request, order: _Order) -> Response:
        """Ask for what has to be confirmed, where no script has asked."""
        given = request.path_params
        url = link("do", given["word"], given["plural"], given["namespace"], given["name"], seen=order.seen)
        values = {"order": order, "url": url, "back": _back(request, order.form)}
        return HTMLResponse(self._renderer.page("confirm.html", values))

    def _note(self, request: Request, form: Mapping[str, str], text: str, code: int = 200) -> Response:
        """Say what came of it: as a note in the page, or as a page of its own where no script runs."""
        tone = "bad" if code >= 400 else "good"
        if request.headers.get("hx-request"):
            return HTMLResponse(self._renderer.page("note.html", {"text": text, "tone": tone}), code)
        if code < 400:
            return RedirectResponse(_back(request, form), 303)
        values = {"text": text, "code": code, "back": _back(request, form)}
        return HTMLResponse(self._renderer.page("refused.html", values), code)


@dataclass(frozen=True)
class _Errand:
    """The way to the API as the user who sent a form."""

    inside: Inside
    credential: str
    origin: Origin

    async def run(self, order: _Order) -> Answer:
        """Read the object, and do it; what makes no sense for it as it is now is refused without asking."""
        found = await self._send(Call("GET", order.path))
        if not found.is_good:
            return found
        if why := order.objection(found.json):
            return Answer(409, why.encode())
        call = order.deed.call(found.json, order.form.get("choice", ""))
        return await self._make_room(call) or await self._send(call)

    async def _make_room(self, call: Call) -> Answer | None:
        """Take away an object of the name that is to be made; give an answer if it has to stay."""
        if call.method != "POST" or call.body is None:
            return None
        known = replace(call, method="GET", path=f"{call.path}/{call.body['metadata']['name']}", body=None)
        found = await self._send(known)
        if not found.is_good:
            return None  # there is none, or the POST says better why it cannot be made
        if why := call.keeps(found.json):
            return Answer(409, why.encode())
        gone = await self._send(replace(known, method="DELETE"))
        return None if gone.is_good else gone

    async def _send(self, call: Call) -> Answer:
        return await self.inside.call(
            call.method, call.path, credential=self.credential, body=call.body, origin=self.origin
        )


def _order(request: Request, form: Mapping[str, str]) -> _Order | None:
    """Read what is asked for; None if there is no such deed."""
    given = request.path_params
    deed = DEEDS.get(given["word"])
    if deed is None or deed.plural != given["plural"]:
        return None
    namespace = "" if given["namespace"] == _NO_NAMESPACE else given["namespace"]
    path = path_of(deed.plural, namespace, given["name"])
    return _Order(deed, path, given["name"], request.query_params.get("seen", ""), form)


def _back(request: Request, form: Mapping[str, str]) -> str:
    """Give the page that a form was on, as it says itself or the browser tells."""
    parts = urlsplit(request.headers.get("referer", ""))
    return safe_next(form.get("back") or (f"{parts.path}?{parts.query}" if parts.query else parts.path))
