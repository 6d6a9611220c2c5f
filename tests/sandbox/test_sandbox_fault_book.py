"""Faults by the admin socket: planted, listed, refused, healed, kept over a restart; and what each of them breaks."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import LAB_K3S, ONPREM_GPU
from sandbox.worlds import Json, Kubectl, Sandbox, eventually, running_sandbox

AGENT_LABELS = {"app.kubernetes.io/name": "atoll-agent"}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of two clusters, for tests that leave it whole."""
    settings = SandboxSettings(
        tmp_path_factory.mktemp("br"), clusters=(ONPREM_GPU, LAB_K3S), upstreams={"hub": 9, "nats": 9}
    )
    with running_sandbox(settings) as running:
        yield running


@pytest.fixture(autouse=True)
def healed(broken: Sandbox) -> Iterator[None]:
    """Every test leaves the sandbox whole."""
    yield
    broken.admin("DELETE", "/faults").raise_for_status()


def plant(sandbox: Sandbox, kind: str, cluster: str, **fields: Any) -> httpx.Response:
    return sandbox.admin("POST", "/faults", {"kind": kind, "cluster": cluster, **fields})


def sees(sandbox: Sandbox, near: str, far: str) -> bool:
    """Whether a cluster's Cilium agent says that the other one is ready."""
    clusters = sandbox.cilium(near, "/healthz").json()["cluster-mesh"]["clusters"]
    return any(each["name"] == far and each.get("ready", False) for each in clusters)


def test_a_cut_link_is_lost_at_both_ends_or_at_one_and_healed(broken: Sandbox) -> None:
    """A one-way cut beside a cut of both ways is a fault of its own; healing ends both."""
    said = plant(broken, "CutLink", "lab-k3s", peer="onprem-gpu", oneWay=True).json()
    assert said["text"] == "lab-k3s sees no more of onprem-gpu"
    assert (sees(broken, "lab-k3s", "onprem-gpu"), sees(broken, "onprem-gpu", "lab-k3s")) == (False, True)
    plant(broken, "CutLink", "lab-k3s", peer="onprem-gpu").raise_for_status()
    assert (sees(broken, "lab-k3s", "onprem-gpu"), sees(broken, "onprem-gpu", "lab-k3s")) == (False, False)
    assert [fault["text"] for fault in broken.admin("GET", "/faults").json()] == [
        "lab-k3s sees no more of onprem-gpu",
        "lab-k3s and onprem-gpu are cut off from each other",
    ]
    assert len(broken.admin("DELETE", "/faults?cluster=onprem-gpu").json()) == 2
    assert broken.admin("GET", "/faults").json() == []
    assert (sees(broken, "lab-k3s", "onprem-gpu"), sees(broken, "onprem-gpu", "lab-k3s")) == (True, True)


REFUSALS: dict[str, tuple[Json, int, str]] = {
    "a cluster that is not there": ({"kind": "CutHub", "cluster": "mars"}, 404, "no cluster 'mars'"),
    "a peer that is not there": ({"kind": "CutLink", "cluster": "lab-k3s", "peer": "mars"}, 404, "no cluster 'mars'"),
    "no peer": ({"kind": "CutLink", "cluster": "lab-k3s"}, 400, "peer: CutLink needs other end"),
    "itself": ({"kind": "CutLink", "cluster": "lab-k3s", "peer": "lab-k3s"}, 400, "no link to itself"),
    "no delay": ({"kind": "SlowHub", "cluster": "lab-k3s"}, 400, "delaySeconds: must be above 0"),
    "too long": ({"kind": "SlowHub", "cluster": "lab-k3s", "delaySeconds": 601}, 400, "at most 600"),
    "a cut that comes back": ({"kind": "CutHub", "cluster": "lab-k3s", "once": True}, 400, "once: only what is killed"),
    "no agent": ({"kind": "KillAgent", "cluster": "lab-k3s"}, 404, "no agent of lab-k3s runs here"),
    "an unknown fault": ({"kind": "Fire", "cluster": "lab-k3s"}, 400, "kind: "),
    "an unknown field": ({"kind": "CutHub", "cluster": "lab-k3s", "when": 1}, 400, "when: "),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_fault_that_cannot_be_is_refused_and_nothing_stands(broken: Sandbox, case: str) -> None:
    """The answer names what is wrong."""
    body, code, words = REFUSALS[case]
    answer = broken.admin("POST", "/faults", body)
    assert (answer.status_code, words in answer.json()["error"]) == (code, True), answer.json()
    assert broken.admin("GET", "/faults").json() == []


def test_the_same_fault_twice_is_refused_and_a_stronger_one_takes_its_place(broken: Sandbox) -> None:
    """The refusal says since when; another delay is another strength of the same fault."""
    plant(broken, "SlowHub", "lab-k3s", delaySeconds=1).raise_for_status()
    again = plant(broken, "SlowHub", "lab-k3s", delaySeconds=1)
    assert again.status_code == 409
    assert "takes 1 s longer already, since" in again.json()["error"]
    plant(broken, "SlowHub", "lab-k3s", delaySeconds=2).raise_for_status()
    assert [fault["delaySeconds"] for fault in broken.admin("GET", "/faults").json()] == [2]


def test_healing_what_is_whole_heals_nothing_and_a_stranger_is_refused(broken: Sandbox) -> None:
    """No fault is no error; no cluster is one."""
    assert broken.admin("DELETE", "/faults").json() == []
    assert broken.admin("DELETE", "/faults?cluster=mars").status_code == 404


def running_pod(kubectl: Kubectl, **metadata: Any) -> None:
    container = {"name": "c", "image": "any", "command": ["sleep", "600"]}
    spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **metadata}, "spec": spec})
    eventually(lambda: kubectl.status("pod", "p").get("phase") == "Running", what="the pod")


