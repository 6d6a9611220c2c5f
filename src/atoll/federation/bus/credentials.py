"""Who one is to NATS: nkeys, and the JWTs by which an operator vouches for accounts and an account for its users.

The only door to the nkeys library. Owns the form of keys, claims and credentials (NATS ADR-14, JWT library v2); what a
user may say stands in `permissions`. Nothing here is stored: who calls keeps seeds where only they can read them.
"""

import base64
import hashlib
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import nkeys
import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from atoll.federation.bus.permissions import Permissions
from atoll.federation.errors import InvalidInput

KeyKind = Literal["operator", "account", "user"]

_PREFIXES = {
    "operator": nkeys.PREFIX_BYTE_OPERATOR,
    "account": nkeys.PREFIX_BYTE_ACCOUNT,
    "user": nkeys.PREFIX_BYTE_USER,
}
_HEADER = {"typ": "JWT", "alg": "ed25519-nkey"}
_UNLIMITED = {"subs": -1, "data": -1, "payload": -1}
_ACCOUNT_LIMITS = {**_UNLIMITED, "imports": 0, "exports": 0, "wildcards": False, "conn": -1, "leaf": 0}
_JETSTREAM_LIMITS = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}
_JWT_MARK, _SEED_MARK = "NATS USER JWT", "USER NKEY SEED"


def new_key(kind: KeyKind) -> bytes:
    """Make a key pair; give its seed, which holds both halves and is secret."""
    return bytes(nkeys.encode_seed(_random_seed(), _PREFIXES[kind]))


def public_key(seed: bytes) -> str:
    """Give the public half of a key pair, which names its owner.

    Raises:
        InvalidInput: the bytes are no seed.
    """
    return str(_pair(seed).public_key.decode())


def is_user_key(text: str) -> bool:
    """Tell whether a text is the public key of a user: everybody may have written it."""
    try:
        raw = base64.b32decode(text + "=" * (-len(text) % 8))
    except ValueError:
        return False
    body, checksum = raw[:-2], int.from_bytes(raw[-2:], "little")
    return len(text) == 56 and raw[0] == nkeys.PREFIX_BYTE_USER and _crc16(body) == checksum


def sign(seed: bytes, data: bytes) -> str:
    """Sign with a key of ours."""
    return base64.b64encode(_pair(seed).sign(data)).decode()


