"""A cluster that is started beside the others: nobody's agent is in it, and pods reach its API as in a real cluster."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import LAB_K3S
from atoll.sandbox.state import read_state
from sandbox.worlds import Json, Kubectl, Sandbox, eventually, running_sandbox

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
ASKING = """
import json, os, ssl, sys, urllib.request, urllib.error
folder = "/var/run/secrets/kubernetes.io/serviceaccount"
context = ssl.create_default_context(cafile=folder + "/ca.crt")
base = "https://" + os.environ["KUBERNETES_SERVICE_HOST"] + ":" + os.environ["KUBERNETES_SERVICE_PORT"]
def ask(path, token):
    request = urllib.request.Request(base + path, headers={"Authorization": "Bearer " + token} if token else {})
    try:
        return urllib.request.urlopen(request, context=context).status
    except urllib.error.HTTPError as error:
        return error.code
token = open(folder + "/token").read()
print(json.dumps({
    "namespace": open(folder + "/namespace").read(),
    "allowed": ask("/api/v1/nodes", token),
    "one by name": ask("/api/v1/namespaces/kube-system/configmaps/cilium-config", token),
    "another name": ask("/api/v1/namespaces/kube-system/configmaps/another", token),
    "not allowed": ask("/api/v1/secrets", token),
    "nobody": ask("/api/v1/nodes", ""),
    "a stranger": ask("/api/v1/nodes", token[:-4] + "AAA="),
    "discovery": ask("/apis", token),
}))
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox of one cluster, beside which others come and go."""
    with running_sandbox(SandboxSettings(tmp_path_factory.mktemp("bare"), clusters=(LAB_K3S,))) as sandbox:
        yield sandbox


def rbac(kind: str, **fields: Any) -> Json:
    return {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, **fields}


def bound(kind: str, role: str, namespace: str | None = None) -> Json:
    binding = "RoleBinding" if namespace else "ClusterRoleBinding"
    place = {"namespace": namespace} if namespace else {}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}
    subjects = [{"kind": "ServiceAccount", "name": "asker", "namespace": "asking"}]
    return rbac(binding, metadata={"name": "asker", **place}, roleRef=reference, subjects=subjects)


def objects(namespace: str) -> list[Json]:
    """An account that may list nodes, and read one config map: what of it is in a namespace, or in none."""
    container = {"name": "c", "image": "any", "command": ["python3", "-c", ASKING]}
    spec = {"serviceAccountName": "asker", "restartPolicy": "Never", "containers": [container]}
    reading = {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}
    one = {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["cilium-config"], "verbs": ["get"]}
    found = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "asking"}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "asker", "namespace": "asking"}},
        rbac("ClusterRole", metadata={"name": "asker"}, rules=[reading]),
        bound("ClusterRole", "asker"),
        rbac("Role", metadata={"name": "asker", "namespace": "kube-system"}, rules=[one]),
        bound("Role", "asker", "kube-system"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "asking"}, "spec": spec},
    ]
    return [obj for obj in found if obj["metadata"].get("namespace", "asking") == namespace]


def test_a_pod_reaches_its_api_server_by_its_account_and_may_what_rbac_says(running: Sandbox) -> None:
    """TLS by the CA that it was given, the token of its account, and not one right more than its roles have."""
    if running.state.isolation != "mounts":
        pytest.skip("needs mount namespaces: clients look for the account at one fixed path")
    kubectl = running.kubectl("lab-k3s", "asking")
    for namespace in ("kube-system", "asking"):
        running.kubectl("lab-k3s", namespace).apply(*objects(namespace))
    eventually(lambda: kubectl.status("pod", "p").get("phase") in ("Succeeded", "Failed"), what="the end of the pod")
    assert json.loads(kubectl("logs", "p")) == {
        "namespace": "asking",
        "allowed": 200,
        "one by name": 200,
        "another name": 403,
        "not allowed": 403,
        "nobody": 401,
        "a stranger": 401,
        "discovery": 200,
    }


def test_a_pod_of_the_default_account_gets_no_token(running: Sandbox) -> None:
    """It is told where the API server is, and nothing to be let in by."""
    kubectl = running.fresh("lab-k3s")
    script = f"test ! -e {ACCOUNT} && echo $KUBERNETES_SERVICE_HOST"
    spec = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "any", "command": ["sh", "-c", script]}]}
    kubectl.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec})
    eventually(lambda: kubectl.status("pod", "p").get("phase") == "Succeeded", what="the end of the pod")
    assert kubectl("logs", "p").strip() == "127.0.0.1"


def test_a_cluster_beside_the_others_comes_and_goes_alone(running: Sandbox) -> None:
    """It has a kubeconfig, works, is in nobody's mesh, and is gone with its pods when it is stopped."""
    started = running.admin("PUT", "/clusters/onprem-9", {})
    assert started.status_code == 200
    kubectl = Kubectl(Path(started.json()["kubeconfig"]))
    assert len(kubectl.objects("nodes")) >= 2
    assert kubectl.get("secret", "cilium-clustermesh") is None
    assert "onprem-9" in [cluster.name for cluster in read_state(running.home).clusters]
    assert "clusters" not in running.cilium("lab-k3s", "/healthz").json()["cluster-mesh"]
    again = running.admin("PUT", "/clusters/onprem-9", {})
    assert (again.status_code, again.json()["error"]) == (409, "cluster onprem-9 runs already")
    assert running.admin("DELETE", "/clusters/onprem-9").status_code == 200
    assert kubectl.run("get", "nodes", check=False).returncode != 0
    assert [cluster.name for cluster in read_state(running.home).clusters] == ["lab-k3s"]
    assert running.admin("DELETE", "/clusters/onprem-9").status_code == 404


def test_a_cluster_that_joins_the_mesh_is_seen_by_all_and_forgotten_when_it_stops(running: Sandbox) -> None:
    """The others' agents report it, and the secrets of the mesh name it, for as long as it runs."""
    running.admin("PUT", "/clusters/cloud-9", {"meshed": True}).raise_for_status()
    peers = running.cilium("lab-k3s", "/healthz").json()["cluster-mesh"]["clusters"]
    assert [(peer["name"], peer["ready"]) for peer in peers] == [("cloud-9", True)]
    assert "cloud-9" in _peers(running)
    running.admin("POST", "/faults", {"kind": "CutLink", "cluster": "cloud-9", "peer": "lab-k3s"}).raise_for_status()
    running.admin("DELETE", "/clusters/cloud-9").raise_for_status()
    assert running.admin("GET", "/faults").json() == []
    assert "clusters" not in running.cilium("lab-k3s", "/healthz").json()["cluster-mesh"]
    assert "cloud-9" not in _peers(running)


def _peers(running: Sandbox) -> list[str]:
    secret = running.kubectl("lab-k3s", "kube-system").get("secret", "cilium-clustermesh")
    return list(secret.get("data") or {})


def test_a_name_that_cannot_be_is_refused(running: Sandbox) -> None:
    """And the sandbox has the clusters that it had."""
    answer = running.admin("PUT", "/clusters/Hub", {})
    assert (answer.status_code, "name: 'Hub'" in answer.json()["error"]) == (400, True)
    assert list(running.admin("GET", "/clusters").json()) == ["lab-k3s"]
