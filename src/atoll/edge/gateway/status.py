"""What a gateway says of itself: counters and rates per Stream, and everything that is not as it should be.

Owns the report. It reads the parts of the gateway and changes none of them.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version

from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox, StreamCounts
from atoll.edge.gateway.tallies import Tallies
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.data_messages import GatewayProblem, GatewayReport
from atoll.federation.resources.gateway import StreamLedger

# Over how long rates are measured: shorter and they flicker, longer and an outage looks like a slow link.
_RATE_SECONDS = 10.0
# How long a Stream that had to shed is told to: a burst that sheds now and then is one problem, not many.
_SHEDDING_SECONDS = 600.0
# How long a session that the broker has lost is told: over a night, so that somebody reads it.
_LOST_SESSION_SECONDS = 24 * 3600.0
_TOLD_LOSSES = 5


class Rates:
    """Per second, over the last while, of counters that only grow."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[StreamKey, int]]] = deque()

    def measure(self, counters: Mapping[StreamKey, int], now: float) -> dict[StreamKey, float]:
        """Take the counters as they are now; give their rates."""
        current = dict(counters)
        self._samples.append((now, current))
        while len(self._samples) > 2 and self._samples[1][0] <= now - _RATE_SECONDS:
            self._samples.popleft()
        then, old = self._samples[0]
        return {
            key: round((count - old.get(key, 0)) / (now - then), 1) if now > then else 0.0
            for key, count in current.items()
        }


@dataclass
class Connection:
    """What is known of the broker's side. `streams` are those that the broker has confirmed to send."""

    is_connected: bool = False
    problem: str = ""
    notice: str = ""
    streams: frozenset[StreamKey] = field(default_factory=frozenset)


class Status:
    """Reports on one outbox and what is around it. `loss` says what a damage took when the outbox was opened."""

    def __init__(self, outbox: Outbox, uplink: Uplink, intake: Intake, *, tallies: Tallies, loss: str) -> None:
        self._outbox, self._uplink, self._intake, self._tallies, self._loss = outbox, uplink, intake, tallies, loss
        self._version = version("atoll")  # read from a file, and parsed as a mail: milliseconds of each heartbeat
        self._taken_in, self._sent = Rates(), Rates()
        self._shed: dict[StreamKey, int] = {key: counts.shed for key, counts in outbox.streams.items()}
        self._shed_at: dict[StreamKey, float] = {}

    def report(self, connection: Connection) -> GatewayReport:
        """Say how things are; reads the disk."""
        ledger = self._ledger(connection)
        problems = tuple(self._problems(connection))
        first = next((problem.message for problem in problems), "") or connection.notice or self._uplink.notice
        return GatewayReport(
            outbox_readings=self._outbox.readings,
            outbox_bytes=self._outbox.bytes,
            lag_seconds=max((row.lag_seconds for row in ledger), default=0.0),
            broker_connected=connection.is_connected,
            reason=first,
            ledger=ledger,
            readings_per_second=round(sum(row.readings_per_second for row in ledger), 1),
            forwarded_per_second=round(sum(row.forwarded_per_second for row in ledger), 1),
            problems=problems,
            agent_version=self._version,
            at=datetime.now(UTC),
        )

    def _ledger(self, connection: Connection) -> tuple[StreamLedger, ...]:
        now, oldest, refusing = time.monotonic(), self._outbox.oldest_stored_at(), self._outbox.refusing()
        streams = dict(self._outbox.streams)
        taken_in = self._taken_in.measure({key: counts.received for key, counts in streams.items()}, now)
        sent = self._sent.measure(self._uplink.sent_readings, now)
        self._note_shedding(streams, now)
        rows = []
        for key in sorted(streams.keys() | connection.streams):
            counts = streams.get(key, StreamCounts())
            rows.append(
                StreamLedger(
                    stream=str(key),
                    received=counts.received,
                    duplicates=counts.duplicates,
                    forwarded=max(self._uplink.forwarded.get(key, 0), counts.committed),
                    committed=counts.committed,
                    shed=counts.shed,
                    damaged=counts.damaged,
                    outbox_readings=counts.readings,
                    outbox_bytes=counts.bytes,
                    lag_seconds=_age(oldest.get(key)),
                    readings_per_second=taken_in.get(key, 0.0),
                    forwarded_per_second=sent.get(key, 0.0),
                    problem=refusing.get(key, ""),
                    **asdict(self._tallies.of(key)),
                )
            )
        return tuple(rows)

    def _note_shedding(self, streams: Mapping[StreamKey, StreamCounts], now: float) -> None:
        for key, counts in streams.items():
            if counts.shed > self._shed.get(key, 0):
                self._shed_at[key] = now
            self._shed[key] = counts.shed

    def _problems(self, connection: Connection) -> Iterator[GatewayProblem]:
        """Give what is not as it should be, what a person should know first first."""
        refusing = self._outbox.refusing()
        if self._intake.problem:
            yield GatewayProblem(kind="TakingIn", reason=self._intake.reason, message=self._intake.problem)
        elif refusing:
            told = "; ".join(f"Stream {key} takes nothing in: {why}" for key, why in sorted(refusing.items()))
            yield GatewayProblem(kind="TakingIn", reason="BufferFull", message=told)
        losses = self._outbox.losses
        if self._loss or losses:
            told = "; ".join(str(loss) for loss in losses[:_TOLD_LOSSES])
            more = f" and {len(losses) - _TOLD_LOSSES} more" if len(losses) > _TOLD_LOSSES else ""
            message = self._loss or f"readings are lost: {told}{more}"
            yield GatewayProblem(kind="OutboxIntact", reason="OutboxDamaged", message=message)
        if connection.problem:
            yield GatewayProblem(kind="BrokerConnected", reason="BrokerDown", message=connection.problem)
        if self._uplink.problem:
            yield GatewayProblem(kind="Forwarding", reason="HubRefuses", message=self._uplink.problem)
        elif self._uplink.allowance.rate == 0:
            yield GatewayProblem(kind="Forwarding", reason="OutsideHours", message="spec.uplink lets nothing out now")
        if lost := self._lost_session():
            yield GatewayProblem(kind="Complete", reason="SessionLost", message=lost)
        elif self._intake.refused:
            message = f"{self._intake.refused} readings refused, the last: {self._intake.last_refusal}"
            yield GatewayProblem(kind="Complete", reason="ReadingsRefused", message=message)
        elif shedding := self._shedding():
            yield GatewayProblem(kind="Complete", reason="Shedding", message=shedding)

    def _lost_session(self) -> str:
        at = self._outbox.session_lost_at()
        if at is None or time.time() - at > _LOST_SESSION_SECONDS:
            return ""
        when = datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
        return (
            f"the broker lost this gateway's session ({when}); what it held then is lost: let it keep sessions on disk"
        )

    def _shedding(self) -> str:
        limit = time.monotonic() - _SHEDDING_SECONDS
        counts = {key: self._outbox.streams[key].shed for key, at in sorted(self._shed_at.items()) if at > limit}
        return "; ".join(f"Stream {key} has shed {count} readings for want of room" for key, count in counts.items())


def _age(stored_at: float | None) -> float:
    """Give how long ago that was, by a clock that may have been set meanwhile."""
    return round(max(0.0, time.time() - stored_at), 1) if stored_at else 0.0
