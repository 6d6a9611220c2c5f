"""The objects that a simulated cluster begins with: namespaces, nodes, storage, Cilium's own.

Owns their content; the controllers keep them alive.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime

from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.sandbox.cilium.pods import seed_pods
from atoll.sandbox.controllers.nodes import LEASE_NAMESPACE, ready_condition
from atoll.sandbox.controllers.volumes import PROVISIONER
from atoll.sandbox.kinds.catalog import CILIUM_NODE, CONFIG_MAP, CSI_DRIVER, NAMESPACE, NODE, STORAGE_CLASS
from atoll.sandbox.kinds.storage import DEFAULT_CLASS
from atoll.sandbox.kubelet.devices import GPU
from atoll.sandbox.spec import ClusterSpec, NodeSpec

ISOLATION = "sandbox.atoll.dev/isolation"
"""Node annotation that says how containers see their mounts: `mounts`, or `rewrite` and why."""
NAMESPACES = ("default", "kube-system", "kube-public", LEASE_NAMESPACE)
_PODS_PER_NODE = "110"  # kubelet's default


async def seed(store: Store, spec: ClusterSpec, clock: Callable[[], datetime], *, isolation: str) -> None:
    """Create everything that a new cluster has."""
    for rt, obj in _objects(spec, isolation):
        created = await store.create(rt, obj)
        if rt is NODE:
            status = node_status(spec, spec.nodes[_index(spec, created)], clock())
            await store.update(NODE, {**created, "status": status}, subresource="status")
    await seed_pods(store, spec, timestamp(clock()))


def _objects(spec: ClusterSpec, isolation: str) -> Iterator[tuple[ResourceType, Object]]:
    for name in NAMESPACES:
        yield NAMESPACE, {"metadata": {"name": name}}
    for index, node in enumerate(spec.nodes):
        metadata = {
            "name": node.name,
            "labels": node.node_labels(),
            "annotations": {**node.annotations, ISOLATION: isolation},
        }
        network = {"podCIDR": spec.pod_cidr(index), "podCIDRs": [spec.pod_cidr(index)]}
        yield NODE, {"metadata": metadata, "spec": {**network, "providerID": f"sandbox://{spec.name}/{node.name}"}}
        addresses = [{"type": "InternalIP", "ip": spec.node_address(index)}]
        ipam = {"podCIDRs": [spec.pod_cidr(index)]}
        yield CILIUM_NODE, {"metadata": {"name": node.name}, "spec": {"addresses": addresses, "ipam": ipam}}
    yield CSI_DRIVER, {"metadata": {"name": PROVISIONER}, "spec": {"attachRequired": False, "storageCapacity": True}}
    annotations = {DEFAULT_CLASS: "true"}
    yield (
        STORAGE_CLASS,
        {
            "metadata": {"name": spec.storage.class_name, "annotations": annotations},
            "provisioner": PROVISIONER,
            "allowVolumeExpansion": True,
        },
    )
    yield CONFIG_MAP, {"metadata": {"name": "cilium-config", "namespace": "kube-system"}, "data": _cilium_config(spec)}


def _cilium_config(spec: ClusterSpec) -> dict[str, str]:
    config = {
        "cluster-name": spec.name,
        "enable-host-firewall": "true" if spec.has_host_firewall else "false",
        "cluster-id": str(spec.mesh_id),
        "max-connected-clusters": "255",
        "identity-allocation-mode": "crd",
        "enable-policy": "default",
        "routing-mode": "tunnel",
        "tunnel-protocol": "vxlan",
    }
    # An option since 1.18 and the default from 1.19 on (cilium/cilium #39338, #40609): whoever meshes both sets it.
    return {**config, "policy-default-local-cluster": "true"}


def _index(spec: ClusterSpec, node: Object) -> int:
    return next(index for index, each in enumerate(spec.nodes) if each.name == node["metadata"]["name"])


def _network_condition(now: datetime) -> Object:
    at = timestamp(now)
    times = {"lastHeartbeatTime": at, "lastTransitionTime": at}
    return {
        "type": "NetworkUnavailable",
        "status": "False",
        "reason": "CiliumIsUp",
        "message": "Cilium is running on this node",
        **times,
    }


def node_status(spec: ClusterSpec, node: NodeSpec, now: datetime) -> Object:
    """Return the status that a node reports."""
    amounts = {"cpu": str(node.cpus), "memory": f"{node.memory_gib}Gi", "pods": _PODS_PER_NODE}
    amounts["ephemeral-storage"] = "100Gi"
    if node.gpus is not None:
        amounts[GPU] = str(node.gpus.count)
    address = spec.node_address(spec.nodes.index(node))
    return {
        "capacity": amounts,
        "allocatable": amounts,
        "conditions": [ready_condition(now, is_ready=not node.is_offline), _network_condition(now)],
        "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": node.name}],
        "nodeInfo": {
            "kubeletVersion": node.kubelet_version or spec.version,
            "kubeProxyVersion": "",
            "containerRuntimeVersion": "sandbox://process",
            "osImage": "Atoll sandbox (simulated node)",
            "kernelVersion": "",
            "operatingSystem": "linux",
            "architecture": "amd64",
            "machineID": node.name,
            "systemUUID": node.name,
            "bootID": node.name,
        },
    }
