"""Objects in JetStream: kubeapi's Storage over one bus table. A resourceVersion is the sequence of stream STATE.

Owns the translation between the two and the answer to "did my write happen?"; must not know what a value means.
"""

from collections import deque
from collections.abc import AsyncIterator

from atoll.federation.bus.batches import GroupedWrites
from atoll.federation.bus.changes import Synced as TableSynced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.outage import NotSent
from atoll.federation.bus.subjects import STATE_PREFIX, STATE_STREAM
from atoll.federation.bus.table import Table, Write
from atoll.federation.errors import AtollError, Conflict
from atoll.federation.errors import Unavailable as BusUnavailable
from atoll.hub.levels import Levels
from atoll.kubeapi.errors import Internal, RequestTooLarge, Unavailable
from atoll.kubeapi.storage import Change, RevisionConflict, Synced

# As etcd takes behind a real API server (`--max-request-bytes`); a request may have twice as much, as there.
LARGEST_OBJECT_BYTES = 1536 * 1024
_RETRY_AFTER_SECONDS = 1
# Values kept per object. With one, a watch would not show that an object was deleted and made again in a moment; a
# follower falls this far behind on one key only while it is being reconnected.
_HISTORY = 16
# JetStream would take a tombstone's revision for the key's last write. Nobody gets to know one but by a race within
# moments, so a few are remembered.
_TOMBSTONES = 1024


class JetStreamStorage:
    """The hub's storage. Hubs on one NATS see each other's writes through `follow`."""

    def __init__(self, table: Table, writes: GroupedWrites) -> None:
        self._table, self._writes = table, writes
        self._tombstones: deque[int] = deque(maxlen=_TOMBSTONES)

    @classmethod
    async def open(cls, bus: Bus) -> "JetStreamStorage":
        """Make the stream if it is not there.

        Raises:
            Unavailable: NATS does not answer. InvalidInput: its server is too old.
        """
        await bus.ensure_table(STATE_STREAM, STATE_PREFIX, history=_HISTORY, is_hubs_own=True)
        table = bus.table(STATE_STREAM, STATE_PREFIX, keeps_history=True)
        return cls(table, GroupedWrites(bus, table))

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        """Write one key durably; see kubeapi's Storage."""
        if value is not None and len(value) > LARGEST_OBJECT_BYTES:
            raise RequestTooLarge(f"{key} has {len(value)} bytes; at most {LARGEST_OBJECT_BYTES} can be stored")
        if expected in self._tombstones:
            raise RevisionConflict(key, 0)
        try:
            if value is None:
                return await self._delete(key, expected)
            return await self._writes.write(Write(key, value, expected))
        except Conflict as conflict:
            raise RevisionConflict(key, conflict.current) from conflict
        except NotSent as away:
            raise _unavailable(away) from away
        except BusUnavailable as lost:
            return await self._outcome(key, value, expected, lost)
        except AtollError as error:
            raise Internal(f"{key} could not be stored: {error}") from error

    async def _delete(self, key: str, expected: int) -> int:
        if expected == 0:
            current = await self._table.get(key)
            if current is not None:
                raise RevisionConflict(key, current.revision)
            return await self._table.last_revision()
        revision = await self._writes.write(Write(key, None, expected))
        self._tombstones.append(revision)
        return revision

    async def _outcome(self, key: str, value: bytes | None, expected: int, lost: BusUnavailable) -> int:
        """Find out whether a write whose answer was lost has happened: the key then holds our value, and is newer."""
        try:
            current = await self._table.get(key)
        except AtollError:
            raise _unavailable(lost) from lost
        if value is not None and current is not None and current.revision > expected and current.value == value:
            return current.revision
        if value is None and current is None:
            return await self.revision()
        raise _unavailable(lost) from lost

    async def follow(self) -> AsyncIterator[Change | Synced]:
        """Yield live keys, Synced, then changes for ever. A snapshot given again shows up as its differences only."""
        levels = Levels()
        async for item in self._table.follow():
            for change in levels.feed(item):
                yield Change(change.key, change.value, change.revision)
            if isinstance(item, TableSynced):
                yield Synced(item.revision)

    async def revision(self) -> int:
        """Give the revision of the store's last write."""
        try:
            return await self._table.last_revision()
        except AtollError as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"the store cannot be reached: {error}", retry_after_seconds=_RETRY_AFTER_SECONDS)
