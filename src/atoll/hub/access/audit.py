"""The audit log: kubeapi's Auditor over a JetStream stream that refuses to delete and to purge.

Owns when records are written and how they are read back; their form is in `audit_records`. One message carries the
records of all requests that came while the one before was being written: JetStream syncs once per message, and unlike
an atomic batch it needs neither a header per record nor an order among hubs. The stream's refusals bind the hub too.
Who may use the whole JetStream API could still delete the stream: credentials of members must not reach it.

`begin` waits until its record is durable. Ends are written a moment later: a hub that is lost loses at most those, and
its requests then read as Unknown.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogEntry, LogReader
from atoll.federation.errors import AtollError
from atoll.hub.access.audit_records import (
    PATIENCE,
    AuditQuery,
    Joiner,
    Record,
    completed,
    decode,
    encode,
    requested,
)
from atoll.hub.access.audit_writers import Gathered, Queued
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import Mutation, Outcome

AUDIT_STREAM, AUDIT_PREFIX = "AUDIT", "audit"
_RETRY_AFTER_SECONDS = 1
# The hub's clock writes `at`, the server's orders the stream.
_CLOCK_SKEW = timedelta(minutes=1)


@dataclass(frozen=True)
class Retention:
    """How long records are kept: until they are this old, or this much newer ones are there."""

    max_age_seconds: float = 90 * 86_400.0
    max_bytes: int = 1_000_000_000


class AuditLog:
    """Writes and reads the records of all hubs on one NATS. Close it, or the newest ends are lost."""

    def __init__(self, bus: Bus, *, clock: Callable[[], datetime]) -> None:
        self._bus, self._clock = bus, clock
        self._begins = Gathered(lambda lines: self._store("requested", lines))
        self._ends = Queued(lambda lines: self._store("completed", lines))

    @classmethod
    async def open(cls, bus: Bus, *, clock: Callable[[], datetime], retention: Retention = Retention()) -> "AuditLog":
        """Make the stream if it is not there.

        Raises:
            atoll.federation.errors.Unavailable: NATS does not answer, or has no room for it.
        """
        await bus.ensure_records(
            AUDIT_STREAM, AUDIT_PREFIX, max_bytes=retention.max_bytes, max_age_seconds=retention.max_age_seconds
        )
        return cls(bus, clock=clock)

    async def begin(self, mutation: Mutation) -> None:
        """Record durably what is asked for; see Auditor.

        Raises:
            Unavailable: it may not have been recorded, and must not be carried out.
        """
        try:
            await self._begins.write(encode(requested(mutation)))
        except AtollError as error:
            refusal = Unavailable(
                f"nothing was changed: the request could not be recorded for the audit: {error}",
                retry_after_seconds=_RETRY_AFTER_SECONDS,
            )
            await self.end(mutation, Outcome(refusal.code, refusal.reason, refusal.message))
            raise refusal from error

    async def end(self, mutation: Mutation, outcome: Outcome) -> None:
        """Record, soon, what came of it; see Auditor."""
        self._ends.add(encode(completed(mutation, outcome, self._clock())))

    async def close(self) -> None:
        """Write what waits to be written; give up after some seconds."""
        await self._ends.close()

    async def _store(self, stage: str, lines: Sequence[bytes]) -> None:
        await self._bus.store(f"{AUDIT_PREFIX}.{stage}", b"\n".join(lines))

    async def read(self, query: AuditQuery) -> AsyncGenerator[list[Record], None]:
        """Give the joined records that are wanted, in the order in which requests ended.

        With a limit these are the newest. To follow is to go on for ever, over lost connections.

        Raises:
            Unavailable: NATS does not answer now.
        """
        reader = LogReader(self._bus, AUDIT_STREAM, f"{AUDIT_PREFIX}.>")
        if not self._bus.is_connected:  # who reads need not wait for NATS as a change does
            raise Unavailable("the audit records cannot be read now: the hub has no connection to NATS")
        try:
            last = (await reader.extent()).last_sequence
        except AtollError as error:
            message = f"the audit records cannot be read now: {error}"
            raise Unavailable(message, retry_after_seconds=_RETRY_AFTER_SECONDS) from error
        return _records(reader, query, last)


async def _records(reader: LogReader, query: AuditQuery, last: int) -> AsyncGenerator[list[Record], None]:
    joiner = Joiner()
    newest: deque[Record] = deque(maxlen=query.limit)
    async with aclosing(reader.read(query.since - _CLOCK_SKEW, through=last)) as past:
        async for batch in past:
            found = _found(batch, joiner, query)
            if query.limit is not None:
                newest += found
            elif found:
                yield found
            if query.until is not None and joiner.newest_at > query.until + PATIENCE:
                break  # nothing that is wanted can still end
    if not query.follow:
        newest += filter(query.wants, joiner.drain())
    if newest:
        yield list(newest)
    if query.follow:
        async with aclosing(reader.read(last)) as coming:
            async for batch in coming:
                if found := _found(batch, joiner, query):
                    yield found


def _found(batch: Sequence[LogEntry], joiner: Joiner, query: AuditQuery) -> list[Record]:
    halves = (half for entry in batch for half in decode(entry.payload))
    return [record for half in halves for record in joiner.take(half) if query.wants(record)]
