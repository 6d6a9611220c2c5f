"""Which reading goes into which envelope: the way from a batch of MQTT messages to drafts of envelopes. Pure.

Owns the short way, of readings that topic and arrival alone decide about: a few hundred nanoseconds each. All else is
left to `deciding`. It must not know paho, SQLite or NATS. A Packer remembers what it has packed, so each batch it gives
must be stored before the next one is asked for.
"""

import zlib
from collections.abc import Iterable, Sequence

from atoll.edge.gateway.deciding import Deciding, Shelf
from atoll.edge.gateway.drafts import Message, Packed
from atoll.edge.gateway.knowledge import Knowledge
from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.edge.gateway.plans import StreamPlan
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.routes import HOUR_NS, Lane
from atoll.edge.gateway.runs import OpenDataset, Runs
from atoll.edge.gateway.tallies import Tallies
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import MAX_PAYLOAD_BYTES, MAX_READING_BYTES, MAX_READINGS, Reading

_CACHED_TOPICS = 10_000


class Packer:
    """Turns batches of messages into drafts of envelopes."""

    def __init__(
        self,
        streams: Sequence[StreamOrder] = (),
        *,
        recent: RecentPackets,
        opened: Iterable[OpenDataset] = (),
        memory: Memory | None = None,
    ) -> None:
        self._known = Knowledge(memory if memory is not None else Memory(), recent, opened)
        self._plans = tuple(map(StreamPlan.of, streams))
        self._lanes: dict[str, Lane] = {}

    def follow(self, streams: Sequence[StreamOrder]) -> None:
        """Take these Streams as the whole list from now on; those that are missing have been deleted."""
        self._plans = tuple(map(StreamPlan.of, streams))
        self._lanes.clear()
        self._known.datasets.clear()
        self._known.names.keep_only([plan.key for plan in self._plans])

    @property
    def recent(self) -> RecentPackets:
        """The packets that are known."""
        return self._known.recent

    @property
    def runs(self) -> Runs:
        """The runs that go on."""
        return self._known.runs

    @property
    def tallies(self) -> Tallies:
        """What is counted of each Stream."""
        return self._known.tallies

    @property
    def waits_for_silence(self) -> bool:
        """Whether `expire` may find something to end."""
        return any(plan.idle_seconds is not None for plan in self._plans)

    def expire(self, *, now: float) -> Packed:
        """End the runs of instruments that were silent for too long; `now` is as in `pack`."""
        batch = Deciding(self._known, now)
        batch.close(self.runs.end_idle(self._plans, now=now))
        return batch.finish()

    def pack(self, messages: Sequence[Message], *, now: float = 0.0) -> Packed:
        """Decide about a batch, in order.

        Args:
            messages: what has arrived.
            now: seconds of a clock that never jumps, by which silences are measured.
        """
        batch = Deciding(self._known, now)
        ready: dict[str, tuple[Lane, Shelf]] = {}  # topics of this batch whose readings take the short way
        records, checksum_of, new, hour = batch.records, zlib.crc32, tuple.__new__, 0
        for message in messages:
            _, packet_id, topic, payload, is_duplicate, is_retained, at_ns, _ = message
            if at_ns // HOUR_NS != hour:
                hour = at_ns // HOUR_NS
                ready.clear()
            place = ready.get(topic)
            if place is None or is_duplicate or is_retained or place[1].is_ended:
                place = self._prepare(message, batch)
                if place is None:
                    continue
                ready[topic] = place
            lane, shelf = place
            size, draft = len(payload), shelf.draft
            if draft is None or len(draft.readings) >= MAX_READINGS or draft.payload_bytes + size > MAX_PAYLOAD_BYTES:
                if size > MAX_READING_BYTES:
                    batch.take(message, lane)
                    continue
                draft = batch.draft_for(shelf, size)
            draft.readings.append(new(Reading, (at_ns, topic, payload, None)))
            draft.payload_bytes += size
            if packet_id:
                records += (packet_id, lane.checksum, checksum_of(payload))
        return batch.finish()

    def _prepare(self, message: Message, batch: Deciding) -> tuple[Lane, Shelf] | None:
        """Give the place of a reading that takes the short way; None if it took the other one."""
        lane = self._lane(message.topic)
        if lane.plain is None or message.is_duplicate or message.is_retained:
            batch.take(message, lane)
            return None
        shelf = batch.shelf_of_lane(lane, lane.plain, message)
        return None if shelf is None else (lane, shelf)

    def streams_of(self, topic: str) -> set[StreamKey]:
        """Give the Streams that what comes on a topic goes to, or means."""
        return {route.plan.key for route in self._lane(topic).routes}

    def _lane(self, topic: str) -> Lane:
        lane = self._lanes.get(topic)
        if lane is None:
            if len(self._lanes) >= _CACHED_TOPICS:
                self._lanes.clear()
            lane = self._lanes[topic] = Lane.of(self._plans, topic)
        return lane
