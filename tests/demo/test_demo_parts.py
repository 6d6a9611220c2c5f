"""The parts of the demo: the recording, the instruments, the analysis, the repository, the report."""

import hashlib
import io
import json
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from atoll.federation.errors import Unavailable
from atoll.sandbox.demo import objects, report, repository
from atoll.sandbox.demo.evidence import Check, Section
from atoll.sandbox.demo.instruments import END_TOPIC, play
from atoll.sandbox.demo.recording import KNOWN_EVENTS, RECORD_BYTES, Recording, prepare
from atoll.sandbox.demo.waiting import DemoFailed, Patience, Stopped


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """The recording that obspy ships."""
    return prepare(tmp_path_factory.mktemp("recording"))


def test_the_records_of_a_channel_are_its_source_file(recording: Recording) -> None:
    """What is published, put together again, is byte for byte the file that it is compared with."""
    assert recording.stations == ("UH1", "UH2", "UH3", "UH4")
    assert len(recording.channels) == 6
    for channel in recording.channels:
        content = b"".join(channel.records)
        assert content == channel.file.read_bytes()
        assert hashlib.sha256(content).hexdigest() == channel.sha256
        assert {len(record) for record in channel.records} == {RECORD_BYTES}
        assert len(set(channel.records)) == len(channel.records)


def test_records_are_played_in_the_order_in_which_they_happened(recording: Recording) -> None:
    """Times grow within each channel and lie within the recording's four minutes."""
    for channel in recording.channels:
        assert list(channel.offsets_seconds) == sorted(channel.offsets_seconds)
        assert 0 <= channel.offsets_seconds[0] < channel.offsets_seconds[-1] <= recording.duration_seconds < 240


def test_the_analysis_finds_exactly_the_known_events(recording: Recording, tmp_path: Path) -> None:
    """Run as the job runs it: three events, at the times and stations that obspy's own tests name."""
    source = recording.channels[0].file.parent
    command = [sys.executable, "-m", "atoll.sandbox.demo.picks", "--in", source, "--out", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "3 events in 6 traces"
    events = json.loads((tmp_path / "out" / "events.json").read_text())["events"]
    for event, known in zip(events, KNOWN_EVENTS, strict=True):
        assert known.after < event["time"] < known.before
        assert len(event["stations"]) == known.stations
    assert len((tmp_path / "out" / "picks.csv").read_text().splitlines()) == 1 + 4 + 3 + 4


def test_the_analysis_fails_on_silence(tmp_path: Path) -> None:
    """An empty folder is no success."""
    (tmp_path / "in").mkdir()
    command = [sys.executable, "-m", "atoll.sandbox.demo.picks", "--in", tmp_path / "in", "--out", tmp_path / "out"]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_instruments_publish_every_record_once_and_the_end_last(recording: Recording, nats_mqtt_server: object) -> None:
    """Six channels of four clients at once: per topic nothing lost, nothing repeated, in order; then the marker."""
    broker = f"mqtt://127.0.0.1:{nats_mqtt_server.mqtt_port}"  # type: ignore[attr-defined]
    received: dict[str, list[bytes]] = defaultdict(list)
    order: list[str] = []
    listener = Client(CallbackAPIVersion.VERSION2, client_id="listener")

    def hear(_client: object, _data: object, message: object) -> None:
        received[message.topic].append(message.payload)  # type: ignore[attr-defined]
        order.append(message.topic)  # type: ignore[attr-defined]

    listener.on_message = hear
    listener.connect("127.0.0.1", urlsplit(broker).port or 0)
    listener.subscribe("seismic/#", qos=1)
    listener.loop_start()
    patience = Patience()
    patience.sleep(0.5)
    counts: list[int] = []
    published = play(recording, broker, speed=200, patience=patience, on_progress=counts.append)
    patience.until("the marker arrives", lambda: END_TOPIC in received, seconds=20, look="")
    listener.disconnect()
    listener.loop_stop()
    assert published.readings == recording.readings == max(counts)
    assert order[-1] == END_TOPIC
    for channel in recording.channels:
        assert received[channel.topic] == list(channel.records)


def test_instruments_without_a_broker_say_so(recording: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    """An address where nobody listens ends in one line."""
    monkeypatch.setattr("atoll.sandbox.demo.instruments._CONNECT_SECONDS", 0.2)
    with pytest.raises(Unavailable, match=r"no MQTT broker answers at mqtt://127\.0\.0\.1:1"):
        play(recording, "mqtt://127.0.0.1:1", speed=1000, patience=Patience(), on_progress=lambda _: None)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_repository_ignores_a_persons_git_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signing, hooks or another default branch of whoever runs the demo change nothing."""
    config = tmp_path / "gitconfig"
    config.write_text(
        "[commit]\n\tgpgsign = true\n[init]\n\tdefaultBranch = trunk\n[core]\n\thooksPath = /nonexistent\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(config))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    made = repository.create(tmp_path / "repository")
    head = (made.path / ".git" / "refs" / "heads" / "main").read_text().strip()
    assert head == made.commit
    assert sorted(file.name for file in (made.path / "policies").iterdir()) == [
        "seismology-egress.yaml",
        "seismology-isolation.yaml",
    ]


def test_the_demos_objects_are_valid(tmp_path: Path) -> None:
    """Each would be accepted by `atoll apply` as it stands."""
    from atoll.cli import manifests

    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"kind": "List", "items": list(objects.all_objects("lab-a", tmp_path))}))
    assert len(manifests.load([str(file)], recursive=False)) == 5


def test_waiting_ends_with_the_claim_and_where_to_look() -> None:
    """What did not come true is named."""
    with pytest.raises(DemoFailed, match=r"the sky falls: not so after 0 s") as caught:
        Patience().until("the sky falls", lambda: False, seconds=0.05, look="up")
    assert caught.value.look == "up"


def test_a_stopped_demo_waits_no_more() -> None:
    """Every later wait ends at once."""
    patience = Patience()
    patience.stop()
    with pytest.raises(Stopped):
        patience.sleep(60)


@pytest.mark.parametrize("width", [80, 140])
def test_the_report_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """At 80 and at 140 columns nothing is cut off: long explanations break into lines."""
    shown = io.StringIO()
    monkeypatch.setattr(report, "_console", lambda: Console(file=shown, width=width, highlight=False))
    reason = "GpuModel: " + "none of its nodes has what was asked for, " * 4 + "THE-END"
    section = Section("Placement", "job → somewhere", ("CLUSTER", "WHY"), (("lab-kubeedge", reason),), ())
    report.print_report([section], {"start": 1.0}, total_seconds=2.0)
    assert max(len(line) for line in shown.getvalue().splitlines()) <= width
    assert "THE-END" in shown.getvalue()


def test_a_failed_check_says_where_to_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """The claim that does not hold comes last, with a place to look at."""
    shown = io.StringIO()
    monkeypatch.setattr(report, "_console", lambda: Console(file=shown, width=80))
    checks = (Check("water is wet", True, ""), Check("pigs fly", False, "the sky above the farm"))
    report.print_report([Section("Farm", "", ("A",), (), checks)], {}, total_seconds=1.0)
    assert "1 of 2 checks failed:" in shown.getvalue()
    assert "✗ pigs fly\n    look at: the sky above the farm" in shown.getvalue()
