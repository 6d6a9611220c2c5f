"""Clusters of k3d: what k3d, helm and cilium are told. A program that stands in for them writes it down.

What Docker makes of it is not seen here.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from atoll.federation.errors import Conflict, InvalidInput, Unavailable
from atoll.local.home import Home
from atoll.sandbox.k3d import plan, tools
from atoll.sandbox.k3d.clusters import Clusters, choose_provider, clusters_in, stop_all
from sandbox.worlds import Sandbox

STAND_IN = Path(__file__).with_name("k3d_stand_in.sh")
PROGRAMS = ("docker", "k3d", "helm", "cilium")
QUESTIONS = ("docker info", "k3d cluster list", "k3d registry list")


@dataclass(frozen=True)
class StandIn:
    """The programs' memory, and the folder that they are in."""

    memory: Path
    programs: Path

    def told(self) -> list[tuple[list[str], dict[str, str]]]:
        """Every command that changes something, with its variables, since the last look."""
        path = self.memory / "told"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        found = [
            (argv.split("\t"), dict(zip(("K3D_FIX_MOUNTS", "KUBECONFIG"), variables.split("\t"), strict=True)))
            for argv, variables in zip(lines[::2], lines[1::2], strict=True)
        ]
        return [each for each in found if not " ".join(each[0]).startswith(QUESTIONS)]

    def verbs(self) -> list[str]:
        """The same, in three words each."""
        return [" ".join(argv[:3]) for argv, _ in self.told()]

    def fail(self, program: str, saying: str) -> None:
        (self.memory / f"fail-{program}").write_text(saying)


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    found = StandIn(tmp_path / "memory", tmp_path / "programs")
    found.memory.mkdir()
    found.programs.mkdir()
    for name in PROGRAMS:
        (found.programs / name).symlink_to(STAND_IN)
    monkeypatch.setenv("STAND_IN", str(found.memory))
    monkeypatch.setenv("PATH", str(found.programs))
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def steps_of(home: Home) -> tuple[Clusters, list[str]]:
    said: list[str] = []
    return Clusters(home, said.append), said


async def test_clusters_are_made_with_cilium_and_connected_in_pairs(stand_in: StandIn, home: Home) -> None:
    """The registry first, each cluster with its Cilium, then the mesh; k3d is told to let Cilium mount."""
    clusters, said = steps_of(home)
    await clusters.up(3)
    told = stand_in.told()
    assert [" ".join(argv[:3]) for argv, _ in told] == [
        "k3d registry create",
        *["k3d cluster create", "k3d kubeconfig get", "helm upgrade --install"] * 3,
        *["cilium clustermesh connect"] * 3,
    ]
    assert len(said) == len(told)
    assert {
        variables.get("K3D_FIX_MOUNTS") for argv, variables in told if argv[2] == "create" and argv[1] == "cluster"
    } == {"1"}
    pairs = [(argv[4], argv[6], variables["KUBECONFIG"]) for argv, variables in told if argv[0] == "cilium"]
    assert [(near, far) for near, far, _ in pairs] == [
        ("k3d-atoll-k3d-1", "k3d-atoll-k3d-2"),
        ("k3d-atoll-k3d-1", "k3d-atoll-k3d-3"),
        ("k3d-atoll-k3d-2", "k3d-atoll-k3d-3"),
    ]
    assert all(len(paths.split(":")) == 2 and all(map(os.path.exists, paths.split(":"))) for _, _, paths in pairs)


async def test_each_cluster_has_its_own_networks_and_no_flannel(stand_in: StandIn, home: Home) -> None:
    """The file that k3d is given, by the fields of its schema k3d.io/v1alpha5."""
    clusters, _ = steps_of(home)
    first, second = await clusters.up(2)
    configs = [yaml.safe_load(clusters.files.config(each).read_text()) for each in (first, second)]
    for config in configs:
        assert (config["apiVersion"], config["kind"]) == ("k3d.io/v1alpha5", "Simple")
        assert config["registries"] == {"use": ["k3d-atoll-registry:5000"]}
        assert config["options"]["kubeconfig"] == {"updateDefaultKubeconfig": False, "switchCurrentContext": False}
        arguments = {each["arg"] for each in config["options"]["k3s"]["extraArgs"]}
        assert {"--flannel-backend=none", "--disable-network-policy"} <= arguments
    networks = [
        each["arg"] for config in configs for each in config["options"]["k3s"]["extraArgs"] if "cidr" in each["arg"]
    ]
    assert len(set(networks)) == 4
    assert len({config["network"] for config in configs}) == 1


async def test_cilium_has_a_name_an_id_and_the_ca_of_the_mesh(stand_in: StandIn, home: Home) -> None:
    clusters, _ = steps_of(home)
    values = [yaml.safe_load(clusters.files.values(each).read_text()) for each in await clusters.up(2)]
    assert [each["cluster"] for each in values] == [{"name": "k3d-1", "id": 1}, {"name": "k3d-2", "id": 2}]
    assert len({each["tls"]["ca"]["cert"] for each in values}) == 1
    assert {each["clustermesh"]["apiserver"]["service"]["type"] for each in values} == {"NodePort"}
    pools = [each["ipam"]["operator"]["clusterPoolIPv4PodCIDRList"] for each in values]
    assert pools == [["10.1.0.0/16"], ["10.2.0.0/16"]]
    assert {path.stat().st_mode & 0o077 for path in map(clusters.files.values, clusters_in(home))} == {0}


