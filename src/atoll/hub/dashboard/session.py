"""Who is signed in: a browser's cookie holds the very credential that the API takes, and nothing is kept here.

Owns the cookies, and the proof that a form was sent by a page of ours. A hub that restarts, or another replica, knows
everybody who is signed in; a token that is revoked is signed out at once. Scripts cannot read the cookie (HttpOnly),
and other sites cannot send it with anything that changes something (SameSite).
"""

import base64
import hashlib
import hmac
import secrets
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response

from atoll.hub.dashboard.ask import ROOT

_COOKIE = "atoll-session"
# Browsers keep 4096 bytes per cookie, name and attributes included (RFC 6265, section 6.1); an ID token may be longer.
_PIECE = 3800
_MOST_PIECES = 5
_JOURNEY, _JOURNEY_SECONDS = "atoll-journey", 600
LONGEST_CREDENTIAL = _PIECE * _MOST_PIECES


def credential(request: Request) -> str:
    """Give what the browser is signed in with; empty if it is not."""
    pieces = (request.cookies.get(f"{_COOKIE}.{number}", "") for number in range(_MOST_PIECES))
    return "".join(pieces)


def is_sendable(value: str) -> bool:
    """Tell whether a credential can stand in a header and a cookie: what a person pastes may be anything."""
    return 0 < len(value) <= LONGEST_CREDENTIAL and all("!" <= char <= "~" and char not in '",;\\' for char in value)


def sign_in(response: Response, value: str, *, secure: bool) -> None:
    """Have the browser keep a credential until it is closed."""
    for number in range(_MOST_PIECES):
        piece = value[number * _PIECE : (number + 1) * _PIECE]
        if piece:
            response.set_cookie(f"{_COOKIE}.{number}", piece, path=ROOT, secure=secure, httponly=True, samesite="lax")
        else:
            response.delete_cookie(f"{_COOKIE}.{number}", path=ROOT)


def sign_out(response: Response) -> None:
    """Have the browser forget it."""
    for number in range(_MOST_PIECES):
        response.delete_cookie(f"{_COOKIE}.{number}", path=ROOT)


@dataclass(frozen=True)
class Journey:
    """A sign-in that is under way at the identity provider; only this browser knows of it."""

    state: str
    verifier: str
    nonce: str
    back: str
    after: str


def remember(response: Response, journey: Journey) -> None:
    """Have the browser keep a journey for as long as a person may take to sign in."""
    value = base64.urlsafe_b64encode(orjson.dumps(asdict(journey))).decode()
    secure = journey.back.startswith("https:")
    response.set_cookie(
        _JOURNEY, value, max_age=_JOURNEY_SECONDS, path=ROOT, secure=secure, httponly=True, samesite="lax"
    )


def journey(request: Request) -> Journey | None:
    """Give the journey that a browser is on; None if it is on none."""
    try:
        return Journey(**orjson.loads(base64.urlsafe_b64decode(request.cookies.get(_JOURNEY, ""))))
    except (ValueError, TypeError):
        return None


def forget(response: Response) -> None:
    """Have the browser forget its journey."""
    response.delete_cookie(_JOURNEY, path=ROOT)


class Forms:
    """Proves that a form was sent by a page that we gave to the same user."""

    def __init__(self) -> None:
        self._secret = secrets.token_hex()  # for who is signed in by no cookie: a client certificate, or nothing at all

    def proof(self, value: str) -> str:
        """Give what a form of a user must carry: made of a credential that no other site can read."""
        return hmac.new((value or self._secret).encode(), b"atoll dashboard form", hashlib.sha256).hexdigest()

    def holds(self, value: str, given: str) -> bool:
        """Tell whether a form carries it."""
        return hmac.compare_digest(self.proof(value).encode(), given.encode())


def is_same_site(headers: Headers) -> bool:
    """Tell whether a browser says that one of our own pages sent a request.

    Sec-Fetch-Site cannot be set by scripts and passes proxies as it is (W3C Fetch Metadata); where a browser is too old
    for it, the Origin must be the host that it asked.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    return origin is not None and urlsplit(origin).netloc == headers.get("host")


def base_url(request: Request) -> str:
    """Give scheme and host as the browser sees them: a proxy that ends TLS is known only by the Origin."""
    origin = request.headers.get("origin", "")
    if urlsplit(origin).scheme in ("http", "https"):
        return origin
    return f"{request.url.scheme}://{request.headers.get('host', '')}"
