"""A follower of a table that remembers what it was given."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.table import Table


class Seen:
    """What one follower was given: everything in order, and the levels that a consumer would keep."""

    def __init__(self) -> None:
        self.items: list[Change | Synced] = []
        self.levels: dict[str, bytes] = {}
        self._moved = asyncio.Event()

    async def run(self, table: Table, under: str, *, known: int = 0) -> None:
        async for item in table.follow(under, known=known):
            self.items.append(item)
            if isinstance(item, Change):
                self.levels.pop(item.key, None)
                if item.value is not None:
                    self.levels[item.key] = item.value
            self._moved.set()

    @property
    def changes(self) -> list[Change]:
        return [item for item in self.items if isinstance(item, Change)]

    @property
    def synced(self) -> list[Synced]:
        return [item for item in self.items if isinstance(item, Synced)]

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                self._moved.clear()
                await self._moved.wait()


@contextlib.asynccontextmanager
async def following(table: Table, under: str = "", *, known: int = 0) -> AsyncIterator[Seen]:
    """Follow a table for the time of a block, from the start and then live; it is synced when the block begins."""
    seen = Seen()
    task = asyncio.create_task(seen.run(table, under, known=known))
    try:
        await seen.until(lambda: bool(seen.synced))
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
