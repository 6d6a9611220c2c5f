"""A model of what is behind an outbox: the hub's log and a sink that counts, to hold an outbox against."""

from dataclasses import dataclass, field

from datapath import stream_order

from atoll.edge.gateway.buffers import Rules
from atoll.edge.gateway.drafts import Draft, Packed
from atoll.edge.gateway.lanes import Positions
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox, StoredEnvelope
from atoll.federation.bus.data_messages import GatewayOrder, StreamOrder
from atoll.federation.bus.envelope import Envelope, Reading, decode

KEY = StreamKey("ns", "anmo")


def order_of(name: str, **changes: object) -> StreamOrder:
    """Give a Stream of that name."""
    return stream_order(topics=(f"{name}/#",), end_of_run=None, **changes).model_copy(update={"name": name})


def rules(*orders: StreamOrder, limit_bytes: int = 10**9, age_seconds: float | None = None) -> Rules:
    """Give what a gateway with these Streams goes by."""
    return Rules.of(GatewayOrder(outbox_bytes=limit_bytes, outbox_age_seconds=age_seconds, streams=orders))


def readings(name: str, *payloads: bytes, dataset: str = "d", end_of_run: bool = False) -> Packed:
    """Give a batch of one Stream for one dataset."""
    draft = Draft(StreamKey("ns", name), dataset, end_of_run=end_of_run)
    draft.readings += [Reading(number, f"{name}/x", payload) for number, payload in enumerate(payloads)]
    return Packed(drafts=[draft])


@dataclass
class Told:
    """What a sink knows of one Stream after all that it was sent."""

    payloads: dict[int, bytes] = field(default_factory=dict)
    shed: set[int] = field(default_factory=set)
    damaged: set[int] = field(default_factory=set)
    gaps: set[int] = field(default_factory=set)
    ends: list[str] = field(default_factory=list)
    envelope: int = 0
    last: int = 0

    def take(self, envelope: Envelope) -> None:
        """Do what the sink does: what is not newer is a repetition, what is known already is not counted again."""
        if envelope.number <= self.envelope:
            return
        self.gaps.update(range(self.last + 1, envelope.first))
        for number, reading in zip(envelope.numbers, envelope.readings, strict=True):
            assert number not in self.payloads, f"reading {number} came twice"
            assert number > self.last, f"reading {number} came after {self.last}"
            self.payloads[number] = reading.payload
        for known, intervals in ((self.shed, envelope.shed), (self.damaged, envelope.damaged)):
            known.update(n for first, last in intervals for n in range(max(first, self.last + 1), last + 1))
        if envelope.end_of_run:
            self.ends.append(envelope.dataset)
        self.envelope, self.last = envelope.number, max(self.last, envelope.last)


@dataclass
class Hub:
    """A log, and sinks that read it."""

    log: list[StoredEnvelope] = field(default_factory=list)
    streams: dict[str, Told] = field(default_factory=dict)

    def positions(self) -> Positions:
        """Give what its newest entry says."""
        return Positions.parse(self.log[-1].number, self.log[-1].sent) if self.log else Positions()

    def store(self, stored: StoredEnvelope) -> None:
        """Append an entry, and let the sink read it."""
        self.log.append(stored)
        envelope = decode(stored.data)
        self.streams.setdefault(envelope.stream, Told()).take(envelope)

    def drain(self, outbox: Outbox) -> None:
        """Take all that waits, in a session of its own."""
        session = outbox.outgoing.begin(self.positions())
        while taken := outbox.outgoing.take(session, limit=7):
            for stored in taken:
                self.store(stored)
                outbox.outgoing.acknowledged(stored)
        outbox.outgoing.stop()
