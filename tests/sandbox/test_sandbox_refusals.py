"""What a simulated cluster refuses, and that it says which field and why."""

import asyncio
import contextlib
import socket
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.federation.errors import InvalidInput, Unavailable
from atoll.sandbox.main import run
from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import LAB_K3S, ONPREM_GPU
from atoll.sandbox.state import read_state
from sandbox.worlds import Job, Kubectl, claim, condition, eventually, python

Json = dict[str, Any]


def _policy(kind: str, spec: Json, *, version: str = "cilium.io/v2") -> Json:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "p"}, "spec": spec}


def _job(**pod: Any) -> Json:
    return Job("j", ["true"], pod=pod).manifest()


REFUSED: dict[str, tuple[Json, str]] = {
    "a job that restarts for ever": (_job(restartPolicy="Always"), "spec.template.spec.restartPolicy: Required value"),
    "a job without anything": (
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}},
        "spec: Required value",
    ),
    "a misspelt field of a pod": (_job(nodeSelecter={}), 'unknown field "spec.template.spec.nodeSelecter"'),
    "a wrong type": (_job(nodeSelector=["a"]), "spec.template.spec.nodeSelector in body must be of type object"),
    "a bad quantity": (claim(size="1Gx"), "spec.resources.requests.storage in body should match"),
    "an access mode": (
        {**claim(), "spec": {**claim()["spec"], "accessModes": ["Any"]}},
        'spec.accessModes[0]: Unsupported value: "Any"',
    ),
    "a misspelt field of a Cilium policy": (
        _policy("CiliumNetworkPolicy", {"endpointSelecter": {}}),
        'unknown field "spec.endpointSelecter"',
    ),
    "a tier left out": (
        {
            "apiVersion": "policy.networking.k8s.io/v1alpha2",
            "kind": "ClusterNetworkPolicy",
            "metadata": {"name": "untiered"},
            "spec": {"priority": 1, "subject": {}},
        },
        "spec.tier: Required value",
    ),
    "a secret that is no base64": (
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "not base64!"}},
        "data[k]: Invalid value: must be base64",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_bad_manifest_is_refused_with_its_field(lab: Kubectl, case: str) -> None:
    """kubectl shows the path of the field and the reason, and nothing is stored."""
    manifest, message = REFUSED[case]
    done = lab.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump(manifest), check=False)
    assert done.returncode != 0
    assert message in done.stderr
    assert lab.get(manifest["kind"], manifest["metadata"]["name"]) is None


def test_policies_of_all_four_kinds_are_applied_and_listed(lab: Kubectl) -> None:
    """Server-side apply takes Kubernetes' and Cilium's policies, and kubectl knows their short names."""
    selector = {"matchLabels": {"app": "a"}}
    lab.apply(
        _policy("NetworkPolicy", {"podSelector": selector}, version="networking.k8s.io/v1"),
        _policy("CiliumNetworkPolicy", {"endpointSelector": selector, "ingress": [{"fromEntities": ["cluster"]}]}),
        _policy("CiliumClusterwideNetworkPolicy", {"endpointSelector": {}, "egress": [{}]}),
        _policy(
            "ClusterNetworkPolicy",
            {"tier": "Admin", "priority": 10, "subject": {"namespaces": {}}},
            version="policy.networking.k8s.io/v1alpha2",
        ),
    )
    assert "app=a" in lab("get", "netpol", "p")
    assert "VALID" in lab("get", "cnp", "p")
    assert lab.get("ccnp", "p")["spec"]["egress"] == [{}]
    assert "Admin" in lab("get", "clusternetworkpolicies", "p")


def test_a_host_path_is_refused_and_the_pod_says_so(lab: Kubectl) -> None:
    """A pod with a hostPath fails without running anything, with the volume and the reason in its status."""
    spec = {
        "restartPolicy": "Never",
        "containers": [{"name": "c", "command": ["true"]}],
        "volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}],
    }
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    eventually(lambda: lab.status("pod", "p").get("phase") == "Failed", what="the refusal")
    assert "volume 'etc' is a hostPath" in lab.status("pod", "p")["message"]


