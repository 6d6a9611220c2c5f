"""A table between hub and members in memory: its keys, its values, who listens, and what a report's date proves.

Owns the copy and the one follower that keeps it up to date. It must not write the table, nor know what orders and
reports mean. A member is named by (kind, name), such as ("cluster", "onprem-gpu").
"""

import asyncio
import hmac
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import MemberKind
from atoll.federation.bus.table import Table
from atoll.federation.errors import Internal
from atoll.hub.levels import Levels

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=Message)
# Messages kept read: one is asked for several times while something happens to it. Some 5 KB each.
_MOST_MESSAGES = 2000


@dataclass(frozen=True)
class Path:
    """A key of either table: whose it is, and what. `rest` is such as `run/seismology/picks-1`."""

    kind: MemberKind
    member: str
    rest: str

    @classmethod
    def parse(cls, key: str) -> "Path":
        """Read `cluster/onprem-gpu/run/seismology/picks-1`."""
        kind, member, *rest = key.split("/", 2)
        return cls(_kind(kind), member, rest[0] if rest else "")

    @property
    def key(self) -> str:
        """The table's key."""
        return f"{self.kind}/{self.member}/{self.rest}"

    @property
    def topic(self) -> str:
        """First part of `rest`: run, dataset, heartbeat and so on."""
        return self.rest.partition("/")[0]

    @property
    def names(self) -> tuple[str, ...]:
        """The parts after the topic, such as (namespace, name)."""
        return tuple(self.rest.split("/")[1:])


@dataclass(frozen=True)
class Held:
    """A value of a table. `received_at` is when this process heard it live; None if it was there already.

    `stored_at` is when NATS stored it, by the clock of its machine; None for what this process wrote itself.
    """

    value: bytes
    revision: int
    received_at: datetime | None = None
    stored_at: datetime | None = None


