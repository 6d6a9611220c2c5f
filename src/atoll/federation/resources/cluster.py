"""Cluster: one Kubernetes cluster behind an agent; what it is, costs and has, and when that was last proven."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from atoll.federation.resources.base import Condition, DnsLabel, Labels, Model, NonNegative, Resource
from atoll.federation.resources.inventory import ClusterForm, DeviceInfo, NodeTrouble
from atoll.federation.resources.mesh import MeshFacts, MeshLink

ClusterPhase = Literal["Pending", "Ready", "Degraded", "Unreachable"]


class MeshMembership(Model):
    """The cluster's place in the Cilium Cluster Mesh; ids are 1..511 and unique."""

    name: str | None = None
    id: Annotated[int, Field(ge=1, le=511)]


class Costs(Model):
    """Prices in the currency of the federation, for placement and accounting."""

    gpu_hour: Annotated[float, Field(ge=0)] = 0.0
    cpu_hour: Annotated[float, Field(ge=0)] = 0.0
    egress_gib: Annotated[float, Field(ge=0)] = Field(
        default=0.0, description="Price of one GiB that leaves the cluster."
    )


class Network(Model):
    """What the cluster's uplink is declared to carry, until transfers have measured it."""

    uplink_bytes_per_second: Annotated[int, Field(gt=0)] = 125_000_000
    round_trip_seconds: Annotated[float, Field(ge=0)] = 0.0


class ClusterSpec(Model):
    """What an operator says about a cluster."""

    mesh: MeshMembership | None = None
    residency: tuple[str, ...] = Field(default=(), description="Jurisdictions that data in this cluster is in.")
    costs: Costs = Costs()
    network: Network = Network()
    storage_class: DnsLabel | None = Field(
        default=None, description="StorageClass of dataset volumes; the default class if unset."
    )
    unschedulable: bool = Field(default=False, description="Set by cordon: nothing new is placed here.")


class GpuShape(Model):
    """GPUs of one model on one node shape."""

    model: str
    memory_bytes: NonNegative = 0
    count: NonNegative


class NodeShape(Model):
    """How many equal nodes have this much free right now, of what each could allocate if it were empty."""

    nodes: NonNegative
    free_millicores: NonNegative
    free_memory_bytes: NonNegative
    free_gpus: NonNegative = 0
    allocatable_millicores: NonNegative = 0
    allocatable_memory_bytes: NonNegative = 0
    allocatable_gpus: NonNegative = 0
    gpu_model: str | None = None
    gpu_memory_bytes: NonNegative = 0
    labels: Labels = Field(default_factory=dict)


class StorageClassInfo(Model):
    """A StorageClass and the free capacity that its driver reports (None: the driver does not say)."""

    name: str
    provisioner: str
    is_default: bool = False
    free_bytes: int | None = None


class Inventory(Model):
    """What the agent saw in the cluster; replaced whole by each report."""

    version: str = ""
    distribution: str = ""
    nodes: NonNegative = 0
    nodes_ready: NonNegative = 0
    millicores: NonNegative = 0
    memory_bytes: NonNegative = 0
    gpus: tuple[GpuShape, ...] = ()
    free_gpus: tuple[GpuShape, ...] = ()
    shapes: tuple[NodeShape, ...] = ()
    counted_runs: tuple[str, ...] | None = Field(
        default=None,
        description="Runs (namespace/name) whose pods are bound to nodes: `shapes` is already without them.",
    )
    storage_classes: tuple[StorageClassInfo, ...] = ()
    cni: str = ""
    cni_version: str = ""
    form: ClusterForm = Field(
        default="Cluster", description="Edge and Device come and go: silence of theirs is no failure."
    )
    node_states: dict[str, NonNegative] = Field(default_factory=dict)
    kubelet_versions: dict[str, NonNegative] = Field(default_factory=dict)
    devices: tuple[DeviceInfo, ...] = Field(
        default=(), description="All extended resources and DRA devices by sort; `gpus` counts nvidia.com/gpu only."
    )
    troubled_nodes: tuple[NodeTrouble, ...] = Field(default=(), description="The first few by name.")
    stale_kinds: tuple[str, ...] = Field(
        default=(), description="Kinds that the agent cannot follow just now: what stems from them may be of the past."
    )


class ClusterStatus(Model):
    """What the hub knows of a cluster. `last_proven_at` dates all of it: nothing here is newer."""

    phase: ClusterPhase = "Pending"
    inventory: Inventory | None = None
    links: tuple[MeshLink, ...] = ()
    mesh: MeshFacts | None = Field(default=None, description="The cluster's own place in the mesh.")
    conditions: tuple[Condition, ...] = ()
    last_proven_at: datetime | None = None
    lost_since: datetime | None = None
    agent_version: str = ""
    observed_generation: int | None = None


class Cluster(Resource):
    """One Kubernetes cluster of the federation."""

    description: ClassVar[str] = "A Kubernetes cluster that an agent has joined to the federation."

    kind: Literal["Cluster"] = "Cluster"
    spec: ClusterSpec = ClusterSpec()
    status: ClusterStatus = ClusterStatus()
