"""The envelope: readings of one Stream for one dataset, packed into one message of a gateway's log. Pure.

Owns the bytes. It must not know where they are stored or sent. Integers are little-endian:

    magic "ATEV" | version u8 | flags u8 | crc32 u32 | header_size u32 | header | readings (envelope_rows)
    header    outbox 16 bytes | number u64 | first u64 | count u32 | 4 texts: gateway, namespace, stream, dataset
              | topic count u16 | texts: topics               (a text is its size u16, then UTF-8)
              | with the absence flag: span u64 | every u32 | cause u8

The CRC covers everything but itself, so a damaged envelope is refused whole. Flags: 1 end of run, 2 the readings are
compressed (zstd), 4 absence, 8 readings have their own times, 128 readings are files; others are refused. Version 1
knew only the first and laid the readings out in rows; it is still read. MQTT packet ids do not travel: they mean
something only between the gateway and its broker, so they stay in the outbox.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple
from uuid import UUID

from atoll.federation.bus.envelope_rows import (
    Layout,
    MalformedEnvelope,
    PackedReadings,
    Reading,
    compress,
    decompress,
    from_rows,
    to_columns,
)

__all__ = ["Absence", "Cause", "Envelope", "MalformedEnvelope", "Reading", "decode", "encode", "is_intact"]

MAGIC, VERSION = b"ATEV", 2
# One message of NATS is at most 1 MB by default; envelopes stay at half of that.
MAX_READINGS, MAX_PAYLOAD_BYTES = 256, 512 * 1024
# A single reading may fill an envelope of its own up to here: 1 MB less room for the header and NATS's own headers.
MAX_READING_BYTES = 960 * 1024

# What counts readings has 64 bits with a sign, in files and in the programs that read them.
_LARGEST_NUMBER = 2**63 - 1

# Why readings are not there: shed by their Stream's rule (or because it was deleted), or lost with the gateway's disk.
Cause = Literal["shed", "damaged"]

_END_OF_RUN, _COMPRESSED, _ABSENCE, _TIMES, _FILES = 1, 2, 4, 8, 128
_KNOWN_FLAGS = {1: _END_OF_RUN, 2: _END_OF_RUN | _COMPRESSED | _ABSENCE | _TIMES | _FILES}
_CAUSES: tuple[Cause, ...] = ("shed", "damaged")
_PREFIX = struct.Struct("<4sBBII")
_NUMBERS = struct.Struct("<16sQQI")
_ABSENT = struct.Struct("<QIB")
_SIZE = struct.Struct("<H")
_CRC_START, _CRC_END = 6, 10


class Absence(NamedTuple):
    """What is missing among `span` consecutive readings: all but those whose number is a multiple of `every`.

    `every` 0 means that none is left.
    """

    cause: Cause
    span: int
    every: int = 0


@dataclass(frozen=True)
class Envelope:
    """Consecutive readings of one Stream, or what is left of them.

    `number` grows with every envelope of a Stream in an outbox, `first` is the number of its first reading in the
    Stream (of the next one, if it stands for none). `end_of_run` says that the dataset's run is over after these
    readings. With `holds_files` each reading is the manifest of a file. `absence` is None where no reading is missing.
    """

    outbox: str
    gateway: str
    namespace: str
    stream: str
    dataset: str
    number: int
    first: int
    readings: Sequence[Reading]
    end_of_run: bool = False
    holds_files: bool = False
    absence: Absence | None = None

    @property
    def last(self) -> int:
        """Number of the last reading that it stands for, missing ones included; `first - 1` if there is none."""
        return self.first + (len(self.readings) if self.absence is None else self.absence.span) - 1

    @property
    def numbers(self) -> range:
        """The number of each reading that is there."""
        every = 1 if self.absence is None else self.absence.every
        return range(-(-self.first // every) * every, self.last + 1, every) if every else range(0)

    @property
    def missing(self) -> int:
        """How many readings it stands for that are not there."""
        return self.last - self.first + 1 - len(self.readings)

    @property
    def shed(self) -> tuple[tuple[int, int], ...]:
        """Numbers of readings that were shed, as intervals with both ends."""
        return self._absent("shed")

    @property
    def damaged(self) -> tuple[tuple[int, int], ...]:
        """Numbers of readings that were lost with the gateway's disk, as intervals with both ends."""
        return self._absent("damaged")

    def _absent(self, cause: Cause) -> tuple[tuple[int, int], ...]:
        if self.absence is None or self.absence.cause != cause:
            return ()
        edges = [self.first - 1, *self.numbers, self.last + 1]
        return tuple((left + 1, right - 1) for left, right in pairwise(edges) if left + 1 < right)


