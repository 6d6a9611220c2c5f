"""Where the sums of days are kept, so that a hub that begins reads days and not a million records.

Owns the table of sums: one value per day, and a head that says through which sequence all of them are right. Days are
written before the head; what a hub that was killed in between has written twice over, a day's own sequence tells. Every
write is guarded by what was read: two hubs that both think that they lead cannot mix theirs.
"""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

import orjson

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.connection import Bus
from atoll.hub.accounting.sums import DaySum, Sums

SUMS_STREAM, SUMS_PREFIX = "SUMS", "sums"
_HEAD = "head"


class Checkpoints:
    """Reads and writes sums. `identity` is the stream of records that they are of."""

    def __init__(self, bus: Bus) -> None:
        self._table = bus.table(SUMS_STREAM, SUMS_PREFIX)
        self._revisions: dict[str, int] = {}

    @staticmethod
    async def ensure(bus: Bus) -> None:
        """Make the stream if it is not there.

        Raises:
            Unavailable: NATS does not answer.
        """
        await bus.ensure_table(SUMS_STREAM, SUMS_PREFIX, is_hubs_own=True)

    async def load(self, identity: str) -> Sums:
        """Read all sums. Of records that are in another stream nothing is passed over; the sums stay what they are."""
        values: dict[str, Change] = {}
        async for item in self._table.follow():
            if isinstance(item, Synced):
                break
            values[item.key] = item
        self._revisions = {key: change.revision for key, change in values.items()}
        found = {key: change.value for key, change in values.items() if change.value is not None}
        head: dict[str, Any] = orjson.loads(found.pop(_HEAD, b"{}"))
        days = {date.fromisoformat(key.removeprefix("day/")): DaySum.decode(value) for key, value in found.items()}
        if head.get("stream") != identity:
            for day in days.values():
                day.through = 0
            return Sums(days=days)
        going_on = {uid: datetime.fromisoformat(until) for uid, until in head["goingOn"].items()}
        return Sums(through=head["through"], days=days, going_on=going_on)

    async def save(self, sums: Sums, identity: str, gone: Collection[date] = ()) -> None:
        """Write the days that have changed, then the head.

        Raises:
            Conflict: another hub has written them: load again. Unavailable: the outcome is unknown: load again.
        """
        for day in sorted(sums.changed):
            await self._put(_key(day), sums.days[day].encode())
            sums.changed.discard(day)
        for day in gone:
            key = _key(day)
            if key in self._revisions:
                await self._table.delete(key, expected=self._revisions.pop(key))
        going_on = {uid: until.isoformat() for uid, until in sums.going_on.items()}
        head = {"stream": identity, "through": sums.through, "goingOn": going_on}
        await self._put(_HEAD, orjson.dumps(head))

    async def rebind(self, identity: str) -> None:
        """Say that the records that were summed are in another stream now under the same sequences: a restored one.

        Raises:
            Unavailable: NATS does not answer.
        """
        found = await self._table.get(_HEAD)
        if found is not None and found.value is not None:
            head = orjson.loads(found.value) | {"stream": identity}
            await self._table.put(_HEAD, orjson.dumps(head), expected=found.revision)

    async def _put(self, key: str, value: bytes) -> None:
        self._revisions[key] = await self._table.put(key, value, expected=self._revisions.get(key, 0))


def _key(day: date) -> str:
    return f"day/{day.isoformat()}"
