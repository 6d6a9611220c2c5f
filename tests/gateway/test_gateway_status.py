"""What a gateway says of itself: rates over the last while, and its problems, the most pressing first."""

import time
from pathlib import Path

import pytest
from outbox_worlds import order_of, readings, rules

from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.status import Connection, Rates, Status
from atoll.edge.gateway.tallies import Tallies
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.resources.uplink import UplinkSpec

A = StreamKey("ns", "a")
ONLINE = Connection(is_connected=True, streams=frozenset({A}))


def test_rates_are_of_the_last_ten_seconds() -> None:
    rates = Rates()
    found = [
        rates.measure({A: count}, now) for now, count in ((0.0, 0), (2.0, 20), (10.0, 100), (30.0, 100), (41.0, 100))
    ]
    assert [each[A] for each in found] == [0.0, 10.0, 10.0, 0.0, 0.0]


@pytest.fixture
def status(tmp_path: Path) -> tuple[Outbox, Uplink, Intake, Status]:
    outbox = Outbox(tmp_path / "outbox.db", gateway="lab")
    outbox.follow(rules(order_of("a", buffer={"when_full": "Oldest"}), limit_bytes=20_000), is_compressed=False)
    uplink = Uplink(outbox, gateway="lab")
    intake = Intake(outbox, Packer(recent=RecentPackets()), on_stored=lambda: None, on_files=lambda packed: None)
    return outbox, uplink, intake, Status(outbox, uplink, intake, tallies=Tallies(Memory()), loss="")


def test_a_gateway_that_is_well_has_no_problem_and_a_row_for_each_stream(
    status: tuple[Outbox, Uplink, Intake, Status],
) -> None:
    outbox, _, _, subject = status
    outbox.store(readings("a", b"1", b"2"), now=1)
    report = subject.report(ONLINE)
    assert (report.problems, report.reason) == ((), "")
    assert [(row.stream, row.received, row.outbox_readings) for row in report.ledger] == [("ns/a", 2, 2)]
    assert report.lag_seconds > 0
    outbox.close()


def test_shedding_is_told_for_a_while_and_what_stops_the_intake_comes_first(
    status: tuple[Outbox, Uplink, Intake, Status],
) -> None:
    outbox, uplink, intake, subject = status
    for _ in range(40):
        outbox.store(readings("a", b"x" * 1000), now=0)
    assert [problem.reason for problem in subject.report(ONLINE).problems] == ["Shedding"]
    intake.problem, intake.reason = "the disk is full", "OutboxFull"
    uplink.allowance.uplink = UplinkSpec(bytes_per_second=0)
    report = subject.report(Connection(problem="no broker"))
    assert [problem.reason for problem in report.problems] == ["OutboxFull", "BrokerDown", "OutsideHours", "Shedding"]
    assert report.reason == "the disk is full"
    outbox.close()


def test_a_session_that_the_broker_lost_is_told_for_a_day(status: tuple[Outbox, Uplink, Intake, Status]) -> None:
    outbox, _, _, subject = status
    outbox.begin_session(now=time.time())
    assert subject.report(ONLINE).problems == ()
    outbox.begin_session(now=time.time() - 2 * 24 * 3600)
    assert subject.report(ONLINE).problems == ()
    outbox.begin_session(now=time.time())
    (problem,) = subject.report(ONLINE).problems
    assert (problem.kind, problem.reason) == ("Complete", "SessionLost")
    assert "keep sessions on disk" in problem.message
    outbox.close()
