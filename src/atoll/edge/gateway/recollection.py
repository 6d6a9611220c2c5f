"""What the intake must know again after a restart: packets, open datasets, and what it asked to keep.

Owns these tables of the outbox's database; they are written in the same commit as the batch that they come with.
"""

from collections.abc import Iterable, Mapping

from atoll.edge.gateway.database import Database
from atoll.edge.gateway.drafts import Packed
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.recent import REMEMBERED_PACKETS, Packet
from atoll.edge.gateway.runs import OpenDataset

_PACKET_BYTES = 10


class Recollection:
    """The memory of one outbox. Callers keep other threads away."""

    def __init__(self, database: Database, *, session: int) -> None:
        self._database, self._session = database, session

    def write(self, packed: Packed) -> None:
        """Remember a batch, inside a transaction."""
        self._write_memory(packed.memory)
        self._write_packets(packed.packet_blob())
        self._write_open(packed.opened, packed.closed)

    def _write_memory(self, memory: Mapping[str, str | None]) -> None:
        gone = [(key,) for key, value in memory.items() if value is None]
        self._database.run_many("DELETE FROM memory WHERE key = ?", gone)
        kept = [item for item in memory.items() if item[1] is not None]
        self._database.run_many("INSERT OR REPLACE INTO memory VALUES (?, ?)", kept)

    def _write_packets(self, blob: bytes) -> None:
        if blob:
            number = self._database.run("INSERT INTO batches (session, packets) VALUES (?, ?)", (self._session, blob))
            # A batch holds at least one packet, so this many batches hold all that is remembered.
            self._database.run("DELETE FROM batches WHERE number <= ?", (number - REMEMBERED_PACKETS,))

    def _write_open(self, opened: Iterable[OpenDataset], closed: Iterable[OpenDataset]) -> None:
        ended = {_open_row(item) for item in closed}
        self._database.run_many(
            "DELETE FROM open_datasets WHERE namespace = ? AND stream = ? AND dataset = ? AND levels = ?", ended
        )
        begun = [row for item in opened if (row := _open_row(item)) not in ended]
        self._database.run_many("INSERT OR REPLACE INTO open_datasets VALUES (?, ?, ?, ?)", begun)

    def memory(self) -> dict[str, str]:
        """Give what batches have asked to keep."""
        return {str(key): str(value) for key, value in self._database.rows("SELECT key, value FROM memory")}

    def packets(self) -> list[Packet]:
        """Give the newest packets, oldest first; those of an earlier broker session without their packet ids."""
        newest: list[list[Packet]] = []
        count, after = 0, 2**62
        while count < REMEMBERED_PACKETS:
            # One by one: a batch has one packet or thousands, and all batches at once would be much memory.
            found = self._database.rows(
                "SELECT number, session, packets FROM batches WHERE number < ? ORDER BY number DESC LIMIT 1", (after,)
            )
            if not found:
                break
            after, session, blob = found[0]
            newest.append(_packets(blob, keep_ids=session == self._session))
            count += len(newest[-1])
        return [packet for packets in reversed(newest) for packet in packets]

    def begin_session(self, now: float) -> None:
        """Note that the broker knows no session: the packet ids of before mean nothing from now on.

        Unless it is the first one that this outbox has, the broker had one and has lost it.
        """
        with self._database.transaction():
            self._database.run("UPDATE meta SET value = ? WHERE key = 'session'", (str(self._session + 1),))
            if self._session:
                self._database.run("INSERT OR REPLACE INTO meta VALUES ('session_lost_at', ?)", (repr(now),))
        self._session += 1

    def session_lost_at(self) -> float | None:
        """Tell when the broker was last found to have lost the session, in seconds since 1970; None if never."""
        found = self._database.rows("SELECT value FROM meta WHERE key = 'session_lost_at'")
        return float(found[0][0]) if found else None

    def open_datasets(self) -> list[OpenDataset]:
        """Give the datasets that await their end-of-run marker."""
        return [
            OpenDataset(StreamKey(namespace, stream), dataset, tuple(levels.split("/")) if levels else ())
            for namespace, stream, dataset, levels in self._database.rows(
                "SELECT namespace, stream, dataset, levels FROM open_datasets"
            )
        ]


def _open_row(item: OpenDataset) -> tuple[str, str, str, str]:
    return (*item.stream, item.dataset, "/".join(item.levels))


def _packets(blob: bytes, *, keep_ids: bool) -> list[Packet]:
    starts = range(0, len(blob), _PACKET_BYTES)
    return [
        Packet(int.from_bytes(blob[at : at + 2], "little") if keep_ids else 0, blob[at + 2 : at + _PACKET_BYTES])
        for at in starts
    ]
