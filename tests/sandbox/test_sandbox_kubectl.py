"""The everyday commands of the real kubectl work on a simulated cluster as on any other."""

import uuid
from collections.abc import Iterator

import pytest

from sandbox.worlds import Json, Kubectl, Sandbox, condition, eventually

CREATED: dict[str, tuple[str, Json]] = {
    "configmap c --from-literal=a=1": ("configmap/c", {"data": {"a": "1"}}),
    "secret generic s --from-literal=p=w": ("secret/s", {"data": {"p": "dw=="}, "type": "Opaque"}),
    "serviceaccount robot": ("serviceaccount/robot", {}),
    "service clusterip inside --tcp=80:8080": (
        "service/inside",
        {
            "spec": {
                "type": "ClusterIP",
                "selector": {"app": "inside"},
                "sessionAffinity": "None",
                "ports": [{"name": "80-8080", "protocol": "TCP", "port": 80, "targetPort": 8080}],
            }
        },
    ),
    "service nodeport named --tcp=80:http": (
        "service/named",
        {
            "spec": {
                "type": "NodePort",
                "selector": {"app": "named"},
                "sessionAffinity": "None",
                "ports": [{"name": "80-http", "protocol": "TCP", "port": 80, "targetPort": "http"}],
            }
        },
    ),
}


@pytest.mark.parametrize("command", CREATED)
def test_kubectl_creates_what_it_was_told(site: Kubectl, command: str) -> None:
    """What kubectl writes in protobuf is stored as its JSON would be: no field is lost, no zero is added."""
    target, expected = CREATED[command]
    site("create", *command.split())
    stored = site.get(*target.split("/"))
    assert {name: stored[name] for name in stored if name in ("data", "type", "spec")} == expected


def test_a_namespace_is_created_with_its_service_account(workshop: Sandbox) -> None:
    """`kubectl create namespace` makes a namespace that works as one that was applied."""
    kubectl = workshop.kubectl("onprem-gpu", f"n-{uuid.uuid4().hex[:8]}")
    kubectl("create", "namespace", kubectl.namespace)
    assert eventually(lambda: kubectl.get("serviceaccount", "default"))
    kubectl("delete", "namespace", kubectl.namespace)
    assert kubectl.get("namespace", kubectl.namespace) is None


def test_a_created_job_runs_its_command(site: Kubectl) -> None:
    """`kubectl create job` runs what stands behind the dashes."""
    site("create", "job", "j", "--image=ignored", "--", "echo", "made by kubectl")
    eventually(lambda: condition(site.status("job", "j"), "Complete"), what="the end of the job")
    assert site("logs", "job/j") == "made by kubectl\n"


def test_a_created_deployment_is_scaled_up_and_to_nothing(site: Kubectl) -> None:
    """`kubectl scale` sets the replicas, zero included, and the pods follow."""
    site("create", "deployment", "web", "--image=ignored", "--replicas=1", "--port=80", "--", "sleep", "1000")
    site("scale", "deployment", "web", "--replicas=3")
    site("rollout", "status", "deployment/web", "--timeout=30s")
    assert len(site.pods("app=web")) == 3
    (container,) = site.get("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert container["ports"] == [{"containerPort": 80, "protocol": "TCP"}]
    site("scale", "deployment", "web", "--replicas=0", "--current-replicas=3")
    eventually(lambda: site.pods("app=web") == [], what="the end of all pods")


@pytest.fixture
def drained(site: Kubectl) -> Iterator[str]:
    """Name a node that a test may drain; it takes pods again afterwards."""
    yield "gpu-a"
    site("uncordon", "gpu-a")


def test_a_drained_node_loses_its_pods_to_the_others(site: Kubectl, drained: str) -> None:
    """Without evictions kubectl deletes; the Deployment's pods come back elsewhere, Cilium's stand-ins stay."""
    site("create", "deployment", "web", "--image=ignored", "--replicas=2", "--", "sleep", "1000")
    site("rollout", "status", "deployment/web", "--timeout=30s")
    site("drain", drained, "--ignore-daemonsets", "--force", "--delete-emptydir-data", "--timeout=45s")
    site("rollout", "status", "deployment/web", "--timeout=30s")
    there = ("pods", "--all-namespaces", "--field-selector", f"spec.nodeName={drained}")
    stays = {"cilium-0", "clustermesh-apiserver"}
    eventually(lambda: {pod["metadata"]["name"] for pod in site.objects(*there)} == stays, what="the end of the others")
    assert {pod["spec"]["nodeName"] for pod in site.pods("app=web")} == {"gpu-b"}


def test_what_is_not_served_is_not_advertised(site: Kubectl) -> None:
    """Discovery names no evictions, or kubectl would insist on them."""
    assert '"pods/eviction"' not in site("get", "--raw", "/api/v1")
    assert '"deployments/scale"' in site("get", "--raw", "/apis/apps/v1")
