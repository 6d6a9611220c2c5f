"""`atoll doctor`: what is measured is judged rightly, what is wrong comes with what to do, and the exit code tells."""

import json
import resource
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from clitool import Cli

from atoll.cli.checkup import federation, machine, report
from atoll.cli.checkup.findings import Finding, Result, clock, expiry, worst_first
from atoll.cli.choosing import HubChoice
from atoll.hub.diagnosis.members import by_owner, seconds
from atoll.hub.diagnosis.servers import server_row, stream_row

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def later(**span: float) -> str:
    return (NOW + timedelta(**span)).isoformat()


def server(**changes: Any) -> dict[str, Any]:
    sound = {"name": "n1", "version": "2.15.1", "isHealthy": True, "problem": "", "syncSeconds": 0.0}
    return {**sound, "usedBytes": 10, "mostBytes": 100, **changes}


def stream(**changes: Any) -> dict[str, Any]:
    sound = {"name": "STATE", "account": "hub", "replicas": 1, "currentReplicas": 1, "hasLeader": True}
    return {**sound, "messages": 1, "bytes": 10, "mostBytes": None, "refusesWhenFull": True, **changes}


def diagnosis(**changes: Any) -> dict[str, Any]:
    """The examination of a hub that is well, with changes by part."""
    hub = {"version": "0.1.0", "at": NOW.isoformat(), "isLeader": True, "authenticates": True}
    clock_of_nats = {"aheadSeconds": 0.001, "withinSeconds": 0.002}
    nats = {"hasAccounts": True, "wantedReplicas": 1, "clock": clock_of_nats, "servers": [server()]}
    member = {"kind": "cluster", "name": "a", "agentVersion": "0.1.0", "heardAt": later(seconds=-3)}
    measured = {"clockAheadSeconds": -0.02, "credentials": {"expiresAt": later(hours=20)}}
    parts = {"hub": hub, "nats": {**nats, "streams": [stream()]}, "member": {**member, **measured}}
    merged = {name: {**part, **changes.get(name, {})} for name, part in parts.items()}
    return {"hub": merged["hub"], "nats": merged["nats"], "members": [merged["member"]], "problems": []}


def judged(told: dict[str, Any]) -> list[Finding]:
    return [*federation.hub(told), *federation.nats(told), *federation.evidence(told, now=NOW)]


def test_a_federation_that_is_well_has_nothing_to_do() -> None:
    found = judged(diagnosis())
    assert {each.result for each in found} == {Result.OK}
    assert not any(each.remedy for each in found)


@pytest.mark.parametrize(
    ("changes", "check", "result", "words"),
    [
        ({"hub": {"isLeader": False, "leader": {"isHeld": False}}}, "hub/leader", "problem", "no hub leads"),
        ({"nats": {"servers": [server(syncSeconds=120.0)]}}, "nats/sync", "problem", "sync_interval: always"),
        ({"nats": {"servers": [server(usedBytes=85)]}}, "nats/disk", "warning", "85%"),
        ({"nats": {"servers": [server(usedBytes=96)]}}, "nats/disk", "problem", "96%"),
        ({"nats": {"servers": [server(isHealthy=False, problem="no quorum")]}}, "nats/n1", "problem", "no quorum"),
        (
            {
                "nats": {
                    "servers": [server()] * 2,
                    "wantedReplicas": 3,
                    "streams": [stream(replicas=3, currentReplicas=3)],
                }
            },
            "nats/servers",
            "warning",
            "2 of at least 3 servers",
        ),
        ({"nats": {"servers": [server()] * 3}}, "nats/replicas", "warning", "--nats-replicas 3"),
        ({"nats": {"streams": [stream(replicas=3, currentReplicas=2)]}}, "nats/replicas", "warning", "2 of 3"),
        ({"nats": {"streams": [stream(replicas=3, currentReplicas=1)]}}, "nats/replicas", "problem", "1 of 3"),
        ({"nats": {"streams": [stream(name="LAB_a", bytes=96, mostBytes=100)]}}, "nats/LAB_a", "problem", "96% full"),
        ({"nats": {"clock": {"aheadSeconds": -20.0, "withinSeconds": 0.1}}}, "nats/clock", "problem", "20.0 s behind"),
        ({"member": {"clockAheadSeconds": 5.0}}, "clusters/a/clock", "warning", "5.0 s ahead"),
        ({"member": {"clockAheadSeconds": -40.0}}, "clusters/a/clock", "problem", "40.0 s behind"),
        ({"member": {"agentVersion": "0.0.9"}}, "clusters/a/version", "warning", "0.0.9"),
        ({"member": {"credentials": {"expiresAt": later(hours=3)}}}, "clusters/a/credentials", "warning", "in 3h"),
        ({"member": {"credentials": {"expiresAt": later(hours=-3)}}}, "clusters/a/credentials", "problem", "3h ago"),
    ],
)
def test_what_is_not_well_is_told_with_what_to_do(changes: dict[str, Any], check: str, result: str, words: str) -> None:
    troubled = [each for each in judged(diagnosis(**changes)) if each.result is not Result.OK]
    assert [(each.check, each.result.value) for each in troubled] == [(check, result)]
    assert words in f"{troubled[0].message} {troubled[0].remedy}"
    assert troubled[0].remedy


