"""`atoll mesh`: the matrix, the rules, the plan and the services, as the real program prints them.

A small server stands for the hub: it has the clusters that a test gives it, which a real hub has only with as many
agents. The real path, agents and all, is walked by the sandbox's tests.
"""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import ascii_letters
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml
from clitool import Cli

from atoll.federation.resources import Cluster, MeshCertificate, MeshFacts, MeshLink, MeshService

Run = Callable[..., "CompletedProcess[str]"]
_CLUSTERS, _TRANSFERS = "/apis/atoll.dev/v1alpha1/clusters", "/apis/atoll.dev/v1alpha1/transfers"


def now() -> datetime:
    return datetime.now(UTC)


def view(peer: str, *, ready: bool = True, **fields: Any) -> MeshLink:
    at = now()
    proof = {"last_proven_at": at if ready else at - timedelta(hours=2), "seen_at": at}
    reason = "" if ready else "etcd: 0/1 connected"
    return MeshLink(peer=peer, is_connected=ready, is_ready=ready, reason=reason, **{**proof, **fields})


def facts(name: str, number: int, peers: list[str], **changed: Any) -> MeshFacts:
    certificate = MeshCertificate(name="server", expires_at=now() + timedelta(days=300))
    given = {
        "name": name, "id": number, "max_connected_clusters": 255, "routing_mode": "tunnel", "tunnel_protocol": "vxlan",
        "default_local_cluster": True, "label_filters": "", "expected_peers": tuple(peers),
        "ca_fingerprints": ("ab" * 32,), "certificates": (certificate,), "pod_cidrs": (f"10.{number}.0.0/16",),
        "node_cidrs": (f"172.31.{number}.0/24",), "seen_at": now(), **changed,
    }  # fmt: skip
    return MeshFacts(**given)


def federation(*names: str, **changed: dict[str, Any]) -> list[Cluster]:
    """A full mesh; `changed` gives links and facts of clusters that differ, by number: `c2={...}`."""
    found = []
    for number, name in enumerate(names, start=1):
        peers = [peer for peer in names if peer != name]
        other = changed.get(f"c{number}", {})
        links = {peer: view(peer, latency_seconds=0.012, remote_nodes=3) for peer in peers}
        links |= {link.peer: link for link in other.get("links", ())}
        told = facts(name, number, peers, **other.get("facts", {}))
        status = {"links": [link.wire() for link in links.values()], "mesh": told.wire(), "phase": "Ready"}
        spec = {"mesh": {"id": number}}
        found.append(Cluster.model_validate({"metadata": {"name": name}, "spec": spec, "status": status}))
    return found


class Hub:
    """What of a hub these commands read."""

    def __init__(self) -> None:
        self.lists: dict[str, list[dict[str, Any]]] = {_CLUSTERS: [], _TRANSFERS: []}
        self.forbidden: set[str] = set()

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path in self.forbidden:
            return 403, {"kind": "Status", "status": "Failure", "reason": "Forbidden", "message": "no", "code": 403}
        return 200, {"kind": "List", "metadata": {}, "items": self.lists[path]}


@pytest.fixture
def hub_lists() -> Hub:
    return Hub()


@pytest.fixture
def mesh(cli: Cli, hub_lists: Hub) -> Iterator[Run]:
    """Run `atoll mesh …` with clusters: `mesh(clusters, "status")`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            code, body = hub_lists.answer(self.path.partition("?")[0])
            content = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_args: object) -> None:
            """Say nothing on the tests' terminal."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()

    def run(clusters: list[Cluster], *arguments: str) -> "CompletedProcess[str]":
        hub_lists.lists[_CLUSTERS] = [cluster.wire() for cluster in clusters]
        return cli("mesh", *arguments, "--server", f"http://127.0.0.1:{server.server_address[1]}")

    try:
        yield run
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


EIGHT = ("cloud-eu", "cloud-us", "onprem-gpu", "lab-k3s", "lab-kubeedge", "alps", "polar", "tropics")


def test_the_matrix_of_eight_clusters_fits_a_terminal(mesh: Run) -> None:
    """Each cluster has a row and a column; every line has 80 columns at most; all ready is exit 0."""
    done = mesh(federation(*EIGHT), "status")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["CLUSTER", "PROVEN", *"abcdefgh"]
    assert [line.split()[1] for line in lines[1:]] == sorted(EIGHT)
    assert all(line.split().count("12ms") == 7 for line in lines[1:])
    assert max(map(len, lines)) <= 80
    assert "28 of 28 links are ready" in done.stderr


def test_links_that_are_not_ready_are_named_with_their_reason_below_the_matrix(mesh: Run) -> None:
    """One is down, one is asymmetric; the exit code is that of a condition that does not hold."""
    clusters = federation(
        "a", "b", "c",
        c1={"links": [view("b", ready=False)]}, c2={"links": [view("a", ready=False), view("c", ready=False)]},
    )  # fmt: skip
    done = mesh(clusters, "status")
    assert done.returncode == 3
    matrix, broken = done.stdout.split("\n\n")
    assert [line.split()[3:] for line in matrix.splitlines()[1:]] == [
        ["·", "down", "12ms"], ["down", "·", "down"], ["12ms", "ok", "·"],
    ]  # fmt: skip
    rows = broken.splitlines()[1:]
    assert rows[0].split()[:4] == ["a", "-", "b", "Down"]
    assert rows[0].split()[4].startswith("2h"), "the age of the last proof, not of the last look"
    assert "c reaches b, not the reverse: etcd: 0/1 connected" in rows[1]


