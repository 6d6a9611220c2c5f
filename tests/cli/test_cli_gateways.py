"""What `gateway status` says of a gateway, from one that was never heard to one that sheds."""

from datetime import UTC, datetime, timedelta

import pytest

from atoll.cli import gateways
from atoll.federation.resources import Condition, Gateway
from atoll.federation.resources.base import ObjectMeta
from atoll.federation.resources.gateway import GatewayStatus, StreamLedger
from atoll.federation.resources.stream_files import StreamFiles

NOW = datetime.now(UTC)


def gateway(**status: object) -> Gateway:
    return Gateway(metadata=ObjectMeta(name="lab-a"), status=GatewayStatus.model_validate(status))


def printed(found: Gateway, capsys: pytest.CaptureFixture[str]) -> str:
    gateways.print_gateway(found)
    return capsys.readouterr().out


def test_a_gateway_that_was_never_heard_says_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert "never; run what 'atoll gateway enroll' printed" in printed(gateway(), capsys)


def test_a_gateway_that_sheds_says_how_much_and_of_which_stream(capsys: pytest.CaptureFixture[str]) -> None:
    row = StreamLedger(
        stream="ns/anmo", received=1200, forwarded=900, committed=800, shed=100, outbox_readings=300,
        outbox_bytes=2_500_000, lag_seconds=3720.0, readings_per_second=4.25, forwarded_per_second=120.0,
    )  # fmt: skip
    problem = Condition(
        type="Complete",
        status="False",
        reason="Shedding",
        message="Stream ns/anmo has shed 100",
        last_transition_time=NOW,
    )
    found = gateway(
        phase="Degraded", reason="Shedding", ledger=(row,), shed=100, outbox_readings=300, outbox_bytes=2_500_000,
        broker_connected=True, last_proven_at=NOW - timedelta(seconds=3), conditions=(problem,), lag_seconds=3720.0,
    )  # fmt: skip
    text = printed(found, capsys)
    assert "Phase:     Degraded (Shedding)" in text
    assert "Complete:  Stream ns/anmo has shed 100" in text
    assert "300 readings, 2.5MB of 10GB, the oldest for 1h2m" in text
    assert "100 readings shed, 0 lost with the disk" in text
    cells = text.splitlines()[-1].split()
    assert cells == ["ns/anmo", "1200", "4.2", "300", "2.5MB", "1h2m", "900", "120", "800", "100", "0", "-"]


def test_a_gateway_with_files_only_needs_no_broker_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(gateway(phase="Ready", broker_needed=False, last_proven_at=NOW), capsys)
    assert "Broker:    none needed: its Streams have files only" in text


def test_what_is_wrong_with_a_streams_files_stands_beside_the_stream(capsys: pytest.CaptureFixture[str]) -> None:
    trouble = StreamFiles(stream="ns/scans", problems=1, last_problem="folder nothere cannot be read")
    over = StreamFiles(stream="ns/other", problems=0, last_problem="a.tif cannot be read")
    counted = (StreamLedger(stream="ns/other"),)
    text = printed(gateway(phase="Ready", ledger=counted, files=(trouble, over), last_proven_at=NOW), capsys)
    other, scans = (line.split() for line in text.splitlines()[-2:])
    assert (other[0], other[-1]) == ("ns/other", "-")
    assert (scans[0], " ".join(scans[-5:])) == ("ns/scans", "folder nothere cannot be read")


def test_a_gateway_that_is_lost_says_that_its_figures_are_old(capsys: pytest.CaptureFixture[str]) -> None:
    found = gateway(phase="Unreachable", reason="HeartbeatStale", last_proven_at=NOW, lost_since=NOW)
    assert "all below is as it was then" in printed(found, capsys)


def test_a_program_gets_every_field() -> None:
    assert gateways.record(gateway(shed=3))["shed"] == 3
    assert gateways.record(gateway())["name"] == "lab-a"


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (999, "999B"), (1500, "1.5kB"), (10_000_000_000, "10GB"), (999_600, "999kB")]
)
def test_sizes_have_three_digits(count: int, text: str) -> None:
    assert gateways.size(count) == text
