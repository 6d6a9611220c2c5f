"""A new outbox of what can be read of a damaged one; what cannot is named, reading by reading.

Owns the way from a wreck to an outbox. The numbering goes on, so that nothing comes twice of what the hub has already;
in the place of what is lost stand envelopes that say so, and the sink's ledger will.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from atoll.edge.gateway.database import Database, OutboxUnavailable, Wreck
from atoll.edge.gateway.losses import LEFT_OUT_NUMBERS, Loss, Losses, holes
from atoll.edge.gateway.mark import Mark
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.shedder import Origin
from atoll.edge.gateway.stock import Stock, StreamCounts
from atoll.federation.bus.envelope import MalformedEnvelope, decode, encode, is_intact

_AT_ONCE = 64
_ENVELOPE = "number, namespace, stream, readings, last, stored_at, data, span, every, clock, is_kept"
# Of a file of version 1, which has not all columns.
_OLD_ENVELOPE = "number, namespace, stream, readings, last, stored_at, data, NULL, 1, 0, 0"
_COUNTS = "namespace, stream, received, duplicates, committed, trimmed, forwarded, shed, damaged, left_at"
_OLD_COUNTS = "namespace, stream, received, duplicates, committed"
# What else is worth saving; without it a redelivered packet is not known again, and a run ends without its marker.
_TABLES = ("batches", "open_datasets", "memory")


@dataclass
class Found:
    """What a wreck still tells. `rows` are number, first and last reading of each Stream's envelopes."""

    ident: str = ""
    number: int = 0
    session: str = "0"
    counts: dict[StreamKey, StreamCounts] = field(default_factory=dict)
    rows: dict[StreamKey, list[tuple[int, int, int]]] = field(default_factory=dict)


def salvage(wreck: Wreck, mark: Mark, target: Path, *, gateway: str) -> list[Loss] | None:
    """Make an outbox at `target`; give what is lost, None if nobody can tell.

    Raises:
        OutboxUnavailable: the disk does not take a second one.
    """
    database = Database(target)
    try:
        found = _facts(wreck, mark)
        for batch in _readable(wreck):
            _copy(database, batch, found)
        for table in _TABLES:
            _copy_table(wreck, database, table)
        return _finish(database, found, mark, gateway)
    finally:
        database.close()


def start_anew(mark: Mark, wreck: Wreck, target: Path, *, gateway: str) -> list[Loss] | None:
    """Make an empty outbox with a numbering of its own, where there was no room for a second one."""
    found, database = _facts(wreck, mark), Database(target)
    try:
        ident = str(database.rows("SELECT value FROM meta WHERE key = 'ident'")[0][0])
        gone = {key: counts.received - counts.committed for key, counts in found.counts.items()}
        losses = [
            Loss(number, key, 1, count, "the outbox was damaged, and the disk had no room to save what is readable")
            for number, (key, count) in enumerate(sorted(gone.items()), 1)
            if count > 0
        ]
        fresh = Found(ident, len(losses), "0", {loss.stream: StreamCounts(received=loss.last) for loss in losses})
        _write(database, fresh, losses, gateway)
        return losses if found.counts else None
    finally:
        database.close()


def _facts(wreck: Wreck, mark: Mark) -> Found:
    meta = {str(key): str(value) for key, value in wreck.rows("SELECT key, value FROM meta")}
    found = Found(meta.get("ident", mark.ident), int(meta.get("number", 0)), meta.get("session", "0"))
    rows = wreck.rows(f"SELECT {_COUNTS} FROM streams") or wreck.rows(f"SELECT {_OLD_COUNTS} FROM streams")  # noqa: S608 # constants
    for namespace, stream, *counts in rows:
        found.counts[StreamKey(namespace, stream)] = StreamCounts(*counts)
    if mark.ident == found.ident:
        found.number = max(found.number, mark.number)
        for key, received in mark.received.items():
            counts = found.counts.get(key, StreamCounts())
            found.counts[key] = replace(counts, received=max(counts.received, received))
    return found


def _readable(wreck: Wreck) -> Iterator[list[Any]]:
    """Give the envelopes that can be read and are whole. A damaged page hides what lies behind it from that side."""
    ways = ("ORDER BY number", "ORDER BY number DESC", "INDEXED BY envelopes_by_stream")
    numbers = {int(row[0]) for way in ways for row in wreck.rows(f"SELECT number FROM envelopes {way}")}  # noqa: S608 # constants
    batch: list[Any] = []
    for number in sorted(numbers):
        rows = wreck.rows(f"SELECT {_ENVELOPE} FROM envelopes WHERE number = ?", (number,)) or wreck.rows(  # noqa: S608 # constants
            f"SELECT {_OLD_ENVELOPE} FROM envelopes WHERE number = ?",  # noqa: S608 # constants
            (number,),
        )
        batch += [row for row in rows if isinstance(row[6], bytes) and is_intact(row[6])]
        if len(batch) >= _AT_ONCE:
            yield batch
            batch = []
    yield batch


