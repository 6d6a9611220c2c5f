"""The envelope: readings of one Stream for one dataset, packed into one message of a gateway's log. Pure.

Owns the bytes. It must not know where they are stored or sent. Integers are little-endian:

    magic "ATEV" | version u8 | flags u8 | crc32 u32 | header_size u32 | header | readings | payloads
    header    outbox 16 bytes | number u64 | first u64 | count u32 | 4 texts: gateway, namespace, stream, dataset
              | topic count u16 | texts: topics               (a text is its size u16, then UTF-8)
    readings  count times: received_at_ns i64 | topic index u16 | payload size u32
    payloads  one after the other

The CRC covers everything but itself, so a damaged envelope is refused whole. Flag bit 0 is the end-of-run marker; the
others are reserved (compression) and refused while they mean nothing. MQTT packet ids do not travel: they mean
something only between the gateway and its broker, so they stay in the outbox.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import NamedTuple
from uuid import UUID

from atoll.federation.errors import Internal

MAGIC, VERSION = b"ATEV", 1
# One message of NATS is at most 1 MB by default; NATS.md 3.1 keeps envelopes at half of that.
MAX_READINGS, MAX_PAYLOAD_BYTES = 256, 512 * 1024
# A single reading may fill an envelope of its own up to here: 1 MB less room for the header and NATS's own headers.
MAX_READING_BYTES = 960 * 1024

_END_OF_RUN = 1
_PREFIX = struct.Struct("<4sBBII")
_NUMBERS = struct.Struct("<16sQQI")
_READING = struct.Struct("<qHI")
_SIZE = struct.Struct("<H")
_CRC_START, _CRC_END = 6, 10


class MalformedEnvelope(Internal):
    """The bytes are no envelope that this version can read."""


class Reading(NamedTuple):
    """One MQTT message as it arrived; `received_at_ns` is the gateway's clock, nanoseconds since 1970 UTC."""

    received_at_ns: int
    topic: str
    payload: bytes


@dataclass(frozen=True)
class Envelope:
    """Consecutive readings of one Stream.

    `number` counts the envelopes of an outbox without a gap, `first` is the number of its first reading in the Stream
    (of the next one, if it holds none). `end_of_run` says that the dataset's run is over after these readings.
    """

    outbox: str
    gateway: str
    namespace: str
    stream: str
    dataset: str
    number: int
    first: int
    readings: tuple[Reading, ...]
    end_of_run: bool = False

    @property
    def last(self) -> int:
        """Number of the last reading; `first - 1` if there is none."""
        return self.first + len(self.readings) - 1


def encode(envelope: Envelope) -> bytes:
    """Give the envelope's bytes."""
    topics = {topic: index for index, topic in enumerate(dict.fromkeys(r.topic for r in envelope.readings))}
    names = (envelope.gateway, envelope.namespace, envelope.stream, envelope.dataset)
    header = b"".join((
        _NUMBERS.pack(UUID(envelope.outbox).bytes, envelope.number, envelope.first, len(envelope.readings)),
        *map(_text, names),
        _SIZE.pack(len(topics)),
        *map(_text, topics),
    ))  # fmt: skip
    rows = [_READING.pack(r.received_at_ns, topics[r.topic], len(r.payload)) for r in envelope.readings]
    body = b"".join((header, *rows, *(reading.payload for reading in envelope.readings)))
    flags = _END_OF_RUN if envelope.end_of_run else 0
    start = _PREFIX.pack(MAGIC, VERSION, flags, 0, len(header))
    crc = _crc(start, body)
    return _PREFIX.pack(MAGIC, VERSION, flags, crc, len(header)) + body


def decode(data: bytes) -> Envelope:
    """Read an envelope.

    Raises:
        MalformedEnvelope: the bytes are damaged, cut, or of another version.
    """
    if len(data) < _PREFIX.size:
        raise MalformedEnvelope(f"malformed envelope: {len(data)} bytes, the shortest has {_PREFIX.size}")
    magic, version, flags, crc, header_size = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise MalformedEnvelope("malformed envelope: it does not start with ATEV")
    if version != VERSION or flags & ~_END_OF_RUN:
        raise MalformedEnvelope(f"envelope of version {version}, flags {flags:#x}; this program reads {VERSION}")
    if crc != _crc(data[: _PREFIX.size], data[_PREFIX.size :]):
        raise MalformedEnvelope("malformed envelope: its checksum does not match")
    try:
        return _parse(data, header_size, bool(flags & _END_OF_RUN))
    except (struct.error, UnicodeDecodeError, IndexError) as error:
        raise MalformedEnvelope(f"malformed envelope: {error}") from error


def is_intact(data: bytes) -> bool:
    """Tell whether the checksum holds, without unpacking."""
    return len(data) >= _PREFIX.size and _PREFIX.unpack_from(data)[3] == _crc(
        data[: _PREFIX.size], data[_PREFIX.size :]
    )


def _parse(data: bytes, header_size: int, end_of_run: bool) -> Envelope:
    outbox, number, first, count = _NUMBERS.unpack_from(data, _PREFIX.size)
    names, position = _texts(data, _PREFIX.size + _NUMBERS.size, 4)
    (topic_count,) = _SIZE.unpack_from(data, position)
    topics, position = _texts(data, position + _SIZE.size, topic_count)
    if position != _PREFIX.size + header_size:
        raise MalformedEnvelope(f"malformed envelope: the header ends at {position}")
    rows_end = position + count * _READING.size
    if rows_end > len(data):
        raise MalformedEnvelope(f"malformed envelope: {count} readings do not fit in {len(data)} bytes")
    rows = list(_READING.iter_unpack(data[position:rows_end]))
    edges = list(accumulate((size for _, _, size in rows), initial=rows_end))
    if edges[-1] != len(data):
        raise MalformedEnvelope(f"malformed envelope: it ends at {edges[-1]} and has {len(data)} bytes")
    readings = tuple(
        Reading(at, topics[topic], data[start:end])
        for (at, topic, _), (start, end) in zip(rows, pairwise(edges), strict=True)
    )
    gateway, namespace, stream, dataset = names
    return Envelope(
        UUID(bytes=outbox).hex, gateway, namespace, stream, dataset, number, first, readings, end_of_run=end_of_run
    )


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
