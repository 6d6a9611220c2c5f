"""MQTT's packets as bytes, versions 3.1.1 and 5: what a receiver sends, and a reader of what it gets. Pure.

Owns the wire. A PUBLISH becomes a Message at once, in one loop over whatever has arrived; every other packet is handed
on as it is. Section numbers are those of MQTT 5.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from atoll.edge.gateway.drafts import Message

CONNACK, SUBACK, UNSUBACK, PINGRESP, DISCONNECT = 2, 9, 11, 13, 14
PINGREQ = b"\xc0\x00"
_LARGEST_VARINT_BYTES = 4
_SESSION_EXPIRY, _RECEIVE_MAXIMUM, _MAXIMUM_PACKET_SIZE, _USER_PROPERTY = 0x11, 0x21, 0x27, 0x26
# Sizes of the values of properties (2.2.2.2); the others are strings or binary, with their size before them.
_FIXED_SIZES = {0x01: 1, 0x02: 4, 0x23: 2}
_STRINGS = frozenset({0x03, 0x08, 0x09})
_KNOWN_TOPICS = 10_000


class ProtocolError(Exception):
    """The bytes are no MQTT; the connection must be closed (4.13)."""


class Control(NamedTuple):
    """A packet other than PUBLISH: its type, and what stands after the fixed header."""

    kind: int
    body: bytes


@dataclass
class Received:
    """What a piece of the stream held; `unreadable` are packet ids of messages whose topic is no UTF-8."""

    controls: list[Control]
    messages: list[Message]
    unreadable: list[int]


@dataclass(frozen=True)
class Connect:
    """What a CONNECT says."""

    client_id: str
    is_v5: bool
    keep_alive_seconds: int
    expiry_seconds: int
    receive_maximum: int
    maximum_packet_bytes: int
    username: str | None = None
    password: str | None = None
    will: tuple[str, bytes] | None = None

    def encode(self) -> bytes:
        """Give the packet (3.1): never a clean start; a will is retained, at QoS 1."""
        flags = (0x2C if self.will else 0) | (0x80 if self.username is not None else 0)
        flags |= 0x40 if self.password is not None else 0
        parts = [_text("MQTT"), bytes([5 if self.is_v5 else 4, flags]), struct.pack(">H", self.keep_alive_seconds)]
        parts += [self._properties()] if self.is_v5 else []
        parts.append(_text(self.client_id))
        if self.will is not None:
            parts += [b"\0"] if self.is_v5 else []
            parts += [_text(self.will[0]), _binary(self.will[1])]
        parts += [_text(value) for value in (self.username, self.password) if value is not None]
        return _packet(0x10, b"".join(parts))

    def _properties(self) -> bytes:
        body = struct.pack(
            ">BIBHBI",
            _SESSION_EXPIRY, self.expiry_seconds,
            _RECEIVE_MAXIMUM, self.receive_maximum,
            _MAXIMUM_PACKET_SIZE, self.maximum_packet_bytes,
        )  # fmt: skip
        return _varint(len(body)) + body


def subscribe(packet_id: int, filters: Mapping[str, int], *, is_v5: bool) -> bytes:
    """Give a SUBSCRIBE (3.8). Retain handling 1: retained messages only for a subscription that is new."""
    option = 0x10 if is_v5 else 0
    wanted = [_text(topic_filter) + bytes([qos | option]) for topic_filter, qos in filters.items()]
    return _packet(0x82, struct.pack(">H", packet_id) + (b"\0" if is_v5 else b"") + b"".join(wanted))


def unsubscribe(packet_id: int, filters: Sequence[str], *, is_v5: bool) -> bytes:
    """Give an UNSUBSCRIBE (3.10)."""
    head = struct.pack(">H", packet_id) + (b"\0" if is_v5 else b"")
    return _packet(0xA2, head + b"".join(map(_text, filters)))


def publish(topic: str, payload: bytes, *, is_v5: bool, retain: bool) -> bytes:
    """Give a PUBLISH at QoS 0 (3.3)."""
    return _packet(0x31 if retain else 0x30, _text(topic) + (b"\0" if is_v5 else b"") + payload)


def pubacks(packet_ids: Sequence[int]) -> bytes:
    """Give a PUBACK for each packet id (3.4), in this order. In both versions it is four bytes long."""
    count = len(packet_ids)
    numbers = struct.pack(f">{count}H", *packet_ids)
    packets = bytearray(b"\x40\x02\0\0") * count
    packets[2::4], packets[3::4] = numbers[::2], numbers[1::2]
    return bytes(packets)


def disconnect(*, is_v5: bool) -> bytes:
    """Give a DISCONNECT (3.14) that leaves the session and takes the will back."""
    return b"\xe0\x02\0\0" if is_v5 else b"\xe0\0"


def suback_codes(body: bytes, *, is_v5: bool) -> tuple[int, list[int]]:
    """Give a SUBACK's packet id and its reason codes (3.9).

    Raises:
        ProtocolError: it is none.
    """
    try:
        at = 2
        if is_v5:
            size, at = _read_varint(body, at, len(body))
            at += size
        return struct.unpack_from(">H", body)[0], list(body[at:])
    except (struct.error, IndexError) as error:
        raise ProtocolError("a SUBACK is cut") from error


class PacketReader:
    """Reads the stream of one connection, cut anywhere."""

    def __init__(self, connection: int, *, is_v5: bool, maximum_packet_bytes: int) -> None:
        self._connection, self._is_v5, self._maximum = connection, is_v5, maximum_packet_bytes
        self._pieces: list[bytes] = []
        self._held, self._needed = 0, 2
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes, *, now_ns: int) -> Received:
        """Read on; `now_ns` is when these bytes arrived.

        Raises:
            ProtocolError: the stream is broken from here on.
        """
        received = Received([], [], [])
        self._held += len(data)
        if self._pieces or self._held < self._needed:
            self._pieces.append(data)
            if self._held < self._needed:
                return received
            data = b"".join(self._pieces)
            self._pieces = []
        try:
            at = self._read(data, received, now_ns)
        except IndexError as error:
            raise ProtocolError("a packet ends before its fields do") from error
        self._held = len(data) - at
        if self._held:
            self._pieces = [data[at:]]
        return received

    def _read(self, data: bytes, received: Received, now_ns: int) -> int:  # noqa: PLR0912 # a call costs more than the rest
        at, end = 0, len(data)
        connection, is_v5, topics = self._connection, self._is_v5, self._topics
        messages, new = received.messages, tuple.__new__
        self._needed = 2
        while end - at >= 2:
            head, size, body = data[at], data[at + 1], at + 2
            if size > 127:
                more = data[body] if body < end else 128
                if more < 128:  # a remaining length of two bytes, as most readings have
                    size, body = size & 127 | more << 7, body + 1
                else:
                    size, body = self._size(data, at)
                    if size < 0:
                        break
            stop = body + size
            if stop > end:
                self._needed = stop - at
                break
            if head & 0xF0 != 0x30:
                received.controls.append(Control(head >> 4, data[body:stop]))
                at = stop
                continue
            start = body + 2
            body = start + (data[body] << 8 | data[body + 1])
            name = data[start:body]
            packet_id = 0
            if head & 6:
                packet_id = data[body] << 8 | data[body + 1]
                body += 2
            said: tuple[tuple[str, str], ...] = ()
            if is_v5:
                if data[body]:
                    body, said = _user_properties(data, body, stop)
                else:
                    body += 1
            if body > stop or head & 6 == 6:
                raise ProtocolError("a PUBLISH ends before its fields do, or has QoS 3")
            topic = topics.get(name) or self._topic(name)
            if topic is None:
                received.unreadable.append(packet_id)
            else:
                messages.append(
                    new(
                        Message,
                        (connection, packet_id, topic, data[body:stop], head & 8 != 0, head & 1 != 0, now_ns, said),
                    )
                )
            at = stop
        return at

    def _size(self, data: bytes, at: int) -> tuple[int, int]:
        """Read a remaining length of several bytes; negative if it is not all there."""
        try:
            size, body = _read_varint(data, at + 1, len(data))
        except IndexError:
            self._needed = len(data) - at + 1
            return -1, at
        if size > self._maximum:
            raise ProtocolError(f"a packet of {size} bytes; at most {self._maximum} were asked for")
        return size, body

    def _topic(self, name: bytes) -> str | None:
        try:
            topic = name.decode()
        except UnicodeDecodeError:
            return None
        if not topic:
            raise ProtocolError("a PUBLISH without a topic")
        if len(self._topics) >= _KNOWN_TOPICS:
            self._topics.clear()
        self._topics[name] = topic
        return topic


def _user_properties(data: bytes, at: int, stop: int) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Read the properties of a PUBLISH (3.3.2.3): where they end, and the user's among them."""
    size, at = _read_varint(data, at, stop)
    end, found = at + size, []
    if end > stop:
        raise ProtocolError("properties go beyond their packet")
    while at < end:
        kind, at = data[at], at + 1
        if kind == _USER_PROPERTY:
            name, at = _read_text(data, at, end)
            value, at = _read_text(data, at, end)
            found.append((name, value))
        elif kind in _STRINGS:
            at += 2 + (data[at] << 8 | data[at + 1])
        elif kind == 0x0B:
            _, at = _read_varint(data, at, end)
        elif kind in _FIXED_SIZES:
            at += _FIXED_SIZES[kind]
        else:
            raise ProtocolError(f"property {kind:#04x} is none of a PUBLISH")
    if at != end:
        raise ProtocolError("properties go beyond their length")
    return end, tuple(found)


def _read_text(data: bytes, at: int, end: int) -> tuple[str, int]:
    stop = at + 2 + (data[at] << 8 | data[at + 1])
    if stop > end:
        raise ProtocolError("a text goes beyond its packet")
    return data[at + 2 : stop].decode(errors="replace"), stop


def _read_varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """Read a variable byte integer (1.5.5). Raises IndexError if it is cut."""
    value = 0
    for index in range(_LARGEST_VARINT_BYTES):
        if at + index >= end:
            raise IndexError(at)
        byte = data[at + index]
        value |= (byte & 127) << 7 * index
        if byte < 128:
            return value, at + index + 1
    raise ProtocolError("a length of more than four bytes")


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, byte = value >> 7, value & 127
        encoded.append(byte | 128 if value else byte)
        if not value:
            return bytes(encoded)


def _packet(head: int, body: bytes) -> bytes:
    return bytes([head]) + _varint(len(body)) + body


def _text(value: str) -> bytes:
    return _binary(value.encode())


def _binary(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value