def _copy(database: Database, batch: Sequence[Any], found: Found) -> None:
    with database.transaction():
        for row in batch:
            try:
                envelope = decode(row[6])
            except MalformedEnvelope:  # whole, and of a newer version: its readings are lost to this program
                continue
            if found.ident not in ("", envelope.outbox):
                continue
            database.check_room(len(row[6]))
            found.ident = envelope.outbox
            key = StreamKey(envelope.namespace, envelope.stream)
            found.rows.setdefault(key, []).append((envelope.number, envelope.first, envelope.last))
            marks = ",".join("?" * len(row))
            database.run(f"INSERT INTO envelopes ({_ENVELOPE}) VALUES ({marks})", row)  # noqa: S608 # constants


def _copy_table(wreck: Wreck, database: Database, table: str) -> None:
    rows = wreck.rows(f"SELECT * FROM {table}")  # noqa: S608 # constants
    if rows:
        marks = ",".join("?" * len(rows[0]))
        with database.transaction():
            database.run_many(f"INSERT OR REPLACE INTO {table} VALUES ({marks})", rows)  # noqa: S608 # constants


def _finish(database: Database, found: Found, mark: Mark, gateway: str) -> list[Loss] | None:
    is_known = bool(found.counts)
    for key, rows in found.rows.items():
        counts = found.counts.get(key, StreamCounts(committed=rows[0][1] - 1))
        found.counts[key] = replace(counts, received=max(counts.received, rows[-1][2]))
    if not found.ident:
        return None
    newest = max([found.number, *(row[0] for rows in found.rows.values() for row in rows)]) + LEFT_OUT_NUMBERS
    losses = _losses(found, newest, is_exact=found.ident == mark.ident)
    found.number = newest + len(losses)
    _write(database, found, losses, gateway)
    return losses if is_known else None


def _losses(found: Found, newest: int, *, is_exact: bool) -> list[Loss]:
    """Name what is missing; an envelope that says so takes a number that nobody else has."""
    taken = {row[0] for rows in found.rows.values() for row in rows}
    losses: list[Loss] = []
    for key, counts in sorted(found.counts.items()):
        for before, first, last in holes(found.rows.get(key, []), after=counts.committed, through=counts.received):
            number = before - 1 if before else newest + len(losses) + 1
            while number in taken:
                number -= 1
            taken.add(number)
            why = "a part of the outbox was damaged" + ("" if is_exact or before else ", and perhaps more after it")
            losses.append(Loss(number, key, first, last, why))
    return losses


def _write(database: Database, found: Found, losses: Sequence[Loss], gateway: str) -> None:
    origin = Origin(found.ident, gateway)
    for loss in losses:
        counts = found.counts[loss.stream]
        found.counts[loss.stream] = replace(counts, damaged=counts.damaged + loss.last - loss.first + 1)
    with database.transaction():
        marks = ",".join("?" * 11)
        database.run_many(
            f"INSERT INTO envelopes ({_ENVELOPE}) VALUES ({marks})",  # noqa: S608 # constants
            [
                (
                    loss.number,
                    *loss.stream,
                    0,
                    loss.last,
                    0.0,
                    encode(loss.envelope(origin)),
                    loss.last - loss.first + 1,
                    0,
                    0.0,
                    0,
                )
                for loss in losses
            ],
        )
        meta = [(found.ident, "ident"), (str(found.number), "number"), (found.session, "session")]
        database.run_many("UPDATE meta SET value = ? WHERE key = ?", meta)
        Stock(database).write(found.counts)
        Losses(database).write(losses)


def rescue(path: Path, mark: Mark, target: Path, *, gateway: str) -> list[Loss] | None:
    """Make a new outbox at `target` of the damaged one at `path`; give what is lost, None if nobody can tell."""
    wreck = Wreck(path)
    try:
        try:
            return salvage(wreck, mark, target, gateway=gateway)
        except OutboxUnavailable:
            for suffix in ("", "-wal", "-shm"):
                Path(f"{target}{suffix}").unlink(missing_ok=True)
            return start_anew(mark, wreck, target, gateway=gateway)
    finally:
        wreck.close()
