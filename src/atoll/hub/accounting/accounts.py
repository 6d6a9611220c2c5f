"""The accounts of one hub: charges runs, knows what was spent, and keeps the sums of days up to date.

Owns the order: a record is durable before anybody is told that its run has ended, and counts here from then on. One
hub keeps the sums (the one that leads); every hub reads records and sums.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import structlog

from atoll.federation.bus.connection import Bus
from atoll.federation.errors import AtollError
from atoll.federation.resources import Queue
from atoll.hub.accounting.book import AccountBook, Entry, Retention
from atoll.hub.accounting.charging import Charge, days_over, final_records, interim_records
from atoll.hub.accounting.checkpoints import Checkpoints
from atoll.hub.accounting.outlooks import Charged
from atoll.hub.accounting.records import AccountRecord, day_key, final_key
from atoll.hub.accounting.sums import Sums

log = structlog.get_logger(__name__)

# How often sums are brought up to date and stored. Shorter: more writes for nobody who reads them. Longer: history lags
# behind by as much, and a hub that begins reads that many records more.
_EVERY_SECONDS = 5.0


class Accounts:
    """Charges runs and keeps what they took."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime], retention: Retention) -> None:
        self._bus, self._clock, self._retention = bus, clock, retention
        self._book, self._checkpoints = AccountBook(bus), Checkpoints(bus)
        self._sums = Sums()
        self._stream = ""
        self.loaded = asyncio.Event()

    @classmethod
    async def open(cls, bus: Bus, *, clock: Callable[[], datetime], retention: Retention) -> "Accounts":
        """Make the streams if they are not there.

        Raises:
            Unavailable: NATS does not answer, or has no room for them.
        """
        await AccountBook.ensure(bus, retention)
        await Checkpoints.ensure(bus)
        return cls(bus, clock=clock, retention=retention)

    # --- charging

    async def charge(self, charge: Charge) -> None:
        """Write the records of a run that has ended, unless they stand. Safe to do again, at any later time.

        Raises:
            Unavailable: the outcome is unknown: do it again before the run's end is told.
        """
        days = days_over(charge)
        if days and await self._book.find(final_key(charge.uid)) is not None:
            return
        earlier = {day: found for day in days if (found := await self._book.find(day_key(charge.uid, day)))}
        for record in final_records(charge, earlier):
            await self._write(record)

    async def charge_days(self, charge: Charge) -> None:
        """Write the records of the days that are over of a run that goes on.

        Raises:
            Unavailable: the outcome is unknown: do it again.
        """
        until = self._sums.going_on.get(charge.uid)
        known = [day for day in days_over(charge) if until is not None and day < until.astimezone(UTC).date()]
        for record in interim_records(charge, known):
            await self._write(record)

    async def _write(self, record: AccountRecord) -> None:
        sequence = await self._book.write(record)
        if sequence is not None:
            self._sums.foresee(sequence, record)

    # --- what was spent

    def charged(self, queues: Mapping[str, Queue]) -> Charged:
        """Give what these queues spent, with all records that this hub has written; nothing if none has a budget."""
        if not any(queue.spec.budgets for queue in queues.values()):
            return Charged()
        return Charged(self._sums.spent(queues), self.going_on)

    @property
    def going_on(self) -> Mapping[str, datetime]:
        """Until when runs are charged that are not over, by uid."""
        return dict(self._sums.going_on)

    # --- keeping sums

    async def run(self) -> None:
        """Keep the sums up to date for ever; only where this hub leads."""
        self.loaded.clear()
        while True:
            try:
                if not self.loaded.is_set():
                    await self.load()
                await self.catch_up()
            except AtollError as error:  # another hub has written, or NATS is away: begin anew with what is stored
                log.warning("the sums of accounts are read again", reason=error.reason, error=str(error))
                self.loaded.clear()
            await asyncio.sleep(_EVERY_SECONDS)

    async def load(self) -> None:
        """Read the sums as they are stored, and the records behind them.

        Raises:
            Unavailable: NATS does not answer.
        """
        self._stream = (await self._book.extent()).created
        self._sums = await self._checkpoints.load(self._stream)
        await self._take_in(self._sums)
        self.loaded.set()

    async def catch_up(self) -> None:
        """Take in what the stream has, and store the sums if they have changed.

        Raises:
            Conflict, Unavailable: what is stored is not known: load again.
        """
        before = self._sums.through
        await self._take_in(self._sums)
        oldest = (self._clock() - timedelta(seconds=self._retention.max_age_seconds)).astimezone(UTC).date()
        gone = self._sums.forget(oldest)
        if self._sums.through != before or self._sums.changed or gone:
            await self._checkpoints.save(self._sums, self._stream, gone)

    async def _take_in(self, sums: Sums) -> None:
        extent = await self._book.extent()
        if extent.last_sequence > sums.through:
            async with aclosing(self._book.read(sums.through, extent.last_sequence)) as batches:
                async for batch in batches:
                    for entry in batch:
                        sums.add(entry.sequence, entry.record)
            sums.reach(extent.last_sequence)

    # --- reading

    async def records(self, since: datetime) -> AsyncGenerator[list[Entry], None]:
        """Give the records that were stored since an instant, the oldest first, in batches.

        Raises:
            Unavailable: NATS does not answer now.
        """
        last = (await self._book.extent()).last_sequence
        return self._book.read(since, last)

    async def days(self) -> Sums:
        """Read the sums of all days, right to this moment.

        Raises:
            Unavailable: NATS does not answer now.
        """
        sums = await Checkpoints(self._bus).load((await self._book.extent()).created)
        await self._take_in(sums)
        return sums
