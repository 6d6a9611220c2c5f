"""How long what an outbox holds has waited: by its own clock, and since which time of day.

Owns the reading of it; under the outbox's lock. What follows from it is decided in buffers.py.
"""

from atoll.edge.gateway.buffers import Held
from atoll.edge.gateway.clock import OutboxClock
from atoll.edge.gateway.database import Database
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.stock import Stock


class Waits:
    """The waits of one outbox. Looked at now and then, since a look asks the database for each Stream."""

    def __init__(self, database: Database, stock: Stock, clock: OutboxClock) -> None:
        self._database, self._stock, self._clock = database, stock, clock
        self._oldest: dict[StreamKey, float] = {}

    def look(self) -> None:
        """See what has waited longest now."""
        self._oldest = {key: clock for key, (clock, _) in self._oldest_times().items()}

    def stored_at(self) -> dict[StreamKey, float]:
        """Give when the envelope that has waited longest was stored, per Stream that has one; seconds since 1970."""
        return {key: stored_at for key, (_, stored_at) in self._oldest_times().items()}

    def held(self) -> dict[StreamKey, Held]:
        """Give what waits of each Stream, and how long it has by the last look. Without the lock, too."""
        now, oldest = self._clock.now(), self._oldest
        return {
            key: Held(
                counts.bytes,
                now - oldest[key] if counts.bytes and key in oldest else 0.0,
                now - counts.left_at if counts.left_at is not None else None,
            )
            for key, counts in list(self._stock.streams.items())
        }

    def _oldest_times(self) -> dict[StreamKey, tuple[float, float]]:
        """Give clock and time of the envelope that has waited longest, per Stream that has one."""
        query = "SELECT clock, stored_at FROM envelopes WHERE namespace = ? AND stream = ? ORDER BY number LIMIT 1"
        waiting = [key for key, counts in self._stock.streams.items() if counts.bytes]
        found = {key: self._database.rows(query, key) for key in waiting}
        return {key: (float(rows[0][0]), float(rows[0][1])) for key, rows in found.items() if rows}
