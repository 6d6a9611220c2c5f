"""Who is a member and who is invited: two parts of the table ACCESS, read when asked.

Owns these records. Of a one-time token only the SHA-256 is kept.
"""

import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import orjson

from atoll.federation.bus.changes import Synced
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import MemberKind
from atoll.federation.bus.table import Table
from atoll.federation.errors import Conflict, InvalidInput

INVITATION_LIFETIME = timedelta(hours=1)
_ID_BYTES, _SECRET_BYTES = 6, 24
_TOKEN_PREFIX = "atoll-enrol"  # noqa: S105 - what it begins with is public


class Invitation(Message):
    """enrolment/<id>: one member may enrol until `expires_at`; `public_key` says that it has, and with which key."""

    kind: MemberKind
    name: str
    sha256: str
    created_by: str
    expires_at: datetime
    public_key: str = ""


class MemberRecord(Message):
    """member/<kind>/<name>: the key of a member. A data service is `data/<cluster>/<namespace>`."""

    public_key: str
    since: datetime


class Invitations:
    """The one-time tokens."""

    def __init__(self, table: Table, clock: Callable[[], datetime]) -> None:
        self._table, self._clock = table, clock

    async def make(self, kind: MemberKind, name: str, *, created_by: str) -> tuple[str, datetime]:
        """Invite a member; give the token, which nobody can give again, and when it ends."""
        ident, secret = secrets.token_hex(_ID_BYTES), secrets.token_urlsafe(_SECRET_BYTES)
        expires_at = self._clock() + INVITATION_LIFETIME
        record = Invitation(kind=kind, name=name, sha256=_digest(secret), created_by=created_by, expires_at=expires_at)
        await self._table.put(_invitation(ident), record.encode(), expected=0)
        return f"{_TOKEN_PREFIX}_{ident}_{secret}", expires_at

    async def redeem(self, token: str, kind: MemberKind, name: str, *, public_key: str) -> None:
        """Use a token up for a key. The same key may come again with it: the first answer may have been lost.

        Raises:
            InvalidInput: it is no token, or not for this member. Conflict: it was used. Unavailable: try again.
        """
        ident, secret = _parse(token)
        found = await self._table.get(_invitation(ident))
        record = Invitation.decode(found.value) if found is not None and found.value else None
        if found is None or record is None or not hmac.compare_digest(record.sha256, _digest(secret)):
            raise InvalidInput("this enrolment token is unknown: make another one")
        if (record.kind, record.name) != (kind, name):
            raise InvalidInput(f"this enrolment token is for {record.kind} {record.name}, not for {kind} {name}")
        if record.expires_at <= self._clock():
            raise InvalidInput(f"this enrolment token ended at {record.expires_at:%H:%M} UTC: make another one")
        if record.public_key not in ("", public_key):
            raise Conflict("this enrolment token was used: make another one, and find out by whom")
        used = record.model_copy(update={"public_key": public_key})
        await self._table.put(_invitation(ident), used.encode(), expected=found.revision)

    async def withdraw(self, kind: MemberKind, name: str) -> None:
        """Make every token of a member worthless."""
        async for item in self._table.follow("enrolment"):
            if isinstance(item, Synced):
                return
            record = Invitation.decode(item.value) if item.value is not None else None
            if record is not None and (record.kind, record.name) == (kind, name):
                await self._table.delete(item.key)


class Members:
    """The keys of all members, and those that were revoked."""

    def __init__(self, table: Table, clock: Callable[[], datetime]) -> None:
        self._table, self._clock = table, clock

    async def admit(self, path: str, public_key: str) -> str:
        """Make a key that of a member; give the one that it had, empty if none or the same."""
        found = await self._table.get(f"member/{path}")
        known = MemberRecord.decode(found.value).public_key if found is not None and found.value else ""
        if known != public_key:
            record = MemberRecord(public_key=public_key, since=self._clock())
            await self._table.put(f"member/{path}", record.encode(), expected=found.revision if found else 0)
        return known if known != public_key else ""

    async def key_of(self, path: str) -> str:
        """Give the key of a member; empty if it is none."""
        found = await self._table.get(f"member/{path}")
        return MemberRecord.decode(found.value).public_key if found is not None and found.value else ""

    async def keys_of(self, kind: MemberKind, name: str) -> dict[str, str]:
        """Give the records of a member, and of the data services of a cluster, with their keys."""
        paths = [f"{kind}/{name}", *([path async for path in self._data_of(name)] if kind == "cluster" else [])]
        found = {path: await self.key_of(path) for path in paths}
        return {path: key for path, key in found.items() if key}

    async def forget(self, path: str) -> None:
        """Delete the record of a member."""
        await self._table.delete(f"member/{path}")

    async def _data_of(self, cluster: str) -> AsyncIterator[str]:
        async for item in self._table.follow(f"member/data/{cluster}"):
            if isinstance(item, Synced):
                return
            if item.value is not None:
                yield item.key.removeprefix("member/")

    async def revoke(self, keys: list[str], *, now: float, keep_seconds: float) -> dict[str, int]:
        """Add keys to those that were revoked; give all whose credentials have not ended by themselves."""
        while True:
            found = await self._table.get("field/revoked")
            known: dict[str, int] = orjson.loads(found.value) if found is not None and found.value else {}
            left: dict[str, Any] = {key: at for key, at in known.items() if at > now - keep_seconds}
            # What was issued in this very second is meant too: the server compares whole seconds.
            left |= {key: int(now) + 1 for key in keys}
            if left == known:
                return left
            try:
                await self._table.put("field/revoked", orjson.dumps(left), expected=found.revision if found else 0)
            except Conflict:
                continue
            return left


def _invitation(ident: str) -> str:
    return f"enrolment/{ident}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _parse(token: str) -> tuple[str, str]:
    prefix, _, rest = token.strip().partition("_")
    ident, _, secret = rest.partition("_")
    if prefix != _TOKEN_PREFIX or not ident.isalnum() or not ident.isascii() or not secret:
        raise InvalidInput(f"this is no enrolment token: one begins with {_TOKEN_PREFIX}_")
    return ident, secret
