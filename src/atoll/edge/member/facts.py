"""What the agent keeps of nodes, pods and storage objects: small values instead of whole objects. Pure.

These are the informers' projections: a pod is a few hundred bytes here, so that 100,000 of them fit in memory.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson

from atoll.edge.member.objects import condition, labels_of
from atoll.edge.member.workload import JOB_NAME_LABEL
from atoll.federation.capacity import SHAPE_LABELS, ResourceVector, demand_of_pod_spec, parse_bytes, parse_millicores
from atoll.federation.errors import InvalidInput

Json = Mapping[str, Any]

GPU_RESOURCE = "nvidia.com/gpu"
# GPU Feature Discovery, in MiB (github.com/NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery).
GPU_MEMORY_LABEL = "nvidia.com/gpu.memory"
EDGE_ROLE_LABEL = "node-role.kubernetes.io/edge"
_DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
# Pods that ask for a GPU are given its toleration by the ExtendedResourceToleration admission plugin.
_HARMLESS_TAINTS = frozenset({GPU_RESOURCE})
_MIB = 2**20


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One node. `takes_work` says whether an ordinary pod may be put there now."""

    is_ready: bool
    takes_work: bool
    allocatable: ResourceVector
    labels: Mapping[str, str]
    gpu_memory_bytes: int
    distribution: str
    cni: str


@dataclass(frozen=True, slots=True)
class PodFacts:
    """One pod: what it takes from which node, and of which Job (`namespace/name`) it is.

    `cilium_version` is set on the pods of Cilium's agent only.
    """

    node: str
    demand: ResourceVector
    is_live: bool
    job: str
    cilium_version: str = ""


@dataclass(frozen=True, slots=True)
class StorageClassFacts:
    """One StorageClass."""

    name: str
    provisioner: str
    is_default: bool


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """One CSIStorageCapacity: the largest volume that one segment of one class can still make."""

    storage_class: str
    free_bytes: int


def project_node(node: Json) -> NodeFacts:
    """Keep what an inventory needs of a node."""
    status, spec, labels = node.get("status") or {}, node.get("spec") or {}, labels_of(node)
    is_ready = condition(node, "Ready").get("status") == "True"
    barred = [
        taint
        for taint in spec.get("taints") or ()
        if taint.get("effect") in ("NoSchedule", "NoExecute") and taint.get("key") not in _HARMLESS_TAINTS
    ]
    return NodeFacts(
        is_ready=is_ready,
        takes_work=is_ready and not spec.get("unschedulable") and not barred,
        allocatable=_allocatable(status),
        labels={key: value for key, value in labels.items() if key in SHAPE_LABELS},
        gpu_memory_bytes=int(labels[GPU_MEMORY_LABEL]) * _MIB if labels.get(GPU_MEMORY_LABEL, "").isdecimal() else 0,
        distribution=distribution_of(node),
        cni=_cni_of(node),
    )


