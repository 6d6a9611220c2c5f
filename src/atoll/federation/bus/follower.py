"""Following a table: every live key, then changes as they happen, whatever becomes of connections and servers.

Owns where a follower is and what it may believe. Who answers is one replica of NATS, and after a change of leaders it
may be seconds behind: what it lacks is not gone, and what it has may be old. What was seen before is held against it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.cursor import CATCH_UP_SECONDS, Cursor, CursorLost, Entry
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.large_values import LargeValues
from atoll.federation.bus.parts import Head, Leftovers, part_of
from atoll.federation.bus.subjects import to_key
from atoll.federation.bus.tombstones import is_tombstone
from atoll.federation.errors import AtollError, InvalidInput, Unavailable

if TYPE_CHECKING:
    from atoll.federation.bus.connection import Bus

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 0.5
# Resuming from a sequence misses tombstones that have expired meanwhile; well below their one day of life.
_RESUMABLE_SECONDS = 3600.0


@dataclass(frozen=True)
class Source:
    """What is followed: the messages of a stream that match a filter, whose subjects begin with a prefix.

    Of one's own part (`is_own`) nothing is asked about the stream, which others share. It is small, so that it is read
    again as a whole after every doubt.
    """

    bus: "Bus"
    stream: str
    subject_filter: str
    prefix: str
    large: LargeValues
    is_own: bool

    def key(self, subject: str) -> str:
        return to_key(subject[len(self.prefix) + 1 :])


@dataclass
class _Position:
    """How far a follower is in this read: the newest revision given, when it was last in touch, and of which stream.

    `newest` is the newest revision that was ever given; a replica that has not come so far is behind, or the stream is
    an older copy of itself (`has_gone_back`).
    """

    newest: int
    revision: int = 0
    touched_at: float = 0.0
    created: str = ""
    doubted_at: float | None = None
    has_gone_back: bool = False
    damaged: set[str] = field(default_factory=set)
    leftovers: Leftovers = field(default_factory=Leftovers)

    def begin(self) -> None:
        """Forget what was read: all of it comes again."""
        self.revision, self.damaged, self.leftovers = 0, set(), Leftovers()

    def advance(self, revision: int) -> None:
        self.revision, self.newest = revision, max(self.newest, revision)

    def trust(self) -> None:
        """The replica has come as far as what was seen, so it has all of that."""
        self.doubted_at, self.has_gone_back = None, False


class Follower:
    """One reader of a source. `known` is the newest revision that the reader has seen of it in an earlier life."""

    def __init__(self, source: Source, known: int = 0) -> None:
        self._source = source
        self._position = _Position(newest=known)

    async def run(self) -> AsyncIterator[Change | Synced]:
        """Give every live key, then `Synced`, then changes as they happen; for ever.

        Survives lost connections and killed servers. Where it cannot be sure that nothing was missed, the snapshot
        starts again, closed by another `Synced`.
        """
        where = {"stream": self._source.stream, "filter": self._source.subject_filter}
        while True:
            try:
                async for item in self._read():
                    self._position.touched_at = time.monotonic()
                    yield item
            except CursorLost as lost:
                log.debug("a table is read again", reason=str(lost), **where)
            except AtollError as error:
                log.debug("a table cannot be read", reason=str(error), **where)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self) -> AsyncIterator[Change | Synced]:
        source, position = self._source, self._position
        cursor = Cursor(source.bus, source.stream, source.subject_filter)
        created, last = ("", 0) if source.is_own else await self._extent(cursor)
        is_whole = (
            source.is_own
            or position.created != created
            or last < position.revision
            or time.monotonic() - position.touched_at > _RESUMABLE_SECONDS
        )
        position.created = created
        async with cursor.open(None if is_whole else position.revision + 1) as pending:
            if is_whole:
                async for item in self._snapshot(cursor, pending, last):
                    yield item
            else:
                async for item in self._changes(cursor):
                    yield item

    async def _extent(self, cursor: Cursor) -> tuple[str, int]:
        """Give when the stream was made, and its newest revision."""
        position, extent = self._position, await StreamExtent.read(self._source.bus, self._source.stream)
        if extent.created != position.created:
            position.newest = 0
        elif extent.last_sequence < position.newest:
            await self._doubt(cursor)
        return extent.created, extent.last_sequence

    async def _changes(self, cursor: Cursor) -> AsyncIterator[Change]:
        """Give what comes after the position; a replica that is behind begins before it."""
        async for batch in cursor.batches():
            for entry in batch:
                if entry.sequence > self._position.revision and (change := await self._taken(entry)):
                    yield change
            await self._tidy(batch)

    async def _snapshot(self, cursor: Cursor, pending: int, last: int) -> AsyncIterator[Change | Synced]:
        """Give everything, `Synced`, then changes. `last` is the stream's newest revision, unless it is not asked."""
        is_own, position = self._source.is_own, self._position
        position.begin()
        # Tombstones count as pending, so this is reached exactly when the snapshot has been given.
        if pending == 0:
            if is_own and position.newest:
                await self._doubt(cursor)
            position.revision = last
            yield Synced(last, has_gone_back=position.has_gone_back)
        is_synced, given = pending == 0, set[str]()
        async for batch in self._proven(cursor) if is_own else cursor.batches():
            for entry in batch:
                change = await self._taken(entry)
                # What was gone before was never given; what goes while the snapshot is given may have been.
                was_given = change and (change.key in given if is_own else entry.sequence > last)
                if change and (was_given or change.value is not None or is_synced):
                    if is_own and not is_synced:
                        (given.discard if change.value is None else given.add)(change.key)
                    yield change
                if not is_synced and entry.pending == 0:
                    is_synced = True
                    damaged = frozenset(position.damaged)
                    yield Synced(entry.sequence, frozenset(given) | damaged, damaged, position.has_gone_back)
            await self._tidy(batch)

    async def _proven(self, cursor: Cursor) -> AsyncIterator[Sequence[Entry]]:
        """Give one's own entries, nothing before the replica has come as far as what was seen before.

        Raises:
            Unavailable: it has not.
        """
        position, withheld, is_proven = self._position, list[Entry](), False
        async for batch in cursor.batches():
            if is_proven:
                yield batch
                continue
            withheld += batch
            if batch[-1].sequence >= position.newest:
                position.trust()
            elif any(entry.pending == 0 for entry in batch):
                await self._doubt(cursor)
            else:
                continue
            is_proven = True
            yield withheld

    async def _doubt(self, cursor: Cursor) -> None:
        """Have replicas asked again for a while; then what they say is so.

        The newest messages that were seen may have been tombstones, which are dropped after a day: only a stream that
        has not come so far itself is an older one.

        Raises:
            Unavailable: the while is not over.
        """
        position, now = self._position, time.monotonic()
        position.doubted_at = now if position.doubted_at is None else position.doubted_at
        if now - position.doubted_at < CATCH_UP_SECONDS:
            raise Unavailable(f"the replica that answers has not come to revision {position.newest}")
        position.has_gone_back = await cursor.end() < position.newest
        position.newest, position.doubted_at = 0, None

    async def _taken(self, entry: Entry) -> Change | None:
        """Give the change that a message is; None for a part, and for the head of a value that cannot be read."""
        source, position = self._source, self._position
        if part := part_of(entry.subject):
            # A follower that is cut off here begins again behind the last value, so before the first part.
            position.leftovers.part(*part, entry.stored_at)
            return None
        key, value, set_name = source.key(entry.subject), entry.payload, ""
        try:
            if head := Head.read(entry.headers):
                value, set_name = await source.large.read(entry.subject, head), head.set_name
        except InvalidInput as error:  # mostly a newer value has taken its place meanwhile, and comes next
            position.advance(entry.sequence)
            position.damaged.add(key)
            tell = log.debug if entry.pending else log.warning
            tell("a value in parts cannot be read", stream=source.stream, key=key, reason=str(error))
            return None
        position.advance(entry.sequence)
        position.damaged.discard(key)
        stale = position.leftovers.value(entry.subject, set_name, entry.stored_at)
        await self._clean([(entry.subject, name) for name in stale])
        return Change(key, None if is_tombstone(entry.headers) else value, entry.sequence, entry.stored_at)

    async def _tidy(self, batch: Sequence[Entry]) -> None:
        await self._clean(self._position.leftovers.abandoned(batch[-1].stored_at))

    async def _clean(self, stale: Sequence[tuple[str, str]]) -> None:
        """Remove sets of parts that nothing needs; members may not, so the hub does it for them."""
        for subject, set_name in () if self._source.is_own else stale:
            await self._source.large.remove(subject, set_name)