def test_what_the_hub_could_not_examine_is_told_without_subjects() -> None:
    told = diagnosis() | {"problems": ["the lease: no answer on $JS.API.STREAM.MSG.GET.LEASES within 10 s"]}
    assert "the lease: no answer within 10 s" in {each.message for each in judged(told)}


def test_a_heartbeat_of_long_ago_says_nothing_of_the_clock_now() -> None:
    told = diagnosis(member={"clockAheadSeconds": -900.0, "heardAt": later(hours=-1)})
    assert not any(each.check.endswith("/clock") for each in judged(told) if each.result is Result.PROBLEM)


def test_members_are_judged_by_their_phase_and_a_thousand_take_few_lines() -> None:
    def cluster(name: str, **status: Any) -> dict[str, Any]:
        return {"kind": "Cluster", "metadata": {"name": name}, "status": status}

    lost = [cluster(f"c{number:03}", phase="Unreachable", lostSince=later(hours=-2)) for number in range(900)]
    well = [cluster("w", phase="Ready"), cluster("s", phase="Asleep"), cluster("d", phase="Degraded", message="x")]
    found = [each for each in federation.members([*lost, *well], now=NOW) if each.check.startswith("clusters")]
    assert len(found) == 12
    assert "nothing was heard of it for 2h" in found[0].message
    assert found[-1].message == "1 of 903 are heard and well"
    assert [each.result.value for each in worst_first(found, most=1)] == ["problem", "note"]


def test_a_measurement_counts_only_as_far_as_it_is_sure() -> None:
    assert clock("c", "it", 2.5, within_seconds=1.0).result is Result.OK
    assert clock("c", "it", 3.5, within_seconds=1.0).result is Result.WARNING
    ends = expiry("c", "it", NOW + timedelta(days=3), now=NOW, warn=timedelta(days=7), remedy="r")
    assert (ends.result, ends.message) == (Result.WARNING, "it ends in 3 days")


def test_answers_of_nats_are_read_and_what_is_left_out_is_not_guessed() -> None:
    answer = {"server": {"name": "n", "ver": "2.15.1", "id": "X"}, "data": {"config": {"sync_interval": 120 * 10**9}}}
    told = server_row(answer, None)
    assert (told["syncSeconds"], told["isHealthy"]) == (pytest.approx(120.0), None)
    info = {"config": {"name": "S", "num_replicas": 3}, "state": {"messages": 0, "bytes": 0}}
    peers = [{"name": "b", "current": True}, {"name": "c", "current": True, "offline": True}]
    row = stream_row({**info, "cluster": {"leader": "a", "replicas": peers}}, "hub")
    assert (row["replicas"], row["currentReplicas"]) == (3, 2)
    assert by_owner([{"jwt": "no jwt"}, {}]) == {}
    durations = {"1m2.5s": 62.5, "854µs": 0.000854, "1h0m3s": 3603.0, "1.2ms": 0.0012, "": 0.0, "soon": 0.0}
    assert {text: seconds(text) for text in durations} == pytest.approx(durations)


