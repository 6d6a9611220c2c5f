"""What a sandbox's clusters show of their mesh: the health API beside the agent's socket, and the objects of Cilium."""

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from atoll.sandbox.spec import DEFAULT_CLUSTERS
from sandbox.worlds import Sandbox

NAMES = [spec.name for spec in DEFAULT_CLUSTERS]


def health(sandbox: Sandbox, cluster: str, method: str = "GET", path: str = "/status") -> httpx.Response:
    socket = Path(sandbox.state.cluster(cluster).cilium_socket).with_name("health.sock")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://localhost/v1beta") as client:
        return client.request(method, path)


def probed(answer: httpx.Response, cluster: str) -> list[Any]:
    nodes = [node for node in answer.json()["nodes"] if node["name"].startswith(f"{cluster}/")]
    return [node["host"]["primary-address"]["icmp"] for node in nodes]


def test_the_health_api_probes_every_node_of_every_cluster(sandbox: Sandbox) -> None:
    """As `cilium-health status` would: the own nodes are near, the others as far as their uplinks say."""
    answer = health(sandbox, "lab-k3s")
    for spec in DEFAULT_CLUSTERS:
        assert len(probed(answer, spec.name)) == len(spec.nodes)
    near, far = probed(answer, "lab-k3s")[0]["latency"], probed(answer, "lab-kubeedge")[0]["latency"]
    assert 0 < near < 1_000_000 < far
    assert health(sandbox, "lab-k3s", "PUT", "/status/probe").status_code == 200


def test_nodes_behind_a_cut_link_do_not_answer(sandbox: Sandbox) -> None:
    """The probe says why, in words, and has no latency; the other links do not change."""
    sandbox.admin("PUT", "/links/lab-k3s/cloud-eu", {"up": False})
    try:
        answer = health(sandbox, "lab-k3s")
        assert all("timed out" in probe["status"] and "latency" not in probe for probe in probed(answer, "cloud-eu"))
        assert all("status" not in probe for probe in probed(answer, "onprem-gpu"))
    finally:
        sandbox.admin("PUT", "/links/lab-k3s/cloud-eu", {"up": True})


def test_the_health_api_can_be_disabled_by_itself(sandbox: Sandbox) -> None:
    """403 for the probes, while the agent goes on answering."""
    sandbox.admin("PUT", "/clusters/lab-k3s/cilium", {"forbidden": ["/status"]})
    try:
        assert health(sandbox, "lab-k3s").status_code == 403
        assert sandbox.cilium("lab-k3s", "/healthz").status_code == 200
    finally:
        sandbox.admin("PUT", "/clusters/lab-k3s/cilium", {"forbidden": []})


@pytest.mark.parametrize("name", NAMES)
def test_a_cluster_has_the_objects_that_connecting_leaves_behind(sandbox: Sandbox, name: str) -> None:
    """All other clusters are its peers, and its certificate is one of the CA that all of them share."""
    kubectl = sandbox.kubectl(name, "kube-system")
    peers = kubectl.get("secret", "cilium-clustermesh")["data"]
    assert sorted(peers) == sorted(set(NAMES) - {name})
    assert all(b"endpoints:" in base64.b64decode(value) for value in peers.values())
    config = kubectl.get("configmap", "cilium-config")["data"]
    assert (config["cluster-name"], config["policy-default-local-cluster"]) == (name, "true")
    data = kubectl.get("secret", "clustermesh-apiserver-server-cert")["data"]
    ca, certificate = (x509.load_pem_x509_certificate(base64.b64decode(data[key])) for key in ("ca.crt", "tls.crt"))
    certificate.verify_directly_issued_by(ca)
    other = sandbox.kubectl(NAMES[0], "kube-system").get("secret", "clustermesh-apiserver-server-cert")["data"]
    assert other["ca.crt"] == data["ca.crt"]


def test_a_service_can_be_exported_and_have_endpoints(sandbox: Sandbox) -> None:
    """The kinds of shared services are served, so that people can try a failover."""
    kubectl = sandbox.fresh("lab-k3s")
    kubectl.apply(
        {"apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceExport", "metadata": {"name": "db"}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": "db-1", "labels": {"kubernetes.io/service-name": "db"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.3.0.9"], "conditions": {"ready": True}}],
        },
    )
    assert kubectl.get("serviceexport", "db")["metadata"]["name"] == "db"
    (found,) = kubectl.objects("endpointslices", "-l", "kubernetes.io/service-name=db")
    assert found["endpoints"][0]["addresses"] == ["10.3.0.9"]
