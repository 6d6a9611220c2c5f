"""The book of accounts: records in JetStream, each stored once, whoever writes it and however often.

Owns the stream, which forgets by age and size only, and its one rule: a record's subject is its run, and its day if the
run goes on, and what stands there is not replaced. So a hub that was killed between the end of a run and its record, or
that does not know whether a write has happened, writes again, and finds that it had.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime

import structlog

from atoll.federation.bus.batches import GroupedWrites
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.log import LogReader
from atoll.federation.bus.table import Write
from atoll.federation.errors import Conflict, Internal
from atoll.hub.accounting.records import AccountRecord

log = structlog.get_logger(__name__)

ACCOUNTS_STREAM, ACCOUNTS_PREFIX = "ACCOUNTS", "accounts"


@dataclass(frozen=True)
class Retention:
    """How long records, and sums of days, are kept. Records go also when this much newer ones are there."""

    max_age_seconds: float = 400 * 86_400.0
    max_bytes: int = 2_000_000_000


@dataclass(frozen=True)
class Entry:
    """A record where it stands in the stream."""

    sequence: int
    record: AccountRecord


class AccountBook:
    """Writes and reads records."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._table = bus.table(ACCOUNTS_STREAM, ACCOUNTS_PREFIX)
        self._writes = GroupedWrites(bus, self._table)
        self._reader = LogReader(bus, ACCOUNTS_STREAM, f"{ACCOUNTS_PREFIX}.>")

    @staticmethod
    async def ensure(bus: Bus, retention: Retention) -> None:
        """Make the stream if it is not there.

        Raises:
            Unavailable: NATS does not answer, or has no room for it.
        """
        await bus.ensure_records(
            ACCOUNTS_STREAM,
            ACCOUNTS_PREFIX,
            max_bytes=retention.max_bytes,
            max_age_seconds=retention.max_age_seconds,
            in_batches=True,
        )

    async def write(self, record: AccountRecord) -> int | None:
        """Store a record durably and give its sequence; None if it stands already.

        Raises:
            Unavailable: the outcome is unknown; the same again does no harm.
        """
        payload = record.model_dump_json(by_alias=True, exclude_none=True).encode()
        try:
            return await self._writes.write(Write(record.key, payload, expected=0))
        except Conflict:
            return None

    async def find(self, key: str) -> AccountRecord | None:
        """Read a record by its key; None if there is none.

        Raises:
            Unavailable: NATS does not answer.
        """
        found = await self._table.get(key)
        return AccountRecord.read(found.value) if found is not None and found.value is not None else None

    async def extent(self) -> StreamExtent:
        """Tell which stream it is, and its newest sequence.

        Raises:
            Unavailable: NATS does not answer.
        """
        return await self._reader.extent()

    async def read(self, after: int | datetime, through: int) -> AsyncGenerator[list[Entry], None]:
        """Give the records that were stored after a sequence or an instant, through a sequence, in batches."""
        async with aclosing(self._reader.read(after, through=through)) as batches:
            async for batch in batches:
                yield [entry for one in batch if (entry := _entry(one.sequence, one.payload)) is not None]


def _entry(sequence: int, payload: bytes) -> Entry | None:
    """Read one; what is none is told and left out: nobody but the hub writes any."""
    try:
        return Entry(sequence, AccountRecord.read(payload))
    except Internal as error:
        log.error("an account record cannot be read", sequence=sequence, error=str(error))
        return None
