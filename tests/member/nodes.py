"""Nodes, pods and other objects as API servers give them, for the tests of the inventory."""

from typing import Any

from atoll.edge.member.inventory.facts import ClusterFacts
from atoll.edge.member.inventory.nodes import project_node
from atoll.edge.member.inventory.pods import PodTally, project_pod
from member.world import Json, node

GIB = 2**30
A100 = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
    "nvidia.com/gpu.memory": "40960",
    "nvidia.com/gpu.count": "4",
}


def pod(where: str, *, gpus: int = 0, cpu: str = "1", phase: str = "Running", **labels: str) -> Json:
    """A pod of one container on a node."""
    resources = {"requests": {"cpu": cpu, "memory": "1Gi"}, "limits": {"nvidia.com/gpu": str(gpus)} if gpus else {}}
    return {
        "metadata": {"name": "p", "namespace": "ns", "labels": labels},
        "spec": {"nodeName": where, "containers": [{"name": "c", "image": "i", "resources": resources}]},
        "status": {"phase": phase},
    }


def facts(*nodes: Json, pods: tuple[Json, ...] = (), **rest: Any) -> ClusterFacts:
    """What the agent would have seen of a cluster of these."""
    return ClusterFacts(
        nodes={item["metadata"]["name"]: project_node(item) for item in nodes},
        pods=PodTally.of({str(number): project_pod(item) for number, item in enumerate(pods)}),
        **rest,
    )


def with_spec(item: Json, **spec: Any) -> Json:
    """The node with other fields in its spec."""
    return {**item, "spec": {**item.get("spec", {}), **spec}}


def with_condition(item: Json, kind: str, status: str, reason: str = "") -> Json:
    """The node with one condition more, or another one of that type."""
    others = [entry for entry in item["status"]["conditions"] if entry["type"] != kind]
    conditions = [*others, {"type": kind, "status": status, "reason": reason, "message": ""}]
    return {**item, "status": {**item["status"], "conditions": conditions}}


def offering(name: str, amounts: dict[str, str], labels: dict[str, str] | None = None) -> Json:
    """A node with extended resources."""
    item = node(name, labels=labels)
    allocatable = item["status"]["allocatable"] | amounts
    return {**item, "status": {**item["status"], "allocatable": allocatable}}


def edge(name: str) -> Json:
    """A node of KubeEdge."""
    item = node(name, labels={"node-role.kubernetes.io/edge": "", "node-role.kubernetes.io/agent": ""})
    info = {"kubeletVersion": "v1.29.5-kubeedge-v1.19.0"}
    return {**item, "status": {**item["status"], "nodeInfo": info}}
