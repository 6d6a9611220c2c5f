"""A laboratory's MQTT broker: it keeps sessions, numbers packets, and sends again what nobody acknowledged.

It speaks MQTT 5 at QoS 1 to the gateway's own receiver, over links of the twin. What it has acknowledged to an
instrument it never loses: if it did, that was never Atoll's. Section numbers are those of MQTT 5.
"""

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from atoll.edge.gateway.topics import matches
from twin.machine import current_process
from twin.network import Link, Network

_RECEIVE_MAXIMUM = 0x21
_PROPERTY_BYTES = {0x11: 4, 0x21: 2, 0x27: 4}
_LAST_PACKET_ID = 65_535
_PINGRESP = b"\xd0\0"


class Packet(IntEnum):
    """What a gateway sends and the broker answers (2.1.2)."""

    CONNECT = 1
    PUBACK = 4
    SUBSCRIBE = 8
    UNSUBSCRIBE = 10
    PINGREQ = 12


@dataclass(eq=False)
class Session:
    """What the broker keeps for one client, connected or not."""

    filters: set[str] = field(default_factory=set)
    waiting: deque[tuple[str, bytes]] = field(default_factory=deque)
    under_way: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    packet_id: int = 0
    receive_maximum: int = 1
    link: Link | None = None

    def next_id(self) -> int:
        self.packet_id = self.packet_id % _LAST_PACKET_ID + 1
        return self.packet_id


class Broker:
    """One broker; `network` has the ways to it."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.sessions: dict[str, Session] = {}

    def publish(self, topic: str, payload: bytes) -> None:
        """Take a message from an instrument; when this returns, it is acknowledged."""
        for session in self.sessions.values():
            if any(matches(topic_filter, topic) for topic_filter in session.filters):
                session.waiting.append((topic, payload))
                self.send_on(session)

    def has_subscriber(self) -> bool:
        """Tell whether from now on nothing is lost, whatever becomes of the subscribers."""
        return any(session.filters for session in self.sessions.values())

    @property
    def is_idle(self) -> bool:
        """Whether everything was acknowledged by who it was for."""
        return not any(session.waiting or session.under_way for session in self.sessions.values())

    def send_on(self, session: Session) -> None:
        """Send what waits, as far as the client takes more."""
        while session.link is not None and session.waiting and len(session.under_way) < session.receive_maximum:
            number = session.next_id()
            session.under_way[number] = session.waiting.popleft()
            session.link.down.send(_publish(number, session.under_way[number]))

    # --- connections

    async def dial(self, protocol_factory: Callable[[], asyncio.Protocol]) -> tuple["Wire", asyncio.Protocol]:
        """Connect a client, as an event loop does."""
        process, network = current_process(), self.network
        assert process is not None, "connections belong to processes"
        await asyncio.sleep(2 * network.latency(process.machine))
        weather = network.weather(process.machine)
        while weather.held:  # a SYN is sent again
            await asyncio.sleep(1.0)
        if weather.is_cut:
            raise ConnectionRefusedError("connection refused")
        link, protocol = network.connect(process), protocol_factory()
        wire = Wire(link, protocol)
        connection = _Connection(self, link)
        link.up.deliver, link.down.deliver = connection.take, protocol.data_received
        link.on_reset_there = connection.end
        link.on_reset_here = wire.break_off
        protocol.connection_made(wire)
        return wire, protocol


class _Connection:
    """One connection as the broker sees it."""

    def __init__(self, broker: Broker, link: Link) -> None:
        self._broker, self._link = broker, link
        self._session: Session | None = None

    def end(self) -> None:
        if self._session is not None and self._session.link is self._link:
            self._session.link = None

    def take(self, data: Any) -> None:
        """Obey packets; whatever else comes is the end of the connection."""
        if not isinstance(data, bytes):
            self.end()
            return
        at = 0
        while at < len(data):
            kind = data[at] >> 4
            size, body = _varint(data, at + 1)
            at = body + size
            self._obey(kind, data[body:at])

    def _obey(self, kind: int, body: bytes) -> None:
        match kind:
            case Packet.CONNECT:
                self._connect(body)
            case Packet.PUBACK if self._session is not None:
                self._session.under_way.pop(struct.unpack_from(">H", body)[0], None)
                self._broker.send_on(self._session)
            case Packet.SUBSCRIBE | Packet.UNSUBSCRIBE if self._session is not None:
                self._subscribe(self._session, body, is_wanted=kind == Packet.SUBSCRIBE)
            case Packet.PINGREQ:
                self._link.down.send(_PINGRESP)

    def _connect(self, body: bytes) -> None:
        size, at = _varint(body, 10)
        end, maximum = at + size, 65_535
        while at < end:
            kind, length = body[at], _PROPERTY_BYTES[body[at]]
            if kind == _RECEIVE_MAXIMUM:
                maximum = struct.unpack_from(">H", body, at + 1)[0]
            at += 1 + length
        client = body[end + 2 : end + 2 + struct.unpack_from(">H", body, end)[0]].decode()
        is_known = client in self._broker.sessions
        session = self._session = self._broker.sessions.setdefault(client, Session())
        if session.link is not None:  # 3.1.4: the older connection is ended
            session.link.reset()
        session.link, session.receive_maximum = self._link, maximum
        self._link.down.send(bytes([0x20, 3, is_known, 0, 0]))
        for number, message in session.under_way.items():  # 4.4: before anything else, in the order of before
            self._link.down.send(_publish(number, message, is_again=True))
        self._broker.send_on(session)

    def _subscribe(self, session: Session, body: bytes, *, is_wanted: bool) -> None:
        size, at = _varint(body, 2)
        at += size
        codes = bytearray()
        while at < len(body):
            end = at + 2 + struct.unpack_from(">H", body, at)[0]
            topic_filter = body[at + 2 : end].decode()
            (session.filters.add if is_wanted else session.filters.discard)(topic_filter)
            codes.append(1 if is_wanted else 0)
            at = end + (1 if is_wanted else 0)
        self._link.down.send(bytes([0x90 if is_wanted else 0xB0, 3 + len(codes)]) + body[:2] + b"\0" + codes)


class Wire(asyncio.Transport):
    """A client's end of a connection."""

    def __init__(self, link: Link, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self._link, self._protocol, self._is_closing = link, protocol, False

    def write(self, data: Any) -> None:
        if not self._is_closing:
            self._link.up.send(bytes(data))

    def is_closing(self) -> bool:
        return self._is_closing

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self._link.hang_up()
            asyncio.get_running_loop().call_soon(self._protocol.connection_lost, None)

    abort = close

    def break_off(self) -> None:
        """Take note that the other side is gone."""
        if not self._is_closing:
            self._is_closing = True
            self._protocol.connection_lost(ConnectionResetError("connection reset by peer"))


def _publish(number: int, message: tuple[str, bytes], *, is_again: bool = False) -> bytes:
    topic, payload = message[0].encode(), message[1]
    body = struct.pack(">H", len(topic)) + topic + struct.pack(">H", number) + b"\0" + payload
    size, left = bytearray(), len(body)
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    return bytes([0x3A if is_again else 0x32]) + bytes([*size, left]) + body


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at
