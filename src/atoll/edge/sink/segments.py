"""Sealed segments: readings that are held back until a file of them can be written whole.

Owns what is held and how it becomes files; never writes one. Whatever is held here is in the gateway's log as well, and
is taken from there again by the next process if this one ends.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import zstandard

from atoll.edge.sink import parquet
from atoll.edge.sink.columns import ColumnKind
from atoll.edge.sink.form import Form
from atoll.edge.sink.lines import encode_lines
from atoll.edge.sink.names import LINES_SUFFIX, PARQUET_SUFFIX
from atoll.edge.sink.readings import Readings, joined
from atoll.federation.errors import Internal

# Level 3 takes twice the time of 1, and instruments' JSON became no smaller by it.
_ZSTD_LEVEL = 1
_READ_BYTES = 1 << 20
# The largest reading is below 1 MB, 1.3 MB as base64. What has no end of line for longer is no sink's: it may unpack to
# more than any memory holds, and may have come from another cluster.
_LONGEST_LINE = 4 * 1024 * 1024
# A sink holds back half a gigabyte at most (shelf.py), and its files unpack to that: what has more is no sink's.
_LONGEST_UNPACKED = 1 << 30
# Rows that become a table at once: fewer, and pyarrow's calls outweigh the rows; more, and as objects they take room.
_ROWS_AT_ONCE = 8192
_NUMBER = b'"sequence":'


class SegmentKey(NamedTuple):
    """What the readings of one segment have in common. `window` is the folder of their partition."""

    gateway: str
    stream: str
    outbox: str
    window: str
    is_late: bool


class Sealed(NamedTuple):
    """One file to write: its bytes, and which readings it holds."""

    data: Any
    readings: int
    first: int
    last: int
    first_ns: int
    last_ns: int


class Held(Protocol):
    """Readings that are held back. `size` is what they take, about; `suffix` ends the name of their files."""

    suffix: str
    size: int

    def add(self, readings: Readings) -> None:
        """Hold more of them."""

    def seal(self) -> list[Sealed]:
        """Give the files; the same ones each time until something is added."""


class _Extent:
    """First and last of numbers and times."""

    def __init__(self) -> None:
        self.readings = 0
        self.first = self.first_ns = 2**64
        self.last = self.last_ns = -(2**64)

    def add(self, readings: Readings) -> None:
        numbers, at_ns = readings.numbers, readings.at_ns
        self.readings += len(readings)
        self.first, self.last = min(self.first, int(numbers[0])), max(self.last, int(numbers[-1]))
        self.first_ns, self.last_ns = min(self.first_ns, int(at_ns.min())), max(self.last_ns, int(at_ns.max()))

    def sealed(self, data: Any) -> Sealed:
        return Sealed(data, self.readings, self.first, self.last, self.first_ns, self.last_ns)


class HeldLines:
    """JSON lines, compressed as they come: one zstd frame a file."""

    suffix = LINES_SUFFIX

    def __init__(self) -> None:
        self.size = 0
        self._files: list[Sealed] = []
        self._begin()

    def _begin(self) -> None:
        self._extent = _Extent()
        self._compressor = zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True).compressobj()
        self._pieces: list[bytes] = []

    def add(self, readings: Readings) -> None:
        """Compress more lines."""
        lines = encode_lines(readings)
        self._pieces.append(self._compressor.compress(lines))
        self._extent.add(readings)
        self.size += len(lines)

    def seal(self) -> list[Sealed]:
        """End the frame; what is added later begins another file."""
        if self._extent.readings:
            self._pieces.append(self._compressor.flush())
            self._files.append(self._extent.sealed(b"".join(self._pieces)))
            self._begin()
        return self._files


class HeldTable:
    """Rows of Parquet. A column that must become another kind ends the file: the next one has the new kind."""

    suffix = PARQUET_SUFFIX

    def __init__(self, form: Form, facts: dict[str, str], known: dict[str, ColumnKind]) -> None:
        self.size = 0
        self._form, self._facts, self._known = form, facts, known
        self._waiting: list[Readings] = []
        self._rows = 0
        self._files: list[tuple[_Extent, list[parquet.Table]]] = []
        self._sealed: list[Sealed] = []

    def add(self, readings: Readings) -> None:
        """Hold more rows."""
        self._waiting.append(readings)
        self._rows += len(readings)
        self.size += int(readings.sizes.sum())
        self._sealed = []
        if self._rows >= _ROWS_AT_ONCE:
            self._lay_out()

    def seal(self) -> list[Sealed]:
        """Write the tables."""
        if not self._sealed:
            self._lay_out()
            self._sealed = [extent.sealed(parquet.write(tables, self._facts)) for extent, tables in self._files]
        return self._sealed

    def _lay_out(self) -> None:
        if not self._waiting:
            return
        readings = joined(self._waiting)
        table = parquet.build(readings, self._form, self._known)
        if not self._files or _differs(self._files[-1][1], table):
            self._files.append((_Extent(), []))
        extent, tables = self._files[-1]
        tables.append(table)
        extent.add(readings)
        self._waiting, self._rows = [], 0


def _differs(tables: Sequence[parquet.Table], table: parquet.Table) -> bool:
    return any(old.kinds.get(name, kind) != kind for name, kind in table.kinds.items() for old in tables)


def numbers_in(path: Path) -> npt.NDArray[Any]:
    """Give the numbers of the readings in a sealed segment.

    Raises:
        Internal: it is none. OSError: it cannot be read.
    """
    return parquet.numbers_in(path) if path.name.endswith(PARQUET_SUFFIX) else _numbers_in_lines(path)


def _numbers_in_lines(path: Path) -> npt.NDArray[Any]:
    numbers = [np.empty(0, np.uint64)]
    rest, unpacked = b"", 0
    try:
        with path.open("rb") as file:
            for data in zstandard.ZstdDecompressor().read_to_iter(file, read_size=_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                if len(rest) > _LONGEST_LINE:
                    raise ValueError("a line without an end")
                unpacked += len(data)
                if unpacked > _LONGEST_UNPACKED:
                    raise ValueError("more than a sink holds")
                found = [int(line[line.index(_NUMBER) + len(_NUMBER) :].partition(b",")[0]) for line in lines]
                numbers.append(np.asarray(found, np.uint64))
    except (zstandard.ZstdError, ValueError, OverflowError) as error:
        raise Internal(f"{path.name}: not compressed JSON lines that a sink wrote") from error
    if rest:
        raise Internal(f"{path.name}: its last line is cut")
    return np.concatenate(numbers)
