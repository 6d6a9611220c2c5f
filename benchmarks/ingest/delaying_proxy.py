"""A TCP proxy that lets every byte pass half a round trip late, in the order it came; and that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque


class DelayingProxy:
    """Stands between a gateway and NATS."""

    def __init__(self, port: int, *, round_trip_seconds: float) -> None:
        """Forward to a port of this machine."""
        self._target, self._delay = port, round_trip_seconds / 2
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen; on the port of before if there was one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=1 << 20)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Listen no more and drop all connections."""
        assert self._server is not None
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in list(self._writers):
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            other_reader, other_writer = await asyncio.open_connection("127.0.0.1", self._target, limit=1 << 20)
            self._writers |= {writer, other_writer}
            for source, target in ((reader, other_writer), (other_reader, writer)):
                task = asyncio.create_task(self._pipe(source, target))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _pipe(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        late: deque[tuple[float, bytes]] = deque()
        arrived = asyncio.Event()
        sending = asyncio.create_task(self._send(late, arrived, target))
        try:
            while data := await source.read(1 << 18):
                late.append((time.monotonic() + self._delay, data))
                arrived.set()
        except OSError:
            pass
        finally:
            sending.cancel()
            target.transport.abort()

    async def _send(
        self, late: deque[tuple[float, bytes]], arrived: asyncio.Event, target: asyncio.StreamWriter
    ) -> None:
        while True:
            while not late:
                arrived.clear()
                await arrived.wait()
            due, data = late.popleft()
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            target.write(data)
            with contextlib.suppress(OSError):
                await target.drain()
