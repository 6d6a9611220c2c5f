"""What a newcomer does with faults: joins a cluster by hand, breaks things, sees it with its age, and heals."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from clitool import Cli, kubectl

pytestmark = [pytest.mark.demo, pytest.mark.faults]


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A running sandbox of two clusters."""
    cli = Cli(tmp_path_factory.mktemp("faults"))
    try:
        cli.ok("sandbox", "up", "--clusters", "2")
        yield cli
    finally:
        cli("sandbox", "down")


@pytest.fixture(autouse=True)
def whole(sandbox: Cli) -> Iterator[None]:
    """Every test leaves the sandbox whole."""
    yield
    sandbox.ok("sandbox", "fault", "heal")


def eventually(check: Callable[[], bool], what: str, seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.3)


def phase(cli: Cli, cluster: str) -> str:
    """The phase of a cluster, empty if there is none of that name."""
    done = cli("get", "cluster", cluster, "-o", "json")
    return str(json.loads(done.stdout).get("status", {}).get("phase", "")) if done.returncode == 0 else ""


def test_a_cut_link_shows_in_the_mesh_with_the_age_of_its_proof_and_returns(sandbox: Cli) -> None:
    """`mesh status` exits 3 and says which link, how old its proof is, and Cilium's reason; healed, it exits 0."""
    eventually(lambda: sandbox("mesh", "status").returncode == 0, "a whole mesh")
    said = sandbox.ok("sandbox", "fault", "cut", "cloud-eu", "onprem-gpu")
    assert said == "cloud-eu and onprem-gpu are cut off from each other\n"
    eventually(
        lambda: "cloud-eu - onprem-gpu   Down " in sandbox("mesh", "status").stdout, "the cut, told by both ends"
    )
    shown = sandbox("mesh", "status")
    assert (shown.returncode, "context deadline exceeded" in shown.stdout) == (3, True)
    (link,) = json.loads(sandbox("mesh", "status", "-o", "json").stdout)["links"]
    assert all(side["view"]["lastProvenAt"] < side["view"]["seenAt"] for side in link["directions"])
    assert "healed: " in sandbox.ok("sandbox", "fault", "heal", "onprem-gpu")
    eventually(lambda: sandbox("mesh", "status").returncode == 0, "the return of the link")


def test_a_killed_agent_stays_down_until_it_is_healed(sandbox: Cli) -> None:
    """The supervisor shows it as down; nobody starts it again before."""
    sandbox.ok("sandbox", "fault", "kill", "agent", "onprem-gpu")

    def process() -> dict[str, object]:
        state = json.loads(sandbox.ok("sandbox", "status", "-o", "json"))
        return next(one for one in state["processes"] if one["name"] == "agent-onprem-gpu")

    eventually(lambda: process().get("pid") is None, "the death")
    assert "the agent of onprem-gpu is down" in sandbox.ok("sandbox", "status")
    time.sleep(1.0)  # the supervisor's first restart would be after 0.2 s
    assert process().get("pid") is None
    sandbox.ok("sandbox", "fault", "heal")
    eventually(lambda: process().get("pid") is not None, "the restart")


def test_an_agent_that_is_killed_once_comes_back(sandbox: Cli) -> None:
    """Nothing stands afterwards."""
    assert "killed once" in sandbox.ok("sandbox", "fault", "kill", "agent", "cloud-eu", "--once")
    assert sandbox("sandbox", "fault", "list").stderr == "no fault stands\n"
    eventually(lambda: '"restarts": 1' in sandbox.ok("sandbox", "status", "-o", "json"), "the restart")


def test_a_dead_api_server_degrades_its_cluster(sandbox: Cli) -> None:
    """The agent says so by itself, well before anybody could count it as lost; healed, it is Ready."""
    sandbox.ok("sandbox", "fault", "kill", "apiserver", "onprem-gpu")
    eventually(lambda: phase(sandbox, "onprem-gpu") == "Degraded", "the loss of the API server")
    sandbox.ok("sandbox", "fault", "heal")
    eventually(lambda: phase(sandbox, "onprem-gpu") == "Ready", "the return")


def test_faults_are_listed_with_their_age(sandbox: Cli) -> None:
    """As a table, and as JSON."""
    sandbox.ok("sandbox", "fault", "slow", "cloud-eu", "20ms")
    sandbox.ok("sandbox", "fault", "slow", "hub", "onprem-gpu", "30ms")
    shown = sandbox.ok("sandbox", "fault", "list")
    assert "the API server of cloud-eu answers 0.02 s late" in shown
    assert "the way between onprem-gpu and the hub takes 0.03 s longer" in shown
    assert all(line.split()[-1].rstrip("s").isdigit() for line in shown.splitlines()[1:]), shown
    sandbox.ok("sandbox", "fault", "heal", "onprem-gpu")
    said = sandbox("sandbox", "fault", "heal", "onprem-gpu").stderr
    assert said == "nothing to heal: no fault concerns onprem-gpu (1 other stands: atoll sandbox fault list)\n"
    sandbox.ok("sandbox", "fault", "slow", "hub", "onprem-gpu", "30ms")
    faults = json.loads(sandbox.ok("sandbox", "fault", "list", "-o", "json"))
    assert [(one["kind"], one["delaySeconds"]) for one in faults] == [("SlowApiServer", 0.02), ("SlowHub", 0.03)]


