"""Several streams of bytes as one: what comes first goes first. It must not know what the bytes are."""

import asyncio
from collections.abc import AsyncIterator

# What a slow reader may be behind, in chunks; then the streams wait.
_BEHIND = 64


class Merged:
    """Reads streams side by side, at most so many at once; the others wait in the order in which they came."""

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue(maxsize=_BEHIND)
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def add(self, stream: AsyncIterator[bytes]) -> None:
        """Read one more stream."""
        task = asyncio.create_task(self._read(stream), name="merged")
        self._tasks.add(task)
        task.add_done_callback(self._note_end)

    async def for_a_while(self, seconds: float) -> AsyncIterator[bytes]:
        """Give what comes within so many seconds. Raises what a stream raises."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            try:
                yield await asyncio.wait_for(self._chunks.get(), left)
            except TimeoutError:
                break
        self._check()

    async def to_the_end(self) -> AsyncIterator[bytes]:
        """Give what comes until every stream has ended. Raises what a stream raises."""
        while self._tasks or not self._chunks.empty():
            getting = asyncio.ensure_future(self._chunks.get())
            await asyncio.wait({getting, *self._tasks}, return_when=asyncio.FIRST_COMPLETED)
            if getting.done():
                yield getting.result()
            else:
                getting.cancel()
        self._check()

    async def close(self) -> None:
        """Stop reading."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, stream: AsyncIterator[bytes]) -> None:
        async with self._slots:
            async for chunk in stream:
                await self._chunks.put(chunk)

    def _note_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._failure = self._failure or error

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
