"""Envelopes of every version are read, compressed or not, and say which readings are missing."""

import struct
import zlib
from uuid import UUID

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus import envelope as codec
from atoll.federation.bus.envelope import Absence, Envelope, MalformedEnvelope, Reading, decode, encode
from atoll.federation.bus.envelope_rows import MAX_UNPACKED_BYTES

READINGS = tuple(Reading(n, f"lab/{n % 3}", b'{"value": %d}' % n * 20) for n in range(50))
WHOLE = Envelope("0" * 32, "lab", "ns", "s", "d", 9, 101, READINGS)


def of_version_1(envelope: Envelope) -> bytes:
    """Write an envelope as the first version did: rows, then payloads."""
    topics = list(dict.fromkeys(reading.topic for reading in envelope.readings))
    texts = [envelope.gateway, envelope.namespace, envelope.stream, envelope.dataset]
    header = struct.pack(
        "<16sQQI", UUID(envelope.outbox).bytes, envelope.number, envelope.first, len(envelope.readings)
    )
    header += b"".join(struct.pack("<H", len(text)) + text.encode() for text in texts)
    header += struct.pack("<H", len(topics))
    header += b"".join(struct.pack("<H", len(topic)) + topic.encode() for topic in topics)
    rows = (struct.pack("<qHI", r.received_at_ns, topics.index(r.topic), len(r.payload)) for r in envelope.readings)
    body = header + b"".join(rows) + b"".join(reading.payload for reading in envelope.readings)
    start = struct.pack("<4sBBII", b"ATEV", 1, int(envelope.end_of_run), 0, len(header))
    crc = zlib.crc32(body, zlib.crc32(start[10:], zlib.crc32(start[:6])))
    return struct.pack("<4sBBII", b"ATEV", 1, int(envelope.end_of_run), crc, len(header)) + body


def sealed(version: int, flags: int, header: bytes, body: bytes) -> bytes:
    """Put a right checksum over whatever this is."""
    start = codec._PREFIX.pack(codec.MAGIC, version, flags, 0, len(header))
    return (
        codec._PREFIX.pack(codec.MAGIC, version, flags, codec._crc(start, header + body), len(header)) + header + body
    )


def test_an_envelope_of_the_first_version_is_read() -> None:
    assert decode(of_version_1(WHOLE)) == WHOLE


def test_flags_that_the_first_version_did_not_know_are_refused_there() -> None:
    data = bytearray(of_version_1(WHOLE))
    with pytest.raises(MalformedEnvelope, match="flags"):
        decode(sealed(1, 2, b"", bytes(data[14:])))


def test_compression_makes_it_smaller_and_changes_nothing() -> None:
    plain, packed = encode(WHOLE), encode(WHOLE, is_compressed=True)
    assert len(packed) < len(plain) / 3
    assert decode(packed) == decode(plain) == WHOLE


def test_what_compression_would_not_make_smaller_stays_as_it_is() -> None:
    small = Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, (Reading(1, "a", b"x"),))
    assert encode(small, is_compressed=True) == encode(small)


@pytest.mark.parametrize("size", [MAX_UNPACKED_BYTES + 1, 1 << 40])
def test_a_compression_bomb_is_refused_before_room_is_made_for_it(size: int) -> None:
    real = zstandard.ZstdCompressor().compress(b"\0" * (MAX_UNPACKED_BYTES + 1))
    # The frame header with an eight-byte content size (RFC 8878, 3.1.1.1): what a liar would write.
    liar = b"\x28\xb5\x2f\xfd" + b"\xe0" + size.to_bytes(8, "little") + real[-20:]
    header = codec._header(WHOLE, {"a": 0})
    for body in (liar, real):
        with pytest.raises(MalformedEnvelope, match="unpack"):
            decode(sealed(2, 2, header, body))


@given(st.binary(max_size=300))
def test_rubbish_in_the_place_of_compressed_readings_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedEnvelope):
        decode(sealed(2, 2, codec._header(WHOLE, {"a": 0}), body))


@given(first=st.integers(1, 10_000), span=st.integers(0, 400), every=st.sampled_from([0, 2, 3, 10, 1000]))
def test_a_thinned_envelope_says_exactly_which_readings_are_there_and_which_are_not(
    first: int, span: int, every: int
) -> None:
    there = [number for number in range(first, first + span) if every and number % every == 0]
    readings = tuple(Reading(number, "t", b"%d" % number) for number in there)
    found = decode(
        encode(Envelope("0" * 32, "g", "n", "s", "d", 1, first, readings, absence=Absence("shed", span, every)))
    )
    shed = [number for begin, end in found.shed for number in range(begin, end + 1)]
    assert list(found.numbers) == there
    assert sorted([*there, *shed]) == list(range(first, first + span))
    assert (found.last, found.missing, found.damaged) == (first + span - 1, len(shed), ())


def test_an_envelope_that_counts_other_readings_than_it_holds_is_refused() -> None:
    wrong = Envelope("0" * 32, "g", "n", "s", "d", 1, 1, READINGS, absence=Absence("shed", 60, 2))
    with pytest.raises(MalformedEnvelope, match="says 50 readings and means 30"):
        decode(encode(wrong))


def test_own_times_are_kept_where_there_are_some() -> None:
    readings = (Reading(1, "t", b"a", at_ns=5), Reading(2, "t", b"b"))
    found = decode(encode(Envelope("0" * 32, "g", "n", "s", "d", 1, 1, readings, holds_files=True)))
    assert found.readings == readings
    assert found.holds_files
