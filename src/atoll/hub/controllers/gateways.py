"""Gateways: each gets its Streams as one order and a log in NATS; what it reports becomes Gateway.status, with its age.

Owns GatewayOrder, the log stream of a gateway and Gateway.status. Readings that wait in a log outlive their Gateway;
what leaves a log is decided in lab_logs.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.bus.data_messages import CommittedReport, GatewayOrder, GatewayReport, StreamOrder
from atoll.federation.bus.subjects import lab_prefix, lab_stream, uplink_prefix
from atoll.federation.capacity import parse_duration
from atoll.federation.errors import AtollError
from atoll.federation.resources import Condition, Gateway, GatewayStatus, Stream
from atoll.federation.resources.gateway import GatewayPhase
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path, proven_at

# What a gateway tells problems of, and the reason that stands there while it tells none.
_SOUND = {
    "BrokerConnected": "Connected",
    "TakingIn": "HasRoom",
    "Forwarding": "Forwarding",
    "OutboxIntact": "Intact",
    "Complete": "NothingShed",
}
# Reasons that are as the Gateway's own spec wants them.
_HARMLESS = frozenset({"OutsideHours"})
_REPORTED = (
    "outbox_readings", "outbox_bytes", "lag_seconds", "broker_connected", "broker_needed", "ledger", "files",
    "readings_per_second", "forwarded_per_second", "agent_version",
)  # fmt: skip


@dataclass(frozen=True)
class Judgement:
    """A gateway's phase with its reason, and when it must be judged again if nothing is heard."""

    phase: GatewayPhase
    reason: str
    message: str
    stale_in_seconds: float | None = None


def plan_order(gateway: Gateway, streams: Iterable[Stream]) -> GatewayOrder:
    """Give all that a gateway should take in, in a fixed order."""
    mine = [stream for stream in streams if stream.spec.gateway == gateway.metadata.name]
    orders = [
        StreamOrder(namespace=stream.metadata.namespace or "default", name=stream.metadata.name, spec=stream.spec)
        for stream in sorted(mine, key=lambda stream: stream.key)
    ]
    return GatewayOrder(
        broker=gateway.spec.broker,
        mqtt=gateway.spec.mqtt,
        outbox_bytes=gateway.spec.outbox_bytes,
        outbox_age_seconds=parse_duration(gateway.spec.outbox_age) if gateway.spec.outbox_age is not None else None,
        uplink=gateway.spec.uplink,
        streams=tuple(orders),
    )


def believable(report: CommittedReport, gateway: str, streams: Iterable[Stream]) -> CommittedReport:
    """Give the part of a sink's report that is its own to say: of Streams of this gateway that end in its cluster."""
    own = {
        stream.metadata.name
        for stream in streams
        if stream.spec.gateway == gateway
        and stream.metadata.namespace == report.namespace
        and stream.spec.home == report.cluster
    }
    return report.model_copy(
        update={
            "commits": tuple(commit for commit in report.commits if commit.stream in own),
            "wanted": tuple(wanted for wanted in report.wanted if wanted.stream in own),
        }
    )


def judge(report: GatewayReport | None, proven: datetime | None, *, now: datetime, timeout_seconds: float) -> Judgement:
    """Decide a gateway's phase from what is known and how old it is."""
    if report is None or proven is None:
        return Judgement("Pending", "NotEnrolled", "this gateway has not been heard yet")
    left = timeout_seconds - (now - proven).total_seconds()
    if left <= 0:
        return Judgement("Unreachable", "HeartbeatStale", f"nothing was heard for more than {timeout_seconds:g} s")
    if report.broker_needed and not report.broker_connected:
        return Judgement("Degraded", "BrokerDown", report.reason or "the gateway has no connection to its broker", left)
    problem = next((each for each in report.problems if each.reason not in _HARMLESS), None)
    if problem is not None:
        return Judgement("Degraded", problem.reason, problem.message, left)
    return Judgement("Ready", "Proven", f"{report.outbox_readings} readings wait to be in files", left)


def plan_status(
    old: GatewayStatus, report: GatewayReport | None, *, proven: datetime | None, judgement: Judgement, now: datetime
) -> GatewayStatus:
    """Give the status that a judgement and its report make."""
    phase = judgement.phase
    is_lost = phase == "Unreachable"
    claim = {"Ready": True, "Pending": None}.get(phase, False)
    reported = {name: getattr(report, name) for name in _REPORTED if report is not None}
    totals = {
        name: sum(getattr(row, name) for row in report.ledger) for name in ("shed", "damaged") if report is not None
    }
    message = judgement.message if phase != "Ready" else ""
    conditions = plan_conditions(old.conditions, report, is_lost=is_lost, now=now)
    return old.model_copy(
        update={
            **reported,
            **totals,
            "phase": phase,
            "reason": "" if phase == "Ready" else judgement.reason,
            "last_proven_at": proven or old.last_proven_at,
            "lost_since": (old.lost_since or proven) if is_lost else None,
            "conditions": with_condition(conditions, "Ready", claim, reason=judgement.reason, message=message, now=now),
        }
    )


