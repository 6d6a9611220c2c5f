"""The Cilium stand-in, the faults that the admin socket plants, and storage that runs full."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.kubeapi import schema_rules, schema_shape
from atoll.kubeapi.structure import structural
from atoll.sandbox.spec import DEFAULT_CLUSTERS, LAB_K3S, ONPREM_GPU
from sandbox.worlds import Kubectl, Sandbox, claim, eventually

OPENAPI = Path(__file__).parents[2].parent / "shared" / "data" / "cilium" / "openapi"
VERSIONS = ("1.18-dev", "1.19-era", "1.20-dev")
ANSWERS = {
    "/healthz": "StatusResponse",
    "/config": "DaemonConfiguration",
    "/cluster/nodes": "ClusterNodeStatus",
}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", ANSWERS)
def test_the_agent_conforms_to_ciliums_openapi(sandbox: Sandbox, version: str, path: str) -> None:
    """Every field that the stand-in answers with is declared, with the declared type, in three versions of the API."""
    file = OPENAPI / f"agent-{version}.yaml"
    if not file.exists():
        pytest.skip(f"no Cilium OpenAPI beside the repository: {file}")
    definitions = yaml.safe_load(file.read_text())["definitions"]
    schema = structural({**definitions[ANSWERS[path]], "definitions": definitions}, is_object=False)
    for cluster in DEFAULT_CLUSTERS:
        answer = sandbox.cilium(cluster.name, path).json()
        # Declared as objects, but Go's interface{}: real agents send plain values, and so do we.
        answer.get("status", {}).pop("daemonConfigurationMap", None)
        assert list(schema_rules.check(answer, schema)) == []
        assert list(schema_shape.prune(answer, schema)) == []


def _remote(sandbox: Sandbox, near: str, far: str) -> dict[str, Any]:
    clusters = sandbox.cilium(near, "/healthz").json()["cluster-mesh"]["clusters"]
    found: dict[str, Any] = next(each for each in clusters if each["name"] == far)
    return found


def test_a_link_that_is_cut_is_seen_at_both_ends_and_mended_again(sandbox: Sandbox) -> None:
    """A lost link has no ready and no connected (omitempty), says why, and counts the failure."""
    assert _remote(sandbox, "lab-k3s", "cloud-eu")["ready"] is True
    before = _remote(sandbox, "cloud-eu", "lab-k3s").get("num-failures", 0)
    sandbox.admin("PUT", "/links/lab-k3s/cloud-eu", {"up": False}).raise_for_status()
    try:
        lost = _remote(sandbox, "cloud-eu", "lab-k3s")
        assert "ready" not in lost
        assert "connected" not in lost
        assert lost["synced"] == {}
        assert lost["num-failures"] == before + 1
        assert not lost["last-failure"].startswith("0001")
        assert _remote(sandbox, "lab-k3s", "onprem-gpu")["ready"] is True
        names = [node["name"] for node in sandbox.cilium("lab-k3s", "/cluster/nodes").json()["nodes-added"]]
        assert not any(name.startswith("cloud-eu/") for name in names)
    finally:
        sandbox.admin("PUT", "/links/lab-k3s/cloud-eu", {"up": True}).raise_for_status()
    assert _remote(sandbox, "cloud-eu", "lab-k3s")["ready"] is True


def test_a_client_that_says_who_it_is_gets_only_the_difference(sandbox: Sandbox) -> None:
    """GET /cluster/nodes with a client-id leaves out the nodes that were sent before."""
    first = sandbox.cilium("onprem-gpu", "/cluster/nodes").json()
    again = sandbox.cilium("onprem-gpu", "/cluster/nodes", **{"client-id": str(first["client-id"])}).json()
    assert len(first["nodes-added"]) == sum(len(cluster.nodes) for cluster in DEFAULT_CLUSTERS)
    assert "nodes-added" not in again


def test_a_disabled_path_answers_403(sandbox: Sandbox) -> None:
    """As with --enable-cilium-api-server-access, a path can be forbidden and given back."""
    sandbox.admin("PUT", "/clusters/lab-k3s/cilium", {"forbidden": ["/config"]}).raise_for_status()
    assert sandbox.cilium("lab-k3s", "/config").status_code == 403
    sandbox.admin("PUT", "/clusters/lab-k3s/cilium", {"forbidden": []}).raise_for_status()
    assert sandbox.cilium("lab-k3s", "/config").status_code == 200


def test_a_cluster_without_pods_has_its_nodes_as_endpoints_only(sandbox: Sandbox) -> None:
    """Each node is an endpoint to its agent, with the reserved identity of a host; of pods there is neither."""
    nodes = next(len(cluster.nodes) for cluster in DEFAULT_CLUSTERS if cluster.name == "cloud-eu")

    def only_hosts() -> bool:
        endpoints = sandbox.cilium("cloud-eu", "/endpoint").json()
        return [each["status"]["identity"]["id"] for each in endpoints] == [1] * nodes

    eventually(only_hosts, what="a list of hosts")
    assert sandbox.cilium("cloud-eu", "/identity").status_code == 404


BAD_REQUESTS = {
    "unknown cluster": ("/links/lab-k3s/mars", {"up": False}, 404, "no link lab-k3s → mars"),
    "unknown field": ("/links/lab-k3s/cloud-eu", {"up": False, "when": 1}, 400, "when: unknown field"),
    "missing field": ("/clusters/lab-k3s/capacity", {}, 400, "bytes: must be of type int"),
    "wrong type": ("/links/lab-k3s/cloud-eu", {"up": "no"}, 400, "up: must be of type bool"),
    "unknown node": ("/clusters/lab-k3s/nodes/x", {"ready": True}, 404, 'nodes "x" not found'),
}


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_bad_fault_is_refused_with_the_field_named(sandbox: Sandbox, case: str) -> None:
    """The admin API names what is wrong and changes nothing."""
    path, body, code, message = BAD_REQUESTS[case]
    before = sandbox.admin("GET", "/links").json()
    answer = sandbox.admin("PUT", path, body)
    assert answer.status_code == code
    assert message in answer.json()["error"]
    assert sandbox.admin("GET", "/links").json() == before


def test_storage_that_is_full_refuses_a_claim_until_there_is_room(sandbox: Sandbox, lab: Kubectl) -> None:
    """With a small limit the claim stays Pending, an event says how much is free, and so does the capacity object."""
    sandbox.admin("PUT", "/clusters/lab-k3s/capacity", {"bytes": 2**20}).raise_for_status()
    try:
        lab.apply(claim("big", "1Gi"))
        why = eventually(lambda: _refusals(lab), what="the event")
        assert "not enough space: 1073741824 bytes requested" in why[0]
        assert lab.status("pvc", "big")["phase"] == "Pending"
        eventually(lambda: _capacity(lab) in ("0Mi", "1Mi"), what="the report of the capacity")
    finally:
        limit = {"bytes": LAB_K3S.storage.capacity_bytes}
        sandbox.admin("PUT", "/clusters/lab-k3s/capacity", limit).raise_for_status()
    eventually(lambda: lab.status("pvc", "big")["phase"] == "Bound", what="the binding")


def _refusals(kubectl: Kubectl) -> list[str]:
    events = kubectl.objects("events", "--field-selector=reason=ProvisioningFailed")
    return [str(event["message"]) for event in events]


def _capacity(kubectl: Kubectl) -> str:
    (capacity,) = kubectl.objects("csistoragecapacities", "--namespace=kube-system")
    return str(capacity["capacity"])


def test_a_silent_node_becomes_not_ready_and_takes_no_pods(sandbox: Sandbox, lab: Kubectl) -> None:
    """While the only node is silent a pod waits; when it is back the pod is placed."""
    node = LAB_K3S.nodes[0].name
    sandbox.admin("PUT", f"/clusters/lab-k3s/nodes/{node}", {"ready": False}).raise_for_status()
    try:
        assert "NotReady" in lab("get", "nodes")
        spec = {"restartPolicy": "Never", "containers": [{"name": "c", "command": ["true"]}]}
        lab.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
        eventually(lambda: "were not ready" in lab("get", "events"), what="the refusal")
    finally:
        sandbox.admin("PUT", f"/clusters/lab-k3s/nodes/{node}", {"ready": True}).raise_for_status()
    eventually(lambda: lab.status("pod", "p").get("phase") == "Succeeded", what="the end of the pod")


def test_the_nodes_show_the_shapes_of_the_default_clusters(sandbox: Sandbox) -> None:
    """GPUs are extended resources with GPU Feature Discovery's labels; the edge nodes have their role and version."""
    nodes = sandbox.kubectl("onprem-gpu").objects("nodes", "-l", "nvidia.com/gpu.product=NVIDIA-A100-SXM4-40GB")
    assert [node["status"]["allocatable"]["nvidia.com/gpu"] for node in nodes] == ["4"] * len(ONPREM_GPU.nodes)
    edges = sandbox.kubectl("lab-kubeedge").objects("nodes", "-l", "node-role.kubernetes.io/edge")
    assert all("-kubeedge-" in node["status"]["nodeInfo"]["kubeletVersion"] for node in edges)
    assert len(edges) == 2
