"""The outbox: every reading that was acknowledged and is not yet in a file, in SQLite on the gateway's disk.

Owns the numbering (its `ident`, envelope numbers, reading numbers per Stream) and durability: what `store` returned
from has survived a power loss (write-ahead log, synchronous=FULL, one commit per batch). It must not know MQTT or NATS.
Calls block on the disk: run them in a thread. One thread at a time is let in.
"""

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from atoll.edge.gateway.packing import REMEMBERED_PACKETS, Draft, OpenDataset, Packed, Packet, StreamKey
from atoll.federation.bus.envelope import Envelope, encode
from atoll.federation.errors import Internal, Unavailable

# Below this much free disk nothing more is taken in: trimming needs room too, and so does the rest of a small box.
RESERVED_FREE_BYTES = 64 * 1024 * 1024
_WAL_LIMIT_BYTES = 64 * 1024 * 1024
_PACKET_BYTES = 10
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE envelopes (
    number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, stream TEXT NOT NULL, readings INTEGER NOT NULL,
    last INTEGER NOT NULL, stored_at REAL NOT NULL, data BLOB NOT NULL);
CREATE INDEX envelopes_by_stream ON envelopes (namespace, stream, number);
CREATE TABLE streams (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, received INTEGER NOT NULL, duplicates INTEGER NOT NULL,
    committed INTEGER NOT NULL, PRIMARY KEY (namespace, stream)) WITHOUT ROWID;
CREATE TABLE batches (number INTEGER PRIMARY KEY, session INTEGER NOT NULL, packets BLOB NOT NULL);
CREATE TABLE open_datasets (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, dataset TEXT NOT NULL, levels TEXT NOT NULL,
    PRIMARY KEY (namespace, stream, dataset, levels)) WITHOUT ROWID;
