"""Readings that were acknowledged and are lost with the disk: which ones, and what is sent in their place.

Owns the table `losses`: a loss is told until a sink has it in a ledger, as a gap with its reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from atoll.edge.gateway.database import Database
from atoll.edge.gateway.mark import Mark
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.shedder import Origin, Row, damaged_envelope
from atoll.edge.gateway.stock import StreamCounts
from atoll.federation.bus.envelope import Envelope

# Numbers that are left out after a damage: those that were lost may be in the hub's log, and must not come twice.
LEFT_OUT_NUMBERS = 1_000_000


class Loss(NamedTuple):
    """Readings `first` to `last` of a Stream. `number` is that of the envelope that says so."""

    number: int
    stream: StreamKey
    first: int
    last: int
    why: str

    def __str__(self) -> str:
        return f"{self.stream} {self.first} to {self.last} ({self.why})"

    def envelope(self, origin: Origin) -> Envelope:
        """Give what is sent in their place."""
        row = Row(self.number, self.last, self.last - self.first + 1, 0, 0, 0.0, 0.0, False, b"")
        return damaged_envelope(origin, self.stream, row)


class Losses:
    """The losses that are told, the oldest first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        rows = database.rows("SELECT number, namespace, stream, first, last, why FROM losses ORDER BY number")
        self.known = [Loss(row[0], StreamKey(row[1], row[2]), *row[3:]) for row in rows]

    def write(self, losses: Iterable[Loss]) -> None:
        """Write losses, inside a transaction."""
        self._database.run_many(
            "INSERT OR REPLACE INTO losses (number, namespace, stream, first, last, why) VALUES (?, ?, ?, ?, ?, ?)",
            [(loss.number, *loss.stream, loss.first, loss.last, loss.why) for loss in losses],
        )

    def adopt(self, losses: Iterable[Loss]) -> None:
        """Take losses as told: they are committed."""
        self.known = [*self.known, *losses]

    def forget(self, stream: StreamKey, *, through: int) -> None:
        """Forget, inside a transaction, what a sink has in its ledger."""
        if any(loss.stream == stream and loss.number <= through for loss in self.known):
            self._database.run(
                "DELETE FROM losses WHERE namespace = ? AND stream = ? AND number <= ?", (*stream, through)
            )
            self.known = [loss for loss in self.known if loss.stream != stream or loss.number > through]


def lost_end(mark: Mark, last_number: int, streams: Mapping[StreamKey, StreamCounts]) -> list[Loss]:
    """Give what the mark knows of and the database does not: its newest commits are gone."""
    missing = {
        key: (streams.get(key, StreamCounts()).received + 1, received)
        for key, received in sorted(mark.received.items())
        if received > streams.get(key, StreamCounts()).received
    }
    return [
        Loss(last_number + index, key, first, last, "the end of the outbox's log was damaged")
        for index, (key, (first, last)) in enumerate(missing.items(), 1)
    ]


def holes(rows: Sequence[tuple[int, int, int]], *, after: int, through: int) -> list[tuple[int, int, int]]:
    """Give the readings of a Stream that are between `after` and `through` and in none of its rows.

    Args:
        rows: envelope number, first and last reading of each, in order.
        after: the reading up to which all is in files.
        through: the newest reading that was acknowledged.

    Each hole comes as the number of the envelope that follows it (0: none does), its first and its last reading.
    """
    found, last = [], after
    for number, first, end in rows:
        if first > last + 1:
            found.append((number, last + 1, first - 1))
        last = max(last, end)
    return [*found, (0, last + 1, through)] if through > last else found
