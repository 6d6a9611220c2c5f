"""Files under way: ranges that arrived in any order, and the note of which are whole.

    <hash of the path>              the bytes, each range at its place
    <hash of the path>.ranges       a line `<offset> <length> <CRC-32>` for each range that is whole

A range counts only if the bytes have the sum that the note says: so nothing need be synced before the end, and what a
power loss took is fetched again. The file's SHA-256 is checked by the caller once all of it is here.
"""

import os
import zlib
from collections.abc import Iterator
from pathlib import Path

from atoll.edge.sink.volume import write_at

# What a cut link or a killed mover costs, at most, of each range under way. Smaller, and the note of 100 GB is long.
RANGE_BYTES = 4 * 1024 * 1024
_READ_BYTES = 1 << 20


class Part:
    """One file under way. Use as a context manager."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._note, self._size = path, path.with_name(f"{path.name}.ranges"), size
        self._descriptor = -1

    def __enter__(self) -> "Part":
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def missing(self) -> list[tuple[int, int]]:
        """Give the ranges that are not here, as (offset, length)."""
        whole = {offset for offset, length, crc in self._noted() if self._crc(offset, length) == crc}
        return [span for span in _ranges(self._size) if span[0] not in whole]

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes at their place."""
        write_at(self._descriptor, data, offset)

    def note(self, offset: int, length: int, crc: int) -> None:
        """Say that a range is whole."""
        with self._note.open("ab") as note:
            note.write(f"{offset} {length} {crc}\n".encode())

    def finish(self, place: Path) -> None:
        """Put the file, which the caller has checked, where it belongs."""
        os.fsync(self._descriptor)
        place.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(place)
        self._note.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget all of it."""
        self._note.unlink(missing_ok=True)
        os.ftruncate(self._descriptor, 0)

    def _noted(self) -> Iterator[tuple[int, int, int]]:
        wanted = set(_ranges(self._size))
        lines = self._note.read_bytes().split(b"\n")[:-1] if self._note.exists() else []
        for line in lines:
            fields = line.split()
            if len(fields) == 3 and all(field.isdigit() for field in fields):
                offset, length, crc = map(int, fields)
                if (offset, length) in wanted:
                    yield offset, length, crc

    def _crc(self, offset: int, length: int) -> int:
        crc, end = 0, offset + length
        while offset < end and (data := os.pread(self._descriptor, min(_READ_BYTES, end - offset), offset)):
            crc = zlib.crc32(data, crc)
            offset += len(data)
        return crc if offset == end else -1


def _ranges(size: int) -> list[tuple[int, int]]:
    return [(offset, min(RANGE_BYTES, size - offset)) for offset in range(0, size, RANGE_BYTES)]
