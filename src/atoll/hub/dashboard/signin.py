"""Signing in and out over HTTP: a token is pasted, or the identity provider is asked.

Owns these routes. Whoever comes with a credential is whom the API takes them for: it is tried before it is kept.
"""

from urllib.parse import parse_qs, unquote, urlsplit

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from atoll.federation.errors import AtollError
from atoll.hub.dashboard import session
from atoll.hub.dashboard.ask import ROOT, link
from atoll.hub.dashboard.rendering import Renderer
from atoll.hub.dashboard.serving import Visitors
from atoll.kubeapi.errors import ApiError, Unauthorized

_CALLBACK = f"{ROOT}/login/callback"
_LONGEST_FORM = 64 * 1024
_FOREIGN = "this form came from another site: open the dashboard, and sign in there"


class SignIn:
    """Answers at `/dashboard/login` and `/dashboard/logout`."""

    def __init__(self, visitors: Visitors, renderer: Renderer) -> None:
        self._visitors, self._renderer, self._flow = visitors, renderer, visitors.flow

    def routes(self) -> list[Route]:
        """Give the routes."""
        return [
            Route("/login", self.show, methods=["GET"]),
            Route("/login", self.take, methods=["POST"]),
            Route("/login/provider", self.depart, methods=["POST"]),
            Route("/login/callback", self.arrive, methods=["GET"]),
            Route("/logout", self.leave, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """Show the form."""
        return self._page(safe_next(request.query_params.get("next", "")))

    async def take(self, request: Request) -> Response:
        """Sign in with a pasted token."""
        form = await read_form(request)
        after, token = safe_next(form.get("next", "")), form.get("token", "").strip()
        if not session.is_same_site(request.headers):
            return self._page(after, _FOREIGN, code=403)
        if not session.is_sendable(token):
            return self._page(after, "that is no token: paste the whole line that was printed when it was issued", 400)
        return await self._enter(request, token, after, secure=session.base_url(request).startswith("https:"))

    async def depart(self, request: Request) -> Response:
        """Send a browser to the identity provider.

        By a page that leads there: our policy lets no form end on another site, not even by a redirect.
        """
        after = safe_next((await read_form(request)).get("next", ""))
        if self._flow is None or not session.is_same_site(request.headers):
            return self._page(after, _FOREIGN, code=403)
        back = session.base_url(request) + _CALLBACK
        try:
            departure = await self._flow.begin(back)
        except AtollError as error:
            return self._page(after, f"the identity provider cannot be asked: {error}", 502)
        response = HTMLResponse(self._renderer.page("depart.html", {"url": departure.url}))
        journey = session.Journey(departure.state, departure.verifier, departure.nonce, back, after)
        session.remember(response, journey)
        return response

    async def arrive(self, request: Request) -> Response:
        """Take a browser that comes back from the identity provider."""
        journey, query = session.journey(request), request.query_params
        if self._flow is None or journey is None or query.get("state") != journey.state:
            return self._page(ROOT, "this sign-in was not begun here, or too long ago: begin again", 400)
        if "code" not in query:
            why = query.get("error_description") or query.get("error") or "no code"
            return self._page(journey.after, f"the identity provider refused: {why}", 401)
        try:
            token = await self._flow.finish(
                query["code"], verifier=journey.verifier, nonce=journey.nonce, redirect_uri=journey.back
            )
        except AtollError as error:
            return self._page(journey.after, f"the identity provider gave no token: {error}", 502)
        response = await self._enter(request, token, journey.after, secure=journey.back.startswith("https:"))
        session.forget(response)
        return response

    async def _enter(self, request: Request, token: str, after: str, *, secure: bool) -> Response:
        """Keep a credential if the API takes it."""
        problem = await self._problem(request, token)
        if problem:
            return self._page(after, problem, 401)
        response = RedirectResponse(safe_next(after), 303)
        session.sign_in(response, token, secure=secure)
        return response

    async def leave(self, request: Request) -> Response:
        """Sign out."""
        if not session.is_same_site(request.headers):
            return self._page(ROOT, _FOREIGN, code=403)
        response = RedirectResponse(link("login"), 303)
        session.sign_out(response)
        return response

    async def _problem(self, request: Request, token: str) -> str:
        """Try a credential; empty if the API takes it."""
        headers = [(b"authorization", b"Bearer " + token.encode())]
        try:
            await self._visitors.access.authenticate(Request({**request.scope, "headers": headers}))
        except Unauthorized:
            return "the hub does not know this token: it was revoked, has expired, or is not whole"
        except ApiError as error:
            return error.message
        return ""

    def _page(self, after: str, problem: str = "", code: int = 200) -> Response:
        provider = self._flow.provider if self._flow else ""
        may = self._visitors.may_sign_in
        values = {"after": after, "problem": problem, "provider": provider, "may_sign_in": may}
        return HTMLResponse(self._renderer.page("login.html", values), code)


async def read_form(request: Request) -> dict[str, str]:
    """Read a form that is URL-encoded, as browsers send it; one that is too long is empty."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LONGEST_FORM:
            return {}
    return {name: values[-1] for name, values in parse_qs(body.decode(errors="replace")).items()}


def safe_next(wanted: str) -> str:
    """Give where to go after signing in: a page of ours, and never another site (`//evil.example` is one)."""
    parts = urlsplit(wanted)
    is_ours = not parts.scheme and not parts.netloc and (parts.path == ROOT or parts.path.startswith(f"{ROOT}/"))
    leads_up = ".." in unquote(parts.path).split("/")
    return wanted if is_ours and not leads_up and "\\" not in wanted and wanted.isprintable() else ROOT