INSERT INTO meta VALUES ('ident', lower(hex(randomblob(16)))), ('number', '0'), ('session', '0');
PRAGMA user_version = 1;
"""


class OutboxFull(Unavailable):
    """The disk or the configured limit has no room now; nothing was stored."""

    reason = "OutboxFull"


class OutboxDamaged(Internal):
    """The database file is not readable as what it was."""

    reason = "OutboxDamaged"


class StoredEnvelope(NamedTuple):
    """An envelope as it goes to the hub."""

    number: int
    stream: StreamKey
    last: int
    data: bytes


@dataclass
class StreamCounts:
    """One Stream's counters since the outbox was made; `received` is also the newest reading's number."""

    received: int = 0
    duplicates: int = 0
    committed: int = 0


class Outbox:
    """One SQLite database. Made by `StateDir.open_outbox`, which also deals with damaged ones."""

    def __init__(self, path: Path, *, gateway: str) -> None:
        self._path, self._gateway = path, gateway
        self._lock = threading.Lock()
        self.limit_bytes = 10_000_000_000
        with _translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"journal_size_limit={_WAL_LIMIT_BYTES}"):
            self._db.execute(f"PRAGMA {pragma}")
        if not self._db.execute("PRAGMA user_version").fetchone()[0]:
            self._db.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
        meta = dict(self._db.execute("SELECT key, value FROM meta"))
        self.ident = str(meta["ident"])
        self.last_number = int(meta["number"])
        self._session = int(meta["session"])
        rows = self._db.execute("SELECT namespace, stream, received, duplicates, committed FROM streams")
        self.streams = {StreamKey(row[0], row[1]): StreamCounts(*row[2:]) for row in rows}
        self.readings, self.bytes = self._db.execute(
            "SELECT coalesce(sum(readings), 0), coalesce(sum(length(data)), 0) FROM envelopes"
        ).fetchone()

    def close(self) -> None:
        """Close the database; what was stored stays."""
        with self._lock:
            self._db.close()

    def store(self, packed: Packed, *, now: float) -> int:
        """Number a batch's drafts and store them in one commit; give the newest envelope number.

        Args:
            now: seconds since 1970, kept to tell how long an envelope has waited.

        Raises:
            OutboxFull: there is no room; nothing has changed, try again. OutboxDamaged: the database is broken.
        """
        with self._lock:
            envelopes = self._number(packed.drafts)
            data = [encode(envelope) for envelope in envelopes]
            self._check_room(sum(map(len, data)))
            counts = self._counts_with(envelopes, packed)
            with self._transaction():
                self._write(list(zip(envelopes, data, strict=True)), counts, packed, now)
            self.streams.update(counts)
            self.last_number += len(envelopes)
            self.readings += sum(len(envelope.readings) for envelope in envelopes)
            self.bytes += sum(map(len, data))
            return self.last_number

    def _number(self, drafts: Sequence[Draft]) -> list[Envelope]:
        first = {key: counts.received + 1 for key, counts in self.streams.items()}
        envelopes = []
        for number, draft in enumerate(drafts, self.last_number + 1):
            start = first.get(draft.stream, 1)
            first[draft.stream] = start + len(draft.readings)
            envelopes.append(
                Envelope(
                    self.ident,
                    self._gateway,
                    *draft.stream,
                    draft.dataset,
                    number,
                    start,
                    tuple(draft.readings),
                    end_of_run=draft.end_of_run,
                )
            )
        return envelopes

    def _check_room(self, size: int) -> None:
        # An empty outbox takes any batch: one that is larger than the limit could never be stored otherwise.
        if self.bytes and self.bytes + size > self.limit_bytes:
            raise OutboxFull(f"the outbox holds {self.bytes} of at most {self.limit_bytes} bytes")
        disk = os.statvfs(self._path.parent)
        if disk.f_bavail * disk.f_frsize < RESERVED_FREE_BYTES + size:
            raise OutboxFull(f"the disk of {self._path.parent} has less than {RESERVED_FREE_BYTES >> 20} MB free")

    def _counts_with(self, envelopes: Sequence[Envelope], packed: Packed) -> dict[StreamKey, StreamCounts]:
        keys = {StreamKey(e.namespace, e.stream) for e in envelopes} | set(packed.duplicates)
        counts = {}
        for key in keys:
            old = self.streams.get(key, StreamCounts())
            last = [e.last for e in envelopes if (e.namespace, e.stream) == key]
            counts[key] = StreamCounts(
                max([old.received, *last]), old.duplicates + packed.duplicates[key], old.committed
            )
        return counts

    def _write(
        self,
        envelopes: Sequence[tuple[Envelope, bytes]],
        counts: dict[StreamKey, StreamCounts],
        packed: Packed,
        now: float,
    ) -> None:
        db = self._db
        db.executemany(
            "INSERT INTO envelopes VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(e.number, e.namespace, e.stream, len(e.readings), e.last, now, data) for e, data in envelopes],
        )
        db.executemany(
            "INSERT OR REPLACE INTO streams VALUES (?, ?, ?, ?, ?)",
            [(*key, c.received, c.duplicates, c.committed) for key, c in counts.items()],
        )
        db.execute("UPDATE meta SET value = ? WHERE key = 'number'", (str(self.last_number + len(envelopes)),))
        self._remember(packed.packets)
        db.executemany(
            "DELETE FROM open_datasets WHERE namespace = ? AND stream = ? AND dataset = ? AND levels = ?",
            [(*item.stream, item.dataset, "/".join(item.levels)) for item in packed.closed],
        )
        db.executemany(
            "INSERT OR REPLACE INTO open_datasets VALUES (?, ?, ?, ?)",
            [
                (*item.stream, item.dataset, "/".join(item.levels))
                for item in packed.opened
                if item not in packed.closed
            ],
        )

    def _remember(self, packets: Sequence[Packet]) -> None:
        if not packets:
            return
        blob = b"".join(packet.packet_id.to_bytes(2, "little") + packet.fingerprint for packet in packets)
        row = self._db.execute("INSERT INTO batches (session, packets) VALUES (?, ?)", (self._session, blob))
        # A batch holds at least one packet, so this many batches hold all that is remembered.
        self._db.execute("DELETE FROM batches WHERE number <= ?", ((row.lastrowid or 0) - REMEMBERED_PACKETS,))

    def recent_packets(self) -> list[Packet]:
        """Give the newest packets, oldest first; those of an earlier broker session without their packet ids."""
        newest: list[list[Packet]] = []
        count = 0
        with self._lock, _translated(self._path):
            for session, blob in self._db.execute("SELECT session, packets FROM batches ORDER BY number DESC"):
                packets = _packets(blob, keep_ids=session == self._session)
                newest.append(packets)
                count += len(packets)
                if count >= REMEMBERED_PACKETS:
                    break
        return [packet for packets in reversed(newest) for packet in packets]

    def begin_session(self) -> None:
        """Note that the broker has lost the session: the packet ids of before mean nothing from now on."""
        with self._lock, self._transaction():
            self._db.execute("UPDATE meta SET value = ? WHERE key = 'session'", (str(self._session + 1),))
        self._session += 1

    def open_datasets(self) -> list[OpenDataset]:
        """Give the datasets that await their end-of-run marker."""
        with self._lock, _translated(self._path):
            rows = self._db.execute("SELECT namespace, stream, dataset, levels FROM open_datasets").fetchall()
        return [
            OpenDataset(StreamKey(namespace, stream), dataset, tuple(levels.split("/")) if levels else ())
            for namespace, stream, dataset, levels in rows
        ]

    def read(self, after: int, *, limit: int) -> list[StoredEnvelope]:
        """Give the next stored envelopes with a number above `after`, in order."""
        query = "SELECT number, namespace, stream, last, data FROM envelopes WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock, _translated(self._path):
            rows = self._db.execute(query, (after, limit)).fetchall()
        return [StoredEnvelope(row[0], StreamKey(row[1], row[2]), row[3], row[4]) for row in rows]

    def lasts_through(self, number: int) -> dict[StreamKey, int]:
        """Give, per Stream, the newest reading that lies in an envelope up to `number`."""
        query = "SELECT namespace, stream, max(last) FROM envelopes WHERE number <= ? GROUP BY namespace, stream"
        with self._lock, _translated(self._path):
            return {StreamKey(row[0], row[1]): row[2] for row in self._db.execute(query, (number,))}

    def trim(self, stream: StreamKey, *, number: int, sequence: int) -> None:
        """Forget a Stream's envelopes up to `number`: a sink has its readings up to `sequence` in files."""
        with self._lock:
            counts = self.streams.get(stream)
            if counts is None or sequence < counts.committed:
                return
            where = "WHERE namespace = ? AND stream = ? AND number <= ?"
            with self._transaction():
                query = f"SELECT coalesce(sum(readings), 0), coalesce(sum(length(data)), 0) FROM envelopes {where}"  # noqa: S608 # constant
                readings, size = self._db.execute(query, (*stream, number)).fetchone()
                self._db.execute(f"DELETE FROM envelopes {where}", (*stream, number))  # noqa: S608 # constant
                self._db.execute(
                    "UPDATE streams SET committed = ? WHERE namespace = ? AND stream = ?", (sequence, *stream)
                )
            counts.committed = sequence
            self.readings -= readings
            self.bytes -= size

    def oldest_stored_at(self) -> float | None:
        """Give when the envelope that has waited longest was stored; None if none waits."""
        with self._lock, _translated(self._path):
            row = self._db.execute("SELECT stored_at FROM envelopes ORDER BY number LIMIT 1").fetchone()
        return float(row[0]) if row else None

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with _translated(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Let no sqlite3 error out: the file is broken, or the disk does not take writes now."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _CORRUPT_CODES:
            raise OutboxDamaged(f"{path} is damaged: {error}") from error
        raise OutboxFull(f"{path} cannot be written: {error}") from error


def _packets(blob: bytes, *, keep_ids: bool) -> list[Packet]:
    starts = range(0, len(blob), _PACKET_BYTES)
    return [
        Packet(int.from_bytes(blob[at : at + 2], "little") if keep_ids else 0, blob[at + 2 : at + _PACKET_BYTES])
        for at in starts
    ]
