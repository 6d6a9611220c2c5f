"""The decisions about one batch of messages: time, run, dataset, repetition, beginnings and ends of runs. Pure.

Owns what is decided about a message that topic and arrival alone do not decide about; `packing` has the short way.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from atoll.edge.gateway.drafts import Draft, Message, Packed
from atoll.edge.gateway.knowledge import Knowledge
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.naming import NameRefused, resolve, why_unnamed
from atoll.edge.gateway.plans import StreamPlan
from atoll.edge.gateway.recent import Packet, fingerprint, pack_records
from atoll.edge.gateway.routes import HOUR_NS, Lane, Route
from atoll.edge.gateway.runs import OpenDataset
from atoll.edge.gateway.sparkplug_nodes import NodeReading
from atoll.federation.bus.envelope import MAX_READING_BYTES, Reading
from atoll.federation.payloads import MalformedPayload, as_text
from atoll.federation.payloads import field as field_of

# What {field[…]} is where the payload has no such field: a reading is never without a place.
_NO_VALUE = "none"
_CACHED_DATASETS = 10_000


@dataclass
class Shelf:
    """Where a dataset's readings of a batch are collected; one that is ended takes no more."""

    stream: StreamKey
    dataset: str
    draft: Draft | None = None
    is_ended: bool = False


