"""Sums of records by day, and within it by namespace, queue and user. Owns the adding, once per record, and its form.

A record's sequence in the stream says whether it was added: sums are right through some sequence, and what is known
beyond that (the records that this hub wrote a moment ago) is held apart until the stream has given it. Pure.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import astuple, dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

import orjson
from pydantic.alias_generators import to_camel

from atoll.federation.queueing import Spending
from atoll.hub.accounting.amounts import Amounts, rounded
from atoll.hub.accounting.records import AccountRecord

Spent = dict[str, dict[date, Spending]]
_NOTHING = Spending()


class Whose(NamedTuple):
    """Whom a sum is of."""

    namespace: str
    queue: str
    user: str


@dataclass
class DaySum:
    """What was spent on one day. `through` is the newest sequence that is in it."""

    through: int = 0
    rows: dict[Whose, Amounts] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Write it as it is stored."""
        rows = [[*whose, *astuple(amounts)] for whose, amounts in self.rows.items()]
        return orjson.dumps({"through": self.through, "rows": rows})

    @classmethod
    def decode(cls, payload: bytes) -> "DaySum":
        """Read what `encode` wrote."""
        value: dict[str, Any] = orjson.loads(payload)
        rows = {Whose(*row[:3]): Amounts(*row[3:]) for row in value["rows"]}
        return cls(int(value["through"]), rows)


@dataclass
class Sums:
    """The sums of all days through a sequence of the stream.

    `going_on` has, by uid, until when runs are charged that are not over. `changed` names days that are not stored as
    they are here.
    """

    through: int = 0
    days: dict[date, DaySum] = field(default_factory=dict)
    going_on: dict[str, datetime] = field(default_factory=dict)
    changed: set[date] = field(default_factory=set)
    _ahead: dict[int, AccountRecord] = field(default_factory=dict)
    _by_queue: Spent = field(default_factory=dict)

    def add(self, sequence: int, record: AccountRecord) -> None:
        """Take the next record of the stream; one that is in the sums already changes nothing."""
        self._ahead.pop(sequence, None)
        if sequence <= self.through:
            return
        self.through = sequence
        self._note(record)
        day = self.days.setdefault(record.day, DaySum())
        if sequence <= day.through:
            return
        whose = Whose(record.namespace, record.queue, record.user)
        day.rows[whose] = day.rows.get(whose, Amounts()) + record.amounts
        day.through = sequence
        self.changed.add(record.day)
        if record.queue in self._by_queue:
            known = self._by_queue[record.queue]
            known[record.day] = known.get(record.day, _NOTHING) + record.amounts.spending()

    def foresee(self, sequence: int, record: AccountRecord) -> None:
        """Count a record that is stored, before the stream has given it."""
        if sequence > self.through:
            self._ahead[sequence] = record
            self._note(record)

    def reach(self, sequence: int) -> None:
        """Note that the stream has nothing more through a sequence."""
        self.through = max(self.through, sequence)
        self._ahead = {at: record for at, record in self._ahead.items() if at > sequence}

    def forget(self, before: date) -> tuple[date, ...]:
        """Drop the days before one; give their names."""
        self.going_on = {uid: until for uid, until in self.going_on.items() if until.date() >= before}
        gone = tuple(day for day in self.days if day < before)
        for day in gone:
            del self.days[day]
            self.changed.discard(day)
        if gone:
            self._by_queue.clear()
        return gone

    def spent(self, queues: Collection[str]) -> Spent:
        """Give what was spent by these queues, by day. What is given is not changed later."""
        totals = {queue: dict(self._of_queue(queue)) for queue in queues}
        for record in self._ahead.values():
            if record.queue in totals:
                days = totals[record.queue]
                days[record.day] = days.get(record.day, _NOTHING) + record.amounts.spending()
        return totals

    def _of_queue(self, queue: str) -> Mapping[date, Spending]:
        known = self._by_queue.get(queue)
        if known is None:
            known = self._by_queue[queue] = {
                day: total for day, rows in self.days.items() if (total := _total(rows, queue)) != _NOTHING
            }
        return known

    def _note(self, record: AccountRecord) -> None:
        """Remember until when a run is charged that goes on."""
        if record.is_final:
            self.going_on.pop(record.uid, None)
        else:
            known = self.going_on.get(record.uid)
            self.going_on[record.uid] = max(record.ended_at, known) if known else record.ended_at


def _total(day: DaySum, queue: str) -> Spending:
    total = Amounts()
    for whose, amounts in day.rows.items():
        if whose.queue == queue:
            total = total + amounts
    return total.spending()


def day_rows(day: date, rows: DaySum) -> Iterator[dict[str, Any]]:
    """Give the sums of a day as they are shown: one object for each namespace, queue and user."""
    for whose, amounts in sorted(rows.rows.items()):
        taken = {to_camel(name): value for name, value in rounded(amounts).items()}
        yield {"day": day.isoformat(), **whose._asdict(), "runs": int(amounts.runs), **taken}