def test_a_mesh_of_dozens_is_a_map_of_one_character_a_link(mesh: Run) -> None:
    """Fifty clusters in 80 columns: who is how proven, how many links are ready, and where the others are."""
    names = [f"m{number:02}" for number in range(1, 51)]
    gone = {"links": [view("m02", ready=False)]}, {"links": [view("m01", ready=False)]}
    done = mesh(federation(*names, c1=gone[0], c2=gone[1]), "status")
    assert done.returncode == 3
    drawn, broken = done.stdout.split("\n\n")
    header, first, *_, last = drawn.splitlines()
    assert header.split() == ["CLUSTER", "PROVEN", "READY", ascii_letters[:50]]
    assert first.split()[1:2] + first.split()[3:] == ["m01", "48/49", "·x" + "+" * 48]
    assert first.split()[2].startswith("2h"), "the age of the oldest proof"
    assert last.split()[-2:] == ["49/49", "+" * 49 + "·"]
    assert max(map(len, drawn.splitlines())) <= 80
    assert broken.splitlines()[1].split()[:4] == ["m01", "-", "m02", "Down"]
    assert "1224 of 1225 links are ready" in done.stderr
    assert "x down" in done.stderr


def test_many_broken_links_are_told_by_the_clusters_that_broke_them(mesh: Run) -> None:
    """Sixty clusters, one of which is reached by nobody: one line, not fifty-nine, and nothing of the others."""
    names = [f"m{number:02}" for number in range(1, 61)]
    alone = {"links": [view(name, ready=False) for name in names if name != "m07"]}
    changed = {f"c{number}": {"links": [view("m07", ready=False)]} for number in range(1, 61)} | {"c7": alone}
    done = mesh(federation(*names, **changed), "status")
    assert done.returncode == 3
    header, row = done.stdout.splitlines()
    assert header.split() == ["CLUSTER", "PROVEN", "BROKEN", "STATES", "REASON"]
    assert row.split()[:1] + row.split()[2:4] == ["m07", "59/59", "Down:59"]
    assert "etcd: 0/1 connected" in row
    assert "1711 of 1770 links are ready" in done.stderr


def test_wide_lists_every_direction_with_rates_and_ages(mesh: Run, hub_lists: Hub) -> None:
    """What a transfer measured stands in its own direction; nodes that do not answer are counted."""
    hub_lists.lists[_TRANSFERS] = [
        {
            "apiVersion": "atoll.dev/v1alpha1",
            "kind": "Transfer",
            "metadata": {"name": "t", "namespace": "lab"},
            "spec": {"dataset": "d", "version": 1, "source": "a", "destination": "b"},
            "status": {"phase": "Succeeded", "bytesPerSecond": 123_400_000.0, "copiedBytes": 10**9,
                       "finishedAt": now().isoformat()},
        }
    ]  # fmt: skip
    tired = view("a", remote_nodes=5, probed_nodes=5, unreachable_nodes=2, failures=7)
    done = mesh(federation("a", "b", c2={"links": [tired]}), "status", "-o", "wide")
    there, back = (line.split() for line in done.stdout.splitlines()[1:])
    assert there[:7] == ["a", "b", "Ready", "12ms", "3", "0", "123MB/s"]
    assert back[:7] == ["b", "a", "Ready", "-", "3/5", "7", "-"]


def test_somebody_who_may_not_list_transfers_sees_the_links_all_the_same(mesh: Run, hub_lists: Hub) -> None:
    """Rates are then missing, nothing else is."""
    hub_lists.forbidden = {_TRANSFERS}
    done = mesh(federation("a", "b"), "status", "-o", "wide")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 3)


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_the_matrix_can_be_read_by_programs(mesh: Run, form: str) -> None:
    """Both directions with their views, and what they add up to."""
    done = mesh(federation("a", "b", c1={"links": [view("b", ready=False)]}), "status", "-o", form)
    found = json.loads(done.stdout) if form == "json" else yaml.safe_load(done.stdout)
    (link,) = found["links"]
    assert (link["clusters"], link["state"]) == (["a", "b"], "Asymmetric")
    assert [(side["from"], side["to"], side["view"]["isReady"]) for side in link["directions"]] == [
        ("a", "b", False),
        ("b", "a", True),
    ]


def test_no_link_is_said_and_why(mesh: Run) -> None:
    """An empty mesh is no failure; an agent's message tells what it lacks."""
    lonely = Cluster.model_validate(
        {"metadata": {"name": "a"}, "spec": {"mesh": {"id": 1}}, "status": {"mesh": {"message": "no socket was given"}}}
    )
    done = mesh([lonely], "status")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines() == ["no cluster has reported a mesh link", "a: no socket was given"]
    assert mesh([], "status").stderr == "no cluster has reported a mesh link\n"


