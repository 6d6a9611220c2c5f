"""Two ways of writing many small lines with few durable writes: for those who wait, and for those who do not.

Owns the gathering, its order and its bounds. It must not know what a line says or where it goes.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence

import structlog

from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

Write = Callable[[Sequence[bytes]], Awaitable[None]]
"""Writes lines durably. Raises AtollError if it cannot, or does not know whether it did."""

# A record is some 500 bytes; nats-server takes messages of 1 MiB. With fewer, a burst costs more syncs.
_MOST_LINES, _MOST_BYTES = 500, 256 * 1024
# Longer, and more is lost with the process; shorter, and a line costs a write of its own instead of a share of one.
_GATHER_SECONDS = 0.1
# Some 10 MB for as long as nothing can be written.
_MOST_QUEUED = 20_000
_AGAIN_SECONDS = 1.0
_FLUSH_SECONDS = 5.0


class Gathered:
    """Writes lines for those who wait: while one write is under way, the lines of the next one gather."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: deque[tuple[bytes, asyncio.Future[None]]] = deque()
        self._task: asyncio.Task[None] | None = None

    async def write(self, line: bytes) -> None:
        """Return when the line is durable. Raises what `Write` raised."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((line, done))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="audit-begins")
        await done

    async def _run(self) -> None:
        while self._waiting:
            count = _fitting(len(line) for line, _ in self._waiting)
            group = [self._waiting.popleft() for _ in range(count)]
            try:
                await self._write([line for line, _ in group])
            except AtollError as error:
                _tell(group, error)
            else:
                _tell(group, None)
            finally:
                for _, done in group:
                    done.cancel()  # only if nobody could be told, because this task was cancelled


def _tell(group: Iterable[tuple[bytes, "asyncio.Future[None]"]], error: AtollError | None) -> None:
    for _, done in group:
        if done.done():
            continue  # who waited has gone
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)


class Queued:
    """Writes lines for those who do not wait: a moment later, in order, again and again until it has succeeded."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._lines: deque[bytes] = deque()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._dropped = 0

    def add(self, line: bytes) -> None:
        """Take a line; drop it if too many wait."""
        if len(self._lines) >= _MOST_QUEUED:
            self._dropped += 1
            return
        self._lines.append(line)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="audit-ends")

    async def close(self) -> None:
        """Write what waits, and give up after some seconds."""
        self._hurry.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_FLUSH_SECONDS)
            self._task.cancel()
            await asyncio.wait({self._task})
        if self._lines:
            log.error("audit records were lost", records=len(self._lines))

    async def _run(self) -> None:
        while self._lines:
            if len(self._lines) < _MOST_LINES:
                await self._linger()
            count = _fitting(map(len, self._lines))
            try:
                await self._write([self._lines[index] for index in range(count)])
            except AtollError as error:
                log.warning("audit records wait to be written", records=len(self._lines), reason=str(error))
                await asyncio.sleep(_AGAIN_SECONDS)
                continue
            for _ in range(count):
                self._lines.popleft()
            if self._dropped:
                log.error("audit records were lost", records=self._dropped)
                self._dropped = 0

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GATHER_SECONDS):
                await self._hurry.wait()


def _fitting(sizes: Iterable[int]) -> int:
    """Tell how many of the first lines fit into one write: at least one."""
    count = total = 0
    for size in sizes:
        total += size
        if count and (total > _MOST_BYTES or count == _MOST_LINES):
            break
        count += 1
    return count
