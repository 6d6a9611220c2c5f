"""How current the agent's orders are: since when what it holds was read from the hub's store.

An agent that was silent may hold an order that was taken back meanwhile, and its new lease says nothing about that. So
what needs a lease begins only on orders that were read, whole, after the lease was gained (docs/adr/0021).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from atoll.edge.member.desired import DesiredTable
from atoll.federation.bus.table import Change, Synced


class Recency:
    """A table of orders that knows since when it is current, and is read again when somebody doubts it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._doubted = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        self._read_at = float("-inf")
        self._table: DesiredTable | None = None
        self._handlers: list[Callable[[], None]] = []

    def of(self, table: DesiredTable) -> "Recency":
        """Read from this table from now on."""
        self._table = table
        return self

    def on_read(self, handler: Callable[[], None]) -> None:
        """Call a handler whenever all orders have been read again."""
        self._handlers.append(handler)

    def is_since(self, instant: float) -> bool:
        """Tell whether the orders that are held were all read after an instant; if not, they are read again."""
        if self._read_at >= instant:
            return True
        self._doubted.set()
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())
        return False

    async def follow(self, under: str = "") -> AsyncIterator[Change | Synced]:
        """Give what the table gives; once doubted, everything again, closed by another `Synced`."""
        assert self._table is not None, "of() comes first"
        while True:
            self._doubted.clear()
            began = self._clock()
            async with contextlib.aclosing(self._table.follow(under)) as items:  # type: ignore[type-var]  # a generator
                while (item := await self._next(items)) is not None:
                    yield item
                    if isinstance(item, Synced):
                        self._read_at = max(self._read_at, began)
                        for handler in self._handlers:
                            handler()

    async def _next(self, items: AsyncIterator[Change | Synced]) -> Change | Synced | None:
        """Wait for the next item; None if what was given is doubted."""
        if self._doubted.is_set():
            return None
        try:
            async with asyncio.timeout(None) as self._patience:
                return await anext(items)
        except TimeoutError:
            if self._patience is not None and self._patience.expired():
                return None
            raise
        finally:
            self._patience = None
