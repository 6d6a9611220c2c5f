"""Signing in through an identity provider: a real one in form, on loopback, that checks what it must check."""

import base64
import contextlib
import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import orjson
import pytest
from benchmarks.dashboard.synthetic import World
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from atoll.hub.access.oidc_code import CodeFlow, challenge
from atoll.hub.http.server import listen, serving, url_of
from atoll.hub.settings import OidcSettings
from atoll.kubeapi.http.access import Access, User

HUB = "https://hub.lab.org"
OURS = {"sec-fetch-site": "same-origin", "origin": HUB}


def token_with(nonce: str) -> str:
    claims = base64.urlsafe_b64encode(orjson.dumps({"sub": "ada", "nonce": nonce})).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


class Provider:
    """Gives a token for the code that belongs to a challenge, once."""

    def __init__(self) -> None:
        self.issuer, self.nonce, self.challenge = "", "", ""
        self.codes = {"good-code"}
        self.forms: list[dict[str, str]] = []

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self.announce),
                Route("/token", self.exchange, methods=["POST"]),
            ]
        )

    async def announce(self, _request: Request) -> Response:
        paths = {"authorization_endpoint": "/authorize", "token_endpoint": "/token", "jwks_uri": "/keys"}
        found = {name: self.issuer + path for name, path in paths.items()}
        return JSONResponse({"issuer": self.issuer, "scopes_supported": ["openid", "groups"], **found})

    async def exchange(self, request: Request) -> Response:
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        self.forms.append(form)
        if form["code"] not in self.codes or challenge(form["code_verifier"]) != self.challenge:
            return JSONResponse({"error": "invalid_grant"}, 400)
        self.codes.remove(form["code"])
        return JSONResponse({"id_token": token_with(self.nonce)})


class TakesAda:
    """Takes the provider's tokens, as `Oidc` does after it has checked them."""

    async def authenticate(self, request: Request) -> User | None:
        bearer = request.headers.get("authorization", "")
        return User("oidc:ada") if bearer.startswith("Bearer e30.") else None


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    found, listener = Provider(), listen("127.0.0.1", 0)
    found.issuer = url_of(listener, scheme="http")
    async with serving(found.app(), listener):
        yield found


@contextlib.asynccontextmanager
async def browsing(provider: Provider) -> AsyncIterator[httpx.AsyncClient]:
    world = World(access=Access(TakesAda()))
    flow = CodeFlow(OidcSettings(provider.issuer, "atoll"))
    await world.start(flow)
    transport = httpx.ASGITransport(world.dashboard.app)
    async with httpx.AsyncClient(transport=transport, base_url=HUB, headers=OURS) as http:
        yield http
    await world.store.close()


async def depart(http: httpx.AsyncClient, provider: Provider) -> dict[str, str]:
    """Begin to sign in, and give the query that the provider gets."""
    page = await http.post("/dashboard/login/provider", data={"next": "/dashboard/queues"})
    assert page.status_code == 200, page.text
    found = re.search(r'content="0;url=([^"]+)"', page.text)
    assert found is not None
    url = unescape(found.group(1))
    assert url.startswith(f"{provider.issuer}/authorize?")
    query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    provider.nonce, provider.challenge = query["nonce"], query["code_challenge"]
    return query


async def arrive(http: httpx.AsyncClient, **query: Any) -> httpx.Response:
    return await http.get("/dashboard/login/callback", params=query)


async def test_who_comes_back_with_a_code_is_signed_in_and_where_they_wanted_to_be(provider: Provider) -> None:
    async with browsing(provider) as http:
        assert "Sign in with 127.0.0.1" in (await http.get("/dashboard/login")).text
        asked = await depart(http, provider)
        assert (asked["client_id"], asked["response_type"], asked["scope"]) == ("atoll", "code", "openid groups")
        assert (asked["code_challenge_method"], asked["redirect_uri"]) == ("S256", f"{HUB}/dashboard/login/callback")
        answer = await arrive(http, code="good-code", state=asked["state"])
        assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard/queues"), answer.text
        (kept,) = (each for each in answer.headers.get_list("set-cookie") if each.startswith("atoll-session.0"))
        assert "Secure" in kept and "HttpOnly" in kept
        assert "oidc:ada" in (await http.get("/dashboard/queues")).text
        again = await arrive(http, code="good-code", state=asked["state"])
        assert again.status_code == 400, "a sign-in that is over is forgotten"
    assert provider.forms[0]["redirect_uri"] == f"{HUB}/dashboard/login/callback"


@pytest.mark.parametrize(
    ("case", "code"),
    {
        "another state": 400,
        "no cookie": 400,
        "refused": 401,
        "bad code": 502,
        "another verifier": 502,
        "replayed": 502,
    }.items(),
)
async def test_who_comes_back_with_anything_else_is_not_signed_in(case: str, code: int, provider: Provider) -> None:
    async with browsing(provider) as http:
        state = (await depart(http, provider))["state"]
        query = {"state": state, "code": "good-code"}
        match case:
            case "another state":
                query["state"] = "somebody-else-s"
            case "no cookie":
                http.cookies.clear()
            case "refused":
                query = {"state": state, "error": "access_denied", "error_description": "not in the lab"}
            case "bad code":
                query["code"] = "made-up"
            case "another verifier":
                provider.challenge = challenge("of another browser")
            case "replayed":
                provider.nonce = "of another request"
        answer = await arrive(http, **query)
        assert answer.status_code == code, answer.text
        assert 'role="alert"' in answer.text
        assert (await http.get("/dashboard/queues")).status_code == 303


async def test_a_provider_that_is_away_is_said_to_be(provider: Provider) -> None:
    async with browsing(provider) as http:
        provider.issuer += "/moved"
        answer = await http.post("/dashboard/login/provider", data={})
        assert answer.status_code == 502 and "another issuer" in answer.text


async def test_another_site_begins_no_sign_in(provider: Provider) -> None:
    async with browsing(provider) as http:
        answer = await http.post("/dashboard/login/provider", headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code == 403 and not answer.cookies
