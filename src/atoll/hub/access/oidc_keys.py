"""The keys of an identity provider: a JWK set from a file, a URL, or where the issuer announces it.

Together with `oidc_code`, which asks by what stands here, it is httpx's only door.

Owns reading them, and how often. A provider that is away changes nothing: the keys that were read last stay good.
It must not know what the keys are for.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from atoll.federation.errors import AtollError, Internal, InvalidInput
from atoll.federation.errors import Unavailable as Away
from atoll.hub.settings import OidcSettings, is_loopback
from atoll.kubeapi.errors import Unavailable

log = structlog.get_logger(__name__)

Keys = tuple[Mapping[str, Any], ...]

# A token with an unknown key makes the hub ask again, and anybody can make up such tokens.
ASK_AGAIN_SECONDS = 60.0
# Until keys were read nobody can be told from anybody; the provider may be starting, too.
_FIRST_AGAIN_SECONDS = 5.0
# A key that the provider takes back is trusted this much longer.
_REFRESH_SECONDS = 600.0
TIMEOUT_SECONDS = 5.0
_LARGEST_ANSWER = 1024 * 1024
_DISCOVERY = "/.well-known/openid-configuration"


class KeySource:
    """The newest keys that could be read."""

    def __init__(self, settings: OidcSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        """Make a source that has read nothing yet.

        Raises:
            InvalidInput: the settings name no place where keys could be, or the CA cannot be used.
        """
        self._fetch, self._now = _fetch(settings), now
        self._keys: Keys | None = None
        self._next_at = -float("inf")
        self._asking = asyncio.Lock()

    async def run(self) -> None:
        """Read the keys again from time to time, for ever: what the provider takes back must not stay good."""
        while True:
            await self._refresh()
            await asyncio.sleep(_FIRST_AGAIN_SECONDS if self._keys is None else _REFRESH_SECONDS)

    async def keys(self) -> Keys:
        """Give the keys; read them first if they never were.

        Raises:
            Unavailable: they never could be read.
        """
        return self._keys if self._keys is not None else await self.renewed()

    async def renewed(self) -> Keys:
        """Read the keys again unless that was a moment ago, and give the newest.

        Raises:
            Unavailable: they never could be read.
        """
        await self._refresh()
        if self._keys is None:
            raise Unavailable("the keys of the identity provider could not be read yet", retry_after_seconds=5)
        return self._keys

    async def _refresh(self) -> None:
        async with self._asking:
            if self._now() < self._next_at:
                return
            try:
                self._keys = await self._fetch()
            except AtollError as error:
                log.warning("the keys of the identity provider could not be read", problem=str(error))
            self._next_at = self._now() + (_FIRST_AGAIN_SECONDS if self._keys is None else ASK_AGAIN_SECONDS)


def checked_url(url: str, what: str) -> str:
    """Take a URL from which keys may be read: HTTPS, or HTTP on this machine.

    Raises:
        InvalidInput: it is none; `what` names it in the message.
    """
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return url
    if parts.scheme == "http" and is_loopback(parts.hostname or ""):
        return url
    raise InvalidInput(f"{what}: {url!r} is no https:// URL; keys that come without TLS could be anybody's")


def _fetch(settings: OidcSettings) -> Callable[[], Awaitable[Keys]]:
    """Choose how the keys are read; a file must be there already."""
    checked_url(settings.issuer, "--oidc-issuer")
    if settings.keys and "://" not in settings.keys:
        path = Path(settings.keys)
        _from_content(path)
        return partial(_from_file, path)
    if settings.keys:
        checked_url(settings.keys, "--oidc-jwks")
    return partial(_from_web, settings, tls_context(settings.ca))


async def _from_file(path: Path) -> Keys:
    return _from_content(path)


def _from_content(path: Path) -> Keys:
    try:
        return _key_set(path.read_bytes(), f"--oidc-jwks {path}")
    except OSError as error:
        raise InvalidInput(f"--oidc-jwks {path}: {error.strerror}") from error


async def _from_web(settings: OidcSettings, tls: ssl.SSLContext) -> Keys:
    async with httpx.AsyncClient(verify=tls, timeout=TIMEOUT_SECONDS) as client:
        url = settings.keys or await _announced_keys(client, settings.issuer)
        return _key_set(await read_url(client, url), url)


async def announced(client: httpx.AsyncClient, issuer: str) -> dict[str, Any]:
    """Ask an issuer for its configuration (OpenID Connect Discovery 1.0, section 4).

    Raises:
        Unavailable: it does not answer. Internal: it answers for somebody else.
    """
    url = issuer.rstrip("/") + _DISCOVERY
    found = json_object(await read_url(client, url), url)
    if found.get("issuer") != issuer:
        raise Internal(f"{url} announces another issuer than {issuer!r}")
    return found


async def _announced_keys(client: httpx.AsyncClient, issuer: str) -> str:
    found = await announced(client, issuer)
    return checked_url(str(found.get("jwks_uri", "")), f"jwks_uri of {issuer}")


def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Trust a CA, or those of the system.

    Raises:
        InvalidInput: it is no certificate.
    """
    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:
        raise InvalidInput(f"--oidc-ca {ca} is no CA certificate in PEM form: {error.strerror or error}") from error


async def read_url(client: httpx.AsyncClient, url: str, form: Mapping[str, str] | None = None) -> bytes:
    """Read what a URL answers, to a POST if there is a form.

    Raises:
        Unavailable: it does not answer, or not with 200. Internal: it answers with too much.
    """
    try:
        method = "GET" if form is None else "POST"
        async with asyncio.timeout(2 * TIMEOUT_SECONDS), client.stream(method, url, data=form) as answer:
            if answer.status_code != 200:
                raise Away(f"{url} answered {answer.status_code}")
            body = b""
            async for part in answer.aiter_bytes():
                body += part
                if len(body) > _LARGEST_ANSWER:
                    raise Internal(f"{url} answered with more than {_LARGEST_ANSWER} bytes")
            return body
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
        raise Away(f"{url} cannot be read: {error or type(error).__name__}") from error


def _key_set(content: bytes, where: str) -> Keys:
    keys = json_object(content, where).get("keys")
    if not isinstance(keys, list) or not all(isinstance(key, dict) for key in keys):
        raise InvalidInput(f"{where} is no JWK set: it has no list of keys")
    return tuple(keys)


def json_object(content: bytes, where: str) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InvalidInput: it is none.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        raise InvalidInput(f"{where} is no JSON object")
    return value
