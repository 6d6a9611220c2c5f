"""Which reading goes into which envelope: topic → Streams → dataset, end-of-run markers, repeated packets. Pure.

Owns the decisions between a batch of MQTT messages and the drafts of envelopes that the outbox will number and store.
It must not know paho, SQLite or NATS. A Packer remembers what it has packed, so each batch it gives must be stored
before the next one is asked for.
"""

import hashlib
import re
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from atoll.edge.gateway.topics import matches
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES, MAX_READING_BYTES, MAX_READINGS, Reading

# How many packets are remembered. It must exceed what a broker may redeliver (its receive maximum) and stay well below
# 65535: brokers count packet ids up, so within this many packets an id does not come twice for two messages.
REMEMBERED_PACKETS = 16_384
_CACHED_ROUTES = 10_000
_PLACEHOLDER = re.compile(r"\{(?:(date)|(stream)|topic\[(\d+)\])\}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


class StreamKey(NamedTuple):
    """A Stream's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Message(NamedTuple):
    """One MQTT message. `packet_id` is 0 at QoS 0; `connection` numbers the connections of this process."""

    connection: int
    packet_id: int
    topic: str
    payload: bytes
    is_duplicate: bool
    is_retained: bool
    received_at_ns: int


class Packet(NamedTuple):
    """What is remembered of a message to know it again."""

    packet_id: int
    fingerprint: bytes


class OpenDataset(NamedTuple):
    """A dataset that readings went into since its last end-of-run marker; `levels` are its {topic[N]} values."""

    stream: StreamKey
    dataset: str
    levels: tuple[str, ...]


@dataclass
class Draft:
    """An envelope that has no number yet."""

    stream: StreamKey
    dataset: str
    readings: list[Reading] = field(default_factory=list)
    payload_bytes: int = 0
    end_of_run: bool = False

    def has_room(self, size: int) -> bool:
        """Tell whether a payload of `size` bytes still fits."""
        return not self.readings or (
            len(self.readings) < MAX_READINGS and self.payload_bytes + size <= MAX_PAYLOAD_BYTES
        )


@dataclass
class Packed:
    """A batch, decided: what to store, and what was left out and why."""

    drafts: list[Draft] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    opened: list[OpenDataset] = field(default_factory=list)
    closed: list[OpenDataset] = field(default_factory=list)
    duplicates: Counter[StreamKey] = field(default_factory=Counter)
    retained: int = 0
    unmatched: int = 0
    refused: list[str] = field(default_factory=list)


class RecentPackets:
    """The newest packets, to know redeliveries again (NATS.md 7)."""

    def __init__(self, packets: Iterable[Packet] = (), capacity: int = REMEMBERED_PACKETS) -> None:
        self._capacity = capacity
        self._order: deque[Packet] = deque()
        self._packets: Counter[Packet] = Counter()
        self._fingerprints: Counter[bytes] = Counter()
        for packet in packets:
            self.add(packet)

    def add(self, packet: Packet) -> None:
        """Remember a packet and forget the oldest beyond the capacity."""
        self._order.append(packet)
        self._packets[packet] += 1
        self._fingerprints[packet.fingerprint] += 1
        if len(self._order) > self._capacity:
            oldest = self._order.popleft()
            _take(self._packets, oldest)
            _take(self._fingerprints, oldest.fingerprint)

    def has(self, packet: Packet) -> bool:
        """Tell whether this content came under this packet id."""
        return packet.packet_id != 0 and packet in self._packets

    def has_content(self, fingerprint: bytes) -> bool:
        """Tell whether this content came under any packet id."""
        return fingerprint in self._fingerprints

    def forget_packet_ids(self) -> None:
        """Forget which id content came under: the broker has lost the session and counts from the start."""
        contents = [Packet(0, packet.fingerprint) for packet in self._order]
        self._order = deque(contents)
        self._packets = Counter(contents)


class _Route(NamedTuple):
    order: StreamOrder
    key: StreamKey
    is_end: bool


class Packer:
    """Turns batches of messages into drafts of envelopes."""

    def __init__(
        self, streams: Sequence[StreamOrder] = (), *, recent: RecentPackets, opened: Iterable[OpenDataset] = ()
    ) -> None:
        self.recent = recent
        self._open = set(opened)
        self._routes: dict[str, tuple[_Route, ...]] = {}
        self._names: dict[tuple[StreamKey, str, int], str] = {}
        self.follow(streams)

    def follow(self, streams: Sequence[StreamOrder]) -> None:
        """Take these Streams as the whole list from now on."""
        self._streams = tuple(streams)
        self._routes.clear()
        self._names.clear()

    def pack(self, messages: Sequence[Message]) -> Packed:
        """Decide about a batch, in order."""
        packed = Packed()
        current: dict[tuple[StreamKey, str], Draft] = {}
        for message in messages:
            if message.is_retained:  # sent because we subscribed: a state of the past, no reading (NATS.md 7)
                packed.retained += 1
                continue
            routes = self._routes_of(message.topic)
            packet = Packet(message.packet_id, fingerprint(message.topic, message.payload))
            fresh = self._fresh(message, packet, routes, packed)
            for route in fresh:
                if route.is_end:
                    self._end(route, message, current, packed)
                else:
                    self._read(route, message, current, packed)
            packed.unmatched += not routes
            if fresh:
                self.recent.add(packet)
                packed.packets.append(packet)
        return packed

    def _fresh(
        self, message: Message, packet: Packet, routes: tuple[_Route, ...], packed: Packed
    ) -> tuple[_Route, ...]:
        """Give the routes for which the message is new, and count those for which it is a repetition."""
        redelivered = message.is_duplicate and self.recent.has(packet)
        known = self.recent.has_content(packet.fingerprint)
        # Markers are alike by nature: only a redelivery repeats one.
        fresh = tuple(
            route for route in routes if not redelivered and (route.is_end or not (route.order.spec.distinct and known))
        )
        packed.duplicates.update(route.key for route in routes if route not in fresh and not route.is_end)
        return fresh

    def _routes_of(self, topic: str) -> tuple[_Route, ...]:
        routes = self._routes.get(topic)
        if routes is None:
            if len(self._routes) >= _CACHED_ROUTES:
                self._routes.clear()
            routes = self._routes[topic] = tuple(_routes(self._streams, topic))
        return routes

    def _read(
        self, route: _Route, message: Message, current: dict[tuple[StreamKey, str], Draft], packed: Packed
    ) -> None:
        size = len(message.payload)
        if size > MAX_READING_BYTES:
            packed.refused.append(f"{message.topic}: {size} bytes; a reading has at most {MAX_READING_BYTES}")
            return
        dataset = self._name(route, message)
        if not dataset:
            template = route.order.spec.dataset
            packed.refused.append(f"{message.topic}: template {template!r} of Stream {route.key} gives no valid name")
            return
        draft = current.get((route.key, dataset))
        if draft is None or not draft.has_room(size):
            draft = current[route.key, dataset] = Draft(route.key, dataset)
            packed.drafts.append(draft)
        draft.readings.append(Reading(message.received_at_ns, message.topic, message.payload))
        draft.payload_bytes += size
        if route.order.spec.end_of_run is None:
            return
        opened = OpenDataset(route.key, dataset, _levels(route.order.spec.dataset, message.topic))
        if opened not in self._open:
            self._open.add(opened)
            packed.opened.append(opened)

    def _name(self, route: _Route, message: Message) -> str:
        day = message.received_at_ns // 86_400_000_000_000
        cached = (route.key, message.topic, day)
        if cached not in self._names:
            if len(self._names) >= _CACHED_ROUTES:
                self._names.clear()
            self._names[cached] = dataset_name(route.order, message.topic, message.received_at_ns) or ""
        return self._names[cached]

    def _end(
        self, route: _Route, message: Message, current: dict[tuple[StreamKey, str], Draft], packed: Packed
    ) -> None:
        """Close the Stream's open datasets that the marker means."""
        ended = {
            item for item in self._open if item.stream == route.key and _is_meant(item, route.order, message.topic)
        }
        for dataset in sorted({item.dataset for item in ended}):
            draft = current.pop((route.key, dataset), None)
            if draft is None:
                draft = Draft(route.key, dataset)
                packed.drafts.append(draft)
            draft.end_of_run = True
        self._open -= ended
        packed.closed.extend(sorted(ended))


def fingerprint(topic: str, payload: bytes) -> bytes:
    """Give 8 bytes that stand for a message's content."""
    digest = hashlib.blake2b(topic.encode(), digest_size=8)
    digest.update(b"\0")  # no topic holds a NUL (MQTT 5, 4.7.3), so topic and payload cannot run into each other
    digest.update(payload)
    return digest.digest()


def dataset_name(order: StreamOrder, topic: str, received_at_ns: int) -> str | None:
    """Resolve a Stream's dataset template; None if the result is no valid name (a level that is absent or empty)."""
    levels = topic.split("/")

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return datetime.fromtimestamp(received_at_ns // 1_000_000_000, UTC).strftime("%Y-%m-%d")
        if match[2]:
            return order.name
        index = int(match[3])
        return _slug(levels[index]) if index < len(levels) else ""

    name = _PLACEHOLDER.sub(value, order.spec.dataset)
    return name if len(name) <= 253 and _NAME.fullmatch(name) else None


def _slug(level: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", level.lower()).strip("-")


def _levels(template: str, topic: str) -> tuple[str, ...]:
    """Give the topic levels that a template uses; those that the topic lacks are empty."""
    levels = topic.split("/")
    indices = [int(match[3]) for match in _PLACEHOLDER.finditer(template) if match[3]]
    return tuple(levels[index] if index < len(levels) else "" for index in indices)


def _is_meant(item: OpenDataset, order: StreamOrder, marker_topic: str) -> bool:
    """Tell whether a marker closes an open dataset.

    A marker filter without wildcards closes every open dataset of its Stream; one with wildcards stands for several
    instruments and closes those whose topic levels are its own.
    """
    end = order.spec.end_of_run
    if end is None or not {"+", "#"} & set(end.topic.split("/")):
        return True
    return item.levels == _levels(order.spec.dataset, marker_topic)


def _routes(streams: Sequence[StreamOrder], topic: str) -> Iterable[_Route]:
    for order in streams:
        key, end = StreamKey(order.namespace, order.name), order.spec.end_of_run
        # A marker is no reading, also where the Stream's filters match its topic.
        if end is not None and matches(end.topic, topic):
            yield _Route(order, key, is_end=True)
        elif any(matches(topic_filter, topic) for topic_filter in order.spec.topics):
            yield _Route(order, key, is_end=False)


def _take(counter: Counter[Any], item: Any) -> None:
    counter[item] -= 1
    if not counter[item]:
        del counter[item]