def test_few_open_files_are_a_problem_and_no_limit_is_none() -> None:
    results = [machine.open_files(limit).result.value for limit in (256, 1024, 65536, resource.RLIM_INFINITY)]
    assert results == ["problem", "warning", "ok", "ok"]


def findings(cli: Cli, *arguments: str, code: int = 0) -> dict[str, dict[str, str]]:
    done = cli("doctor", "-o", "json", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return {each["check"]: each for each in json.loads(done.stdout)["findings"]}


def test_without_a_hub_the_machine_is_examined_and_a_hub_that_was_named_is_missed(cli: Cli) -> None:
    """None that runs is no problem where none was asked for."""
    found = findings(cli)
    assert found["machine/python"]["result"] == "ok"
    assert (found["hub/reachable"]["result"], "atoll up" in found["hub/reachable"]["remedy"]) == ("note", True)
    missed = findings(cli, "--server", "https://127.0.0.1:1", code=3)
    assert missed["hub/reachable"]["result"] == "problem"


class Frozen(BaseHTTPRequestHandler):
    """A hub whose NATS is frozen: what needs it is answered only when both questions that do were asked."""

    both: ClassVar[threading.Barrier]

    def do_GET(self) -> None:
        if self.path == "/version":
            self._answer(200, {"gitVersion": "v1.34.0+atoll-0.1.0"})
            return
        self.both.wait(30)
        self._answer(503, {"message": "the store cannot be reached: no answer on $JS.API.STREAM.INFO.S within 5 s"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"status": {"userInfo": {"username": "ada"}}})

    def _answer(self, code: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def test_what_waits_for_a_frozen_nats_is_asked_at_once_and_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, each would take its ten seconds."""
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("ATOLL_HOME", str(tmp_path / "home"))
    handler = type("One", (Frozen,), {"both": threading.Barrier(2)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        found = {each.check: each for each in report.examine(HubChoice(f"http://127.0.0.1:{server.server_port}"))}
        server.shutdown()
        thread.join()
    told = "not seen: the hub answers, but not NATS, where it keeps everything (no answer within 5 s)"
    assert {check: found[check].message for check in ("nats", "clusters")} == {"nats": told, "clusters": told}


def test_an_admin_sees_all_and_a_viewer_what_a_viewer_may(hub: Cli, viewer: Cli) -> None:
    found = findings(hub)
    expected = {"home/ca", "hub/tls", "hub/ca", "hub/credentials", "hub/leader", "hub/clock", "nats/sync", "nats/disk"}
    assert {check: found[check]["result"] for check in expected} == dict.fromkeys(expected, "ok")
    seen = findings(viewer)
    assert seen["nats"]["message"].startswith("not seen:")
    assert seen["hub/tls"]["result"] == "ok"
    assert "until when, an Admin sees" in seen["hub/credentials"]["message"]
    table = hub.ok("doctor").splitlines()
    assert table[0].split() == ["CHECK", "RESULT", "WHAT"]


@pytest.fixture
def viewer(hub: Cli, tmp_path: Path) -> Iterator[Cli]:
    """A CLI somewhere else, with a Viewer's token."""
    token = hub.ok("token", "issue", "vera", "--role", "Viewer", "--for", "2h").strip()
    context = json.loads(hub.ok("doctor", "-o", "json"))["findings"]
    address = next(each["message"] for each in context if each["check"] == "hub/reachable").split()[0]
    more = {"ATOLL_SERVER": address, "ATOLL_TOKEN": token, "ATOLL_CA": str(hub.root / "pki" / "ca.crt")}
    yield Cli(tmp_path / "elsewhere", names_home=False, more=more)
    hub("token", "revoke", token.split("_")[1])