def project_pod(pod: Json) -> PodFacts:
    """Keep what an inventory and the runs need of a pod."""
    spec, labels = pod.get("spec") or {}, labels_of(pod)
    return PodFacts(
        node=str(spec.get("nodeName") or ""),
        demand=_demand(spec),
        is_live=(pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"),
        job=f"{pod['metadata']['namespace']}/{labels[JOB_NAME_LABEL]}" if JOB_NAME_LABEL in labels else "",
        cilium_version=_image_version(spec) if labels.get("k8s-app") == "cilium" else "",
    )


def project_storage_class(obj: Json) -> StorageClassFacts:
    """Keep what an inventory needs of a StorageClass."""
    annotations = obj["metadata"].get("annotations") or {}
    is_default = annotations.get(_DEFAULT_CLASS_ANNOTATION) == "true"
    return StorageClassFacts(str(obj["metadata"]["name"]), str(obj.get("provisioner", "")), is_default)


def project_capacity(obj: Json) -> CapacityFacts:
    """Keep what an inventory needs of a CSIStorageCapacity."""
    limits = [_bytes(obj[name]) for name in ("capacity", "maximumVolumeSize") if obj.get(name)]
    return CapacityFacts(str(obj.get("storageClassName", "")), min(limits, default=0))


def _allocatable(status: Json) -> ResourceVector:
    amounts = status.get("allocatable") or status.get("capacity") or {}
    try:
        return ResourceVector(
            parse_millicores(amounts.get("cpu", 0)),
            parse_bytes(amounts.get("memory", 0)),
            parse_bytes(amounts.get(GPU_RESOURCE, 0)),
        )
    except InvalidInput:  # a kubelet that says nonsense offers nothing
        return ResourceVector()


def _demand(spec: Json) -> ResourceVector:
    said = {
        name: [_needs(container) for container in spec.get(name) or ()] for name in ("initContainers", "containers")
    }
    return _demand_of(orjson.dumps(said | {"overhead": spec.get("overhead")}))


def _needs(container: Json) -> dict[str, Any]:
    return {name: container[name] for name in ("resources", "restartPolicy") if name in container}


@lru_cache(maxsize=4096)
def _demand_of(said: bytes) -> ResourceVector:
    """Compute once what the pods of one template ask for: reading quantities is most of the cost of reading a pod."""
    try:
        return demand_of_pod_spec(orjson.loads(said))
    except InvalidInput:  # no API server admits such a pod
        return ResourceVector()


def _bytes(quantity: Any) -> int:
    try:
        return parse_bytes(quantity)
    except InvalidInput:
        return 0


# The reason that each network agent writes into the condition NetworkUnavailable when it is up.
_CNI_REASONS = {"CiliumIsUp": "cilium", "CalicoIsUp": "calico", "FlannelIsUp": "flannel", "WeaveIsUp": "weave"}
_FLANNEL_ANNOTATION = "flannel.alpha.coreos.com/backend-type"


def _cni_of(node: Json) -> str:
    by_condition = _CNI_REASONS.get(str(condition(node, "NetworkUnavailable").get("reason", "")), "")
    annotations = (node.get("metadata") or {}).get("annotations") or {}
    return by_condition or ("flannel" if _FLANNEL_ANNOTATION in annotations else "")


def _image_version(spec: Json) -> str:
    """Read `1.18.2` out of `quay.io/cilium/cilium:v1.18.2@sha256:…`."""
    image = str((spec.get("containers") or [{}])[0].get("image", "")).partition("@")[0]
    tag = image.rpartition("/")[2].partition(":")[2]
    return tag.removeprefix("v")


def _version_has(part: str) -> Callable[[Json], bool]:
    return lambda node: part in str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion", ""))


def _label_starts(prefix: str) -> Callable[[Json], bool]:
    return lambda node: any(key.startswith(prefix) for key in labels_of(node))


def _annotation(key: str) -> Callable[[Json], bool]:
    return lambda node: key in ((node.get("metadata") or {}).get("annotations") or {})


def _provider(prefix: str) -> Callable[[Json], bool]:
    return lambda node: str((node.get("spec") or {}).get("providerID", "")).startswith(prefix)


# First match wins. KubeEdge stands first: its edge nodes join a cluster whose cloud nodes look like another one's.
DISTRIBUTIONS: tuple[tuple[str, tuple[Callable[[Json], bool], ...]], ...] = (
    ("KubeEdge", (_version_has("-kubeedge-"), _label_starts(EDGE_ROLE_LABEL))),
    ("K3s", (_version_has("+k3s"),)),
    ("RKE2", (_version_has("+rke2"),)),
    ("EKS", (_version_has("-eks-"), _label_starts("eks.amazonaws.com/"))),
    ("GKE", (_version_has("-gke."), _label_starts("cloud.google.com/gke-"))),
    ("AKS", (_label_starts("kubernetes.azure.com/"),)),
    ("OpenShift", (_label_starts("node.openshift.io/"),)),
    ("k0s", (_version_has("+k0s"),)),
    ("MicroK8s", (_label_starts("microk8s.io/"),)),
    ("kind", (_provider("kind://"),)),
    ("minikube", (_label_starts("minikube.k8s.io/"),)),
    ("kubeadm", (_annotation("kubeadm.alpha.kubernetes.io/cri-socket"),)),
)


def distribution_of(node: Json) -> str:
    """Name the Kubernetes distribution that a node belongs to; empty if it does not say."""
    return next((name for name, tests in DISTRIBUTIONS if any(test(node) for test in tests)), "")
