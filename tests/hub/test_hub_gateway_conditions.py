"""What a gateway tells of itself becomes conditions that say what to do, and its age."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.data_messages import GatewayProblem, GatewayReport
from atoll.federation.resources import Condition, Gateway, Stream
from atoll.federation.resources.gateway import GatewayStatus, StreamLedger
from atoll.hub.controllers.gateways import judge, plan_order, plan_status
from atoll.hub.controllers.streams import plan_status as plan_stream_status

NOW = datetime(2026, 11, 23, tzinfo=UTC)


def report(*problems: GatewayProblem, **changes: Any) -> GatewayReport:
    return GatewayReport(**({"broker_connected": True, "problems": problems, "at": NOW} | changes))


def status_of(found: GatewayReport, *, proven: datetime = NOW, old: GatewayStatus | None = None) -> GatewayStatus:
    judgement = judge(found, proven, now=NOW, timeout_seconds=30)
    return plan_status(old or GatewayStatus(), found, proven=proven, judgement=judgement, now=NOW)


def claims(status: GatewayStatus) -> dict[str, tuple[str, str]]:
    return {condition.type: (condition.status, condition.reason) for condition in status.conditions}


def test_a_gateway_without_problems_has_only_true_conditions() -> None:
    status = status_of(report())
    assert status.phase == "Ready"
    assert {found for found, _ in claims(status).values()} == {"True"}
    assert claims(status)["TakingIn"] == ("True", "HasRoom")


@pytest.mark.parametrize(
    ("kind", "reason", "phase"),
    [
        ("TakingIn", "OutboxFull", "Degraded"),
        ("TakingIn", "BufferFull", "Degraded"),
        ("OutboxIntact", "OutboxDamaged", "Degraded"),
        ("Forwarding", "HubRefuses", "Degraded"),
        ("Forwarding", "OutsideHours", "Ready"),
        ("Complete", "Shedding", "Degraded"),
    ],
)
def test_a_problem_is_a_false_condition_with_its_reason_and_what_its_spec_wants_is_none(
    kind: str, reason: str, phase: str
) -> None:
    status = status_of(report(GatewayProblem(kind=kind, reason=reason, message="why")))
    assert (status.phase, claims(status)[kind]) == (phase, ("False", reason))
    assert status.reason == ("" if phase == "Ready" else reason)


def test_a_gateway_that_has_files_only_is_well_without_a_broker_and_says_that_it_needs_none() -> None:
    status = status_of(report(broker_connected=False, broker_needed=False))
    assert (status.phase, status.broker_needed) == ("Ready", False)
    assert claims(status)["BrokerConnected"] == ("True", "NotNeeded")


def test_of_a_gateway_that_is_not_heard_nothing_is_known_but_its_last_figures_stay() -> None:
    known = status_of(report(outbox_readings=7))
    lost = status_of(report(outbox_readings=7), proven=NOW - timedelta(seconds=60), old=known)
    assert (lost.phase, lost.outbox_readings) == ("Unreachable", 7)
    assert claims(lost)["TakingIn"] == ("Unknown", "HeartbeatStale")


def test_the_time_of_a_condition_moves_only_when_it_changes() -> None:
    before = Condition(type="TakingIn", status="True", reason="HasRoom", last_transition_time=NOW - timedelta(days=1))
    same = status_of(report(), old=GatewayStatus(conditions=(before,)))
    assert next(c for c in same.conditions if c.type == "TakingIn").last_transition_time == before.last_transition_time


def test_what_all_streams_have_shed_and_lost_is_summed_up() -> None:
    ledger = (StreamLedger(stream="a/a", shed=3, damaged=1), StreamLedger(stream="a/b", shed=4))
    status = status_of(report(ledger=ledger))
    assert (status.shed, status.damaged) == (7, 1)


def test_the_order_says_ages_in_seconds_and_the_uplink_as_it_is() -> None:
    spec = {"outboxAge": "7d", "uplink": {"bytesPerSecond": 5000, "compression": "None"}}
    gateway = Gateway.model_validate({"metadata": {"name": "lab-a"}, "spec": spec})
    order = plan_order(gateway, [])
    assert (order.outbox_age_seconds, order.uplink.bytes_per_second) == (604_800.0, 5000)
    assert order.uplink.compression == "None"


def test_a_stream_tells_what_its_gateway_shed_and_how_long_it_lags() -> None:
    spec = {"gateway": "lab-a", "topics": ["a"], "dataset": "d", "home": "c"}
    stream = Stream.model_validate({"metadata": {"name": "a", "namespace": "ns"}, "spec": spec})
    row = StreamLedger(stream="ns/a", received=9, shed=4, damaged=2, outbox_readings=3, lag_seconds=1.5)
    found = plan_stream_status(stream, report(ledger=(row,)), [])
    assert (found.received, found.shed, found.damaged, found.outbox_readings, found.lag_seconds) == (9, 4, 2, 3, 1.5)
    later = plan_stream_status(stream.model_copy(update={"status": found}), None, [])
    assert later.shed == 4
