"""Run times by kind of work as every hub knows them: a bus table, followed into memory.

Owns what a kind's history is kept under, and how many kinds are kept. An entry that cannot be read is as good as none,
and is written anew with the next run of its kind.
"""

import asyncio
from collections.abc import Mapping

import structlog

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import Message
from atoll.federation.bus.table import Table
from atoll.federation.errors import Conflict, Internal
from atoll.federation.estimates import History, Sample, differs, with_sample
from atoll.hub.levels import Levels

log = structlog.get_logger(__name__)

LEARNED_STREAM, LEARNED_PREFIX = "LEARNED", "learned"
_UNDER = "run-times"
# An entry takes some 6 KB: 30 MB at most. A federation has tens to hundreds of images, not thousands.
MOST_KINDS = 5000


class HistoryRecord(Message):
    """What is stored of one kind of work."""

    history: History


class Histories:
    """All histories. `run` keeps the copy in memory up to date; `revision` grows when what they teach has changed."""

    def __init__(self, table: Table, *, most_kinds: int = MOST_KINDS) -> None:
        self._table, self._most_kinds = table, most_kinds
        self._known: dict[str, History] = {}
        self._levels = Levels()
        self.revision = 0
        self.synced = asyncio.Event()

    @classmethod
    async def open(cls, bus: Bus, *, most_kinds: int = MOST_KINDS) -> "Histories":
        """Make the stream if it is not there.

        Raises:
            Unavailable: NATS does not answer.
        """
        await bus.ensure_table(LEARNED_STREAM, LEARNED_PREFIX, is_hubs_own=True)
        return cls(bus.table(LEARNED_STREAM, LEARNED_PREFIX), most_kinds=most_kinds)

    @property
    def known(self) -> Mapping[str, History]:
        """The histories by kind of work."""
        return self._known

    async def run(self) -> None:
        """Follow the table for ever."""
        async for item in self._table.follow(_UNDER):
            for change in self._levels.feed(item):
                self._take(change)
            if isinstance(item, Synced):
                self.synced.set()

    async def add(self, kind: str, sample: Sample) -> bool:
        """Keep a run of a kind of work; tell whether it was not known. The same again does no harm.

        Raises:
            Conflict: another hub wrote at the same moment: try again. Unavailable: it may be kept: try again.
        """
        await self.synced.wait()
        current = await self._table.get(_key(kind))
        history = _decoded(current) if current is not None else None
        longer = with_sample(history or History(), sample)
        if longer is history:
            return False
        record = HistoryRecord(history=longer)
        await self._table.put(_key(kind), record.encode(), expected=current.revision if current is not None else 0)
        if history is None:
            await self._make_room(kind)
        return True

    async def _make_room(self, newest: str) -> None:
        """Forget the kinds that have not run for longest."""
        others = [kind for kind in self._known if kind != newest]
        excess = len(others) + 1 - self._most_kinds
        for kind in sorted(others, key=self._newest_end)[: max(0, excess)]:
            try:
                await self._table.delete(_key(kind))
            except Conflict:  # it ran a moment ago, or is gone
                continue

    def _newest_end(self, kind: str) -> float:
        return max((each.ended_at.timestamp() for each in self._known[kind].samples), default=0.0)

    def _take(self, change: Change) -> None:
        kind = change.key.removeprefix(f"{_UNDER}/")
        before = self._known.pop(kind, None)
        now = _decoded(change)
        if now is not None:
            self._known[kind] = now
        self.revision += differs(before, now)


def _key(kind: str) -> str:
    return f"{_UNDER}/{kind}"


def _decoded(change: Change) -> History | None:
    """Read a history; None if it is gone, or cannot be read."""
    if change.value is None:
        return None
    try:
        return HistoryRecord.decode(change.value).history
    except Internal as error:
        log.warning("learned run times could not be read", key=change.key, problem=str(error))
        return None
