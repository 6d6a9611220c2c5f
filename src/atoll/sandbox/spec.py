"""The four known clusters of the sandbox: what they pretend to be.

Owns the shapes, prices and links of the default federation, for the simulation and for the Cluster objects in the hub.
Values are made up but plausible; nothing here is measured.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.federation.errors import InvalidInput

GIB = 1 << 30
_ROLE = "node-role.kubernetes.io/"
GBIT = 1_000_000_000 // 8


@dataclass(frozen=True)
class Gpus:
    """The GPUs of one node, all of one model; `product` is GPU Feature Discovery's name for it."""

    product: str
    memory_mib: int
    count: int


H100 = Gpus("NVIDIA-H100-80GB-HBM3", 81_559, 4)
A100_80 = Gpus("NVIDIA-A100-SXM4-80GB", 81_920, 4)
A100_40 = Gpus("NVIDIA-A100-SXM4-40GB", 40_960, 4)


@dataclass(frozen=True)
class NodeSpec:
    """One node. One that is offline does not report from the start on, as edges do that sleep."""

    name: str
    cpus: int
    memory_gib: int
    gpus: Gpus | None = None
    roles: tuple[str, ...] = ()
    kubelet_version: str = ""
    instance_type: str = ""
    annotations: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    is_offline: bool = False

    def node_labels(self) -> dict[str, str]:
        """Return the labels that kubelet, cloud and GPU Feature Discovery would set."""
        labels = {"kubernetes.io/hostname": self.name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
        labels |= {f"{_ROLE}{role}": "" for role in self.roles}
        if self.instance_type:
            labels["node.kubernetes.io/instance-type"] = self.instance_type
        if self.gpus is not None:
            labels |= {
                "nvidia.com/gpu.present": "true",
                "nvidia.com/gpu.product": self.gpus.product,
                "nvidia.com/gpu.memory": str(self.gpus.memory_mib),
                "nvidia.com/gpu.count": str(self.gpus.count),
                "nvidia.com/gpu.replicas": "1",
                "nvidia.com/mig.capable": "true",
            }
        return {**labels, **self.labels}


@dataclass(frozen=True)
class Prices:
    """Prices in the currency of the federation."""

    gpu_hour: float = 0.0
    cpu_hour: float = 0.0
    egress_gib: float = 0.0


@dataclass(frozen=True)
class Uplink:
    """What connects a cluster to the others."""

    bytes_per_second: int
    round_trip_seconds: float


@dataclass(frozen=True)
class Storage:
    """The StorageClass of a cluster's dataset volumes and how much it may hold."""

    class_name: str
    capacity_bytes: int


def check_pod_network(text: str) -> str:
    """Give the network of a cluster whose pods have addresses of this machine; empty means made-up ones.

    Raises:
        InvalidInput: no pod could listen on its addresses, or they are those of everybody.
    """
    if not text:
        return ""
    try:
        network = ipaddress.IPv4Network(text)
    except ValueError as error:
        raise InvalidInput(f"podNetwork: {text!r} is no network such as 127.77.0.0/16: {error}") from None
    if sys.platform != "linux":
        raise InvalidInput("podNetwork: only Linux lets programs listen on all of 127.0.0.0/8")
    if not network.is_loopback or network.prefixlen != 16 or network.network_address.packed[1] == 0:
        raise InvalidInput(f"podNetwork: {text} must be 127.N.0.0/16 with N from 1 to 255")
    return str(network)


@dataclass(frozen=True)
class ClusterSpec:
    """One simulated cluster, and what its Cluster object in the hub says."""

    name: str
    mesh_id: int
    version: str
    cilium_version: str
    nodes: tuple[NodeSpec, ...]
    storage: Storage
    uplink: Uplink
    prices: Prices = Prices()
    residency: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
    """Kinds of workloads that operators of its own run there, by their names in kinds/operated.py."""
    has_kvstoremesh: bool = False
    """Whether its agents read other clusters through a cache, which outlives the link that fills it."""

    pod_network: str = ""
    """A /16 of 127.0.0.0/8 whose addresses the pods really have, each its own (Linux only); else they are made up."""

    has_host_firewall: bool = True
    """Whether its Cilium enforces policies with a nodeSelector."""

    def pod_cidr(self, index: int) -> str:
        """The pod addresses of the node at `index`; no two clusters of a mesh may share any."""
        if self.pod_network:
            first, second, *_ = self.pod_network.split(".")
            return f"{first}.{second}.{index}.0/24"
        return f"10.{self.mesh_id}.{index}.0/24"

    def node_address(self, index: int) -> str:
        """The internal address of the node at `index`."""
        return f"172.31.{self.mesh_id}.{index + 10}"


CLOUD_EU = ClusterSpec(
    name="cloud-eu",
    mesh_id=1,
    version="v1.34.2-gke.1187000",
    cilium_version="1.20.0",
    nodes=(
        NodeSpec("gke-cloud-eu-system-0", 8, 32, instance_type="n2-standard-8"),
        NodeSpec("gke-cloud-eu-h100-0", 104, 936, H100, instance_type="a3-highgpu-4g"),
        NodeSpec("gke-cloud-eu-a100-0", 48, 680, A100_80, instance_type="a2-ultragpu-4g"),
    ),
    storage=Storage("filestore-rwx", 512 * GIB),
    uplink=Uplink(4 * GBIT, 0.012),
    prices=Prices(gpu_hour=4.9, cpu_hour=0.045, egress_gib=0.08),
    residency=("eu",),
    labels={"region": "eu", "site": "cloud"},
)
KUBEADM = {"kubeadm.alpha.kubernetes.io/cri-socket": "unix:///run/containerd/containerd.sock"}
ONPREM_GPU = ClusterSpec(
    name="onprem-gpu",
    mesh_id=2,
    version="v1.34.1",
    cilium_version="1.20.0",
    nodes=(
        NodeSpec("gpu-a", 64, 512, A100_40, roles=("control-plane",), annotations=KUBEADM),
        NodeSpec("gpu-b", 64, 512, A100_40, annotations=KUBEADM),
    ),
    storage=Storage("nfs-rwx", 256 * GIB),
    uplink=Uplink(10 * GBIT, 0.004),
    prices=Prices(gpu_hour=0.9, cpu_hour=0.012, egress_gib=0.0),
    residency=("eu", "de"),
    labels={"region": "eu", "site": "datacenter"},
)
LAB_K3S = ClusterSpec(
    name="lab-k3s",
    mesh_id=3,
    version="v1.33.6+k3s1",
    cilium_version="1.19.4",
    nodes=(NodeSpec("lab-k3s-0", 8, 32, roles=("control-plane", "master"), instance_type="k3s"),),
    storage=Storage("lab-rwx", 64 * GIB),
    uplink=Uplink(GBIT, 0.006),
    prices=Prices(cpu_hour=0.006),
    residency=("eu", "de"),
    labels={"region": "eu", "site": "lab"},
)
KUBEEDGE_VERSION = "v1.32.10-kubeedge-v1.22.0"
KUBEEDGE_ROLES = ("agent", "edge")
LAB_KUBEEDGE = ClusterSpec(
    name="lab-kubeedge",
    mesh_id=4,
    version="v1.32.10",
    cilium_version="1.18.5",
    nodes=(
        NodeSpec("kubeedge-cloud-0", 8, 16, roles=("control-plane",)),
        NodeSpec("kubeedge-edge-0", 4, 8, roles=KUBEEDGE_ROLES, kubelet_version=KUBEEDGE_VERSION),
        NodeSpec("kubeedge-edge-1", 4, 8, roles=KUBEEDGE_ROLES, kubelet_version=KUBEEDGE_VERSION),
    ),
    storage=Storage("edge-rwx", 32 * GIB),
    uplink=Uplink(GBIT // 10, 0.025),
    prices=Prices(cpu_hour=0.004),
    residency=("eu", "de"),
    labels={"region": "eu", "site": "field"},
)
DEFAULT_CLUSTERS = (CLOUD_EU, ONPREM_GPU, LAB_K3S, LAB_KUBEEDGE)
