"""The fast receiver's reading of MQTT: any cut of the stream gives the same messages, and nonsense is named."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.gateway.mqtt import packets
from atoll.edge.gateway.mqtt.packets import PacketReader, ProtocolError, Received

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
properties = st.lists(st.tuples(texts, texts), max_size=3)


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack(">H", len(data)) + data


def varint(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + varint(value >> 7)


def publish(message: tuple[str, bytes, int, int, list[tuple[str, str]]], *, is_v5: bool) -> bytes:
    topic, payload, packet_id, flags, said = message
    body = text(topic) + (struct.pack(">H", packet_id) if packet_id else b"")
    if is_v5:
        table = b"\x02\0\0\0\x09\x01\x01\x0b\x07" + b"".join(b"\x26" + text(k) + text(v) for k, v in said)
        body += varint(len(table)) + table if said else b"\0"
    body += payload
    return bytes([0x30 | flags | (2 if packet_id else 0)]) + varint(len(body)) + body


published = st.tuples(
    texts.filter(bool), st.binary(max_size=300), st.integers(0, 65535), st.sampled_from([0, 1, 8, 9]), properties
)


def reader(*, is_v5: bool = True, maximum: int = 1 << 20) -> PacketReader:
    return PacketReader(7, is_v5=is_v5, maximum_packet_bytes=maximum)


def feed_all(reader: PacketReader, data: bytes, cuts: list[int]) -> Received:
    total = Received([], [], [])
    edges = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(edges):
        part = reader.feed(data[start:end], now_ns=5)
        total.messages += part.messages
        total.controls += part.controls
        total.unreadable += part.unreadable
    return total


@given(st.lists(published, max_size=8), st.lists(st.integers(0, 10_000), max_size=12), st.booleans())
def test_messages_come_out_as_they_were_published_wherever_the_stream_is_cut(
    messages: list[Any], cuts: list[int], is_v5: bool
) -> None:
    stream = b"\x20\x02\x00\x00" + b"".join(publish(message, is_v5=is_v5) for message in messages) + b"\xd0\x00"
    received = feed_all(reader(is_v5=is_v5), stream, cuts)
    assert [(control.kind, control.body) for control in received.controls] == [(2, b"\0\0"), (13, b"")]
    assert [(m.topic, m.payload, m.packet_id, m.is_duplicate, m.is_retained) for m in received.messages] == [
        (topic, payload, packet_id, bool(flags & 8), bool(flags & 1))
        for topic, payload, packet_id, flags, _ in messages
    ]
    assert all((m.connection, m.received_at_ns) == (7, 5) for m in received.messages)
    if is_v5:
        assert [list(m.properties) for m in received.messages] == [message[4] for message in messages]


@given(st.binary(max_size=200), st.lists(st.integers(0, 300), max_size=5), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, cuts: list[int], is_v5: bool) -> None:
    try:
        received = feed_all(reader(is_v5=is_v5, maximum=10_000), data, cuts)
    except ProtocolError:
        return
    assert sum(len(message.payload) for message in received.messages) <= len(data)


@given(published, st.integers(0, 400), st.integers(0, 255), st.booleans())
def test_a_damaged_publish_is_read_or_refused(message: Any, at: int, value: int, is_v5: bool) -> None:
    data = bytearray(publish(message, is_v5=is_v5))
    data[at % len(data)] = value
    try:
        reader(is_v5=is_v5, maximum=10_000).feed(bytes(data), now_ns=0)
    except ProtocolError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"\x30\xff\xff\xff\xff", "more than four bytes"),
        (b"\x30\xff\xff\x7f", "at most 1000"),
        (b"\x36\x06\0\x01a\0\x01\0", "QoS 3"),
        (b"\x30\x02\0\x09" + bytes(20), "ends before"),
        (b"\x30\x03\0\0\0", "without a topic"),
        (b"\x30\x06\0\x01a\x01\x7f\0", "property 0x7f"),
        (b"\x30\x08\0\x01a\x04\x26\0\x09x", "beyond"),
    ],
)
def test_what_is_no_mqtt_is_named(data: bytes, problem: str) -> None:
    with pytest.raises(ProtocolError, match=problem):
        reader(maximum=1000).feed(data, now_ns=0)


def test_a_topic_that_is_no_utf8_is_left_out_with_its_packet_id() -> None:
    received = reader().feed(b"\x32\x07\0\x01\xff\x00\x09\0x" + b"\x30\x05\0\x01a\0x", now_ns=0)
    assert received.unreadable == [9]
    assert [message.topic for message in received.messages] == ["a"]


def test_a_large_message_in_small_pieces_is_not_copied_for_each_of_them() -> None:
    """Work that grows with the square of the size would take minutes for this one."""
    data = publish(("t", bytes(4_000_000), 1, 0, []), is_v5=True)
    one = reader(maximum=1 << 24)
    pieces = [one.feed(data[at : at + 100], now_ns=0) for at in range(0, len(data), 100)]
    assert [len(message.payload) for piece in pieces for message in piece.messages] == [4_000_000]


@given(st.lists(st.integers(1, 65535), max_size=50))
def test_acknowledgements_are_one_packet_for_each_id_in_order(ids: list[int]) -> None:
    assert packets.pubacks(ids) == b"".join(b"\x40\x02" + packet_id.to_bytes(2, "big") for packet_id in ids)


@pytest.mark.parametrize(("body", "is_v5"), [(b"\0\x07\x00\x01\x87", True), (b"\0\x07\x01\x87", False)])
def test_a_suback_tells_its_codes(body: bytes, is_v5: bool) -> None:
    assert packets.suback_codes(body, is_v5=is_v5) == (7, [1, 0x87])
