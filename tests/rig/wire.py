"""A TCP way over loopback that goes wrong on purpose: cut, cut in one direction, late, and what the protocol allows.

Owns the listening socket, the connections over it and the faults. NATS: publications come twice or in another order,
as they do when clients repeat themselves over several servers. HTTP: requests get no answer, or errors, or they are
carried out and the answer is lost. What is sent is otherwise carried as it is. All wires live in one thread.
"""

import asyncio
import contextlib
import functools
import json
import random
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Protocol = Literal["", "nats", "http"]
Target = int | tuple[str, int]
"""A port of 127.0.0.1, or of another address."""

_HERE = "127.0.0.1"
_BYTES = 65_536
_CONNECT_SECONDS = 5.0
# A publication that overtakes nobody by then goes on: on a quiet connection the next one may be a heartbeat away.
_HELD_SECONDS = 0.2
_REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) \S+ HTTP/1\.1\r\n")
_REASONS = {
    409: ("Conflict", "Conflict"),
    429: ("Too Many Requests", "TooManyRequests"),
    500: ("Internal Server Error", "InternalError"),
    503: ("Service Unavailable", "ServiceUnavailable"),
}


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a wire; nothing, as it is made.

    Attributes:
        is_cut: connections break, and new ones are taken and broken.
        is_deaf: nothing comes from the far end. is_mute: nothing goes there. Both keep connections open.
        delay_seconds: how much later everything arrives, in each direction; up to twice that.
        twice, overtaken: the share of publications on NATS that come twice, and after the next one.
        refused: the share of HTTP requests that go wrong, each with one of `answers`; 0 is none at all, and -1 one
            that was carried out and whose answer is lost.
    """

    is_cut: bool = False
    is_deaf: bool = False
    is_mute: bool = False
    delay_seconds: float = 0.0
    twice: float = 0.0
    overtaken: float = 0.0
    refused: float = 0.0
    answers: tuple[int, ...] = ()


WHOLE = Trouble()


class Wire:
    """A way to one of several targets, the first that takes the connection. `address` and `port` are its near end."""

    def __init__(
        self, targets: Sequence[Target], *, protocol: Protocol = "", seed: int = 0, address: str = _HERE
    ) -> None:
        self._targets = [(_HERE, target) if isinstance(target, int) else target for target in targets]
        self._protocol = protocol
        self._listener = socket.create_server((address, 0))
        self.address = address
        self.port = int(self._listener.getsockname()[1])
        self._chance = random.Random(seed)
        self._trouble = WHOLE
        self._changed = asyncio.Event()
        self._carried: set[asyncio.Task[None]] = set()
        self._lost: set[asyncio.StreamWriter] = set()
        """Whose answers are lost, each until its connection ends."""

    @classmethod
    @contextlib.contextmanager
    def laid(cls, *targets: Target, protocol: Protocol = "", seed: int = 0, address: str = _HERE) -> Iterator["Wire"]:
        """Lay a wire for the context's time."""
        wire = cls(targets, protocol=protocol, seed=seed, address=address)
        server = _in_thread(functools.partial(asyncio.start_server, wire._accept, sock=wire._listener))
        try:
            yield wire
        finally:
            _in_thread(functools.partial(wire._close, server))

    @property
    def authority(self) -> str:
        """Its near end as URLs have it."""
        return f"{self.address}:{self.port}"

    def trouble(self, trouble: Trouble) -> None:
        """Be in this trouble from now on; WHOLE mends it."""
        _in_thread(functools.partial(self._enter, trouble))

    def mend(self) -> None:
        self.trouble(WHOLE)

    async def _enter(self, trouble: Trouble) -> None:
        self._trouble = trouble
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
        if trouble.is_cut:
            for task in tuple(self._carried):
                task.cancel()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for task in tuple(self._carried):
            task.cancel()
        await asyncio.gather(*self._carried, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._carry(reader, writer))
        self._carried.add(task)
        task.add_done_callback(self._carried.discard)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            far = await self._connect() if not self._trouble.is_cut else None
            if far is not None:
                writers.append(far[1])
                there = self._send(reader, far[1], writer)
                await _first_to_end(there, self._receive(far[0], writer))
        finally:
            self._lost.discard(writer)
            for each in writers:
                each.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for address, port in self._chance.sample(self._targets, len(self._targets)):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_SECONDS):
                    return await asyncio.open_connection(address, port)
        return None

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_BYTES):
                await self._passage(lambda: self._trouble.is_deaf)
                if writer in self._lost:
                    return
                writer.write(data)
                await writer.drain()

    async def _send(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, back: asyncio.StreamWriter
    ) -> None:
        frames = Frames() if self._protocol == "nats" else None
        with contextlib.suppress(OSError):
            while (data := await self._read(reader, is_waiting=frames is not None and bool(frames.held))) is not None:
                if data:
                    await self._passage(lambda: self._trouble.is_mute)
                if self._protocol == "http" and not await self._is_served(data, back):
                    return
                writer.write(data if frames is None else frames.feed(data, self._disorder))
                await writer.drain()

    async def _read(self, reader: asyncio.StreamReader, *, is_waiting: bool) -> bytes | None:
        """Give what comes; nothing once something has been held long enough; None at the end."""
        try:
            async with asyncio.timeout(_HELD_SECONDS if is_waiting else None):
                return await reader.read(_BYTES) or None
        except TimeoutError:
            return b""

    async def _passage(self, is_shut: Callable[[], bool]) -> None:
        if delay := self._trouble.delay_seconds:
            await asyncio.sleep(delay * self._chance.uniform(1, 2))
        while is_shut():
            await self._changed.wait()

    def _disorder(self) -> str:
        """Say what is to become of a publication."""
        drawn = self._chance.random()
        if drawn < self._trouble.twice:
            return "twice"
        return "held" if drawn < self._trouble.twice + self._trouble.overtaken else ""

    async def _is_served(self, data: bytes, back: asyncio.StreamWriter) -> bool:
        """Let a request through, or answer in the server's place and say that it was not served."""
        trouble, request = self._trouble, _REQUEST.match(data)
        if not request or self._chance.random() >= trouble.refused:
            return True
        is_read = request[1] in (b"GET", b"HEAD")
        code = self._chance.choice([code for code in trouble.answers if code > 0 or not is_read] or [500])
        if code == 409 and is_read:
            code = 500
        if code == -1:
            self._lost.add(back)
            return True
        if code == 0:
            while self._trouble is trouble:
                await self._changed.wait()
        else:
            back.write(answer(code))
            await back.drain()
        return False


