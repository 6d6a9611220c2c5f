"""The readings inside an envelope as bytes: columns, payloads, compression. Pure; the bus's door to zstandard.

Owns both layouts of the readings. Version 1 has rows; version 2 has columns, which take a third of the time to write
and to read, and compress better. It must not know what an envelope says of its readings.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import NamedTuple, overload

import zstandard

from atoll.federation.errors import Internal

# Level 1 is the fastest that still halves instruments' JSON; level 3 took a third more time for nothing.
_LEVEL = 1
# Below this, what zstandard adds and the time to set it up outweigh what is saved.
_LEAST_COMPRESSED_BYTES = 512
# What the largest envelope unpacks to is below 1.1 MB; whatever claims more is not ours (a compression bomb).
MAX_UNPACKED_BYTES = 4 * 1024 * 1024
_ROW = struct.Struct("<qHI")
# In the column of own times: this reading has none. As an instant it would lie in 1677.
NO_TIME = -(2**63)


class MalformedEnvelope(Internal):
    """The bytes are no envelope that this version can read."""


class Reading(NamedTuple):
    """One MQTT message as it arrived.

    `received_at_ns` is the gateway's clock, nanoseconds since 1970 UTC. `at_ns` is the reading's own time, where its
    Stream says where to find it; None: the time of arrival.
    """

    received_at_ns: int
    topic: str
    payload: bytes
    at_ns: int | None = None


# As `Reading._make`, without a call of Python for each: a third less time.
_READING = partial(tuple.__new__, Reading)


class PackedReadings(Sequence[Reading]):
    """Readings as they lie in an envelope. Rows are made when one is asked for: a sink needs none of them.

    `received_ns` (i64), `topic_of` (u16, counts into `topics`), `sizes` (u32) and `at_ns` (i64, `NO_TIME` where a
    reading has none; None: no reading has one) are columns, little-endian.
    """

    def __init__(self, body: bytes, layout: "Layout") -> None:
        """Read what `to_columns` gave.

        Raises:
            MalformedEnvelope: sizes, topics and content do not fit. struct.error: the columns are cut.
        """
        count, self.topics, has_times = layout
        self._body, self._count, self._start = body, count, (22 if has_times else 14) * count
        self.received_ns, self.topic_of = body[: 8 * count], body[8 * count : 10 * count]
        self.sizes = body[10 * count : 14 * count]
        self.at_ns = body[14 * count : 22 * count] if has_times else None
        end = self._start + sum(struct.unpack(f"<{count}I", self.sizes))
        if end != len(body):
            raise MalformedEnvelope(f"malformed envelope: its readings end at {end} of {len(body)} bytes")
        if max(struct.unpack(f"<{count}H", self.topic_of), default=-1) >= len(self.topics):
            raise MalformedEnvelope(f"malformed envelope: a reading is of a topic beyond {len(self.topics)}")

    @cached_property
    def payloads(self) -> list[bytes]:
        """The payload of each reading."""
        edges = list(accumulate(struct.unpack(f"<{self._count}I", self.sizes), initial=self._start))
        return [self._body[begin:end] for begin, end in pairwise(edges)]

    @cached_property
    def _rows(self) -> tuple[Reading, ...]:
        count, own = self._count, list[int | None]([None]) * self._count
        if self.at_ns is not None:
            own = [None if at == NO_TIME else at for at in struct.unpack(f"<{count}q", self.at_ns)]
        received, names = struct.unpack(f"<{count}q", self.received_ns), struct.unpack(f"<{count}H", self.topic_of)
        topics = map(self.topics.__getitem__, names)
        return tuple(map(_READING, zip(received, topics, self.payloads, own, strict=True)))

    @overload
    def __getitem__(self, index: int) -> Reading: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Reading]: ...
    def __getitem__(self, index: int | slice) -> Reading | Sequence[Reading]:
        return self._rows[index]

    def __iter__(self) -> Iterator[Reading]:
        return iter(self._rows)

    def __len__(self) -> int:
        return self._count

    def __eq__(self, other: object) -> bool:
        return self._rows == tuple(other) if isinstance(other, Sequence) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._rows)


class Layout(NamedTuple):
    """What must be known to read columns: how many readings, their topics, and whether they have their own times."""

    readings: int
    topics: Sequence[str]
    has_times: bool = False


def packed(readings: Sequence[Reading]) -> PackedReadings:
    """Give any readings as they would lie in an envelope."""
    if isinstance(readings, PackedReadings):
        return readings
    topics = {topic: index for index, topic in enumerate(dict.fromkeys(reading.topic for reading in readings))}
    has_times = any(reading.at_ns is not None for reading in readings)
    body = to_columns(readings, topics, has_times=has_times)
    return PackedReadings(body, Layout(len(readings), tuple(topics), has_times))


def to_columns(readings: Sequence[Reading], topics: dict[str, int], *, has_times: bool) -> bytes:
    """Give columns and payloads: all received_at_ns i64, topic indices u16, sizes u32, and at_ns i64 if any has one."""
    count = len(readings)
    if not count:
        return b""
    received, names, payloads, own = zip(*readings, strict=True)
    columns = (
        struct.pack(f"<{count}q", *received),
        struct.pack(f"<{count}H", *map(topics.__getitem__, names)),
        struct.pack(f"<{count}I", *map(len, payloads)),
        struct.pack(f"<{count}q", *(NO_TIME if at is None else at for at in own)) if has_times else b"",
    )
    return b"".join((*columns, *payloads))


def from_rows(body: bytes, layout: Layout) -> tuple[Reading, ...]:
    """Read version 1: per reading received_at_ns i64, topic index u16, payload size u32; then the payloads.

    Raises:
        MalformedEnvelope: sizes and content do not fit. IndexError: there is no such topic.
    """
    count, topics, _ = layout
    end = count * _ROW.size
    if end > len(body):
        raise MalformedEnvelope(f"malformed envelope: {count} readings do not fit in {len(body)} bytes")
    rows = list(_ROW.iter_unpack(body[:end]))
    payloads = _cut(body, end, [size for _, _, size in rows])
    return tuple(Reading(at, topics[topic], payload) for (at, topic, _), payload in zip(rows, payloads, strict=True))


def _cut(body: bytes, start: int, sizes: Sequence[int]) -> list[bytes]:
    edges = list(accumulate(sizes, initial=start))
    if edges[-1] != len(body):
        raise MalformedEnvelope(f"malformed envelope: its readings end at {edges[-1]} of {len(body)} bytes")
    return [body[begin:end] for begin, end in pairwise(edges)]


def compress(body: bytes) -> bytes | None:
    """Give the compressed form; None where it would not be smaller by a tenth."""
    if len(body) < _LEAST_COMPRESSED_BYTES:
        return None
    packed: bytes = zstandard.ZstdCompressor(level=_LEVEL).compress(body)
    return packed if len(packed) < 0.9 * len(body) else None


def decompress(packed: bytes) -> bytes:
    """Undo `compress`; what claims to be larger than any envelope is refused before room is made for it.

    Raises:
        MalformedEnvelope: it is no zstd frame, cut, or too large.
    """
    try:
        size = zstandard.frame_content_size(packed)
        if not 0 <= size <= MAX_UNPACKED_BYTES:
            raise MalformedEnvelope(f"malformed envelope: it claims to unpack to {size} bytes")
        return zstandard.ZstdDecompressor().decompress(packed, max_output_size=MAX_UNPACKED_BYTES)
    except zstandard.ZstdError as error:
        raise MalformedEnvelope(f"malformed envelope: {error}") from error
