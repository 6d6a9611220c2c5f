"""How current the agent's orders are: since when what it holds was read from the hub's store.

An agent that was silent may hold an order that was taken back meanwhile, and its new lease says nothing about that. So
what needs a lease begins only on orders that were read, whole, after the lease was gained (docs/adr/0021). Who answers
may be a replica that is behind: a barrier, written before the read, is among what was read, or the read does not count.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Protocol

import structlog

from atoll.edge.member.desired import DesiredTable
from atoll.federation.bus.changes import Change, Synced
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

_NEVER = float("-inf")
# How long after a barrier that could not be written the next one is tried; meanwhile orders are read all the same.
_RETRY_SECONDS = 2.0


class BarrierTable(DesiredTable, Protocol):
    """What is needed of the bus's table."""

    async def barrier(self) -> int | None:
        """Write something into the table and give its revision; None if that is not allowed."""
        ...


class Recency:
    """A table of orders that knows since when it is current, and is read again when somebody doubts it."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._doubted = asyncio.Event()
        self._patience: asyncio.Timeout | None = None
        # Since when what is held is current, and what is being read will be.
        self._read_at = self._reading_from = _NEVER
        self._table: BarrierTable | None = None
        self._handlers: list[Callable[[], None]] = []

    def of(self, table: BarrierTable) -> "Recency":
        """Read from this table from now on."""
        self._table = table
        return self

    def on_read(self, handler: Callable[[], None]) -> None:
        """Call a handler whenever all orders have been read again."""
        self._handlers.append(handler)

    def is_since(self, instant: float) -> bool:
        """Tell whether the orders that are held were all read after an instant; if not, they are read again."""
        if self._read_at < instant and self._reading_from < instant:
            self._doubt()
        return self._read_at >= instant

    def _doubt(self) -> None:
        self._doubted.set()
        if self._patience is not None:
            self._patience.reschedule(asyncio.get_running_loop().time())

    async def follow(self, under: str = "", *, known: int = 0) -> AsyncIterator[Change | Synced]:
        """Give what the table gives; once doubted, everything again, closed by another `Synced`."""
        assert self._table is not None, "of() comes first"
        while True:
            began, barrier = self._clock(), await self._barrier(self._table) if self._doubted.is_set() else None
            self._doubted.clear()
            self._reading_from = _NEVER if barrier is None else began
            known = max(known, barrier or 0)
            async with contextlib.aclosing(self._table.follow(under, known=known)) as items:  # type: ignore[type-var]  # a generator
                while (item := await self._next(items)) is not None:
                    known = item.revision if isinstance(item, Synced) else max(known, item.revision)
                    yield item
                    if isinstance(item, Synced):
                        self._close(began, is_current=barrier is not None and item.revision >= barrier)

    def _close(self, began: float, *, is_current: bool) -> None:
        """All has been read; it counts as of when the reading began if it holds the barrier."""
        self._reading_from = _NEVER
        if is_current:
            self._read_at = max(self._read_at, began)
        for handler in self._handlers:
            handler()

    async def _barrier(self, table: BarrierTable) -> int | None:
        """Give the revision that a read must come to if it is to count; None if that cannot be had now.

        0, which every read comes to, from a hub that does not let its agents write one: upgrade hubs first.
        """
        try:
            return await table.barrier() or 0
        except AtollError as error:
            log.debug("a barrier could not be written", reason=str(error))
            asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._doubt)
            return None

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
