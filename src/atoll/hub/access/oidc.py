"""OpenID Connect: ID tokens of an identity provider. This room's only door to PyJWT.

Owns the checks (OpenID Connect Core 1.0, section 3.1.3.7; RFC 8725) and the mapping of claims to a user. The keys come
from `oidc_keys`. Only signatures by private keys are taken, each by the algorithm of its key: a token cannot choose.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jwt

from atoll.hub.access.identity import ADMINS_GROUP, OIDC_PREFIX, Reason, Refused, identified
from atoll.hub.access.oidc_keys import KeySource
from atoll.hub.settings import OidcSettings
from atoll.kubeapi.http.access import User

ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
LEEWAY_SECONDS = 60
# Identity providers write a few kilobytes; more is only work for us.
LONGEST_TOKEN = 16 * 1024

_REASONS: Sequence[tuple[type[Exception], Reason]] = (
    (jwt.ExpiredSignatureError, "Expired"),
    (jwt.ImmatureSignatureError, "NotYetValid"),
    (jwt.InvalidIssuedAtError, "NotYetValid"),
    (jwt.InvalidAudienceError, "WrongAudience"),
    (jwt.InvalidIssuerError, "WrongIssuer"),
    (jwt.InvalidAlgorithmError, "ForbiddenAlgorithm"),
    (jwt.MissingRequiredClaimError, "MissingClaim"),
    (jwt.InvalidSignatureError, "WrongSignature"),
    (jwt.DecodeError, "Malformed"),
)


class Oidc:
    """Judges ID tokens of one issuer. `run` keeps its keys up to date."""

    def __init__(self, settings: OidcSettings, *, now: Callable[[], float] = time.monotonic) -> None:
        """Take tokens of an issuer.

        Raises:
            InvalidInput: the settings name no place where keys could be, or a file that cannot be used.
        """
        self._settings, self._source = settings, KeySource(settings, now=now)
        self._read: tuple[Mapping[str, Any], ...] = ()
        self._keys: tuple[jwt.PyJWK, ...] = ()

    async def run(self) -> None:
        """Read the issuer's keys from time to time, for ever."""
        await self._source.run()

    async def authenticate(self, token: str) -> User | Refused:
        """Tell whom an ID token stands for.

        Raises:
            Unavailable: the issuer's keys were never read.
        """
        if len(token) > LONGEST_TOKEN:
            return Refused("Malformed")
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError:
            return Refused("Malformed")
        if str(header.get("alg")) not in ALGORITHMS:
            return Refused("ForbiddenAlgorithm")
        key_id = header.get("kid")
        keys = self._fitting(await self._source.keys(), key_id)
        if not keys:
            keys = self._fitting(await self._source.renewed(), key_id)
        return self._judge(token, keys) if keys else Refused("UnknownKey")

    def _fitting(self, sets: tuple[Mapping[str, Any], ...], key_id: str | None) -> tuple[jwt.PyJWK, ...]:
        """Give the keys that may have signed: the one that the token names, or all if it names none."""
        if sets is not self._read:
            self._read, self._keys = sets, usable_keys(sets)
        return tuple(key for key in self._keys if key_id is None or key.key_id == key_id)

    def _judge(self, token: str, keys: tuple[jwt.PyJWK, ...]) -> User | Refused:
        refused = Refused("WrongSignature")
        for key in keys:
            claims = self._verified(token, key)
            if not isinstance(claims, Refused):
                return user_of(claims, self._settings)
            refused = claims
            if refused.reason not in ("WrongSignature", "ForbiddenAlgorithm"):
                break
        return refused

    def _verified(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any] | Refused:
        """Give the claims of a token that this key has signed for us, and that is valid now."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, TypeError, ValueError, ArithmeticError) as error:  # the latter for claims such as 1e999
            return Refused(next((reason for kind, reason in _REASONS if isinstance(error, kind)), "InvalidClaim"))


def usable_keys(found: Iterable[Mapping[str, Any]]) -> tuple[jwt.PyJWK, ...]:
    """Take the keys of a JWK set that verify signatures we take; a set may hold others (RFC 7517, section 5)."""
    keys = []
    for value in found:
        try:
            key = jwt.PyJWK(dict(value))
        except (jwt.PyJWTError, TypeError, ValueError):  # PyJWT checks the values of a key, not all their types
            continue
        if key.algorithm_name in ALGORITHMS and key.public_key_use in (None, "sig"):
            keys.append(key)
    return tuple(keys)


def user_of(claims: Mapping[str, Any], settings: OidcSettings) -> User | Refused:
    """Map verified claims to a user. Pure."""
    name, about = claims.get(settings.username_claim), str(claims.get("sub", ""))
    if name is None:
        return Refused("MissingClaim", about)
    # As in Kubernetes: an address that the provider has not verified is anybody's.
    is_unproven = settings.username_claim == "email" and claims.get("email_verified", True) is not True
    groups = claims.get(settings.groups_claim, [])
    groups = [groups] if isinstance(groups, str) else groups
    if not isinstance(name, str) or not name or is_unproven or not _are_names(groups):
        return Refused("InvalidClaim", about)
    credential = f"JTI={claims['jti']}" if claims.get("jti") else f"OIDC={about}"
    prefixed = [f"{OIDC_PREFIX}{group}" for group in groups]
    if settings.admins and settings.admins in groups:
        prefixed.append(ADMINS_GROUP)
    return identified(f"{OIDC_PREFIX}{name}", prefixed, credential=credential, uid=about)


def _are_names(groups: Any) -> bool:
    return isinstance(groups, list) and all(isinstance(group, str) and group for group in groups)
