"""What stands before a server that asks nobody who they are: it lets in the programs of this machine, and no web page.

A browser beside such a server carries pages of others to it. Owns what tells them from programs, by headers that a page
cannot choose; it must not know the API. Behind it listens loopback only: other machines are not its matter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from atoll.kubeapi.errors import Forbidden
from atoll.kubeapi.http.answers import error_answer


class LocalOnly:
    """Refuses what a page of another site sends.

    Such a page comes under a name of its own that is made to lead here (DNS rebinding), which its Host tells; or it
    asks for this server by its right name, with a form or a WebSocket, which its Origin tells.
    """

    def __init__(self, app: ASGIApp, names: Collection[str] | None = ()) -> None:
        """Stand before `app`.

        Args:
            names: what it is called beside localhost and addresses; None for all that its certificate says, which
                browsers look at by themselves.
        """
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or the handshake of a WebSocket."""
        problem = "" if scope["type"] == "lifespan" else why_not(Headers(scope=scope), self._names)
        if problem:
            await error_answer(Forbidden(problem))(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def why_not(headers: Headers, names: Collection[str] | None) -> str:
    """Say why a request may be a web page's; empty if none can have sent it. Pure.

    A browser always sends the Host, and the Origin with all that a page of another site could change something by
    (Fetch standard, section 3.2); it sends Sec-Fetch-Site itself, whatever scripts say (W3C Fetch Metadata).
    """
    for host in headers.getlist("host") if names is not None else ():
        if not _is_here(host, names or ()):
            return f"{host!r} is no name of this server, which asks nobody who they are: use 127.0.0.1 or localhost"
    origin = headers.get("origin")
    if origin is None or headers.get("sec-fetch-site") == "same-origin" or _netloc(origin) == headers.get("host"):
        return ""
    return f"this server asks nobody who they are, and takes nothing from pages of {origin!r}"


def _is_here(host: str, names: Collection[str]) -> bool:
    """Tell whether a Host is an address, which nobody can make lead elsewhere, or a name that is this server's."""
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    if name == "localhost" or name.endswith(".localhost") or name in names:  # RFC 6761, section 6.3
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None
