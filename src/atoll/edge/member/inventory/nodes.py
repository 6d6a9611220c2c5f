"""Nodes: what the agent keeps of each, and in which state it is. Pure.

An edge node that is not heard is Offline and not NotReady: KubeEdge lets its pods run on, and it comes back by itself.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from atoll.edge.member.inventory.devices import GPU_MEMORY_LABEL, describe_devices, is_device
from atoll.edge.member.inventory.distribution import distribution_of, is_kubeedge, kubelet_version
from atoll.edge.member.objects import condition, labels_of
from atoll.federation.capacity import SHAPE_LABELS, amounts_of
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.inventory import ClusterForm, DeviceModel, NodeState

Json = Mapping[str, Any]
H = TypeVar("H", bound=Hashable)

_CONTROL_PLANE_LABEL = "node-role.kubernetes.io/control-plane"
_BARRING = ("NoSchedule", "NoExecute")
# Taints that Kubernetes itself sets and takes off (well-known taints): a node's state says the same.
_LIFECYCLE_TAINTS = frozenset(
    {
        *(f"node.kubernetes.io/{name}" for name in ("not-ready", "unreachable", "unschedulable", "out-of-service")),
        *(f"node.kubernetes.io/{name}-pressure" for name in ("memory", "disk", "pid")),
        "node.kubernetes.io/network-unavailable",
        "node.cloudprovider.kubernetes.io/uninitialized",
        "node.cloudprovider.kubernetes.io/shutdown",
    }
)
_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")
# What a report can use of a native resource list; the rest (attachable volumes, ephemeral storage) is the kubelet's.
_NATIVE_RESOURCES = frozenset({"cpu", "memory", "pods"})
_MESSAGE_CHARS = 200
_MIB = 2**20


class TaintFacts(NamedTuple):
    """One taint."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node. `ready` is the status of its Ready condition: Unknown says that its kubelet is not heard."""

    ready: str
    is_edge: bool
    is_control_plane: bool
    is_cordoned: bool
    is_impaired: bool
    troubles: tuple[str, ...]
    message: str
    taints: tuple[TaintFacts, ...]
    allocatable: Mapping[str, int]
    labels: tuple[tuple[str, str], ...]
    devices: tuple[DeviceModel, ...]
    gpu_memory_bytes: int
    version: str
    distribution: str
    cni: str
    addresses: tuple[str, ...]
    pod_cidrs: tuple[str, ...]

    def state(self, form: ClusterForm) -> NodeState:
        """Name the state in a cluster of some form: a device's only node may sleep as an edge node does."""
        if self.ready != "True":
            may_sleep = self.is_edge or form == "Device"
            return "Offline" if may_sleep and self.ready == "Unknown" else "NotReady"
        if self.is_cordoned:
            return "Cordoned"
        return "Impaired" if self.is_impaired else "Ready"

    @property
    def is_open(self) -> bool:
        """Whether pods without tolerations are let in.

        A device's own taint does not count: the admission plugin ExtendedResourceToleration gives pods that ask for the
        device the toleration of a taint of its name.
        """
        return not any(taint.effect in _BARRING and taint.key not in self.allocatable for taint in self.taints)


def project_node(node: Json) -> NodeFacts:
    """Keep what an inventory needs of a node."""
    status, spec, labels = node.get("status") or {}, node.get("spec") or {}, labels_of(node)
    ready = condition(node, "Ready")
    taints = [_taint(entry) for entry in spec.get("taints") or ()]
    allocatable = _allocatable(status)
    return NodeFacts(
        ready=_same(str(ready.get("status", "Unknown"))),
        is_edge=is_kubeedge(node),
        is_control_plane=_CONTROL_PLANE_LABEL in labels,
        is_cordoned=bool(spec.get("unschedulable")),
        is_impaired=any(taint.key in _LIFECYCLE_TAINTS and taint.effect in _BARRING for taint in taints),
        troubles=_same(tuple(name for name in _PRESSURES if condition(node, name).get("status") == "True")),
        message="" if ready.get("status") == "True" else _message(ready),
        taints=_same(tuple(sorted(taint for taint in taints if taint.key not in _LIFECYCLE_TAINTS))),
        allocatable=allocatable,
        labels=_same(tuple(sorted((key, value) for key, value in labels.items() if key in SHAPE_LABELS))),
        devices=describe_devices(allocatable, labels),
        gpu_memory_bytes=int(labels[GPU_MEMORY_LABEL]) * _MIB if labels.get(GPU_MEMORY_LABEL, "").isdecimal() else 0,
        version=_same(kubelet_version(node)),
        distribution=distribution_of(node),
        cni=_cni_of(node),
        addresses=tuple(
            str(entry["address"]) for entry in status.get("addresses") or () if entry.get("type") == "InternalIP"
        ),
        pod_cidrs=tuple(map(str, spec.get("podCIDRs") or filter(None, [spec.get("podCIDR")]))),
    )


def form_of(nodes: Iterable[NodeFacts]) -> ClusterForm:
    """Tell a cluster with edge nodes, and a K3s device that is all of its cluster, from an ordinary one."""
    seen = list(nodes)
    if any(node.is_edge for node in seen):
        return "Edge"
    is_device_alone = len(seen) == 1 and seen[0].distribution == "K3s" and seen[0].is_control_plane
    return "Device" if is_device_alone else "Cluster"


@lru_cache(maxsize=8192)
def _same(value: H) -> H:
    """Give the first of equal values: nodes of one sort share what they have in common."""
    return value


def _taint(entry: Json) -> TaintFacts:
    return TaintFacts(str(entry.get("key", "")), str(entry.get("value") or ""), str(entry.get("effect", "")))


def _message(ready: Json) -> str:
    parts = filter(None, (str(ready.get("reason") or ""), str(ready.get("message") or "")))
    return ": ".join(parts)[:_MESSAGE_CHARS]


def _allocatable(status: Json) -> Mapping[str, int]:
    said = status.get("allocatable") or status.get("capacity") or {}
    wanted = ((name, str(said[name])) for name in said if name in _NATIVE_RESOURCES or is_device(name))
    return _amounts(tuple(sorted(wanted)))


@lru_cache(maxsize=8192)
def _amounts(said: tuple[tuple[str, str], ...]) -> Mapping[str, int]:
    amounts: dict[str, int] = {}
    for name, quantity in said:
        try:
            amounts |= amounts_of({name: quantity})
        except InvalidInput:  # a kubelet that says nonsense of a resource offers nothing of it
            amounts[name] = 0
    return amounts


# The reason that each network agent writes into the condition NetworkUnavailable when it is up.
_CNI_REASONS = {"CiliumIsUp": "cilium", "CalicoIsUp": "calico", "FlannelIsUp": "flannel", "WeaveIsUp": "weave"}
_FLANNEL_ANNOTATION = "flannel.alpha.coreos.com/backend-type"


def _cni_of(node: Json) -> str:
    by_condition = _CNI_REASONS.get(str(condition(node, "NetworkUnavailable").get("reason", "")), "")
    annotations = (node.get("metadata") or {}).get("annotations") or {}
    return by_condition or ("flannel" if _FLANNEL_ANNOTATION in annotations else "")
