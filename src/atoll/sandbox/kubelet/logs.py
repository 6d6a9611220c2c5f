"""Container logs: what a container wrote, as files in the format of CRI (KEP-kubelet-cri-logging), read and followed.

Owns the files; must not know pods or HTTP. A line is `<time> stdout F <text>`, F for a full line, P for a part of one.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

_MAX_LINE_BYTES = 16 * 1024  # as containerd splits lines


@dataclass(frozen=True)
class LogQuery:
    """What to read: from where, how much, and whether to wait for more."""

    follow: bool = False
    tail_lines: int | None = None
    limit_bytes: int | None = None
    timestamps: bool = False
    since: datetime | None = None


class ContainerLog:
    """The log of one run of one container; one writer, any number of readers."""

    def __init__(self, path: Path, clock: Callable[[], datetime]) -> None:
        """Write to `path`, whose folder exists."""
        self.path = path
        self._clock = clock
        self._file = path.open("wb", buffering=0)
        self._rest = b""
        self._changed = asyncio.Event()
        self._is_closed = False

    def feed(self, chunk: bytes) -> None:
        """Take in what the container wrote."""
        lines = (self._rest + chunk).split(b"\n")
        self._rest = lines.pop()
        stamp = self._stamp()
        written = b"".join(b"%s F %s\n" % (stamp, line) for line in lines)
        while len(self._rest) > _MAX_LINE_BYTES:
            written += b"%s P %s\n" % (stamp, self._rest[:_MAX_LINE_BYTES])
            self._rest = self._rest[_MAX_LINE_BYTES:]
        if written:
            self._file.write(written)
            self._wake()

    def close(self) -> None:
        """End the log: followers come to its end."""
        if self._is_closed:
            return
        with contextlib.suppress(OSError):  # the disk is full, which the writer has said
            if self._rest:
                self._file.write(b"%s P %s\n" % (self._stamp(), self._rest))
        self._file.close()
        self._is_closed = True
        self._wake()

    async def read(self, query: LogQuery) -> AsyncIterator[bytes]:
        """Yield the log's text, and what is written from now on if `query.follow`."""
        left = query.limit_bytes
        async for line in self._lines(query):
            text = line if left is None else line[:left]
            if text:
                yield text
            if left is not None:
                left -= len(text)
                if left <= 0:
                    return

    async def _lines(self, query: LogQuery) -> AsyncIterator[bytes]:
        with self.path.open("rb") as file:
            existing: Iterator[bytes] = _texts(file, query)
            for text in existing if query.tail_lines is None else deque(existing, query.tail_lines):
                yield text
            while query.follow:
                changed, was_closed = self._changed, self._is_closed
                for text in _texts(file, query):
                    yield text
                if was_closed:
                    return
                await changed.wait()

    def _stamp(self) -> bytes:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%S.%f000Z stdout").encode()

    def _wake(self) -> None:
        waiting, self._changed = self._changed, asyncio.Event()
        waiting.set()


def read_file(path: Path, query: LogQuery) -> Iterator[bytes]:
    """Yield the lines of a log that nobody writes any more; `query.follow` and `limit_bytes` have no meaning here."""
    with path.open("rb") as file:
        lines = _texts(file, query)
        yield from lines if query.tail_lines is None else deque(lines, query.tail_lines)


def _texts(file: Iterator[bytes], query: LogQuery) -> Iterator[bytes]:
    """Yield each entry's text with its line end, joining the parts of long lines."""
    for entry in file:
        stamp, _, kind, text = entry.split(b" ", 3)
        if query.since is not None and _instant(stamp) < query.since:
            continue
        prefix = stamp + b" " if query.timestamps else b""
        yield prefix + (text if kind == b"F" else text[:-1])


def _instant(stamp: bytes) -> datetime:
    return datetime.fromisoformat(stamp[:26].decode() + "+00:00")
