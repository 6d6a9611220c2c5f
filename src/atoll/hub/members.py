"""The two tables between hub and members: what members reported, and what they should do.

Owns guarded writes to desired state. It must not know what orders and reports mean. How a table is held in memory is
in copies.py, whose words belong to these tables and are had from here.
"""

from collections.abc import Callable
from datetime import datetime

from atoll.federation.bus.capabilities import OPEN_TO_ALL, Capabilities
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import Message, StoreMark
from atoll.federation.bus.subjects import DESIRED_PREFIX, DESIRED_STREAM, OBSERVED_PREFIX, OBSERVED_STREAM
from atoll.hub.copies import Copy, Held, Path, proven_at

__all__ = ["STORE_MARK", "Copy", "Desired", "Held", "Observed", "Path", "proven_at"]

STORE_MARK = "store"


class Observed(Copy):
    """What members reported."""

    @classmethod
    def on(cls, bus: Bus, *, clock: Callable[[], datetime], capabilities: Capabilities = OPEN_TO_ALL) -> "Observed":
        """Read the federation's table of reports."""

        def token_of(path: Path) -> str:
            return capabilities.of_report(path.kind, path.member, path.rest)

        return cls(bus.table(OBSERVED_STREAM, OBSERVED_PREFIX), clock=clock, token_of=token_of)

    async def remove(self, path: Path) -> bool:
        """Forget a report of a member that was sent away; tell whether there was one."""
        if self._held.get(path.key) is None:
            return False
        revision = await self._table.delete(self._place(path))
        self._wrote(path, None, revision)
        return True


class Desired(Copy):
    """What members should do. Writes carry the revision that this process knows: a deposed leader's are refused."""

    @classmethod
    def on(cls, bus: Bus, *, clock: Callable[[], datetime], capabilities: Capabilities = OPEN_TO_ALL) -> "Desired":
        """Read and write the federation's table of orders."""

        def token_of(path: Path) -> str:
            return capabilities.of_key(path.kind, path.member, path.rest)

        return cls(bus.table(DESIRED_STREAM, DESIRED_PREFIX), clock=clock, token_of=token_of)

    _identity = ""

    async def put(self, path: Path, message: Message) -> bool:
        """Order something; nothing is written if the order stands already. Tell whether it was new.

        Raises:
            Conflict: another hub wrote there. Unavailable: the outcome is unknown; try again.
        """
        if path.kind == "cluster" and _mark_of(path).key not in self._held:
            await self._mark(path)
        return await self._put(path, message.encode())

    async def _put(self, path: Path, value: bytes, *, is_again: bool = False) -> bool:
        known = self._held.get(path.key)
        if known is not None and known.value == value and not is_again:
            return False
        revision = await self._table.put(self._place(path), value, expected=known.revision if known else 0)
        self._wrote(path, Held(value, revision), revision)
        return True

    async def _mark(self, path: Path) -> None:
        """Tell a cluster which store gives its orders.

        Written again after each removal: the tombstone goes after a day, and the newest revision that an agent has seen
        of this store must not go back by that, or it would take the store for an old copy.
        """
        self._identity = self._identity or await self._table.identity()
        await self._put(_mark_of(path), StoreMark(identity=self._identity).encode(), is_again=True)

    async def remove(self, path: Path) -> bool:
        """Take an order back; tell whether there was one."""
        known = self._held.get(path.key)
        if known is None:
            return False
        revision = await self._table.delete(self._place(path), expected=known.revision)
        self._wrote(path, None, revision)
        if path.kind == "cluster":
            await self._mark(path)
        return True


def _mark_of(path: Path) -> Path:
    return Path(path.kind, path.member, STORE_MARK)
