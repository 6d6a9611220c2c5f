"""A plain HTTP/1.1 client that costs little beside the server that it measures: one connection, one request at a time.

Owns the bytes on the wire; what is asked and what an answer means is the measurement's.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httptools
import orjson


@dataclass(frozen=True)
class Server:
    """Where an API server listens, and how it knows us."""

    name: str
    url: str
    tls: ssl.SSLContext | None = None
    token: str = ""
    pids: Sequence[int] = ()  # of its processes, to count their CPU time

    def cpu_seconds(self) -> float:
        """Return the CPU time that its processes have used."""
        return sum(_cpu_seconds(pid) for pid in self.pids)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100  # in ticks of USER_HZ, which is 100 on Linux


class Connection(asyncio.Protocol):
    """One connection. `on_body` hears of every piece of a body when it arrives: that is how a watch is read."""

    def __init__(self, server: Server) -> None:
        """Be not connected yet."""
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._answer: asyncio.Future[None] | None = None
        self._body = bytearray()
        self.on_body: Callable[[bytes], None] = self._body.extend

    @classmethod
    async def open(cls, server: Server) -> Connection:
        """Connect."""
        where = urlsplit(server.url)
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: cls(server), where.hostname, where.port, ssl=server.tls)
        return made

    async def request(self, method: str, path: str, body: Any = None, *, media_type: str = "application/json") -> bytes:
        """Return the body of an answer, which must be a success."""
        payload = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
        self._send(method, path, payload, media_type)
        assert self._answer is not None
        await self._answer
        status = self._parser.get_status_code()
        if status >= 300:
            raise SystemExit(f"{method} {path}: {status} {bytes(self._body[:500])!r}")
        return bytes(self._body)

    def begin(self, path: str, on_body: Callable[[bytes], None]) -> None:
        """Ask for a stream and hand on its pieces."""
        self.on_body = on_body
        self._send("GET", path, b"", "")

    def _send(self, method: str, path: str, payload: bytes, media_type: str) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._answer = asyncio.get_running_loop().create_future()
        self._body.clear()
        host = urlsplit(self._server.url).netloc
        head = [f"{method} {path} HTTP/1.1", f"Host: {host}", "User-Agent: kubectl/bench", "Accept: application/json"]
        if self._server.token:
            head.append(f"Authorization: Bearer {self._server.token}")
        if payload:
            head += [f"Content-Type: {media_type}", f"Content-Length: {len(payload)}"]
        assert self._transport is not None
        self._transport.write("\r\n".join(head).encode() + b"\r\n\r\n" + payload)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.abort()

    # what asyncio and httptools call

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        assert self._answer is not None
        if not self._answer.done():
            self._answer.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server closed the connection"))
            self._answer.exception()  # nobody waits for the end of a stream


async def until_ready(server: Server, path: str = "/readyz", *, seconds: float = 60.0) -> None:
    """Wait until a server says that it is ready."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection = await Connection.open(server)
            await connection.request("GET", path)
            connection.close()
            return
        except (OSError, SystemExit):
            if time.monotonic() > deadline:
                raise SystemExit(f"{server.name} is not ready after {seconds:g} s") from None
            await asyncio.sleep(0.02)
