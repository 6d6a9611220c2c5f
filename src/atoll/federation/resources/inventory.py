"""What an agent tells about the inside of its cluster, part by part: nodes, devices, storage, queues, network, events.

Owns the models only. Each part is reported whole and by itself (docs/adr/0016); Cluster.status.inventory holds a
digest of the summary. Amounts are whole numbers: `cpu` in millicores, everything else in bytes or pieces.
"""

from datetime import datetime
from typing import Literal

from pydantic import Field

from atoll.federation.resources.base import Labels, Model, NonNegative

# Ready takes work. Impaired: under pressure or not initialised. NotReady: broken. Offline: an edge node or device that
# is not heard, which is its way of life; its pods run on.
NodeState = Literal["Ready", "Cordoned", "Impaired", "NotReady", "Offline"]
NodeClass = Literal["Regular", "Edge"]
# Edge: some nodes are edge nodes that come and go. Device: one small machine that is its own control plane.
ClusterForm = Literal["Cluster", "Edge", "Device"]
# Gpu: a whole one. GpuSlice: a hardware partition (MIG). GpuShare: one of several turns on a GPU (time-slicing, MPS).
DeviceKind = Literal["Gpu", "GpuSlice", "GpuShare", "Rdma", "Other"]


class Taint(Model):
    """What keeps pods that do not tolerate it off a node."""

    key: str
    value: str = ""
    effect: str


class DeviceModel(Model):
    """What one extended resource, or one sort of a DRA driver's devices, stands for."""

    resource: str = Field(description="Name of the extended resource, or of the DRA driver.")
    kind: DeviceKind
    vendor: str = ""
    model: str = ""
    memory_bytes: NonNegative = 0
    replicas: NonNegative = Field(default=1, description="How many pods share one device.")


class DeviceInfo(DeviceModel):
    """Devices of one sort in the whole cluster."""

    source: Literal["DevicePlugin", "Dra"] = "DevicePlugin"
    count: NonNegative = 0
    free: NonNegative = Field(default=0, description="What pods that tolerate the nodes' taints can take now.")


class NodeTrouble(Model):
    """A node that is not as it should be, and why."""

    name: str
    state: NodeState
    reasons: tuple[str, ...] = ()
    message: str = ""


class NodeGroup(Model):
    """Nodes that differ only in what is free on them."""

    nodes: NonNegative
    node_class: NodeClass = "Regular"
    states: dict[NodeState, NonNegative] = Field(default_factory=dict)
    labels: Labels = Field(default_factory=dict)
    taints: tuple[Taint, ...] = ()
    devices: tuple[DeviceModel, ...] = ()
    resources: tuple[str, ...] = Field(default=(), description="Names of the amounts below, in their order.")
    allocatable: tuple[NonNegative, ...] = Field(default=(), description="Of each node, or a little less.")
    free: tuple[tuple[NonNegative, ...], ...] = Field(
        default=(), description="Histogram of the Ready nodes: how many of them have at least these amounts free."
    )


class DevicePool(Model):
    """Devices of one sort that a DRA driver offers."""

    device: DeviceModel
    devices: NonNegative
    free: NonNegative
    nodes: NonNegative = Field(default=0, description="Nodes that have any; 0 for devices that belong to no node.")
    free_by_node: dict[str, NonNegative] = Field(
        default_factory=dict, description="Histogram: number of free devices → nodes that have that many."
    )


class DeviceClassInfo(Model):
    """A DeviceClass that claims may name."""

    name: str
    extended_resource: str = ""


class StorageSegment(Model):
    """Equal parts of a cluster from which a volume of one class can be made."""

    segments: NonNegative = 1
    topology: Labels = Field(default_factory=dict)
    free_bytes: NonNegative
    largest_volume_bytes: NonNegative


class StorageClassDetail(Model):
    """A StorageClass with its driver, its free capacity where the driver tells it, and its claims."""

    name: str
    provisioner: str
    is_default: bool = False
    binding_mode: str = ""
    reclaim_policy: str = ""
    allows_expansion: bool = False
    has_driver: bool = Field(default=False, description="A CSIDriver object of the provisioner's name exists.")
    tells_capacity: bool = False
    segments: tuple[StorageSegment, ...] = ()
    claims_bound: NonNegative = 0
    claims_pending: NonNegative = 0
    claimed_bytes: NonNegative = 0


class FlavorInfo(Model):
    """A Kueue ResourceFlavor: which nodes it stands for."""

    name: str
    node_labels: Labels = Field(default_factory=dict)
    taints: tuple[Taint, ...] = ()


class QuotaInfo(Model):
    """Quota of one resource of one flavor in a ClusterQueue; a limit that is None does not bound."""

    flavor: str
    resource: str
    nominal: NonNegative
    borrowing_limit: NonNegative | None = None
    lending_limit: NonNegative | None = None
    reserved: NonNegative = 0


class ClusterQueueInfo(Model):
    """A Kueue ClusterQueue."""

    name: str
    cohort: str = ""
    is_active: bool = False
    message: str = ""
    pending: NonNegative = 0
    admitted: NonNegative = 0
    quotas: tuple[QuotaInfo, ...] = ()


BatchEngine = Literal["Kueue", "Volcano", "YuniKorn", "Slinky"]


class ServedKind(Model):
    """A kind of which the cluster's API server takes objects."""

    api_version: str
    kind: str


class BatchQueue(Model):
    """A queue to which work in a member can be given."""

    name: str
    namespace: str = Field(default="", description="Where it can be used; empty: in every namespace.")


class BatchEngineInfo(Model):
    """A batch engine that is installed in a cluster."""

    engine: BatchEngine
    is_running: bool = Field(default=False, description="A pod of its scheduler or controller is on a node.")
    queues: tuple[BatchQueue, ...] = Field(
        default=(), description="Kueue's LocalQueues, Volcano's Queues; the others keep theirs outside the API server."
    )


class OwnedEvent(Model):
    """The newest word of the cluster about something that Atoll owns."""

    owner: str = Field(description="run/<namespace>/<run> or service/<namespace>.")
    kind: str
    name: str
    reason: str
    message: str = ""
    count: NonNegative = 1
    first_at: datetime | None = None
    last_at: datetime | None = None
