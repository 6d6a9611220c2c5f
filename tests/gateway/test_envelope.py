"""An envelope comes back as it was, or is refused with one clear error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.bus.envelope import Envelope, MalformedEnvelope, Reading, decode, encode

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
instants = st.integers(-(2**63) + 1, 2**63 - 1)
readings = st.builds(Reading, instants, names, st.binary(max_size=300), st.none() | instants)
envelopes = st.builds(
    Envelope,
    outbox=st.uuids().map(lambda value: value.hex),
    gateway=names,
    namespace=names,
    stream=names,
    dataset=names,
    number=st.integers(1, 2**64 - 1),
    first=st.integers(1, 2**63 - 100),
    readings=st.lists(readings, max_size=20).map(tuple),
    end_of_run=st.booleans(),
)
SAMPLE = encode(Envelope("00" * 16, "lab", "ns", "s", "d", 7, 3, (Reading(1, "a/b", b"x"), Reading(2, "a/c", b"yy"))))


@given(envelopes)
def test_what_was_packed_is_unpacked_unchanged(envelope: Envelope) -> None:
    assert decode(encode(envelope)) == envelope


@given(envelopes, st.data())
def test_any_changed_byte_is_noticed(envelope: Envelope, data: st.DataObject) -> None:
    packed = bytearray(encode(envelope))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(MalformedEnvelope):
        decode(bytes(packed))


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedEnvelope, match="envelope"):
        decode(data)


@pytest.mark.parametrize("size", range(len(SAMPLE)))
def test_a_cut_envelope_is_refused(size: int) -> None:
    with pytest.raises(MalformedEnvelope):
        decode(SAMPLE[:size])


def test_an_envelope_with_trailing_bytes_is_refused() -> None:
    with pytest.raises(MalformedEnvelope):
        decode(SAMPLE + b"\0")


def test_readings_beyond_the_largest_number_are_refused() -> None:
    """Files count them in 64 bits with a sign."""
    beyond = Envelope("00" * 16, "lab", "ns", "s", "d", 7, 2**63 - 1, (Reading(1, "a", b"x"), Reading(2, "a", b"y")))
    with pytest.raises(MalformedEnvelope, match="beyond any number"):
        decode(encode(beyond))


@given(st.binary(max_size=120), st.integers(0, 2**32 - 1))
def test_a_right_checksum_over_nonsense_is_refused_without_another_error(body: bytes, header_size: int) -> None:
    """The parser itself must hold, not only the checksum before it."""
    from atoll.federation.bus import envelope as codec

    start = codec._PREFIX.pack(codec.MAGIC, codec.VERSION, 0, 0, header_size)
    data = codec._PREFIX.pack(codec.MAGIC, codec.VERSION, 0, codec._crc(start, body), header_size) + body
    try:
        decode(data)
    except MalformedEnvelope:
        return
    assert encode(decode(data)) == data


def test_the_last_reading_of_an_empty_envelope_is_the_one_before_the_first() -> None:
    assert Envelope("00" * 16, "lab", "ns", "s", "d", 1, 10, ()).last == 9