async def test_what_is_there_is_not_made_again_and_what_was_stopped_is_started(stand_in: StandIn, home: Home) -> None:
    await steps_of(home)[0].up(2)
    stand_in.told()
    await steps_of(home)[0].up(2)
    assert stand_in.verbs() == ["k3d kubeconfig get"] * 2
    stop_all(home)
    assert [argv for argv, _ in stand_in.told()] == [["k3d", "cluster", "stop", "atoll-k3d-1", "atoll-k3d-2"]]
    await steps_of(home)[0].up(3)
    started = ["k3d cluster start", "k3d kubeconfig get"] * 2
    grown = ["k3d cluster create", "k3d kubeconfig get", "helm upgrade --install"]
    assert stand_in.verbs() == [*started, *grown, *["cilium clustermesh connect"] * 2]


async def test_a_start_that_failed_goes_on_where_it_was(stand_in: StandIn, home: Home) -> None:
    stand_in.fail("helm", "Error: context deadline exceeded\n")
    with pytest.raises(Unavailable, match=r"installing Cilium in k3d-1: 'helm upgrade --install' failed .*deadline"):
        await steps_of(home)[0].up(1)
    stand_in.told()
    await steps_of(home)[0].up(1)
    assert stand_in.verbs() == ["k3d kubeconfig get", "helm upgrade --install"]


async def test_a_cluster_that_somebody_deleted_is_made_anew_with_everything(stand_in: StandIn, home: Home) -> None:
    await steps_of(home)[0].up(2)
    (stand_in.memory / "cluster-atoll-k3d-2").unlink()
    stand_in.told()
    await steps_of(home)[0].up(2)
    made = ["k3d cluster create", "k3d kubeconfig get", "helm upgrade --install", "cilium clustermesh connect"]
    assert stand_in.verbs() == ["k3d kubeconfig get", *made]


async def test_clusters_of_another_home_are_left_alone(stand_in: StandIn, home: Home, tmp_path: Path) -> None:
    await steps_of(home)[0].up(1)
    stand_in.told()
    with pytest.raises(Conflict, match="k3d has atoll-k3d-1 already"):
        await steps_of(Home(tmp_path / "another"))[0].up(1)
    assert stand_in.verbs() == []


def test_each_missing_program_is_named_with_where_to_find_it(stand_in: StandIn) -> None:
    for name in ("k3d", "helm"):
        (stand_in.programs / name).unlink()
    with pytest.raises(Unavailable) as refused:
        tools.check()
    assert "k3d (https://k3d.io" in str(refused.value)
    assert "helm (https://helm.sh" in str(refused.value)
    assert "cilium (" not in str(refused.value)


def test_a_docker_that_does_not_answer_is_said_before_anything_is_made(stand_in: StandIn) -> None:
    stand_in.fail("docker", "Cannot connect to the Docker daemon. Is the docker daemon running?\n")
    with pytest.raises(Unavailable, match=r"Docker does not answer.*start it.*Is the docker daemon running"):
        tools.check()


def test_a_home_keeps_its_provider(home: Home) -> None:
    assert choose_provider(home, None, is_simulated=False) == "simulated"
    assert choose_provider(home, "k3d", is_simulated=False) == "k3d"
    with pytest.raises(InvalidInput, match="are of simulated: choose another --home"):
        choose_provider(home, "k3d", is_simulated=True)
    with pytest.raises(InvalidInput, match="there are 1 to 8, not 9"):
        plan.clusters_of(9)


@pytest.mark.timeout(300)  # a hub, NATS and an agent begin
def test_a_federation_stands_on_clusters_of_k3d(stand_in: StandIn, sandbox: Sandbox, tmp_path: Path) -> None:
    """By the command itself: the agent reaches its cluster by what k3d says of it. Here that is a simulated one."""
    real = Path(sandbox.state.cluster("lab-k3s").kubeconfig)
    (stand_in.memory / "kubeconfig-atoll-k3d-1").write_bytes(real.read_bytes())
    home = ("--home", str(tmp_path / "home"))
    try:
        started = atoll("up", *home, "--provider", "k3d", "--clusters", "1", "--no-context")
        assert "with 1 cluster of k3d" in started.stderr
        state = json.loads(atoll("status", *home, "-o", "json").stdout)
        assert ([each["name"] for each in state["clusters"]], state["phase"]) == (["k3d-1"], "Ready")
    finally:
        stopped = atoll("down", *home)
    assert "its clusters are stopped and kept" in stopped.stderr
    assert stand_in.verbs()[-1] == "k3d cluster stop"


def atoll(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atoll.cli", "sandbox", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done