@dataclass
class Deciding:
    """One batch on its way; `now` is by the clock that silences are measured by."""

    known: Knowledge
    now: float
    packed: Packed = field(default_factory=Packed)
    records: list[int] = field(default_factory=list)
    shelves: dict[tuple[StreamKey, str], Shelf] = field(default_factory=dict)
    blobs: list[bytes] = field(default_factory=list)

    def finish(self) -> Packed:
        """Give what was decided."""
        packed, is_open = self.packed, self.known.runs.is_open
        self._remember()
        self.known.tallies.keep()
        packed.packets = b"".join(self.blobs)
        packed.memory = self.known.memory.take_changes()
        # What was closed and opened again, or the other way round, is what it is at the end.
        packed.opened = [item for item in dict.fromkeys(packed.opened) if is_open(item)]
        packed.closed = [item for item in dict.fromkeys(packed.closed) if not is_open(item)]
        return packed

    def shelf_of_lane(self, lane: Lane, plan: StreamPlan, message: Message) -> Shelf | None:
        """Give the shelf of a plain lane's readings of this hour; None if the reading is refused."""
        at_ns = message.received_at_ns
        if not lane.knows(at_ns):
            dataset = self._dataset(plan, message.topic, at_ns=at_ns, value=None)
            if dataset is None:
                return None
            lane.learn(dataset, at_ns)
        return self._shelf(plan, lane.dataset, message.topic)

    def draft_for(self, shelf: Shelf, size: int) -> Draft:
        """Give the envelope that a payload goes into, a new one if it does not fit."""
        draft = shelf.draft
        if draft is not None and draft.has_room(size):
            return draft
        draft = shelf.draft = Draft(shelf.stream, shelf.dataset)
        self.packed.drafts.append(draft)
        return draft

    def take(self, message: Message, lane: Lane) -> None:
        """Decide about any message."""
        packed = self.packed
        routes = tuple(route for route in lane.routes if not message.is_retained or route.role == "state")
        if message.is_retained and not routes:  # sent because we subscribed: a state of the past, no reading
            packed.retained += 1
            return
        packed.unmatched += not routes
        fresh = self._fresh(message, lane, routes)
        for route in fresh:
            match route.role:
                case "reading":
                    self._read(route.plan, message)
                case "start":
                    self._start(route.plan, message)
                case "announcement":
                    self.packed.announcements.append((route.plan.key, message.payload))
                case "end" | "state":
                    self._end(route.plan, message)
        if fresh:
            self._record(message, lane, fresh)

    # --- repetitions

    def _fresh(self, message: Message, lane: Lane, routes: tuple[Route, ...]) -> tuple[Route, ...]:
        """Give the routes for which the message is new, and count those for which it is a repetition."""
        is_redelivered = message.is_duplicate and self._is_known(message, lane)
        if is_redelivered:
            self.packed.duplicates.update(route.plan.key for route in routes if route.role == "reading")
            return ()
        # Markers are alike by nature: only a redelivery repeats one.
        distinct = [route for route in routes if route.role == "reading" and route.plan.spec.distinct]
        if not distinct or not self._is_known_content(message):
            return routes
        self.packed.duplicates.update(route.plan.key for route in distinct)
        return tuple(route for route in routes if route not in distinct)

    def _is_known(self, message: Message, lane: Lane) -> bool:
        self._remember()
        checksums = pack_records((message.packet_id, lane.checksum, zlib.crc32(message.payload)))[2:]
        contents = (checksums, fingerprint(message.topic, message.payload))
        return any(self.known.recent.has(Packet(message.packet_id, content)) for content in contents)

    def _is_known_content(self, message: Message) -> bool:
        self._remember()
        return self.known.recent.has_content(fingerprint(message.topic, message.payload))

    def _record(self, message: Message, lane: Lane, fresh: tuple[Route, ...]) -> None:
        if any(route.plan.spec.distinct for route in fresh):
            self._remember()
            content = fingerprint(message.topic, message.payload)
            self._keep(message.packet_id.to_bytes(2, "little") + content)
        elif message.packet_id:
            self.records += (message.packet_id, lane.checksum, zlib.crc32(message.payload))

    def _remember(self) -> None:
        if self.records:
            self._keep(pack_records(self.records))
            self.records.clear()

    def _keep(self, blob: bytes) -> None:
        self.known.recent.extend(blob)
        self.blobs.append(blob)

    # --- readings

    def _read(self, plan: StreamPlan, message: Message) -> None:
        size, topic, arrived_ns = len(message.payload), message.topic, message.received_at_ns
        if size > MAX_READING_BYTES:
            self._refuse(plan, f"{topic}: {size} bytes; a reading has at most {MAX_READING_BYTES}")
            return
        node = None
        payload = message.payload
        if plan.spec.payload.format == "SparkplugB":
            node, is_reading = self._node_reading(plan, message)
            if not is_reading:
                return
            if node is not None and len(node.payload) <= MAX_READING_BYTES:
                payload = node.payload
        value = self._value(plan, payload)
        said_ns = self._time(plan, message, value, node)
        dataset = self._dataset(plan, topic, at_ns=arrived_ns if said_ns is None else said_ns, value=value)
        if dataset is None:
            return
        shelf = self._shelf(plan, dataset, topic)
        draft = self.draft_for(shelf, len(payload))
        draft.readings.append(Reading(arrived_ns, topic, payload, said_ns))
        draft.payload_bytes += len(payload)
        if plan.is_last(value) and plan.spec.end_of_run is not None and plan.spec.end_of_run.marker is None:
            self._said_end(plan, self.known.runs.end_of(plan, plan.instrument(topic)))

    def _node_reading(self, plan: StreamPlan, message: Message) -> tuple[NodeReading | None, bool]:
        """Follow a Sparkplug node; tell whether its message is a reading, as what is malformed is too."""
        spec, key = plan.spec.payload, plan.key
        try:
            node = self.known.nodes.read(
                key,
                message.topic,
                message.payload,
                now_ns=message.received_at_ns,
                may_ask=spec.request_rebirth,
            )
        except MalformedPayload:
            self.known.tallies.change(key).malformed += 1
            return None, True
        if node is None:
            self.packed.unmatched += 1
            return None, False
        if node.is_gap:
            self.known.tallies.change(key).sequence_gaps += 1
        if node.command is not None:
            self.known.tallies.change(key).rebirths += 1
            self.packed.commands.append(node.command)
        return node, True

    def _value(self, plan: StreamPlan, payload: bytes) -> Any:
        if not plan.reads_values:
            return None
        try:
            return plan.decode(payload)
        except MalformedPayload:
            if plan.spec.payload.format != "SparkplugB":  # counted where its node was followed
                self.known.tallies.change(plan.key).malformed += 1
            return None

    def _time(self, plan: StreamPlan, message: Message, value: Any, node: NodeReading | None) -> int | None:
        """Give the reading's own time; None if it is that of its arrival."""
        if plan.spec.time.source == "Arrival":
            return None
        if node is not None and plan.spec.time.field is None:
            value = {"timestamp": node.outline.timestamp_ms}
        is_past = node is not None and node.outline.is_historical
        arrived_ns = message.received_at_ns
        said = plan.clock.read(value, message.properties, arrived_ns=arrived_ns, is_historical=is_past)
        if said is None:
            self.known.tallies.change(plan.key).clock_fallbacks += 1
        return said

    def _dataset(self, plan: StreamPlan, topic: str, *, at_ns: int, value: Any) -> str | None:
        """Name the reading's dataset; None if it is refused, which is counted."""
        said = self._said(plan, topic, value)
        known, key = self.known.datasets, (plan.key, said, at_ns // HOUR_NS)
        dataset = known.get(key)
        if dataset is not None:
            return dataset
        try:
            value_of = dict(zip(plan.placeholders, said, strict=True)).__getitem__
            named = resolve(plan.template, at_ns, value_of)
            if named is None:
                why = why_unnamed(plan.template, value_of)
                raise NameRefused(f"template {plan.spec.dataset!r} of Stream {plan.key} gives no valid name: {why}")
            self.known.names.claim(plan.key, named, plan.spec.dataset)
        except NameRefused as refusal:
            self._refuse(plan, f"{topic}: {refusal}")
            return None
        if len(known) >= _CACHED_DATASETS:
            known.clear()
        known[key] = named.dataset
        return named.dataset

    def _said(self, plan: StreamPlan, topic: str, value: Any) -> tuple[str, ...]:
        """Give what a reading says for each placeholder of its dataset's name."""
        said = []
        levels = topic.split("/")
        for part in plan.placeholders:
            match part.kind:
                case "topic":
                    said.append(levels[part.index] if part.index < len(levels) else "")
                case "run":
                    said.append(self.known.runs.run_of(plan, plan.instrument(topic), value))
                case "field":
                    said.append(as_text(field_of(value, part.steps)) or _NO_VALUE)
                case _:
                    said.append(plan.key.name if part.kind == "stream" else "")
        return tuple(said)

    def _refuse(self, plan: StreamPlan, reason: str) -> None:
        self.packed.refused.append(reason)
        self.known.tallies.refuse(plan.key, reason)

    def _shelf(self, plan: StreamPlan, dataset: str, topic: str) -> Shelf:
        shelf = self.shelves.get((plan.key, dataset))
        if shelf is not None:
            return shelf
        shelf = self.shelves[plan.key, dataset] = Shelf(plan.key, dataset)
        if plan.follows_runs:
            # Whoever has a dataset's name has it alone, so its first reading speaks for all of the batch.
            item = OpenDataset(plan.key, dataset, plan.instrument(topic))
            if self.known.runs.open(item, now=self.now):
                self.packed.opened.append(item)
        return shelf

    # --- runs

    def _start(self, plan: StreamPlan, message: Message) -> None:
        told = plan.told_by(plan.starts_by or "", message.topic)
        self.close(self.known.runs.begin(plan, told, message.payload))

    def _end(self, plan: StreamPlan, message: Message) -> None:
        end = plan.spec.end_of_run
        if end is not None and plan.ends_run(message.payload):
            told = plan.told_by(end.marker or "", message.topic)
            self._said_end(plan, self.known.runs.end(plan, told))

    def _said_end(self, plan: StreamPlan, ended: Iterable[OpenDataset]) -> None:
        self.packed.ended.append(plan.key)
        self.close(ended)

    def close(self, ended: Iterable[OpenDataset]) -> None:
        """Mark the end of these datasets' runs after all readings so far."""
        closed = list(ended)
        for stream, dataset in dict.fromkeys((item.stream, item.dataset) for item in closed):
            shelf = self.shelves.pop((stream, dataset), None) or Shelf(stream, dataset)
            draft = shelf.draft or self.draft_for(shelf, 0)
            draft.end_of_run = shelf.is_ended = True
        self.packed.closed.extend(closed)
