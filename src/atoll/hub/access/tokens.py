"""Tokens that the hub issues: `atoll_<id>_<secret>`.

Owns their form, what is kept of one, and the judgement over a token that is shown. Pure. Of the secret only its SHA-256
is kept: it has 256 random bits, so nobody finds it by trying, and a slow hash would protect nothing more.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import AwareDatetime

from atoll.federation.bus.messages import Message
from atoll.federation.errors import InvalidInput
from atoll.hub.access.grant import Grant
from atoll.hub.access.identity import Refused, identified
from atoll.kubeapi.http.access import User

PREFIX = "atoll_"
_FORM = re.compile(r"atoll_([0-9a-f]{12})_([0-9a-f]{64})")
_ID_BYTES, _SECRET_BYTES = 6, 32

DEFAULT_LIFETIME = timedelta(days=90)
# Longer, and nobody remembers who holds it; a year covers what must not be touched more often.
LONGEST_LIFETIME = timedelta(days=365)


class TokenRecord(Message):
    """What is kept of a token."""

    id: str
    sha256: str
    user: str
    groups: tuple[str, ...] = ()
    grant: str = ""
    description: str = ""
    created_at: AwareDatetime
    created_by: str
    expires_at: AwareDatetime


@dataclass(frozen=True)
class Draft:
    """A token that is to be issued: whom it stands for, what it grants by itself, and until when."""

    user: str
    groups: tuple[str, ...]
    grant: Grant | None
    description: str
    expires_at: datetime


@dataclass(frozen=True)
class Shown:
    """The two parts of a token that somebody shows."""

    id: str
    secret: str


def parse_token(text: str) -> Shown | None:
    """Take a token apart; None if it has not the form of one."""
    match = _FORM.fullmatch(text)
    return Shown(*match.groups()) if match else None


def make_token(draft: Draft, *, created_by: str, now: datetime) -> tuple[TokenRecord, str]:
    """Make a token; give what is kept of it, and the token itself."""
    token_id, secret = secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES)
    record = TokenRecord(
        id=token_id,
        sha256=_digest(secret),
        user=draft.user,
        groups=draft.groups,
        grant=draft.grant.encode() if draft.grant else "",
        description=draft.description,
        created_at=now,
        created_by=created_by,
        expires_at=draft.expires_at,
    )
    return record, f"{PREFIX}{token_id}_{secret}"


def judge(shown: Shown, record: TokenRecord | None, now: datetime) -> User | Refused:
    """Decide whether a token is good, given the record of its id."""
    if record is None:
        return Refused("UnknownOrRevoked", shown.id)
    if not hmac.compare_digest(_digest(shown.secret), record.sha256):
        return Refused("WrongSecret", shown.id)
    if now >= record.expires_at:
        return Refused("Expired", shown.id)
    try:
        grant = Grant.parse(record.grant) if record.grant else None
    except InvalidInput:  # written by a hub that knows more roles
        return Refused("InvalidClaim", shown.id)
    return identified(record.user, record.groups, credential=f"TOKEN={record.id}", grant=grant)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
