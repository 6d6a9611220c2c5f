"""What stands before the API and the dashboard: it sends each request to one of them.

Owns this choice, and the headers that every answer of the dashboard carries. The API's paths are untouched.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from atoll.hub.dashboard.ask import ROOT

# No script or style stands in a page itself, so what somebody writes into a name cannot become one.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Front:
    """Serves the dashboard under `/dashboard`, and leads browsers there from `/`; all else is the API's."""

    def __init__(self, api: ASGIApp, dashboard: ASGIApp) -> None:
        self._api, self._dashboard = api, dashboard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope.get("path", "")
        if scope["type"] == "http" and (path == ROOT or path.startswith(f"{ROOT}/")):
            await self._dashboard(scope, receive, _Dressed(send))
        elif scope["type"] == "http" and path == "/" and _is_browser(Headers(scope=scope)):
            await RedirectResponse(ROOT, 303)(scope, receive, send)
        else:
            await self._api(scope, receive, send)


def _is_browser(headers: Headers) -> bool:
    """Tell a person's browser, which asks for HTML first, from a client of the API."""
    return headers.get("accept", "").startswith("text/html")


class _Dressed:
    """Sends answers on with our headers."""

    def __init__(self, send: Send) -> None:
        self._send = send

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
            headers.setdefault("Cache-Control", "no-store")
        await self._send(message)