def answer(code: int) -> bytes:
    """Give an API server's refusal as HTTP has it."""
    phrase, reason = _REASONS[code]
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reason,
        "message": reason,
        "code": code,
    }
    body = json.dumps(status).encode()
    head = f"HTTP/1.1 {code} {phrase}\r\ncontent-type: application/json\r\nconnection: close\r\n"
    if code == 429:
        head += "retry-after: 1\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


@dataclass
class Frames:
    """What a NATS client sends, cut where one thing ends and the next begins. Pure."""

    held: bytes = b""
    _rest: bytearray = field(default_factory=bytearray)

    def feed(self, data: bytes, fate: Callable[[], str]) -> bytes:
        """Take what was sent and give what goes on; `fate` says of each publication "", "twice" or "held".

        What is held goes on after the next publication, or when nothing (no bytes) was sent.
        """
        if not data:
            late, self.held = self.held, b""
            return late
        self._rest += data
        there = bytearray()
        while frame := self._next():
            there += self._ordered(frame, fate) if frame[:4].upper() in (b"PUB ", b"HPUB") else frame
        return bytes(there)

    def _ordered(self, frame: bytes, fate: Callable[[], str]) -> bytes:
        late, self.held = self.held, b""
        if late:
            return frame + late
        match fate():
            case "held":
                self.held = frame
                return b""
            case "twice":
                return frame + frame
        return frame

    def _next(self) -> bytes:
        """Take the next frame off; empty if it is not whole yet."""
        end = self._rest.find(b"\r\n")
        if end < 0:
            return b""
        length, head = end + 2, bytes(self._rest[:end])
        if head[:4].upper() in (b"PUB ", b"HPUB"):
            length += int(head.split()[-1]) + 2
        if len(self._rest) < length:
            return b""
        frame = bytes(self._rest[:length])
        del self._rest[:length]
        return frame


async def _first_to_end(*work: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="wires", daemon=True).start()
    return loop


def _in_thread(work: "Callable[[], Any]") -> Any:
    return asyncio.run_coroutine_threadsafe(work(), _loop()).result(20)