class Feed:
    """One listener's changed keys; equal keys merge until they are read."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}
        self._wake = asyncio.Event()

    def add(self, key: str) -> None:
        """Note that a key changed."""
        self._keys[key] = None
        self._wake.set()

    async def take(self) -> list[str]:
        """Wait for changed keys, and give all of them."""
        await self._wake.wait()
        self._wake.clear()
        keys, self._keys = list(self._keys), {}
        return keys


class Copy:
    """A table in memory. `run` keeps it up to date; reading never waits.

    In the table every key holds the token of who may write it. One with a wrong token was forged, or is left of other
    keys of this federation: it is as if it were not there.
    """

    def __init__(self, table: Table, *, clock: Callable[[], datetime], token_of: Callable[[Path], str]) -> None:
        self._table, self._clock, self._token_of = table, clock, token_of
        self._forgers: set[str] = set()
        self.on_forged: Callable[[], None] = _nothing
        self._held: dict[str, Held] = {}
        self._members: dict[tuple[str, str], set[str]] = {}
        # By kind and rest of a key, who has one: a thousand members are not asked one by one.
        self._holders: dict[tuple[str, str], set[str]] = {}
        self._feeds: dict[Feed, None] = {}
        self._written: dict[str, int] = {}
        self._messages: OrderedDict[str, tuple[Held, Message]] = OrderedDict()
        self.synced = asyncio.Event()

    async def run(self) -> None:
        """Follow the table for ever."""
        levels = Levels()
        async for item in self._table.follow():
            is_live = levels.is_synced
            for change in levels.feed(item):
                path = self._believed(change.key)
                if path is None:
                    continue
                received_at = self._clock() if is_live else None
                self._take(path, _held(change, received_at), change.revision)
            if isinstance(item, Synced):
                self.synced.set()

    def _believed(self, key: str) -> Path | None:
        """Read a key of the table; None if it does not hold the token that it should."""
        kind, member, token, rest = (*key.split("/", 3), "", "", "")[:4]
        path = Path(_kind(kind), member, rest)
        if hmac.compare_digest(token, self._token_of(path)):
            return path
        self.on_forged()
        if f"{kind}/{member}" not in self._forgers:
            self._forgers.add(f"{kind}/{member}")
            log.warning("something written with a wrong token was ignored", kind=kind, member=member)
        return None

    def _place(self, path: Path) -> str:
        """Give the key of the table under which something stands."""
        return f"{path.kind}/{path.member}/{self._token_of(path)}/{path.rest}"

    def _wrote(self, path: Path, held: Held | None, revision: int) -> None:
        """Take in a write of our own, before the follower comes to it, or after: it is told once."""
        known = self._held.get(path.key)
        if known is not None and held is not None and (known.revision, known.value) == (revision, held.value):
            return
        self._take(path, held, revision)
        self._written[path.key] = revision

    def _take(self, path: Path, held: Held | None, revision: int) -> None:
        """Put one change in, unless it is what we have written there, or we have written there since."""
        key = path.key
        if revision <= self._written.get(key, 0):
            return
        self._written.pop(key, None)
        if held is None:
            self._held.pop(key, None)
            self._messages.pop(key, None)
            _discard(self._members, (path.kind, path.member), key)
            _discard(self._holders, (path.kind, path.rest), path.member)
        else:
            self._held[key] = held
            self._members.setdefault((path.kind, path.member), set()).add(key)
            self._holders.setdefault((path.kind, path.rest), set()).add(path.member)
        for feed in self._feeds:
            feed.add(key)

    def held(self, path: Path) -> Held | None:
        """Give what stands at a key, or None."""
        return self._held.get(path.key)

    def read(self, model: type[M], path: Path) -> M | None:
        """Give what stands at a key as a message; None if there is none, or none that can be read."""
        held = self._held.get(path.key)
        if held is None:
            return None
        known_of, known = self._messages.get(path.key, (None, None))
        if known_of is held and isinstance(known, model):
            return known
        try:
            message = model.decode(held.value)
        except Internal as error:
            log.warning("a message could not be read", key=path.key, error=str(error))
            return None
        self._messages[path.key] = (held, message)
        if len(self._messages) > _MOST_MESSAGES:
            self._messages.popitem(last=False)
        return message

    async def newest_revision(self, path: Path) -> int:
        """Ask the store itself for the revision that stands at a key; 0 if there is none.

        Raises:
            Unavailable: it does not answer; retryable.
        """
        current = await self._table.get(self._place(path))
        return current.revision if current is not None else 0

    def members(self, kind: MemberKind) -> list[str]:
        """Name the members of a kind that have anything here."""
        return sorted(member for what, member in self._members if what == kind)

    def of_member(self, kind: MemberKind, member: str) -> list[Path]:
        """Give every key of a member."""
        return [Path.parse(key) for key in sorted(self._members.get((kind, member), ()))]

    def paths(self, kind: MemberKind, member: str, topic: str) -> Iterator[Path]:
        """Give every key of a member under one topic."""
        return (path for path in self.of_member(kind, member) if path.topic == topic)

    def everywhere(self, kind: MemberKind, rest: str) -> Iterator[Path]:
        """Give the members' keys that have this rest, such as every cluster's report of one dataset."""
        return (Path(kind, member, rest) for member in sorted(self._holders.get((kind, rest), ())))

    async def changes(self) -> AsyncIterator[list[Path]]:
        """Give every key that is here, then keys as they change."""
        feed = Feed()
        self._feeds[feed] = None
        try:
            yield [Path.parse(key) for key in self._held]
            while True:
                yield [Path.parse(key) for key in await feed.take()]
        finally:
            self._feeds.pop(feed, None)


def _held(change: Change, received_at: datetime | None) -> Held | None:
    if change.value is None:
        return None
    stored_at = None if change.stored_at is None else datetime.fromtimestamp(change.stored_at, UTC)
    return Held(change.value, change.revision, received_at, stored_at)


def _discard(index: dict[tuple[str, str], set[str]], key: tuple[str, str], item: str) -> None:
    """Take an item out of a set of an index, and a set that is empty then out of the index."""
    items = index.get(key, set())
    items.discard(item)
    if not items:
        index.pop(key, None)


def _nothing() -> None:
    """Count nothing."""


def _kind(text: str) -> MemberKind:
    return "gateway" if text == "gateway" else "cluster"


def proven_at(held: Held | None, at: datetime | None, now: datetime) -> datetime | None:
    """Give the instant that a report proves, never later than the truth.

    A member's clock that is ahead would make old evidence look new: it is dated by the earlier of its own clock and of
    the one that heard it, the hub's or, for what was found at start, that of NATS. What is dated in the future by both
    proves nothing.
    """
    if held is None or at is None:
        return None
    heard = held.received_at or held.stored_at
    if heard is not None:
        at = min(at, heard)
    return at if held.received_at is not None or at <= now else None
