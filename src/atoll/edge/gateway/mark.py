"""The mark beside an outbox: how far its numbering was, so that a database that has lost its end is found out.

SQLite leaves out the end of a write-ahead log that it cannot read, without a word. The mark is written after every
commit and not synced: it costs nothing, outlives a killed process, and a power loss leaves at worst an older one.
"""

import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from atoll.edge.gateway.memory import StreamKey

_HEAD_BYTES = 8  # crc32 and size of what follows, little-endian


@dataclass(frozen=True)
class Mark:
    """`number`: the newest envelope; `received`: the newest reading of each Stream."""

    ident: str = ""
    number: int = 0
    received: Mapping[StreamKey, int] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Give the file's bytes."""
        body = orjson.dumps([self.ident, self.number, [[*key, last] for key, last in self.received.items()]])
        return zlib.crc32(body).to_bytes(4, "little") + len(body).to_bytes(4, "little") + body

    @classmethod
    def decode(cls, data: bytes) -> "Mark":
        """Read it; what is torn or strange is no mark, which says nothing."""
        size = int.from_bytes(data[4:_HEAD_BYTES], "little")
        body = data[_HEAD_BYTES : _HEAD_BYTES + size]
        if len(body) != size or zlib.crc32(body).to_bytes(4, "little") != data[:4]:
            return cls()
        try:
            ident, number, received = orjson.loads(body)
            return cls(str(ident), int(number), {StreamKey(str(a), str(b)): int(last) for a, b, last in received})
        except (ValueError, TypeError):
            return cls()


class MarkFile:
    """The file `outbox.mark`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def read(self) -> Mark:
        """Give the mark; an empty one if there is none."""
        try:
            return Mark.decode(self._path.read_bytes())
        except OSError:
            return Mark()

    def write(self, mark: Mark) -> None:
        """Replace the mark in place; a disk that refuses leaves an older one, which does no harm."""
        with suppress(OSError):
            if self._descriptor is None:
                self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.pwrite(self._descriptor, mark.encode(), 0)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