REFUSALS = {
    "no such cluster": (("cut", "cloud-eu", "mars"), 1, "the sandbox has no cluster 'mars'"),
    "no such cluster to heal": (("heal", "mars"), 1, "the sandbox has no cluster 'mars'"),
    "itself": (("cut", "cloud-eu", "cloud-eu"), 1, "cloud-eu has no link to itself"),
    "no duration": (("slow", "cloud-eu", "2x"), 1, "'2x' is no duration"),
    "no delay": (("slow", "cloud-eu"), 2, "give CLUSTER DELAY, or hub CLUSTER DELAY"),
    "nothing to kill": (("kill", "hub", "cloud-eu"), 2, "is not one of agent, apiserver"),
    "half a cut from the hub": (("cut", "hub", "cloud-eu", "--one-way"), 2, "goes both ways"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_fault_that_cannot_be_is_refused(sandbox: Cli, case: str) -> None:
    """One line says what is wrong; nothing stands."""
    arguments, code, words = REFUSALS[case]
    done = sandbox("sandbox", "fault", *arguments)
    assert (done.returncode, words in done.stderr) == (code, True), done.stderr
    assert sandbox("sandbox", "fault", "list").stdout == ""


def test_the_same_fault_twice_is_refused_and_healing_the_whole_says_so(sandbox: Cli) -> None:
    """Since when it stands is in the refusal; with nothing to heal, healing is no failure."""
    sandbox.ok("sandbox", "fault", "cut", "hub", "cloud-eu")
    again = sandbox("sandbox", "fault", "cut", "hub", "cloud-eu")
    assert (again.returncode, "cloud-eu is cut off from the hub already, since" in again.stderr) == (1, True)
    sandbox.ok("sandbox", "fault", "heal")
    done = sandbox("sandbox", "fault", "heal")
    assert (done.returncode, done.stderr) == (0, "nothing to heal: no fault stands\n")


def test_faults_need_a_sandbox_that_runs(tmp_path: Path) -> None:
    """A hub of one's own is nobody's to break."""
    done = Cli(tmp_path)("sandbox", "fault", "list")
    assert done.returncode == 1
    assert "start one with 'atoll sandbox up'" in done.stderr


def test_one_more_cluster_joins_by_hand_is_cut_off_returns_and_leaves(sandbox: Cli) -> None:
    """Started bare, joined by its context with real manifests, killed, back from its claim, gone without a trace."""
    state = json.loads(sandbox.ok("sandbox", "status", "-o", "json"))
    if (
        json.loads((Path(state["hubKubeconfig"]).parent / "clusters" / "clusters.json").read_text())["isolation"]
        != "mounts"
    ):
        pytest.skip("needs mount namespaces: an agent in a pod finds its account at a fixed path")
    sandbox.ok("sandbox", "cluster", "start", "lab-9")
    own = ("sandbox", "cluster", "stop", "cloud-eu")
    assert "one of the sandbox's own" in sandbox(*own).stderr
    try:
        sandbox.ok("cluster", "join", "lab-9", "--context", "lab-9", "--heartbeat-seconds", "1", "--timeout", "60s")
        assert phase(sandbox, "lab-9") == "Ready"
        mesh = sandbox("mesh", "status")
        line = next(line for line in mesh.stdout.splitlines() if "lab-9" in line)
        assert (mesh.returncode, "never" in line) == (0, True), mesh.stdout
        sandbox.ok("sandbox", "fault", "kill", "agent", "lab-9")
        sandbox.ok("sandbox", "fault", "heal", "lab-9")
        pods = ("--context", "lab-9", "-n", "atoll-system", "get", "pods", "-o", "jsonpath={..restartCount}{..ready}")
        eventually(lambda: kubectl(*pods, environment=sandbox.environment).stdout == "1true", "the agent's return")
        assert (
            "enrolled with the hub"
            not in kubectl(
                *("--context", "lab-9", "-n", "atoll-system", "logs", "deploy/atoll-agent"),
                environment=sandbox.environment,
            ).stdout
        )
        sandbox.ok("cluster", "leave", "lab-9")
    finally:
        sandbox.ok("sandbox", "cluster", "stop", "lab-9")
    assert "lab-9" not in sandbox.kubeconfig.read_text()
    assert "lab-9" not in sandbox.ok("sandbox", "cluster", "list")


def test_the_clusters_are_listed_in_every_form(sandbox: Cli) -> None:
    """For people, for scripts, and for programs."""
    clusters = json.loads(sandbox.ok("sandbox", "cluster", "list", "-o", "json"))
    names = [one["name"] for one in clusters]
    assert {one["agent"] for one in clusters} == {"the sandbox"}
    assert sandbox.ok("sandbox", "cluster", "list", "-o", "name").split() == [f"cluster/{name}" for name in names]
    assert yaml.safe_load(sandbox.ok("sandbox", "cluster", "list", "-o", "yaml")) == clusters
    narrow, wide = (sandbox.ok("sandbox", "cluster", "list", *form).splitlines() for form in ((), ("-o", "wide")))
    assert narrow[0].split() == ["NAME", "VERSION", "AGENT", "API"]
    assert wide[0].split() == ["NAME", "VERSION", "AGENT", "API", "KUBECONFIG"]
    assert wide[1].split()[-1] == clusters[0]["kubeconfig"]