def is_signed_by(user: str, data: bytes, signature: str) -> bool:
    """Tell whether a user's key signed this; `user` is a public key that `is_user_key`."""
    raw = base64.b32decode(user)[1:-2]
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Credentials:
    """What a user shows when it connects: the JWT that its account signed, and the seed of its own key."""

    jwt: str
    seed: bytes

    def text(self) -> bytes:
        """Give the form that NATS's own tools read, a .creds file; secret."""
        return _block(_JWT_MARK, self.jwt) + _block(_SEED_MARK, self.seed.decode())

    @classmethod
    def parse(cls, text: bytes) -> "Credentials":
        """Read a .creds file.

        Raises:
            InvalidInput: it is none.
        """
        lines = [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
        found = dict(pairwise(lines))
        jwt, seed = found.get(f"-----BEGIN {_JWT_MARK}-----"), found.get(f"-----BEGIN {_SEED_MARK}-----")
        if not jwt or not seed:
            raise InvalidInput("NATS credentials hold a user JWT and a user seed: this file does not")
        return cls(jwt, seed.encode())

    @classmethod
    def read(cls, path: Path) -> "Credentials":
        """Read a .creds file by its path.

        Raises:
            InvalidInput: it cannot be read, or is none.
        """
        try:
            return cls.parse(path.read_bytes())
        except OSError as error:
            raise InvalidInput(f"cannot read the NATS credentials {path}: {error.strerror or error}") from error

    def sign(self, nonce: str) -> bytes:
        """Prove to a server that the key is ours."""
        return base64.b64encode(_pair(self.seed).sign(nonce.encode()))


def sign_operator(operator: bytes, *, system_account: str) -> str:
    """Give the operator's own JWT, signed by itself; `system_account` is a public key."""
    claims = {"system_account": system_account, "type": "operator", "version": 2}
    return _sign(operator, subject=public_key(operator), name="atoll", nats=claims)


def sign_account(
    operator: bytes, account: str, *, name: str, with_jetstream: bool = False, revoked: Mapping[str, int] | None = None
) -> str:
    """Give an account's JWT.

    Args:
        account: its public key.
        revoked: public key of a user → instant in Unix seconds; what was issued to it until then is worthless.
    """
    limits = {**_ACCOUNT_LIMITS, **(_JETSTREAM_LIMITS if with_jetstream else {})}
    # Wildcard `*` in the default permissions would be all; users get theirs in their own JWT.
    claims: dict[str, Any] = {"limits": limits, "default_permissions": {}, "type": "account", "version": 2}
    if revoked:
        claims["revocations"] = dict(revoked)
    return _sign(operator, subject=account, name=name, nats=claims)


def sign_user(
    account: bytes, user: str, *, name: str, permissions: Permissions, expires_at: float | None = None
) -> str:
    """Give a user's JWT.

    Args:
        account: seed of the account that the user is of.
        user: the user's public key; the seed stays with the user.
        permissions: what it may publish and subscribe; nothing else.
        expires_at: Unix seconds; None means never.
    """
    claims = {**_UNLIMITED, **permissions.claims(), "type": "user", "version": 2}
    return _sign(account, subject=user, name=name, nats=claims, expires_at=expires_at)


def read_claims(jwt: str) -> dict[str, Any]:
    """Give the claims of a JWT; the signature is the server's to check.

    Raises:
        InvalidInput: it is no JWT.
    """
    try:
        claims: Any = orjson.loads(_unpad(jwt.split(".")[1]))
    except (IndexError, ValueError) as error:
        raise InvalidInput("this is no NATS JWT") from error
    if not isinstance(claims, dict):
        raise InvalidInput("this is no NATS JWT")
    return claims


def expiry(jwt: str) -> tuple[float, float]:
    """Give when a JWT was issued and when it ends, in Unix seconds; infinity means never. Raises as `read_claims`."""
    claims = read_claims(jwt)
    try:
        return float(claims["iat"]), float(claims.get("exp") or "inf")
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise InvalidInput("this NATS JWT does not say from when until when it is good") from error


def publishable(jwt: str) -> frozenset[str]:
    """Give the subjects that a user may publish by their JWT, patterns as they stand. Raises as `read_claims`."""
    try:
        return frozenset(read_claims(jwt)["nats"]["pub"]["allow"])
    except (KeyError, TypeError):
        return frozenset()


def _sign(seed: bytes, *, subject: str, name: str, nats: Mapping[str, Any], expires_at: float | None = None) -> str:
    claims: dict[str, Any] = {"iat": int(time.time()), "iss": public_key(seed), "name": name, "sub": subject}
    if expires_at is not None:
        claims["exp"] = int(expires_at)
    claims["nats"] = nats
    digest = hashlib.new("sha512_256", orjson.dumps({**claims, "jti": ""})).digest()
    claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
    signed = f"{_pad(orjson.dumps(_HEADER))}.{_pad(orjson.dumps(claims))}"
    return f"{signed}.{_pad(_pair(seed).sign(signed.encode()))}"


def _random_seed() -> bytes:
    return secrets.token_bytes(32)


def _pair(seed: bytes) -> nkeys.KeyPair:
    try:
        return nkeys.from_seed(bytearray(seed))
    except (nkeys.NkeysError, ValueError) as error:
        raise InvalidInput("this is no NATS key: a seed begins with S") from error


def _pad(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _block(mark: str, content: str) -> bytes:
    return f"-----BEGIN {mark}-----\n{content}\n------END {mark}------\n\n".encode()


def _crc16(data: bytes) -> int:
    """CRC-16/XMODEM, the checksum of public nkeys (nkeys, `crc16.go`)."""
    value = 0
    for byte in data:
        value ^= byte << 8
        for _ in range(8):
            value = (value << 1) ^ 0x1021 if value & 0x8000 else value << 1
        value &= 0xFFFF
    return value