def test_a_dead_api_server_refuses_connections_forgets_nothing_and_its_pods_run_on(broken: Sandbox) -> None:
    """As with etcd and kubelets that are well: what was stored and what runs is there when it is back."""
    kubectl = broken.fresh("lab-k3s")
    running_pod(kubectl)
    before = kubectl.status("pod", "p")["containerStatuses"][0]
    server = broken.state.cluster("lab-k3s").server
    plant(broken, "KillApiServer", "lab-k3s").raise_for_status()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server}/version")
    assert httpx.get(f"{broken.state.cluster('onprem-gpu').server}/version").status_code == 200
    broken.admin("DELETE", "/faults").raise_for_status()
    after = kubectl.status("pod", "p")["containerStatuses"][0]
    assert (after["containerID"], after["restartCount"]) == (before["containerID"], 0)


def test_an_api_server_that_is_killed_once_is_back_at_once_and_has_cut_its_watches(broken: Sandbox) -> None:
    """Nothing stands afterwards, but clients had to connect again."""
    server = broken.state.cluster("lab-k3s").server
    with httpx.stream("GET", f"{server}/api/v1/namespaces?watch=true", timeout=10) as watch:
        lines = watch.iter_lines()
        next(lines)
        assert plant(broken, "KillApiServer", "lab-k3s", once=True).json()["since"] is None
        with pytest.raises(httpx.HTTPError):
            list(lines)
    assert httpx.get(f"{server}/version").status_code == 200
    assert broken.admin("GET", "/faults").json() == []


def test_a_slow_api_server_answers_late_until_it_is_healed(broken: Sandbox) -> None:
    """Late by what was asked for, and in time again when it is healed."""
    server = broken.state.cluster("lab-k3s").server
    plant(broken, "SlowApiServer", "lab-k3s", delaySeconds=1.5).raise_for_status()
    began = time.monotonic()
    httpx.get(f"{server}/version")
    late = time.monotonic() - began
    broken.admin("DELETE", "/faults").raise_for_status()
    began = time.monotonic()
    httpx.get(f"{server}/version")
    assert late >= 1.5
    assert time.monotonic() - began < 1.5


def test_an_agent_in_a_pod_is_killed_and_stays_down_until_it_is_healed(broken: Sandbox) -> None:
    """Its Deployment's pod stays; the kubelet starts the container again, counted, when it may."""
    kubectl = broken.fresh("onprem-gpu")
    running_pod(kubectl, labels=AGENT_LABELS)
    plant(broken, "KillAgent", "onprem-gpu").raise_for_status()
    held = eventually(lambda: _waiting(kubectl).get("message"), what="the wait", seconds=10)
    assert "fault kill agent" in held
    broken.admin("DELETE", "/faults").raise_for_status()
    eventually(lambda: "running" in _state(kubectl), what="the restart")
    assert kubectl.status("pod", "p")["containerStatuses"][0]["restartCount"] == 1
    kubectl("delete", "pod", "p", "--grace-period=0", "--force")


def _state(kubectl: Kubectl) -> Json:
    state: Json = kubectl.status("pod", "p")["containerStatuses"][0]["state"]
    return state


def _waiting(kubectl: Kubectl) -> Json:
    waiting: Json = _state(kubectl).get("waiting", {})
    return waiting if waiting.get("reason") == "CreateContainerConfigError" else {}


def test_faults_stand_over_a_kill_of_the_sandbox_itself(tmp_path: Path) -> None:
    """Whoever starts the process again finds the same faults in effect, on the same ports."""
    settings = SandboxSettings(tmp_path / "s", clusters=(ONPREM_GPU, LAB_K3S))
    with running_sandbox(settings) as first:
        plant(first, "CutLink", "lab-k3s", peer="onprem-gpu").raise_for_status()
        plant(first, "KillApiServer", "lab-k3s").raise_for_status()
        since = first.admin("GET", "/faults").json()
        os.kill(first.process.pid, signal.SIGKILL)
        first.process.wait()
        first.state_file.unlink()
    with running_sandbox(settings) as second:
        assert second.admin("GET", "/faults").json() == since
        assert not sees(second, "lab-k3s", "onprem-gpu")
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{second.state.cluster('lab-k3s').server}/version")
