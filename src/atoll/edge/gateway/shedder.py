"""Makes room in an outbox: releases what the hub has anyway, and thins or sheds what it does not have.

Owns how a step of shedding is carried out, each in a transaction of its own. What must give way is decided in
buffers.py, what becomes of envelopes in thinning.py. Files are never shed, and no end of a run is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from atoll.edge.gateway.buffers import Shed
from atoll.edge.gateway.database import Database
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.stock import Stock, StreamCounts
from atoll.edge.gateway.thinning import thin, wider
from atoll.federation.bus.envelope import Absence, Envelope, MalformedEnvelope, decode, encode

# Envelopes of one step: at 512 KB each what is in memory stays small, and readings wait no longer than for one commit.
_STEP_ENVELOPES = 32
# Half of what an envelope of one reading takes: fewer bytes are not gained by merging what says only what was shed.
_LEAST_MERGED = 8


class Row(NamedTuple):
    """A stored envelope as shedding sees it. `span`: readings that it stands for."""

    number: int
    last: int
    span: int
    readings: int
    every: int
    stored_at: float
    clock: float
    is_kept: bool
    data: bytes


@dataclass(frozen=True)
class Bounds:
    """What of a Stream may go: envelopes up to `forwarded` because the hub has them, those above `sent` as shed.

    Those up to `doubtful` the hub may have, or not: they keep their numbers. Joined with others, their readings could
    come twice.
    """

    forwarded: int
    sent: int
    doubtful: int


@dataclass(frozen=True)
class Origin:
    """Whose envelopes they are."""

    ident: str
    gateway: str


class Shedder:
    """Sheds from one outbox."""

    def __init__(self, database: Database, stock: Stock, origin: Origin, *, is_compressed: Callable[[], bool]) -> None:
        self._database, self._stock, self._origin = database, stock, origin
        self._is_compressed = is_compressed

    def step(self, shed: Shed, bounds: Bounds, *, now: float) -> int:
        """Carry out a part of a decision; give the bytes that it gained, 0 if there is nothing to shed.

        Raises:
            OutboxUnavailable: the disk does not take the change; nothing has changed.
        """
        before = shed.below, now - shed.older_than if shed.older_than is not None else None
        gained = self._release(shed.stream, bounds.forwarded, shed.size, before[1])
        if gained:
            return gained
        if shed.keep:
            rows = self._sampled(shed.stream, bounds, *before)
            return (
                self._replace(shed.stream, rows, bounds.doubtful, every=wider(rows[0].every, shed.keep)) if rows else 0
            )
        rows = self._oldest(shed.stream, bounds, before[1])
        if rows:
            return self._replace(shed.stream, _as_many(rows, shed.size), bounds.doubtful, every=0)
        return self._merge(shed.stream, bounds)

    def _release(self, stream: StreamKey, forwarded: int, size: int, before: float | None) -> int:
        """Delete envelopes that the hub has: its log is on disk, and the sink reads it there."""
        counts = self._stock.of(stream)
        found = self._database.rows(
            "SELECT number, readings, length(data) FROM envelopes WHERE namespace = ? AND stream = ? AND number <= ? "
            "AND clock <= ? ORDER BY number LIMIT 1024",
            (*stream, forwarded, _before(before)),
        )
        chosen, gained = [], 0
        for number, readings, length in found:
            if gained >= size > 0:
                break
            chosen.append((number, readings))
            gained += length
        if not chosen:
            return 0
        left = counts.without(sum(readings for _, readings in chosen), gained)
        left = replace(left, trimmed=max(left.trimmed, chosen[-1][0]))
        with self._database.transaction():
            self._database.run_many("DELETE FROM envelopes WHERE number = ?", [(number,) for number, _ in chosen])
            self._stock.write({stream: left})
        self._stock.adopt({stream: left})
        return gained

    def _oldest(self, stream: StreamKey, bounds: Bounds, before: float | None) -> list[Row]:
        """Give the oldest rows that hold readings; what was shed right before them comes with them."""
        first = self._first(stream, bounds, "every != 0", before)
        if first is None:
            return []
        previous = self._rows(
            "namespace = ? AND stream = ? AND number > ? AND number < ? ORDER BY number DESC LIMIT 1",
            (*stream, bounds.doubtful, first),
        )
        with_it = [row for row in previous if row.every == 0 and not row.is_kept]
        return with_it + self._from(stream, first, before)

    def _sampled(self, stream: StreamKey, bounds: Bounds, below: int | None, before: float | None) -> list[Row]:
        """Give the oldest rows among those that are thinned least."""
        least = self._database.rows(
            "SELECT min(every) FROM envelopes WHERE namespace = ? AND stream = ? AND number > ? AND every > 0 "
            "AND is_kept = 0 AND clock <= ? AND every < ?",
            (*stream, bounds.sent, _before(before), below or 2**62),
        )[0][0]
        if least is None:
            return []
        first = self._first(stream, bounds, f"every = {int(least)}", before)
        rows = self._from(stream, first, before) if first is not None else []
        same = next((index for index, row in enumerate(rows) if row.every != least), len(rows))
        return rows[:same]

    def _first(self, stream: StreamKey, bounds: Bounds, which: str, before: float | None) -> int | None:
        found = self._database.rows(
            f"SELECT number FROM envelopes WHERE namespace = ? AND stream = ? AND number > ? AND {which} "  # noqa: S608 # constants
            "AND is_kept = 0 AND clock <= ? ORDER BY number LIMIT 1",
            (*stream, bounds.sent, _before(before)),
        )
        return int(found[0][0]) if found else None

    def _from(self, stream: StreamKey, first: int, before: float | None) -> list[Row]:
        rows = self._rows(
            "namespace = ? AND stream = ? AND number >= ? AND clock <= ? ORDER BY number LIMIT ?",
            (*stream, first, _before(before), _STEP_ENVELOPES),
        )
        kept = next((index for index, row in enumerate(rows) if row.is_kept), len(rows))
        return rows[:kept]

    def _rows(self, where: str, values: Sequence[object]) -> list[Row]:
        query = (
            "SELECT number, last, coalesce(span, readings), readings, every, stored_at, clock, is_kept, data "  # noqa: S608 # constants
            f"FROM envelopes WHERE {where}"
        )
        return [Row(*row) for row in self._database.rows(query, values)]

    def _merge(self, stream: StreamKey, bounds: Bounds) -> int:
        """Join neighbours that only say what was shed, of whatever datasets: of many they would fill the outbox."""
        rows = self._rows(
            "namespace = ? AND stream = ? AND number > ? AND every = 0 AND is_kept = 0 ORDER BY number LIMIT ?",
            (*stream, bounds.doubtful, 8 * _STEP_ENVELOPES),
        )
        if len(rows) < _LEAST_MERGED:
            return 0
        gained = self._replace(stream, rows, bounds.doubtful, every=0, across=True)
        return max(gained, 0)

    def _replace(
        self, stream: StreamKey, rows: Sequence[Row], doubtful: int, *, every: int, across: bool = False
    ) -> int:
        """Put thinned envelopes in the place of rows; give the bytes gained, at least 1 if anything has changed."""
        by_number = {row.number: row for row in rows}
        made: list[tuple[Envelope, Row]] = []
        counts = self._stock.of(stream)
        for group in _groups([self._opened(stream, row) for row in rows], doubtful, across=across):
            is_damaged = group[0].absence is not None and group[0].absence.cause == "damaged"
            thinned = [group[0]] if is_damaged else thin(group, every)
            made += [(envelope, by_number[envelope.number]) for envelope in thinned]
            counts = _counted(counts, group, thinned, [by_number[envelope.number] for envelope in group])
        encoded = [(envelope, row, encode(envelope, is_compressed=self._is_compressed())) for envelope, row in made]
        gained = sum(len(row.data) for row in rows) - sum(len(data) for _, _, data in encoded)
        counts = replace(counts, bytes=counts.bytes - gained)
        self._write(stream, rows, encoded, counts)
        return max(gained, 1) if len(encoded) < len(rows) or any(row.every != every for row in rows) else 0

    def _write(
        self,
        stream: StreamKey,
        rows: Sequence[Row],
        encoded: Sequence[tuple[Envelope, Row, bytes]],
        counts: StreamCounts,
    ) -> None:
        with self._database.transaction():
            self._database.run_many("DELETE FROM envelopes WHERE number = ?", [(row.number,) for row in rows])
            self._database.run_many(
                "INSERT INTO envelopes (number, namespace, stream, readings, last, stored_at, data, span, every, "
                "clock) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        e.number, *stream, len(e.readings), e.last, row.stored_at, data, e.last - e.first + 1,
                        e.absence.every if e.absence is not None else 1, row.clock,
                    )
                    for e, row, data in encoded
                ],
            )  # fmt: skip
            self._stock.write({stream: counts})
        self._stock.adopt({stream: counts})

    def _opened(self, stream: StreamKey, row: Row) -> Envelope:
        try:
            return decode(row.data)
        except MalformedEnvelope:
            return damaged_envelope(self._origin, stream, row)


def damaged_envelope(origin: Origin, stream: StreamKey, row: Row) -> Envelope:
    """Give what stands for an envelope that rotted on the disk: the numbers of its readings are known, no more."""
    return Envelope(
        origin.ident,
        origin.gateway,
        *stream,
        "",
        row.number,
        first=row.last - row.span + 1,
        readings=(),
        absence=Absence("damaged", row.span),
    )


def _groups(envelopes: Sequence[Envelope], doubtful: int, *, across: bool) -> list[list[Envelope]]:
    """Part envelopes into those that may be joined."""
    groups: list[list[Envelope]] = []
    for envelope in envelopes:
        before = groups[-1][-1] if groups else None
        if before is not None and before.number > doubtful and _fits(before, envelope, across=across):
            groups[-1].append(envelope)
        else:
            groups.append([envelope])
    return groups


def _fits(before: Envelope, envelope: Envelope, *, across: bool) -> bool:
    is_next = envelope.first == before.last + 1 and not before.end_of_run
    is_same = across or before.dataset == envelope.dataset
    return is_next and is_same and _cause(before) != "damaged" != _cause(envelope)


def _cause(envelope: Envelope) -> str:
    return envelope.absence.cause if envelope.absence is not None else "shed"


def _counted(
    counts: StreamCounts, group: Sequence[Envelope], thinned: Sequence[Envelope], rows: Sequence[Row]
) -> StreamCounts:
    """Count what was lost when a group became others."""
    lost = sum(row.readings for row in rows) - sum(len(envelope.readings) for envelope in thinned)
    is_damaged = _cause(group[0]) == "damaged"
    return replace(
        counts,
        readings=counts.readings - lost,
        shed=counts.shed + (0 if is_damaged else lost),
        damaged=counts.damaged + (lost if is_damaged else 0),
    )


def _as_many(rows: Sequence[Row], size: int) -> list[Row]:
    """Take as many rows as give so many bytes."""
    taken: list[Row] = []
    total = 0
    for row in rows:
        if total >= size > 0:
            break
        taken.append(row)
        total += len(row.data)
    return taken


def _before(clock: float | None) -> float:
    return clock if clock is not None else float("inf")
