"""Signing in through the identity provider: an authorization code with PKCE becomes an ID token.

Owns the two steps of a public client (OpenID Connect Core 1.0, section 3.1; RFC 7636; RFC 9700, section 2.1.1: PKCE in
place of a secret). What the token says is for `oidc` to judge. Nothing is kept between the steps: the caller does.
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import orjson

from atoll.federation.errors import Internal
from atoll.hub.access.oidc_keys import TIMEOUT_SECONDS, announced, checked_url, json_object, read_url, tls_context
from atoll.hub.settings import OidcSettings

# What a provider does not know it may refuse (RFC 6749, section 3.3): only what it announces is asked for.
_SCOPES = ("openid", "profile", "email", "groups")


@dataclass(frozen=True)
class Departure:
    """Where a browser is sent, and what must be known when it comes back."""

    url: str
    state: str
    verifier: str
    nonce: str


class CodeFlow:
    """Asks one provider. The client id is the audience of its tokens."""

    def __init__(self, settings: OidcSettings) -> None:
        self._settings, self._tls = settings, tls_context(settings.ca)

    @property
    def provider(self) -> str:
        """Name the provider for people."""
        return urlsplit(self._settings.issuer).hostname or self._settings.issuer

    async def begin(self, redirect_uri: str) -> Departure:
        """Make the URL at which a person signs in.

        Raises:
            Unavailable: the provider does not answer (retry). InvalidInput or Internal: its answer cannot be used.
        """
        async with self._client() as client:
            found = await announced(client, self._settings.issuer)
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        known = found.get("scopes_supported")
        scopes = [scope for scope in _SCOPES if scope == "openid" or (isinstance(known, list) and scope in known)]
        query = {
            "response_type": "code",
            "client_id": self._settings.audience,
            "redirect_uri": redirect_uri,
            "scope": " ".join(scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        begin = checked_url(str(found.get("authorization_endpoint", "")), "authorization_endpoint of the issuer")
        return Departure(f"{begin}{'&' if '?' in begin else '?'}{urlencode(query)}", state, verifier, nonce)

    async def finish(self, code: str, *, verifier: str, nonce: str, redirect_uri: str) -> str:
        """Exchange a code for an ID token, which nobody has judged yet.

        Raises:
            Unavailable: the provider does not answer, or takes the code for none of ours. Internal: it gives no ID
                token, or one that was made for somebody else's request.
        """
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "client_id": self._settings.audience,
            "code_verifier": verifier,
        }
        async with self._client() as client:
            found = await announced(client, self._settings.issuer)
            url = checked_url(str(found.get("token_endpoint", "")), "token_endpoint of the issuer")
            answer = json_object(await read_url(client, url, form), url)
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise Internal(f"{url} gave no id_token")
        if claims_of(token).get("nonce") != nonce:
            raise Internal("the ID token was made for another request: sign in again")
        return token

    def _client(self) -> httpx.AsyncClient:
        return httpx.AsyncClient(verify=self._tls, timeout=TIMEOUT_SECONDS)


def challenge(verifier: str) -> str:
    """Give the S256 challenge of a verifier (RFC 7636, section 4.2). Pure."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def claims_of(token: str) -> Mapping[str, Any]:
    """Read the claims of a token that nobody has judged; empty if they cannot be read. Pure."""
    parts = token.split(".")
    try:
        found = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (IndexError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
