"""The newest packets, to know redeliveries again. Pure.

A packet is remembered by 10 bytes: its id, little-endian, and a fingerprint of its content. Most are never asked for,
so they lie in blobs, one a batch, and are indexed when the first question comes.
"""

import hashlib
import struct
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

# How many packets are remembered. It must exceed what a broker may redeliver (its receive maximum) and stay well below
# 65535: brokers count packet ids up, so within this many packets an id does not come twice for two messages.
REMEMBERED_PACKETS = 16_384
PACKET_BYTES = 10
_AT_ONCE = 64
_RECORDS = struct.Struct("<" + "HII" * _AT_ONCE)
_RECORD = struct.Struct("<HII")


class Packet(NamedTuple):
    """What is remembered of a message to know it again."""

    packet_id: int
    fingerprint: bytes


class RecentPackets:
    """A memory of the newest packets, up to its capacity."""

    def __init__(self, packets: Iterable[Packet] = (), capacity: int = REMEMBERED_PACKETS) -> None:
        self._capacity = capacity
        self._count = 0  # of the packets that are indexed, or were dropped before
        self._waiting: deque[bytes] = deque()
        self._waiting_count = 0
        self._newest: dict[bytes, int] = {}
        self._newest_content: dict[bytes, int] = {}
        for packet in packets:
            self.add(packet)

    def add(self, packet: Packet) -> None:
        """Remember one packet."""
        self.extend(packet.packet_id.to_bytes(2, "little") + packet.fingerprint)

    def extend(self, blob: bytes) -> None:
        """Remember packets, oldest first, and forget what is older than the capacity reaches."""
        if not blob:
            return
        self._waiting.append(blob)
        self._waiting_count += len(blob) // PACKET_BYTES
        while self._waiting_count - len(self._waiting[0]) // PACKET_BYTES >= self._capacity:
            dropped = len(self._waiting.popleft()) // PACKET_BYTES
            self._waiting_count -= dropped
            self._count += dropped

    def has(self, packet: Packet) -> bool:
        """Tell whether this content came under this packet id."""
        if not packet.packet_id:
            return False
        self._index()
        return self._is_near(self._newest.get(packet.packet_id.to_bytes(2, "little") + packet.fingerprint))

    def has_content(self, fingerprint: bytes) -> bool:
        """Tell whether this content came under any packet id."""
        self._index()
        return self._is_near(self._newest_content.get(fingerprint))

    def forget_packet_ids(self) -> None:
        """Forget which id content came under: the broker has lost the session and counts from the start."""
        self._index()
        self._newest.clear()

    def _is_near(self, number: int | None) -> bool:
        return number is not None and number > self._count - self._capacity

    def _index(self) -> None:
        while self._waiting:
            blob = self._waiting.popleft()
            for at in range(0, len(blob), PACKET_BYTES):
                self._count += 1
                self._newest[blob[at : at + PACKET_BYTES]] = self._count
                self._newest_content[blob[at + 2 : at + PACKET_BYTES]] = self._count
        self._waiting_count = 0
        if len(self._newest_content) > 2 * self._capacity:
            self._newest = {key: number for key, number in self._newest.items() if self._is_near(number)}
            self._newest_content = {key: at for key, at in self._newest_content.items() if self._is_near(at)}


def fingerprint(topic: str, payload: bytes) -> bytes:
    """Give 8 bytes that stand for a message's content wherever it came from."""
    digest = hashlib.blake2b(topic.encode(), digest_size=8)
    digest.update(b"\0")  # no topic holds a NUL (MQTT 5, 4.7.3), so topic and payload cannot run into each other
    digest.update(payload)
    return digest.digest()


def pack_records(numbers: Sequence[int]) -> bytes:
    """Give the blob of packets that are told as packet id, checksum of the topic, checksum of the payload, and so on.

    Two CRCs are enough for a redelivery, which has the packet id and the DUP flag too, and cost a fifth of a digest.
    """
    step = 3 * _AT_ONCE
    whole = len(numbers) // step * step
    blobs = [_RECORDS.pack(*numbers[at : at + step]) for at in range(0, whole, step)]
    blobs += [_RECORD.pack(*numbers[at : at + 3]) for at in range(whole, len(numbers), 3)]
    return b"".join(blobs)