def plan_conditions(
    old: tuple[Condition, ...], report: GatewayReport | None, *, is_lost: bool, now: datetime
) -> tuple[Condition, ...]:
    """Give a condition for each thing that a gateway tells problems of; of one that is not heard they are not known."""
    if report is None:
        return old
    conditions, problems = old, {problem.kind: problem for problem in reversed(report.problems)}
    for kind, reason in _SOUND.items():
        problem = problems.get(kind)
        if is_lost:
            claim, why, message = None, "HeartbeatStale", ""
        elif problem is not None:
            claim, why, message = False, problem.reason, problem.message
        elif kind == "BrokerConnected" and not report.broker_needed:
            claim, why, message = True, "NotNeeded", "none of its Streams has topics"
        else:
            claim, why, message = True, reason, ""
        conditions = with_condition(conditions, kind, claim, reason=why, message=message, now=now)
    return conditions


class GatewayController:
    """Keeps GatewayOrder, the gateway's log and Gateway.status."""

    name = "gateways"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._with_log: set[str] = set()

    def sources(self) -> Sequence[Source]:
        """Watch gateways, the streams that name them, and their heartbeats."""
        return (*with_streams(self._context), Messages(self._context.observed, _report_key))

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one gateway's order and status up to date."""
        context, name = self._context, key[1]
        order_path = Path("gateway", name, "streams")
        gateway = await context.client.get(Gateway, None, name)
        if gateway is None:
            for path in list(context.desired.of_member("gateway", name)):
                await context.desired.remove(path)
            return DONE
        await self._ensure_log(gateway)
        streams = await context.client.list(Stream)
        await context.desired.put(order_path, plan_order(gateway, streams))
        await self._pass_on_commits(name, streams)
        return await self._update_status(gateway)

    async def _ensure_log(self, gateway: Gateway) -> None:
        """Make the log before the gateway hears of any stream: what it forwards must have a place."""
        name, size = gateway.metadata.name, self._context.lab_log_bytes
        if name in self._with_log:
            return
        try:
            taken_in = uplink_prefix(name, self._context.capabilities.uplink(name))
            await self._context.bus.ensure_log(lab_stream(name), lab_prefix(name), max_bytes=size, taken_in=taken_in)
        except AtollError as error:
            message = f"NATS does not make room for {size} bytes of this gateway's readings: {error}"
            await self._context.events.record(gateway, "LogRefused", message, is_warning=True)
            raise
        await self._context.events.clear(gateway, "LogRefused")
        self._with_log.add(name)

    async def _pass_on_commits(self, gateway: str, streams: Sequence[Stream]) -> None:
        """Tell a gateway what sinks have in files; each is believed for the Streams whose home it is."""
        context = self._context
        for path in list(context.observed.paths("gateway", gateway, "committed")):
            report = context.observed.read(CommittedReport, path)
            if report is None or path.names != (report.namespace, report.cluster):
                continue
            told, known = believable(report, gateway, streams), context.desired.read(CommittedReport, path)
            if known is None or (known.commits, known.wanted) != (told.commits, told.wanted):
                await context.desired.put(path, told)

    async def _update_status(self, gateway: Gateway) -> Outcome:
        context, now = self._context, self._context.clock()
        path = Path("gateway", gateway.metadata.name, "heartbeat")
        report = context.observed.read(GatewayReport, path)
        proven = proven_at(context.observed.held(path), report.at if report is not None else None, now)
        proven = proven or gateway.status.last_proven_at
        judgement = judge(report, proven, now=now, timeout_seconds=context.heartbeat_timeout_seconds)
        status = plan_status(gateway.status, report, proven=proven, judgement=judgement, now=now)
        status = status.model_copy(update={"observed_generation": gateway.metadata.generation})
        await context.client.update_status(gateway.model_copy(update={"status": status}))
        if status.phase != gateway.status.phase:
            is_warning = status.phase in ("Degraded", "Unreachable")
            await context.events.record(gateway, f"Gateway{status.phase}", judgement.message, is_warning=is_warning)
        return RequeueAfter(judgement.stale_in_seconds) if judgement.stale_in_seconds is not None else DONE


def with_streams(context: Context) -> tuple[Source, ...]:
    """Watch gateways, and the streams that name them."""
    return Objects(context.client, Gateway, own_key), Objects(context.client, Stream, gateway_of)


async def gateway_of(stream: Stream) -> Iterable[Key]:
    """Map a stream to its gateway."""
    return [("", stream.spec.gateway)]


async def _report_key(path: Path) -> Iterable[Key]:
    return [("", path.member)] if path.kind == "gateway" and path.topic in ("heartbeat", "committed") else []
