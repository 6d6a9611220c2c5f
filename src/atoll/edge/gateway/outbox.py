"""The outbox: every reading that was acknowledged and is not yet in a file, on the gateway's disk.

Owns the numbering (its `ident`, envelope numbers, reading numbers per Stream) and durability: what `store` returned
from has survived a power loss (one commit per batch, database.py). It must not know MQTT or NATS. Calls block on the
disk: run them in a thread. One thread at a time is let in.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from threading import Lock

from atoll.edge.gateway.buffers import Rules, Shed, refusing, sheds
from atoll.edge.gateway.clock import OutboxClock
from atoll.edge.gateway.database import Database, OutboxDamaged, OutboxFull, OutboxUnavailable
from atoll.edge.gateway.drafts import Draft, Packed
from atoll.edge.gateway.losses import LEFT_OUT_NUMBERS, Loss, Losses, lost_end
from atoll.edge.gateway.mark import Mark, MarkFile
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outgoing import Outgoing, StoredEnvelope
from atoll.edge.gateway.recent import Packet
from atoll.edge.gateway.recollection import Recollection
from atoll.edge.gateway.runs import OpenDataset
from atoll.edge.gateway.shedder import Origin, Shedder
from atoll.edge.gateway.stock import Stock, StreamCounts
from atoll.edge.gateway.waits import Waits
from atoll.federation.bus.envelope import Envelope, encode

__all__ = ["Outbox", "OutboxDamaged", "OutboxFull", "OutboxUnavailable", "StoredEnvelope", "StreamCounts"]

# How much of the time that readings have waited a gateway that is killed may forget.
_CLOCK_SECONDS = 60.0
_Stored = Sequence[tuple[Envelope, bytes]]


class Outbox:
    """One database. Made by `StateDir.open_outbox`, which also deals with damaged ones.

    `outgoing` is what the uplink needs of it.
    """

    def __init__(self, path: Path, *, gateway: str) -> None:
        self._lock = Lock()
        self._database = Database(path)
        try:
            self._begin(gateway)
        except BaseException:
            self._database.close()
            raise

    def _begin(self, gateway: str) -> None:
        database = self._database
        meta = {str(key): str(value) for key, value in database.rows("SELECT key, value FROM meta")}
        self.ident, self.last_number = meta["ident"], int(meta["number"])
        self.clock = OutboxClock(float(meta["clock"]))
        self._rules, self._is_compressed = Rules(), True
        self._stock = Stock(database)
        self._waits = Waits(database, self._stock, self.clock)
        self._origin = Origin(self.ident, gateway)
        self._recollection = Recollection(database, session=int(meta["session"]))
        self._losses = Losses(database)
        self._shedder = Shedder(database, self._stock, self._origin, is_compressed=lambda: self._is_compressed)
        self._mark = MarkFile(database.path.with_name("outbox.mark"))
        self._name_lost_end(self._mark.read())
        self.outgoing = Outgoing(database, self._stock, self._origin, self._lock)
        self.outgoing.priorities = lambda: self._rules.priorities
        self._owed: dict[StreamKey, tuple[int, int]] = {}
        self._written, self._written_at = dict(self.streams), self.clock.now()
        self._waits.look()

    def _name_lost_end(self, mark: Mark) -> None:
        """Put envelopes in the place of readings that were acknowledged and are not in the database any more."""
        if mark.ident != self.ident or mark.number <= self.last_number:
            return
        self.last_number = mark.number + LEFT_OUT_NUMBERS
        lost = lost_end(mark, self.last_number, self.streams)
        if lost:
            envelopes = [loss.envelope(self._origin) for loss in lost]
            self._commit([(envelope, encode(envelope)) for envelope in envelopes], Packed(), now=0.0, lost=lost)

    # --- what it holds

    @property
    def streams(self) -> Mapping[StreamKey, StreamCounts]:
        """Each Stream's counters."""
        return self._stock.streams

    @property
    def readings(self) -> int:
        """How many readings wait."""
        return self._stock.readings

    @property
    def bytes(self) -> int:
        """How many bytes they take."""
        return self._stock.bytes

    @property
    def limit_bytes(self) -> int:
        """How many it may hold."""
        return self._rules.limit_bytes

    @property
    def losses(self) -> Sequence[Loss]:
        """What damages took and is in no sink's ledger yet."""
        return self._losses.known

    def refusing(self) -> dict[StreamKey, str]:
        """Give the Streams that take nothing in now, each with the reason."""
        return refusing(self._rules, self._waits.held())

    def oldest_stored_at(self) -> dict[StreamKey, float]:
        """Give when the envelope that has waited longest was stored, per Stream that has one; seconds since 1970."""
        with self._lock:
            return self._waits.stored_at()

    def memory(self) -> dict[str, str]:
        """Give what batches have asked to keep."""
        with self._lock:
            return self._recollection.memory()

    def recent_packets(self) -> list[Packet]:
        """Give the newest packets, oldest first; those of an earlier broker session without their packet ids."""
        with self._lock:
            return self._recollection.packets()

    def open_datasets(self) -> list[OpenDataset]:
        """Give the datasets that await their end-of-run marker."""
        with self._lock:
            return self._recollection.open_datasets()

    def read(self, after: int, *, limit: int) -> list[StoredEnvelope]:
        """Give the next stored envelopes with a number above `after`, by number."""
        query = "SELECT number, namespace, stream, last, readings, data FROM envelopes WHERE number > ? ORDER BY number"
        with self._lock:
            rows = self._database.rows(f"{query} LIMIT ?", (after, limit))
        return [StoredEnvelope(row[0], StreamKey(row[1], row[2]), *row[3:]) for row in rows]

    def close(self) -> None:
        """Close the database; what was stored stays."""
        with self._lock:
            self._database.close()
            self._mark.close()

    # --- taking in

    def follow(self, rules: Rules, *, is_compressed: bool = True) -> None:
        """Take these rules as what holds from now on; a Stream that has none has been deleted."""
        with self._lock:
            self._rules, self._is_compressed = rules, is_compressed
            known, now = rules.streams, self.clock.now()
            for key, counts in list(self.streams.items()):
                left_at = None if known is None or key in known else (counts.left_at or now)
                self._stock.adopt({key: replace(counts, left_at=left_at)})

    def store(self, packed: Packed, *, now: float) -> int:
        """Number a batch's drafts and store them in one commit; give the newest envelope number.

        Args:
            packed: the batch.
            now: seconds since 1970, kept to tell how long an envelope has waited.

        Raises:
            OutboxUnavailable: there is no room, or no write now; nothing has changed, try again.
            OutboxDamaged: the database is broken.
        """
        with self._lock:
            envelopes = self._numbered(packed.drafts)
            stored = [(envelope, encode(envelope, is_compressed=self._is_compressed)) for envelope in envelopes]
            if stored:
                self._check_room(sum(len(data) for _, data in stored))
            self._commit(stored, packed, now=now)
            for envelope in envelopes:
                self.outgoing.stored(StreamKey(envelope.namespace, envelope.stream), envelope.number)
            return self.last_number

    def _numbered(self, drafts: Sequence[Draft]) -> list[Envelope]:
        first = {key: counts.received + 1 for key, counts in self.streams.items()}
        envelopes = []
        for number, draft in enumerate(drafts, self.last_number + 1):
            start = first.get(draft.stream, 1)
            first[draft.stream] = start + len(draft.readings)
            envelopes.append(
                Envelope(
                    self._origin.ident,
                    self._origin.gateway,
                    *draft.stream,
                    draft.dataset,
                    number,
                    start,
                    tuple(draft.readings),
                    end_of_run=draft.end_of_run,
                    holds_files=draft.holds_files,
                )
            )
        return envelopes

    def _check_room(self, size: int) -> None:
        self._make_room(size)
        # An empty outbox takes any batch: one that is larger than the limit could never be stored otherwise.
        if self.bytes and self.bytes + size > self.limit_bytes:
            raise OutboxFull(f"the outbox holds {self.bytes} of at most {self.limit_bytes} bytes")
        self._database.check_room(size)

    def _commit(self, stored: _Stored, packed: Packed, *, now: float, lost: Sequence[Loss] = ()) -> None:
        changed = self._counts_with(stored, packed, lost)
        with self._database.transaction():
            self._insert(stored, now)
            self._recollection.write(packed)
            self._losses.write(lost)
            self._stock.write(changed)
        self._stock.adopt(changed)
        self._losses.adopt(lost)
        if stored:
            self.last_number = stored[-1][0].number
            received = {key: counts.received for key, counts in self.streams.items()}
            self._mark.write(Mark(self.ident, self.last_number, received))

    def _counts_with(self, stored: _Stored, packed: Packed, lost: Sequence[Loss]) -> dict[StreamKey, StreamCounts]:
        changed = {key: self._stock.of(key) for key in packed.duplicates}
        for envelope, data in stored:
            key = StreamKey(envelope.namespace, envelope.stream)
            changed[key] = changed.get(key, self._stock.of(key)).with_envelope(envelope, len(data))
        for loss in lost:
            counts = changed[loss.stream]
            changed[loss.stream] = replace(counts, damaged=counts.damaged + loss.last - loss.first + 1)
        return {
            key: replace(counts, duplicates=counts.duplicates + packed.duplicates[key])
            for key, counts in changed.items()
        }

    def _insert(self, stored: _Stored, now: float) -> None:
        clock = self.clock.now()
        self._database.run_many(
            "INSERT INTO envelopes (number, namespace, stream, readings, last, stored_at, data, span, every, clock, "
            "is_kept) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (
                    e.number, e.namespace, e.stream, len(e.readings), e.last, now, data, e.last - e.first + 1,
                    e.absence.every if e.absence is not None else 1, clock, e.holds_files,
                )
                for e, data in stored
            ],
        )  # fmt: skip
        number = stored[-1][0].number if stored else self.last_number
        self._database.run_many(
            "UPDATE meta SET value = ? WHERE key = ?", [(str(number), "number"), (repr(clock), "clock")]
        )

    def begin_session(self, *, now: float) -> None:
        """Note that the broker knows no session: the packet ids of before mean nothing from now on."""
        with self._lock:
            self._recollection.begin_session(now)

    def session_lost_at(self) -> float | None:
        """Tell when the broker was last found to have lost the session, in seconds since 1970; None if never."""
        with self._lock:
            return self._recollection.session_lost_at()

    # --- letting go

    def trim(self, stream: StreamKey, *, number: int, sequence: int) -> None:
        """Forget a Stream's envelopes up to `number`: a sink has its readings up to `sequence` in files.

        Raises:
            OutboxUnavailable: the disk does not take the change now; `tidy` will do it.
        """
        with self._lock:
            self._owed[stream] = number, sequence
            self._trim(stream)

    def _trim(self, stream: StreamKey) -> None:
        number, sequence = self._owed[stream]
        counts = self._stock.of(stream)
        if stream in self.streams and sequence >= counts.committed:
            where = "FROM envelopes WHERE namespace = ? AND stream = ? AND number <= ?"
            query = f"SELECT coalesce(sum(readings), 0), coalesce(sum(length(data)), 0) {where}"
            readings, size = self._database.rows(query, (*stream, number))[0]
            left = replace(counts.without(readings, size), committed=sequence, trimmed=max(number, counts.trimmed))
            with self._database.transaction():
                self._database.run(f"DELETE {where}", (*stream, number))
                self._stock.write({stream: left})
                self._losses.forget(stream, through=number)
            self._stock.adopt({stream: left})
        del self._owed[stream]

    def tidy(self) -> None:
        """Do what is due now and then: trims that had no room, ages, Streams that left, room for the disk.

        Raises:
            OutboxUnavailable: the disk takes no change now.
        """
        with self._lock:
            for key, forwarded in list(self.outgoing.forwarded.items()):
                self._stock.adopt({key: replace(self._stock.of(key), forwarded=forwarded)})
            for stream in list(self._owed):
                self._trim(stream)
            self._waits.look()
            self._make_room(0)
            self._write_down()
            with suppress(OutboxUnavailable):
                self._database.give_back()

    def _write_down(self) -> None:
        """Write what has no commit of its own, if it has changed; while readings wait, the clock once a minute."""
        now, streams = self.clock.now(), dict(self.streams)
        if streams != self._written or (self.bytes and now > self._written_at + _CLOCK_SECONDS):
            with self._database.transaction():
                self._database.run("UPDATE meta SET value = ? WHERE key = 'clock'", (repr(now),))
                self._stock.write(streams)
            self._written, self._written_at = streams, now

    def _make_room(self, incoming: int) -> None:
        while any(self._carry_out(shed) for shed in sheds(self._rules, self._waits.held(), incoming=incoming)):
            self._waits.look()

    def _carry_out(self, shed: Shed) -> bool:
        """Shed as much as is wanted, or as there is; tell whether that was anything."""
        wanted = shed.size
        while wanted > 0:
            bounds, now = self.outgoing.bounds(shed.stream), self.clock.now()
            gained = self._shedder.step(shed._replace(size=wanted), bounds, now=now)
            if not gained:
                break
            wanted -= gained
            self.outgoing.changed(shed.stream)
        return wanted < shed.size
