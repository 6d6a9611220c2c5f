"""Where each reading lies in files that grow: `.atoll/index.bin`, one record of 40 bytes a reading.

    sequence u64 | received_at_ns i64 | offset u64 | size u64 | file u32 | outbox u32      (little-endian)

`file` and `outbox` count into the lists of the ledger's `index`. The records of one file tile it without a gap; a file
that was taken as it was is one reading. Owns the record; it must not know how it is committed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from atoll.edge.sink.volume import RESERVED

INDEX = f"{RESERVED}/index.bin"
RECORD = np.dtype(
    [
        ("sequence", "<u8"),
        ("received_at_ns", "<i8"),
        ("offset", "<u8"),
        ("size", "<u8"),
        ("file", "<u4"),
        ("outbox", "<u4"),
    ]
)
Records = npt.NDArray[Any]
Numbers = npt.NDArray[Any]


class Placed(NamedTuple):
    """Readings that were added to one file at one go, in order."""

    numbers: Numbers
    received_ns: Numbers
    sizes: Numbers


def records(placed: Placed, *, offset: int, file: int, outbox: int) -> bytes:
    """Give the records of readings that begin at an offset of a file."""
    table = np.empty(len(placed.sizes), RECORD)
    sizes = placed.sizes.astype("<u8")
    table["sequence"] = placed.numbers
    table["received_at_ns"] = placed.received_ns
    table["size"] = sizes
    table["offset"] = np.cumsum(sizes) - sizes + offset
    table["file"], table["outbox"] = file, outbox
    return table.tobytes()


def read_index(path: Path, size: int) -> Records:
    """Read the committed part of an index."""
    return np.fromfile(path, RECORD, count=size // RECORD.itemsize)


def spans(numbers: Numbers) -> Iterable[tuple[int, int]]:
    """Give the intervals of numbers, sorted; equal numbers count once each, so they show as intervals that overlap."""
    ordered = np.sort(numbers.astype(np.int64))
    if not ordered.size:
        return []
    breaks = np.flatnonzero(np.diff(ordered) != 1)
    firsts = ordered[np.concatenate(([0], breaks + 1))]
    lasts = ordered[np.concatenate((breaks, [ordered.size - 1]))]
    return list(zip(firsts.tolist(), lasts.tolist(), strict=True))
