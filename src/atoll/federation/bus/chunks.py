"""Chunks: the content of large files on its way, one message per subject of a stream per lab.

A subject takes one message and no second one, so sending a chunk twice stores it once, however late; what is stored
tells where to go on. Every chunk carries the SHA-256 of the file from its start up to the chunk's end: one pass over a
file makes all of them and its own, and whoever reads in order knows of each chunk at once whether it is right.

    <prefix>.<namespace>.<stream>.<upload>.<attempt>.<index>    digest 32 bytes | content
    <prefix>.<namespace>.<stream>.<upload>.gone                 why the rest will never come
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from atoll.federation.bus.subjects import OPEN_TOKEN, chunks_prefix, chunks_stream, files_subject
from atoll.federation.errors import InvalidInput, NotFound, Unavailable

if TYPE_CHECKING:
    from nats.aio.msg import Msg

    from atoll.federation.bus.connection import Bus

DIGEST_BYTES = 32
# A chunk is one write and one fsync of the server: smaller, and those are what a file costs; larger, and a small box
# holds tens of megabytes for its window.
_LARGEST_CHUNK_BYTES = 2 * 1024 * 1024
# NATS counts the subject and headers, too.
_OVERHEAD_BYTES = 4 * 1024
# What is on its way at most, by the quickest acknowledgement so far: 1 Gb/s at a round trip of 100 ms has 12 MB on its
# way. On a short way that much would lie in asyncio's send buffer, which moves all of it at each partial send: with
# 12 MB a chunk took 2.0 ms of CPU per MB, with 4 MB 0.7.
_LEAST_WINDOW_BYTES, _LARGEST_WINDOW_BYTES = 4 * 1024 * 1024, 12 * 1024 * 1024
_LINK_BYTES_PER_SECOND = 125_000_000
# What a stream says to hold counts the overhead of its messages, too.
_FILE_SHARE = 0.95
_GONE = "gone"
_TAKEN = "maximum messages per subject exceeded"


class Upload(NamedTuple):
    """One file's chunks: whose it is, its name, and which attempt at sending them."""

    namespace: str
    stream: str
    name: str
    attempt: int


@dataclass(frozen=True)
class Chunk:
    """One chunk as it is stored; `digest` is of the file's content up to its end. `gone` says why no more will come."""

    sequence: int
    attempt: int = 0
    index: int = 0
    digest: bytes = b""
    content: bytes | memoryview = b""
    gone: str = ""


