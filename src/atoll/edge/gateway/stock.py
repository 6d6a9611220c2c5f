"""What an outbox holds of each Stream, counted: in memory, and in the table `streams` of its database.

Owns the counters. They change in memory only when the transaction that they belong to was committed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from atoll.edge.gateway.database import Database
from atoll.edge.gateway.memory import StreamKey
from atoll.federation.bus.envelope import Envelope

_COLUMNS = "namespace, stream, received, duplicates, committed, trimmed, forwarded, shed, damaged, left_at"
_MARKS = ", ".join("?" * len(_COLUMNS.split(",")))


@dataclass(frozen=True)
class StreamCounts:
    """One Stream's counters since the outbox was made; `received` is also the newest reading's number.

    `trimmed` and `forwarded` are numbers of envelopes: the newest that left because it was safe elsewhere, and the
    newest that the hub has acknowledged. `left_at`: since when, by the outbox's clock, no such Stream is ordered; None:
    it is. `readings`, `bytes` and `newest` are of what waits now.
    """

    received: int = 0
    duplicates: int = 0
    committed: int = 0
    trimmed: int = 0
    forwarded: int = 0
    shed: int = 0
    damaged: int = 0
    left_at: float | None = None
    readings: int = 0
    bytes: int = 0
    newest: int = 0

    def with_envelope(self, envelope: Envelope, size: int) -> "StreamCounts":
        """Give the counts when an envelope of so many bytes has come."""
        return replace(
            self,
            received=max(self.received, envelope.last),
            readings=self.readings + len(envelope.readings),
            bytes=self.bytes + size,
            newest=envelope.number,
        )

    def without(self, readings: int, size: int) -> "StreamCounts":
        """Give the counters when so much less waits."""
        return replace(self, readings=self.readings - readings, bytes=self.bytes - size)


class Stock:
    """The counters of all Streams. They are read without the outbox's lock, so a copy is what is walked through."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.streams: dict[StreamKey, StreamCounts] = {}
        for namespace, stream, *counts in database.rows(f"SELECT {_COLUMNS} FROM streams"):  # noqa: S608 # constant
            self.streams[StreamKey(namespace, stream)] = StreamCounts(*counts)
        waiting = database.rows(
            "SELECT namespace, stream, sum(readings), sum(length(data)), max(number) FROM envelopes "
            "GROUP BY namespace, stream"
        )
        for namespace, stream, readings, size, newest in waiting:
            key = StreamKey(namespace, stream)
            self.streams[key] = replace(self.of(key), readings=readings, bytes=size, newest=newest)

    def of(self, stream: StreamKey) -> StreamCounts:
        """Give a Stream's counters."""
        return self.streams.get(stream, StreamCounts())

    @property
    def readings(self) -> int:
        """How many readings wait."""
        return sum(counts.readings for counts in list(self.streams.values()))

    @property
    def bytes(self) -> int:
        """How many bytes their envelopes take."""
        return sum(counts.bytes for counts in list(self.streams.values()))

    @property
    def newest(self) -> dict[StreamKey, int]:
        """The newest waiting envelope of each Stream that has one."""
        return {key: counts.newest for key, counts in self.streams.items() if counts.newest}

    def write(self, changed: Mapping[StreamKey, StreamCounts]) -> None:
        """Write counters, inside a transaction."""
        self._database.run_many(
            f"INSERT OR REPLACE INTO streams ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608 # constants
            [_row(key, counts) for key, counts in changed.items()],
        )

    def adopt(self, changed: Mapping[StreamKey, StreamCounts]) -> None:
        """Take counters as true: they are committed."""
        self.streams.update(changed)


def _row(key: StreamKey, counts: StreamCounts) -> Sequence[object]:
    return (
        *key, counts.received, counts.duplicates, counts.committed, counts.trimmed, counts.forwarded, counts.shed,
        counts.damaged, counts.left_at,
    )  # fmt: skip
