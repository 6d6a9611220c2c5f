"""What becomes of each IP packet on a link that goes wrong: lost, late, twice, or met by a firewall that forgot. Pure.

Owns the decision, and so much of IPv4 and TCP as it takes. It carries nothing: `hosts.py` does.
"""

import random
import struct
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Way = Literal["up", "down"]
"""Up is from a host to the rest of the world."""

_FIN, _SYN, _RST, _ACK = 0x01, 0x02, 0x04, 0x10  # RFC 9293, section 3.1
_TCP = 6
_IP_HEAD, _TCP_HEAD = struct.Struct("!BBHHHBBH4s4s"), struct.Struct("!HHIIBBHHH")


@dataclass(frozen=True)
class Impairment:
    """What is wrong with a link; nothing, as it is made.

    Attributes:
        is_deaf: nothing comes down. is_mute: nothing goes up. Neither is answered: it is a line, not a firewall.
        lost, twice: the share of packets, in each direction.
        delay_seconds, jitter_seconds: every packet is so much later, and up to so much more: some overtake others.
        largest_bytes: what is longer vanishes, as behind a tunnel whose "fragmentation needed" nobody hears.
        flaps_seconds: silent for so long, sound for so long, and again; 0 for a link that does not flap.
    """

    is_deaf: bool = False
    is_mute: bool = False
    lost: float = 0.0
    twice: float = 0.0
    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    largest_bytes: int = 65_535
    flaps_seconds: float = 0.0


SOUND = Impairment()


@dataclass(frozen=True)
class Delivery:
    """A packet that comes out of a link, at which end, and how much later than now."""

    packet: bytes
    way: Way
    after_seconds: float = 0.0


class Link:
    """One host's link: what is wrong with it, and which TCP connections the firewall at its end has seen begin.

    Only TCP to and from some `ports` of the rest of the world suffers; what else there is has a way of its own.
    """

    def __init__(self, ports: Collection[int], *, seed: int = 0) -> None:
        self._ports = frozenset(ports)
        self._chance = random.Random(seed)
        self._impairment, self._since = SOUND, 0.0
        self._known: set[tuple[int, int]] = set()
        """By port of the host and of the far end."""
        self._answers_strangers = False

    def impair(self, impairment: Impairment, now: float) -> None:
        """Be impaired in this way from now on, in monotonic seconds; SOUND mends it."""
        self._impairment, self._since = impairment, now

    def forget(self, *, resets: bool) -> None:
        """Have the firewall forget every connection, for good: packets of one get nothing, or a reset, from now on."""
        self._known.clear()
        self._answers_strangers = resets

    def carry(self, packet: bytes, way: Way, now: float) -> list[Delivery]:
        """Say what comes out for what went in."""
        segment = Segment.read(packet)
        if segment is None or segment.far_port(way) not in self._ports:
            return [Delivery(packet, way)]
        if not self._is_let_through(segment, way):
            answer = segment.refusal() if self._answers_strangers else b""
            return [Delivery(answer, "down" if way == "up" else "up")] if answer else []
        return self._carried(packet, way, now)

    def _is_let_through(self, segment: "Segment", way: Way) -> bool:
        flow = segment.ports if way == "up" else segment.ports[::-1]
        if way == "up" and segment.begins:
            self._known.add(flow)
        return flow in self._known

    def _carried(self, packet: bytes, way: Way, now: float) -> list[Delivery]:
        wrong, drawn = self._impairment, self._chance.random()
        is_shut = wrong.is_mute if way == "up" else wrong.is_deaf
        is_down = bool(wrong.flaps_seconds) and (now - self._since) // wrong.flaps_seconds % 2 == 0
        if is_shut or is_down or drawn < wrong.lost or len(packet) > wrong.largest_bytes:
            return []
        times = 2 if self._chance.random() < wrong.twice else 1
        return [Delivery(packet, way, self._lateness()) for _ in range(times)]

    def _lateness(self) -> float:
        return self._impairment.delay_seconds + self._chance.uniform(0.0, self._impairment.jitter_seconds)


@dataclass(frozen=True)
class Segment:
    """A TCP segment's head: the addresses and ports of who sends and who receives, and where in the stream it is."""

    addresses: tuple[bytes, bytes]
    ports: tuple[int, int]
    sequence: int
    acknowledged: int
    flags: int
    length: int
    """In octets of the stream, as RFC 9293 counts SEG.LEN: SYN and FIN are one each."""

    @classmethod
    def read(cls, packet: bytes) -> "Segment | None":
        """Read a packet; None if it is not the beginning of a TCP segment over IPv4."""
        if len(packet) < _IP_HEAD.size or packet[0] >> 4 != 4:
            return None
        first, _, total, _, fragment, _, protocol, _, source, target = _IP_HEAD.unpack_from(packet)
        head = (first & 0xF) * 4
        if protocol != _TCP or fragment & 0x1FFF or len(packet) < head + _TCP_HEAD.size:
            return None
        near, far, sequence, acknowledged, words, flags, *_ = _TCP_HEAD.unpack_from(packet, head)
        length = total - head - (words >> 4) * 4 + bool(flags & _SYN) + bool(flags & _FIN)
        return cls((source, target), (near, far), sequence, acknowledged, flags, length)

    @property
    def begins(self) -> bool:
        """Whether it asks for a new connection."""
        return self.flags & (_SYN | _ACK) == _SYN

    def far_port(self, way: Way) -> int:
        """Give the port at the end that is not the host's."""
        return self.ports[1] if way == "up" else self.ports[0]

    def refusal(self) -> bytes:
        """Give the reset that its sender believes (RFC 9293, section 3.10.7.1); nothing for what is one itself."""
        if self.flags & _RST:
            return b""
        if self.flags & _ACK:
            return self._answer(self.acknowledged, 0, _RST)
        return self._answer(0, (self.sequence + self.length) & 0xFFFFFFFF, _RST | _ACK)

    def _answer(self, sequence: int, acknowledged: int, flags: int) -> bytes:
        target, source = self.addresses
        far, near = self.ports
        tcp = _TCP_HEAD.pack(near, far, sequence, acknowledged, 5 << 4, flags, 0, 0, 0)
        pseudo = source + target + struct.pack("!BBH", 0, _TCP, len(tcp))
        ip = _IP_HEAD.pack(0x45, 0, _IP_HEAD.size + len(tcp), 0, 0x4000, 64, _TCP, 0, source, target)
        return _with_checksum(ip, 10, b"") + _with_checksum(tcp, 16, pseudo)


def checksum(data: bytes) -> int:
    """Give the internet checksum (RFC 1071) of an even number of bytes; 0 of what contains its own."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _with_checksum(head: bytes, offset: int, pseudo: bytes) -> bytes:
    return head[:offset] + struct.pack("!H", checksum(pseudo + head)) + head[offset + 2 :]