class ChunkWriter:
    """Sends the chunks of one lab. One upload at a time."""

    def __init__(self, bus: "Bus", gateway: str, *, token: str = OPEN_TOKEN, deadline_seconds: float = 30.0) -> None:
        self._bus, self._gateway, self._token, self._deadline_seconds = bus, gateway, token, deadline_seconds
        self._pending: dict[int, tuple[float, int]] = {}  # index → when it was sent, size
        self._quickest_seconds = 0.0  # none yet
        self._problem = ""
        self._moved = asyncio.Event()

    @property
    def chunk_bytes(self) -> int:
        """Size of the chunks of a new upload."""
        return min(_LARGEST_CHUNK_BYTES, self._bus.max_payload_bytes - _OVERHEAD_BYTES)

    async def present(self, upload: Upload, *, size: int) -> set[int]:
        """Give the indexes of an upload's chunks that are stored.

        Args:
            upload: whose chunks.
            size: of the whole file.

        Raises:
            InvalidInput: the hub has no room for a file of this size. NotFound: the stream does not exist yet.
            Unavailable: NATS does not answer.
        """
        prefix = f"{files_subject(self._gateway, upload.namespace, upload.stream)}.{upload.name}.{upload.attempt}"
        found: set[int] = set()
        while True:
            body = {"subjects_filter": f"{prefix}.*", "offset": len(found)}
            info = await self._bus.api(f"STREAM.INFO.{chunks_stream(self._gateway)}", body)
            room = int(info["config"]["max_bytes"])
            if size > room * _FILE_SHARE:
                raise InvalidInput(f"has {size} bytes; the hub has room for {room} (filesBytes of the Gateway)")
            page = info["state"].get("subjects") or {}
            found |= {int(subject.rpartition(".")[2]) for subject in page}
            if not page or len(found) >= int(info.get("total", 0)):
                return found

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncGenerator[None]:
        """Hear the server's acknowledgements while chunks are sent; a reconnect in between is a problem."""
        self._pending.clear()
        self._problem, self._inbox = "", self._bus.new_inbox()
        subscription = await self._bus.subscribe(f"{self._inbox}.*", self._answered)
        try:
            with self._bus.on_reconnect(self._lost):
                yield
        finally:
            await self._bus.unsubscribe(subscription)

    async def send(self, upload: Upload, index: int, frame: bytes | memoryview) -> None:
        """Send one chunk; wait while the window is full. When it returns, the frame's memory may be used again.

        Args:
            upload: whose chunk.
            index: which, from 0.
            frame: its digest and content.

        Raises:
            Unavailable: something was not stored; ask what is present and go on from there.
        """
        while self._pending and sum(size for _, size in self._pending.values()) + len(frame) > self._window_bytes:
            await self._wait()
        self._check()
        self._pending[index] = time.monotonic(), len(frame)
        subject = f"{self._subject(upload)}.{upload.attempt}.{index}"
        await self._bus.publish(subject, frame, reply=f"{self._inbox}.{index}")

    @property
    def _window_bytes(self) -> float:
        wanted = _LINK_BYTES_PER_SECOND * self._quickest_seconds
        return min(max(wanted, _LEAST_WINDOW_BYTES), _LARGEST_WINDOW_BYTES)

    async def flush(self) -> None:
        """Return when all that was sent is durable. Raises as `send`."""
        while self._pending:
            await self._wait()
        self._check()

    async def give_up(self, upload: Upload, reason: str) -> None:
        """Say that an upload will never be whole; saying it twice is harmless.

        Raises:
            Unavailable: the outcome is unknown.
        """
        answer = orjson.loads(await self._bus.ask(f"{self._subject(upload)}.{_GONE}", reason.encode(), is_quick=True))
        problem = _refusal(answer)
        if problem:
            raise Unavailable(problem)

    def _subject(self, upload: Upload) -> str:
        stored = files_subject(self._gateway, upload.namespace, upload.stream).partition(".")[2].partition(".")[2]
        return f"{chunks_prefix(self._gateway, self._token)}.{stored}.{upload.name}"

    def _answered(self, message: "Msg") -> None:
        index = int(message.subject.rpartition(".")[2])
        problem = _refusal(orjson.loads(message.data)) if message.data else "no stream takes files of this gateway yet"
        if problem:
            self._problem = self._problem or problem
        else:
            sent_at, _ = self._pending.pop(index, (0.0, 0))
            took = time.monotonic() - sent_at
            self._quickest_seconds = min(self._quickest_seconds or took, took)
        self._moved.set()

    def _lost(self) -> None:
        self._problem = "the connection was renewed"
        self._moved.set()

    async def _wait(self) -> None:
        self._check()
        self._moved.clear()
        remaining = min(at for at, _ in self._pending.values()) + self._deadline_seconds - time.monotonic()
        try:
            async with asyncio.timeout(max(0.0, remaining)):
                await self._moved.wait()
        except TimeoutError:
            self._problem = f"no acknowledgement within {self._deadline_seconds:g} s"
        self._check()

    def _check(self) -> None:
        if self._problem:
            raise Unavailable(f"{chunks_stream(self._gateway)}: {self._problem}")


def _refusal(answer: Mapping[str, Any]) -> str:
    """Say why a chunk was not stored; empty if it is, or was before."""
    description = str((answer.get("error") or {}).get("description", ""))
    return "" if description == _TAKEN else description


class ChunkTrimmer:
    """Drops uploads of one lab that nobody needs any more."""

    def __init__(self, bus: "Bus", gateway: str) -> None:
        self._bus, self._gateway = bus, gateway

    async def uploads(self) -> set[tuple[str, str]]:
        """Name what is stored: (subject of the Stream, upload).

        Raises:
            NotFound: the stream does not exist. Unavailable: NATS does not answer.
        """
        found: set[tuple[str, str]] = set()
        count = 0
        while True:
            body = {"subjects_filter": ">", "offset": count}
            info = await self._bus.api(f"STREAM.INFO.{chunks_stream(self._gateway)}", body)
            page = info["state"].get("subjects") or {}
            for subject in page:
                tokens = subject.split(".")
                found.add((".".join(tokens[:4]), tokens[4]))
            count += len(page)
            if not page or count >= int(info.get("total", 0)):
                return found

    async def drop(self, upload: str, *, subject: str = "") -> None:
        """Delete all chunks of an upload, of one Stream's subject or whichever has it.

        Raises:
            Unavailable: the outcome is unknown; the same again does no harm.
        """
        stored = subject or f"{files_subject(self._gateway, '*', '*')}"
        with contextlib.suppress(NotFound):
            await self._bus.api(f"STREAM.PURGE.{chunks_stream(self._gateway)}", {"filter": f"{stored}.{upload}.>"})