def test_a_sidecar_is_refused_and_the_pod_says_so(lab: Kubectl) -> None:
    """An init container that never ends would keep the pod from starting for ever: it is refused instead."""
    spec = {
        "initContainers": [{"name": "proxy", "command": ["sleep", "60"], "restartPolicy": "Always"}],
        "containers": [{"name": "c", "command": ["true"]}],
    }
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    eventually(lambda: lab.status("pod", "p").get("reason") == "Unsupported", what="the refusal")
    assert "'proxy' is a sidecar" in lab.status("pod", "p")["message"]


def test_a_mount_that_leaves_its_volume_fails_the_pod(lab: Kubectl) -> None:
    """A subPath with dots is refused when the container would start."""
    mounts = [{"name": "v", "mountPath": "/v", "subPath": "../../outside"}]
    pod = {"volumes": [{"name": "v", "emptyDir": {}}]}
    lab.apply(Job("escape", ["true"], container={"volumeMounts": mounts}, pod=pod).manifest())
    eventually(lambda: condition(lab.status("job", "escape"), "Failed"), what="the failure")
    assert "../../outside" in lab.pods("job-name=escape")[0]["status"]["message"]


def test_a_container_waits_for_the_config_map_that_it_needs(lab: Kubectl) -> None:
    """Without the ConfigMap the container is waiting and says for what; with it, it runs."""
    reference = {"name": "MODE", "valueFrom": {"configMapKeyRef": {"name": "late", "key": "mode"}}}
    lab.apply(Job("patient", python("import os\nprint(os.environ['MODE'])"), container={"env": [reference]}).manifest())

    def waiting() -> Json:
        (pod,) = lab.pods("job-name=patient") or ({"status": {}},)
        statuses = pod["status"].get("containerStatuses", ({"state": {}},))
        found: Json = statuses[0]["state"].get("waiting", {})
        return found if found.get("reason") == "CreateContainerConfigError" else {}

    assert "late" in eventually(waiting, what="the reason for waiting")["message"]
    lab.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"mode": "on"}})
    eventually(lambda: condition(lab.status("job", "patient"), "Complete"), what="the end of the job")
    assert lab("logs", "job/patient") == "on\n"


def test_a_pod_without_a_command_says_that_images_are_not_run(lab: Kubectl) -> None:
    """An image alone cannot run here: the container waits with a message that tells what to do."""
    spec = {"containers": [{"name": "c", "image": "nginx"}], "terminationGracePeriodSeconds": 0}
    lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    eventually(lambda: "set command" in str(lab.status("pod", "p")), what="the reason")


def test_the_settings_survive_their_json(tmp_path: Path) -> None:
    """What is handed to a process of its own is what was meant."""
    settings = SandboxSettings(tmp_path, (LAB_K3S, ONPREM_GPU), {"lab-k3s": 8001})
    assert SandboxSettings.from_json(settings.to_json()) == settings


BAD_SETTINGS = {
    "no home": (b"{}", "home: Field required"),
    "a port that is text": (b'{"home": "/x", "ports": {"a": "b"}}', "ports.a"),
    "no JSON": (b"home: x", "Invalid JSON"),
}


@pytest.mark.parametrize("case", BAD_SETTINGS)
def test_bad_settings_are_refused_by_field(case: str) -> None:
    """The message names the field."""
    text, message = BAD_SETTINGS[case]
    with pytest.raises(InvalidInput, match=message):
        SandboxSettings.from_json(text)


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    """The port is named, and nothing is left behind."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} is in use"):
            await run(SandboxSettings(tmp_path, (LAB_K3S,), {"lab-k3s": port}))


async def test_a_port_for_a_cluster_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Settings that contradict each other name the cluster."""
    with pytest.raises(InvalidInput, match="ports: there is no cluster mars"):
        await run(SandboxSettings(tmp_path, (LAB_K3S,), {"mars": 1}))


async def test_a_home_with_a_long_path_gets_its_sockets_elsewhere(tmp_path: Path) -> None:
    """Where a socket's path would be too long, a short folder is taken, said in the state, and removed at the end."""
    home = tmp_path / ("d" * 100)
    task = asyncio.create_task(run(SandboxSettings(home, (LAB_K3S,))))
    async with asyncio.timeout(20):
        while not (home / "clusters.json").exists():
            await asyncio.sleep(0.05)
    sockets = Path(read_state(home).admin_socket)
    assert sockets.is_socket()
    assert len(str(sockets)) < 100
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert not sockets.parent.exists()
