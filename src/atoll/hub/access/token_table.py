"""The issued tokens as every hub knows them: a bus table, followed into memory.

Owns issuing, revoking and finding. Known tokens need no NATS; one that this hub has not heard of yet is looked up once
in the table, and so seldom that guessing costs NATS nothing. What a token means stands in `tokens`.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.table import Table
from atoll.federation.errors import AtollError, Conflict, Internal
from atoll.hub.access.identity import Refused
from atoll.hub.access.tokens import Draft, Shown, TokenRecord, judge, make_token, parse_token
from atoll.hub.levels import Levels
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import User

log = structlog.get_logger(__name__)

ACCESS_STREAM, ACCESS_PREFIX = "ACCESS", "access"
_UNDER = "token"
_RETRY_AFTER_SECONDS = 1
_LOOKUP_SECONDS = 2.0
# Expired tokens stay listed this long, so that one sees why a program has stopped; then nobody asks any more.
_KEEP_EXPIRED = timedelta(days=30)
_SWEEP_SECONDS = 3600.0


class Guesses:
    """Bounds how often unknown ids are looked up: each once in a while, and all together a few times a second."""

    # Long enough that a program which tries again at once costs nothing; short enough that nobody waits for a token.
    REMEMBERED_SECONDS = 2.0
    # New tokens are heard of within milliseconds, so honest lookups are rare; NATS answers thousands a second.
    LOOKUPS_PER_SECOND = 20
    _REMEMBERED = 4096

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._unknown: dict[str, float] = {}
        self._second, self._used = 0.0, 0

    def may_look_up(self, token_id: str) -> bool:
        """Tell whether an id is worth a question now; the answer counts as one."""
        now = self._now()
        if now < self._unknown.get(token_id, 0.0):
            return False
        if now - self._second >= 1.0:
            self._second, self._used = now, 0
        self._used += 1
        return self._used <= self.LOOKUPS_PER_SECOND

    def was_unknown(self, token_id: str) -> None:
        """Remember for a moment that there is no such token."""
        self._unknown.pop(token_id, None)
        self._unknown[token_id] = self._now() + self.REMEMBERED_SECONDS
        if len(self._unknown) > self._REMEMBERED:
            del self._unknown[next(iter(self._unknown))]


class Tokens:
    """All tokens. `run` keeps the copy in memory up to date."""

    def __init__(self, table: Table, *, clock: Callable[[], datetime]) -> None:
        self._table, self._clock = table, clock
        self._records: dict[str, TokenRecord] = {}
        self._revoked: set[str] = set()
        self._levels = Levels()
        self._guesses = Guesses()
        self.synced = asyncio.Event()

    @classmethod
    async def open(cls, bus: Bus, *, clock: Callable[[], datetime]) -> "Tokens":
        """Make the stream if it is not there.

        Raises:
            Unavailable: NATS does not answer.
        """
        await bus.ensure_table(ACCESS_STREAM, ACCESS_PREFIX)
        return cls(bus.table(ACCESS_STREAM, ACCESS_PREFIX), clock=clock)

    async def run(self) -> None:
        """Follow the table for ever, and remove what expired long ago."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow(), name="hub-tokens")
            group.create_task(self._sweep(), name="hub-tokens-sweep")

    async def authenticate(self, token: str) -> User | Refused:
        """Tell whom a token stands for.

        Raises:
            Unavailable: nobody can tell now.
        """
        shown = parse_token(token)
        if shown is None:
            return Refused("Malformed")
        record = self._records.get(shown.id) or await self._look_up(shown)
        return judge(shown, record, self._clock())

    async def issue(self, draft: Draft, *, created_by: str) -> tuple[TokenRecord, str]:
        """Store a new token; give its record and the token, which nobody can give again.

        Raises:
            Unavailable: it may be stored, but nobody has it: ask for another.
        """
        record, token = make_token(draft, created_by=created_by, now=self._clock())
        try:
            revision = await self._table.put(_key(record.id), record.encode(), expected=0)
        except AtollError as error:
            raise _unavailable(error) from error
        if self._levels.newest < revision:
            self._records[record.id] = record
        return record, token

    async def revoke(self, token_id: str, *, dry_run: bool = False) -> bool:
        """Make a token worthless, on this hub at once and on others as they hear of it; tell whether there was one.

        Raises:
            Unavailable: it may have happened; the same again does no harm.
        """
        try:
            while (current := await self._table.get(_key(token_id))) is not None:
                if dry_run:
                    return True
                if await self._delete(token_id, current):
                    return True
        except AtollError as error:
            raise _unavailable(error) from error
        return False

    def all(self) -> list[TokenRecord]:
        """Give every token, the newest last.

        Raises:
            Unavailable: they are not loaded yet.
        """
        if not self.synced.is_set():
            raise Unavailable("the tokens are not loaded yet", retry_after_seconds=_RETRY_AFTER_SECONDS)
        return sorted(self._records.values(), key=lambda record: (record.created_at, record.id))

    async def remove_expired(self) -> None:
        """Remove the tokens that expired long ago.

        Raises:
            Unavailable: some may be left; the same again does no harm.
        """
        before = self._clock() - _KEEP_EXPIRED
        for record in [record for record in self._records.values() if record.expires_at < before]:
            await self.revoke(record.id)

    async def _look_up(self, shown: Shown) -> TokenRecord | None:
        """Ask the table for a token that another hub may have issued a moment ago."""
        if not self.synced.is_set():
            raise Unavailable("the tokens are not loaded yet", retry_after_seconds=_RETRY_AFTER_SECONDS)
        if shown.id in self._revoked or not self._guesses.may_look_up(shown.id):
            return None
        try:
            async with asyncio.timeout(_LOOKUP_SECONDS):
                found = await self._table.get(_key(shown.id))
        except (AtollError, TimeoutError) as error:
            raise _unavailable(error) from error
        # Not kept: it may be revoked by the time this answer arrives. The follower brings it in its order.
        record = _decoded(found) if found is not None else None
        if record is None:
            self._guesses.was_unknown(shown.id)
        return record

    async def _follow(self) -> None:
        async for item in self._table.follow(_UNDER):
            for change in self._levels.feed(item):
                self._take(change)
            if isinstance(item, Synced):
                self.synced.set()

    def _take(self, change: Change) -> None:
        token_id = change.key.rpartition("/")[2]
        record = _decoded(change)
        if change.value is None:
            self._revoked.discard(token_id)
        if record is None:
            self._records.pop(token_id, None)
        elif token_id not in self._revoked:
            self._records[token_id] = record

    async def _delete(self, token_id: str, current: Change) -> bool:
        """Delete a token as it was read; tell whether it still stood so."""
        try:
            revision = await self._table.delete(current.key, expected=current.revision)
        except Conflict:
            return False
        self._records.pop(token_id, None)
        if self._levels.newest < revision:  # the follower is behind, and must not bring the token back
            self._revoked.add(token_id)
        return True

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.remove_expired()
            except Unavailable as error:
                log.info("expired tokens could not be removed", problem=str(error))


def _key(token_id: str) -> str:
    return f"{_UNDER}/{token_id}"


def _decoded(change: Change) -> TokenRecord | None:
    """Read a record; one that cannot be read is as good as none."""
    if change.value is None:
        return None
    try:
        return TokenRecord.decode(change.value)
    except Internal as error:
        log.warning("a token could not be read", key=change.key, problem=str(error))
        return None


def _unavailable(error: Exception) -> Unavailable:
    text = str(error) or "no answer in time"
    return Unavailable(f"the tokens cannot be reached: {text}", retry_after_seconds=_RETRY_AFTER_SECONDS)
