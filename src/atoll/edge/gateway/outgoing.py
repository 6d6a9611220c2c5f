"""What leaves the outbox for the hub: which envelopes, in which order, and how far the hub has them.

Owns the position of sending. An envelope stays in the outbox when the hub has it; that a sink has it is for `trim`.
"""

from collections.abc import Callable, Mapping, Sequence
from threading import Lock
from typing import NamedTuple

from atoll.edge.gateway.database import Database
from atoll.edge.gateway.lanes import Next, Positions, SendOrder
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.shedder import Bounds, Origin, Row, damaged_envelope
from atoll.edge.gateway.stock import Stock
from atoll.federation.bus.envelope import encode, is_intact


class StoredEnvelope(NamedTuple):
    """An envelope as it goes to the hub. `sent`: what has been sent with it, in the words of `Positions.text`."""

    number: int
    stream: StreamKey
    last: int
    readings: int
    data: bytes
    sent: str = ""


class Outgoing:
    """The sending side of one outbox; `lock` keeps the other side away."""

    def __init__(self, database: Database, stock: Stock, origin: Origin, lock: Lock) -> None:
        self._database, self._stock, self._origin, self._lock = database, stock, origin, lock
        # Only the uplink writes these, and it must not wait for a commit to do so; `counts` are written under the lock.
        self.forwarded = {key: counts.forwarded for key, counts in stock.streams.items()}
        self._order = SendOrder(self._numbers)
        self._order.begin(Positions(0, self.forwarded), stock.newest)
        # After a restart it is not known what was under way when the process ended.
        self._may_be_sent = dict(stock.newest)
        self._is_sending, self._session = False, 0
        self.priorities: Callable[[], Mapping[StreamKey, int]] = dict

    def begin(self, sent: Positions) -> int:
        """Go on from what the hub has; give the number of the session that begins."""
        with self._lock:
            self._session += 1
            self.forwarded = {key: sent.of(key) for key in self._stock.streams}
            self._order.begin(sent, self._stock.newest)
            self._may_be_sent = dict(self.forwarded)
            self._is_sending = True
            return self._session

    def stop(self) -> None:
        """Take note that nothing is under way any more; whether the hub has what was is not known."""
        self._session += 1
        self._is_sending = False

    def stored(self, stream: StreamKey, number: int) -> None:
        """Take note of a new envelope, under the lock."""
        self._order.stored(stream, number)

    def changed(self, stream: StreamKey) -> None:
        """Take note, under the lock, that what waits of a Stream has other numbers now."""
        self._order.changed(stream)

    def bounds(self, stream: StreamKey) -> Bounds:
        """Tell, under the lock, what of a Stream may be shed: never what is under way."""
        forwarded = self.forwarded.get(stream, 0)
        under_way = self._order.sent(stream) if self._is_sending else 0
        return Bounds(forwarded, max(under_way, forwarded), self._may_be_sent.get(stream, 0))

    def take(self, session: int, *, limit: int) -> list[StoredEnvelope]:
        """Give the envelopes that are to be sent next, in order, and count them as sent.

        A session that is over gets none: its thread may come here when the next one has begun.
        """
        with self._lock:
            if session != self._session:
                return []
            priorities, chosen = self.priorities(), list[Next]()
            while len(chosen) < limit and (following := self._order.next(priorities)) is not None:
                chosen.append(following)
                self._may_be_sent[following.stream] = following.number
            found = self._read([item.number for item in chosen])
        return [
            StoredEnvelope(item.number, item.stream, row.last, row.readings, self._sound(item, row), item.sent.text())
            for item in chosen
            if (row := found.get(item.number)) is not None
        ]

    def _read(self, numbers: Sequence[int]) -> dict[int, Row]:
        query = (
            "SELECT number, last, coalesce(span, readings), readings, every, stored_at, clock, is_kept, data "  # noqa: S608 # question marks
            f"FROM envelopes WHERE number IN ({','.join('?' * len(numbers))})"
        )
        return {row[0]: Row(*row) for row in self._database.rows(query, numbers)}

    def _sound(self, item: Next, row: Row) -> bytes:
        """Give the envelope's bytes; in place of one that rotted on the disk, one that says which readings are lost."""
        return row.data if is_intact(row.data) else encode(damaged_envelope(self._origin, item.stream, row))

    def acknowledged(self, envelope: StoredEnvelope) -> None:
        """Take note that the hub has an envelope, and so all that were sent before it."""
        self.forwarded[envelope.stream] = max(envelope.number, self.forwarded.get(envelope.stream, 0))

    def lasts_through(self, sent: Positions) -> dict[StreamKey, int]:
        """Give, per Stream, the newest reading that lies in an envelope that was sent."""
        query = "SELECT max(last) FROM envelopes WHERE namespace = ? AND stream = ? AND number <= ?"
        with self._lock:
            streams = list(self._stock.streams)
            found = {key: self._database.rows(query, (*key, sent.of(key)))[0][0] for key in streams}
        return {key: int(last) for key, last in found.items() if last is not None}

    def _numbers(self, stream: StreamKey, after: int, limit: int) -> list[int]:
        query = "SELECT number FROM envelopes WHERE namespace = ? AND stream = ? AND number > ? ORDER BY number LIMIT ?"
        return [int(row[0]) for row in self._database.rows(query, (*stream, after, limit))]