def test_check_says_that_all_rules_hold(mesh: Run) -> None:
    """One line, exit 0."""
    done = mesh(federation("a", "b", "c"), "check")
    assert (done.returncode, done.stdout) == (0, "no rule of the mesh is broken in 3 clusters\n")


def test_check_names_each_broken_rule_with_what_to_do_and_exits_3(mesh: Run) -> None:
    """Rule, clusters, why it hurts, what to do."""
    clusters = federation("a", "b", "c", c3={"facts": {"tunnel_protocol": "geneve", "pod_cidrs": ("10.1.0.0/24",)}})
    done = mesh(clusters, "check")
    assert done.returncode == 3
    rows = done.stdout.splitlines()[1:]
    assert [row.split()[:2] for row in rows] == [["TunnelProtocolDiffers", "c"], ["PodCidrOverlap", "a,c"]]
    assert all("To do: " in row for row in rows)
    found = json.loads(mesh(clusters, "check", "-o", "json").stdout)
    assert [each["reason"] for each in found["violations"]] == ["TunnelProtocolDiffers", "PodCidrOverlap"]
    assert all(each["remedy"] for each in found["violations"])


def test_check_says_what_it_could_not_check(mesh: Run) -> None:
    """Unknown is neither right nor wrong, and is never passed over in silence."""
    lacking = {"facts": {"ca_fingerprints": (), "expected_peers": None, "problems": ("Secret x may not be read",)}}
    done = mesh(federation("a", "b", c2=lacking), "check")
    assert done.returncode == 0
    assert done.stderr == "not checked: b: its CA, its configured peers (Secret x may not be read)\n"


def test_check_without_a_mesh_says_how_to_begin(mesh: Run) -> None:
    """Nothing to check is exit 0 and a hint."""
    done = mesh([], "check")
    assert (done.returncode, done.stdout) == (0, "")
    assert "atoll mesh plan" in done.stderr


def test_plan_prints_values_alone_on_stdout(mesh: Run) -> None:
    """What goes into a file is YAML of Cilium's chart; what to do next is on stderr."""
    done = mesh(federation("a", "b"), "plan", "lab-9", "--cidr-size", "20")
    assert done.returncode == 0, done.stderr
    values = yaml.safe_load(done.stdout)
    assert values["cluster"] == {"name": "lab-9", "id": 3}
    assert values["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"] == ["10.0.0.0/20"]
    assert json.loads(mesh(federation("a", "b"), "plan", "lab-9", "--cidr-size", "20", "-o", "json").stdout) == values
    assert "declare it with spec.mesh: {name: lab-9, id: 3}" in done.stderr


REFUSED = {
    "a name that is taken": (("a",), 1, "already"),
    "a name that cannot be": (("a.b",), 1, "not allowed"),
    "a size that cannot be": (("x", "--cidr-size", "30"), 1, "/10 to /24"),
    "a size that is none": (("x", "--cidr-size", "big"), 2, "--cidr-size"),
    "no name": ((), 2, "NAME"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_plan_refuses(mesh: Run, what: str) -> None:
    """The message says what is wrong, and nothing is printed that could go into a file."""
    arguments, code, words = REFUSED[what]
    done = mesh(federation("a", "b"), "plan", *arguments)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr


def served(endpoints: int) -> dict[str, Any]:
    service = MeshService(namespace="lab", name="db", is_global=True, endpoints=endpoints)
    return {"facts": {"services": (service,)}}


def test_services_show_where_endpoints_are_and_who_steps_in(mesh: Run) -> None:
    """One cluster's endpoints vanish: the service is served by the other one, and says so."""
    well = mesh(federation("a", "b", c1=served(2), c2=served(1)), "services")
    assert well.stdout.splitlines()[1].split() == ["lab", "db", "Served", "a:2,b:1", "-"]
    failed = mesh(federation("a", "b", c1=served(2), c2=served(0)), "services").stdout.splitlines()[1]
    assert failed.split()[2:4] == ["FailedOver", "a:2,b:0"]
    assert "no endpoint in b: served by a" in failed
    found = json.loads(mesh(federation("a", "b", c1=served(0), c2=served(0)), "services", "-o", "json").stdout)
    assert [(each["name"], each["state"], len(each["places"])) for each in found] == [("db", "Down", 2)]


def test_no_shared_service_is_said_with_how_to_share_one(mesh: Run) -> None:
    """Empty is a hint, not an error."""
    done = mesh(federation("a", "b"), "services")
    assert (done.returncode, done.stdout) == (0, "")
    assert "service.cilium.io/global" in done.stderr


@pytest.mark.parametrize("command", ["status", "check", "plan", "services"])
def test_every_command_explains_itself_with_an_example(cli: Cli, command: str) -> None:
    """--help shows how it is written."""
    assert f"atoll mesh {command}" in cli.ok("mesh", command, "--help")
