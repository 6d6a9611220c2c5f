"""Gateways as lanes: what comes in at an instrument, what waits in the outbox, what leaves for the hub. Pure.

Owns what a lane shows and in which order lanes stand; those that need a person come first.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from atoll.federation.resources import Gateway, Stream
from atoll.federation.resources.gateway import GatewayPhase, StreamLedger

# Still: nothing comes and nothing waits. Held: something waits, and nothing moves. Through: as much leaves as comes.
OutboxFlow = Literal["still", "held", "through", "draining", "filling"]
# Seconds at the two ends of the scale of lag: what a healthy uplink needs, and a day, after which it is all the same.
_LAG_FLOOR_SECONDS, _LAG_CEILING_SECONDS = 1.0, 86_400.0
# Rates are averages of some seconds: a difference below this part of the larger one is noise.
_NOISE = 0.1
_URGENCY: dict[GatewayPhase, int] = {"Unreachable": 0, "Degraded": 1, "Pending": 2, "Ready": 3}


@dataclass(frozen=True)
class StreamLane:
    """One Stream of a gateway. `is_reported` is false while its gateway has counted nothing of it."""

    key: str
    topics: tuple[str, ...]
    home: str
    dataset: str
    received: int
    committed: int
    waiting: int
    waiting_bytes: int
    lag_seconds: float
    rate_in: float
    rate_out: float
    shed: int
    refused: int
    malformed: int
    problem: str
    is_reported: bool = True

    @property
    def lag(self) -> float:
        """The lag on a scale from 0 to 1."""
        return lag_scale(self.lag_seconds)


@dataclass(frozen=True)
class Lane:
    """One gateway. `fill` is the part of its outbox's room that is taken, `lag` the lag on a scale from 0 to 1."""

    name: str
    site: str
    phase: GatewayPhase
    reason: str
    message: str
    broker_connected: bool
    waiting: int
    waiting_bytes: int
    room_bytes: int
    fill: float
    lag_seconds: float
    lag: float
    rate_in: float
    rate_out: float
    flow: OutboxFlow
    shed: int
    damaged: int
    proven_at: datetime | None
    lost_since: datetime | None
    streams: tuple[StreamLane, ...]


@dataclass(frozen=True)
class LaneTotals:
    """All gateways together; `lag_seconds` is of the one that is furthest behind."""

    gateways: int
    ready: int
    streams: int
    waiting: int
    waiting_bytes: int
    lag_seconds: float
    rate_in: float
    rate_out: float
    shed: int
    damaged: int


def lanes_of(gateways: Iterable[Gateway], streams: Iterable[Stream]) -> tuple[Lane, ...]:
    """Give a lane for each gateway: the unwell first, then those that are behind, then by name."""
    by_gateway: dict[str, list[Stream]] = {}
    for stream in streams:
        by_gateway.setdefault(stream.spec.gateway, []).append(stream)
    lanes = [lane_of(gateway, by_gateway.get(gateway.metadata.name, ())) for gateway in gateways]
    return tuple(sorted(lanes, key=lambda lane: (_URGENCY[lane.phase], -lane.lag, lane.name)))


def lane_of(gateway: Gateway, streams: Sequence[Stream]) -> Lane:
    """Give the lane of one gateway and its Streams."""
    status, spec = gateway.status, gateway.spec
    ready = next((each for each in status.conditions if each.type == "Ready"), None)
    reported = {row.stream: row for row in status.ledger}
    rows = [_stream_lane(stream, reported.get(stream.key)) for stream in streams]
    return Lane(
        name=gateway.metadata.name,
        site=spec.site or "",
        phase=status.phase,
        reason=status.reason,
        message=ready.message if ready is not None else "",
        broker_connected=status.broker_connected,
        waiting=status.outbox_readings,
        waiting_bytes=status.outbox_bytes,
        room_bytes=spec.outbox_bytes,
        fill=min(1.0, status.outbox_bytes / spec.outbox_bytes),
        lag_seconds=status.lag_seconds,
        lag=lag_scale(status.lag_seconds),
        rate_in=status.readings_per_second,
        rate_out=status.forwarded_per_second,
        flow=flow_of(status.readings_per_second, status.forwarded_per_second, waiting=status.outbox_readings),
        shed=status.shed,
        damaged=status.damaged,
        proven_at=status.last_proven_at,
        lost_since=status.lost_since,
        streams=tuple(sorted(rows, key=lambda row: (not row.problem, -row.lag_seconds, row.key))),
    )


def totals_of(lanes: Sequence[Lane]) -> LaneTotals:
    """Add up lanes."""
    return LaneTotals(
        gateways=len(lanes),
        ready=sum(lane.phase == "Ready" for lane in lanes),
        streams=sum(len(lane.streams) for lane in lanes),
        waiting=sum(lane.waiting for lane in lanes),
        waiting_bytes=sum(lane.waiting_bytes for lane in lanes),
        lag_seconds=max((lane.lag_seconds for lane in lanes), default=0.0),
        rate_in=sum(lane.rate_in for lane in lanes),
        rate_out=sum(lane.rate_out for lane in lanes),
        shed=sum(lane.shed for lane in lanes),
        damaged=sum(lane.damaged for lane in lanes),
    )


def lag_scale(seconds: float) -> float:
    """Give where a lag stands between a second (0) and a day (1), by its logarithm: each step is as bad as the last."""
    bounded = min(max(seconds, _LAG_FLOOR_SECONDS), _LAG_CEILING_SECONDS)
    return math.log(bounded / _LAG_FLOOR_SECONDS) / math.log(_LAG_CEILING_SECONDS / _LAG_FLOOR_SECONDS)


def flow_of(rate_in: float, rate_out: float, *, waiting: int) -> OutboxFlow:
    """Say what becomes of an outbox at these rates."""
    if rate_in == 0 and rate_out == 0:
        return "held" if waiting else "still"
    if abs(rate_in - rate_out) <= _NOISE * max(rate_in, rate_out):
        return "through"
    return "filling" if rate_in > rate_out else "draining"


def _stream_lane(stream: Stream, row: StreamLedger | None) -> StreamLane:
    """Join what the gateway counts now with what the hub has written of the Stream."""
    status = stream.status
    counts = row or status
    return StreamLane(
        key=stream.key,
        topics=stream.spec.topics or ((f"files in {stream.spec.files.folder}",) if stream.spec.files else ()),
        home=stream.spec.home,
        dataset=status.dataset or "",
        received=counts.received,
        committed=max(counts.committed, status.committed),
        waiting=counts.outbox_readings,
        waiting_bytes=row.outbox_bytes if row is not None else 0,
        lag_seconds=counts.lag_seconds,
        rate_in=row.readings_per_second if row is not None else 0.0,
        rate_out=row.forwarded_per_second if row is not None else 0.0,
        shed=counts.shed,
        refused=counts.refused,
        malformed=counts.malformed,
        problem=row.problem if row is not None else "",
        is_reported=row is not None,
    )
