"""A TCP relay between a cluster and one server of the hub's side, which can be cut like a cable, or made long.

A cut is a black hole, as a lost network is: connections stay open, what is sent waits, nothing is refused. What both
ends have not given up by then goes on when the link is mended, as TCP's own retransmissions would.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

_CHUNK_BYTES = 64 * 1024
# What one direction of a connection holds back while it waits; more is left to the sender's own buffers.
_CHUNKS = 16


class Relay:
    """Carries connections to one port of this machine."""

    def __init__(self, port: int) -> None:
        """Carry to `port`; nothing is cut."""
        self._port = port
        self._open = asyncio.Event()
        self._open.set()
        self._carried: set[asyncio.Task[None]] = set()
        self.delay_seconds = 0.0
        """How much later everything arrives, in each direction."""

    def set_cut(self, *, is_cut: bool) -> None:
        """Cut the link or mend it."""
        (self._open.clear if is_cut else self._open.set)()

    @contextlib.asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[None]:
        """Carry what connects to a listening socket while the context is open."""
        server = await asyncio.start_server(self._accept, sock=listener)
        try:
            yield
        finally:
            server.close()
            for task in tuple(self._carried):
                task.cancel()
            await asyncio.gather(*self._carried, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._carry(reader, writer), name=f"relay-{self._port}")
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until one of its ends is gone."""
        there, back = _Flow(self), _Flow(self)
        sending = asyncio.create_task(there.take(reader))
        tasks, writers = [sending], [writer]
        try:
            if not await self._reachable(sending):
                return
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
            writers.append(far_writer)
            tasks.append(asyncio.create_task(back.take(far_reader)))
            delivering = [asyncio.create_task(flow.give(to)) for flow, to in ((there, far_writer), (back, writer))]
            tasks += delivering
            await asyncio.wait(delivering, return_when=asyncio.FIRST_COMPLETED)
        except OSError:
            return  # the server is not there: the client finds its connection closed
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for each in writers:
                each.close()

    async def _reachable(self, client: asyncio.Task[None]) -> bool:
        """Wait until the link is whole; False if the client gave up before."""
        opened = asyncio.create_task(self._open.wait())
        try:
            await asyncio.wait((opened, client), return_when=asyncio.FIRST_COMPLETED)
        finally:
            opened.cancel()
        return self._open.is_set()

    async def passage(self, sent_at: float) -> None:
        """Wait until what was sent at this time of the loop's clock may arrive."""
        wait_seconds = sent_at + self.delay_seconds - asyncio.get_running_loop().time()
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        await self._open.wait()


class _Flow:
    """One direction of a connection."""

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._under_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS)

    async def take(self, reader: asyncio.StreamReader) -> None:
        """Take what is sent, to its end; no bytes mean the end."""
        clock = asyncio.get_running_loop().time
        chunk = b"-"
        while chunk:
            try:
                chunk = await reader.read(_CHUNK_BYTES)
            except OSError:
                chunk = b""
            await self._under_way.put((clock(), chunk))

    async def give(self, writer: asyncio.StreamWriter) -> None:
        """Deliver it, in order, when it may arrive."""
        while True:
            sent_at, chunk = await self._under_way.get()
            await self._relay.passage(sent_at)
            if not chunk:
                return
            writer.write(chunk)
            with contextlib.suppress(ConnectionError):  # whoever is gone is found by reading
                await writer.drain()
