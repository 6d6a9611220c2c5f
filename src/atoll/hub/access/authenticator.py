"""Who sent a request: a bearer token of ours or of an identity provider, else a client certificate.

Owns the order, the log and the counts. A request that shows wrong credentials is refused whatever else it shows: it
must never be taken for somebody with less.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

import structlog
from starlette.requests import Request

from atoll.hub.access.certificates import holder, shows_certificate
from atoll.hub.access.identity import Refused
from atoll.hub.access.oidc import Oidc
from atoll.hub.access.token_table import Tokens
from atoll.hub.access.tokens import PREFIX
from atoll.hub.metrics import Metrics
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import User

log = structlog.get_logger(__name__)

Method = Literal["token", "oidc", "certificate", "other", "none"]


class HubAuthenticator:
    """kubeapi's Authenticator."""

    def __init__(self, tokens: Tokens, oidc: Oidc | None, *, metrics: Metrics, clock: Callable[[], datetime]) -> None:
        """Take ID tokens if `oidc` is given."""
        self._tokens, self._oidc, self._metrics, self._clock = tokens, oidc, metrics, clock

    async def authenticate(self, request: Request) -> User | None:
        """Tell who sent a request; None if nobody is named, or not rightly.

        Raises:
            Unavailable: the credentials may be good, and nobody can tell now.
        """
        method, bearer = _credentials(request)
        try:
            found = await self._judge(method, bearer, request)
        except Unavailable:
            self._metrics.authenticated(method, "unknown")
            raise
        self._metrics.authenticated(method, "accepted" if isinstance(found, User) else "refused")
        if isinstance(found, User):
            return found
        if method != "none":
            source = request.client.host if request.client else ""
            log.info("credentials were refused", method=method, reason=found.reason, about=found.about, source=source)
        return None

    async def _judge(self, method: Method, bearer: str, request: Request) -> User | Refused:
        match method:
            case "token":
                return await self._tokens.authenticate(bearer)
            case "oidc" if self._oidc is not None:
                return await self._oidc.authenticate(bearer)
            case "certificate":
                return holder(_tls(request), self._clock())
        return Refused("NotAccepted")


def _credentials(request: Request) -> tuple[Method, str]:
    """Tell what a request shows, and the bearer token if it is one. A header that is no bearer token is not accepted.

    Kubernetes authenticates by the first method that succeeds; here the header alone decides once there is one.
    """
    headers = request.headers.getlist("authorization")
    if not headers:
        return ("certificate", "") if shows_certificate(_tls(request)) else ("none", "")
    scheme, _, bearer = headers[0].partition(" ")
    bearer = bearer.strip()
    if len(headers) > 1 or scheme.lower() != "bearer" or not bearer:
        return "other", ""
    return ("token" if bearer.startswith(PREFIX) else "oidc"), bearer


def _tls(request: Request) -> Mapping[str, Any]:
    extension: Mapping[str, Any] = request.scope.get("extensions", {}).get("tls", {})
    return extension