def encode(envelope: Envelope, *, is_compressed: bool = False) -> bytes:
    """Give the envelope's bytes. `is_compressed`: where that makes them smaller."""
    topics = {topic: index for index, topic in enumerate(dict.fromkeys(r.topic for r in envelope.readings))}
    has_times = any(reading.at_ns is not None for reading in envelope.readings)
    plain = to_columns(envelope.readings, topics, has_times=has_times)
    packed = compress(plain) if is_compressed else None
    header = _header(envelope, topics)
    flags = (
        (_END_OF_RUN if envelope.end_of_run else 0)
        | (_COMPRESSED if packed is not None else 0)
        | (_ABSENCE if envelope.absence is not None else 0)
        | (_TIMES if has_times else 0)
        | (_FILES if envelope.holds_files else 0)
    )
    body = header + (plain if packed is None else packed)
    start = _PREFIX.pack(MAGIC, VERSION, flags, 0, len(header))
    return _PREFIX.pack(MAGIC, VERSION, flags, _crc(start, body), len(header)) + body


def _header(envelope: Envelope, topics: Sequence[str] | dict[str, int]) -> bytes:
    names = (envelope.gateway, envelope.namespace, envelope.stream, envelope.dataset)
    absence = envelope.absence
    return b"".join((
        _NUMBERS.pack(UUID(envelope.outbox).bytes, envelope.number, envelope.first, len(envelope.readings)),
        *map(_text, names),
        _SIZE.pack(len(topics)),
        *map(_text, topics),
        _ABSENT.pack(absence.span, absence.every, _CAUSES.index(absence.cause)) if absence is not None else b"",
    ))  # fmt: skip


def decode(data: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        MalformedEnvelope: the bytes are damaged, cut, of another version, or unpack to more than any envelope.
    """
    if len(data) < _PREFIX.size:
        raise MalformedEnvelope(f"malformed envelope: {len(data)} bytes, the shortest has {_PREFIX.size}")
    magic, version, flags, crc, header_size = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise MalformedEnvelope("malformed envelope: it does not start with ATEV")
    if flags & ~_KNOWN_FLAGS.get(version, 0):
        raise MalformedEnvelope(f"envelope of version {version}, flags {flags:#x}; this program reads {VERSION}")
    if version not in _KNOWN_FLAGS:
        raise MalformedEnvelope(f"envelope of version {version}; this program reads {VERSION}")
    if crc != _crc(data[: _PREFIX.size], data[_PREFIX.size :]):
        raise MalformedEnvelope("malformed envelope: its checksum does not match")
    try:
        return _parse(data, _PREFIX.size + header_size, flags, is_old=version == 1)
    except (struct.error, UnicodeDecodeError, IndexError, OverflowError) as error:
        raise MalformedEnvelope(f"malformed envelope: {error}") from error


def is_intact(data: bytes) -> bool:
    """Tell whether the checksum holds, without unpacking."""
    return len(data) >= _PREFIX.size and _PREFIX.unpack_from(data)[3] == _crc(
        data[: _PREFIX.size], data[_PREFIX.size :]
    )


def _parse(data: bytes, header_end: int, flags: int, *, is_old: bool) -> Envelope:
    outbox, number, first, count = _NUMBERS.unpack_from(data, _PREFIX.size)
    names, position = _texts(data, _PREFIX.size + _NUMBERS.size, 4)
    (topic_count,) = _SIZE.unpack_from(data, position)
    topics, position = _texts(data, position + _SIZE.size, topic_count)
    absence = None
    if flags & _ABSENCE:
        span, every, cause = _ABSENT.unpack_from(data, position)
        absence, position = Absence(_CAUSES[cause], span, every), position + _ABSENT.size
    if position != header_end:
        raise MalformedEnvelope(f"malformed envelope: the header ends at {position}")
    body, layout = data[position:], Layout(count, topics, bool(flags & _TIMES))
    if flags & _COMPRESSED:
        body = decompress(body)
    readings = from_rows(body, layout) if is_old else PackedReadings(body, layout)
    gateway, namespace, stream, dataset = names
    envelope = Envelope(
        UUID(bytes=outbox).hex,
        gateway,
        namespace,
        stream,
        dataset,
        number,
        first,
        readings,
        end_of_run=bool(flags & _END_OF_RUN),
        holds_files=bool(flags & _FILES),
        absence=absence,
    )
    if envelope.last > _LARGEST_NUMBER:
        raise MalformedEnvelope(f"malformed envelope: reading {envelope.last} is beyond any number")
    if len(envelope.numbers) != count:
        raise MalformedEnvelope(f"malformed envelope: it says {count} readings and means {len(envelope.numbers)}")
    return envelope


def _text(value: str) -> bytes:
    data = value.encode()
    return _SIZE.pack(len(data)) + data


def _texts(data: bytes, position: int, count: int) -> tuple[Sequence[str], int]:
    texts = []
    for _ in range(count):
        (size,) = _SIZE.unpack_from(data, position)
        position += _SIZE.size
        if position + size > len(data):
            raise MalformedEnvelope("malformed envelope: a name is cut")
        texts.append(data[position : position + size].decode())
        position += size
    return texts, position


def _crc(prefix: bytes, body: bytes) -> int:
    start = zlib.crc32(prefix[_CRC_END:], zlib.crc32(prefix[:_CRC_START]))
    return zlib.crc32(body, start)
