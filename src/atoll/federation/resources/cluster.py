"""Cluster: one Kubernetes cluster behind an agent; what it is, costs and has, and when that was last proven."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, model_validator

from atoll.federation.resources.base import Condition, DnsLabel, DnsSubdomain, Labels, Model, NonNegative, Resource
from atoll.federation.resources.inventory import (
    BatchEngineInfo,
    ClusterForm,
    DeviceInfo,
    NodeTrouble,
    OwnedEvent,
    ServedKind,
)
from atoll.federation.resources.mesh import MeshFacts, MeshLink
from atoll.federation.resources.schedule import Schedule

# YuniKorn's are paths with dots, Slurm's partitions may hold underscores and capitals.
EngineQueue = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$")]
Evictions = Literal["ByPolicy", "All"]
# Pending: not heard yet. Degraded: heard, and something needs a look. Unreachable: not heard, and it should be. Asleep:
# not heard or not usable, as its schedule or its form lets expect.
ClusterPhase = Literal["Pending", "Ready", "Degraded", "Unreachable", "Asleep"]
CLUSTER_PHASES: tuple[ClusterPhase, ...] = get_args(ClusterPhase)
# Reasons of a cluster that is Asleep while its agent, which runs elsewhere, is heard.
_HEARD_ASLEEP = frozenset({"ApiOffline", "NodesOffline"})


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


class BatchSettings(Model):
    """Which batch engine of the cluster runs the work, and in which of its queues (docs/adr/0025)."""

    engine: Literal["Kueue", "Volcano", "YuniKorn", "Slinky", "None"] | None = Field(
        default=None,
        description="Unset: the first of them that runs there and has a queue for the work. None: none of them; the "
        "agent then keeps gangs together itself.",
    )
    queue: EngineQueue | None = Field(
        default=None,
        description="The engine's queue (Slinky: partition) for work of queues that `queues` does not name. Unset: "
        "LocalQueue `default` or the only one of the namespace; Volcano's `default`; else the engine's own choice.",
    )
    queues: dict[DnsSubdomain, EngineQueue] = Field(
        default_factory=dict, description="The engine's queue for each of these queues of Atoll."
    )

    @model_validator(mode="after")
    def _has_an_engine(self) -> "BatchSettings":
        if self.engine == "None" and (self.queue is not None or self.queues):
            raise ValueError("queue and queues say nothing where engine is None: leave them out, or name the engine")
        return self


class ClusterSpec(Model):
    """What an operator says about a cluster."""

    mesh: MeshMembership | None = None
    residency: tuple[str, ...] = Field(default=(), description="Jurisdictions that data in this cluster is in.")
    costs: Costs = Costs()
    network: Network = Network()
    storage_class: DnsLabel | None = Field(
        default=None, description="StorageClass of dataset volumes; the default class if unset."
    )
    batch: BatchSettings = BatchSettings()
    unschedulable: bool = Field(default=False, description="Set by cordon: nothing new is placed here.")
    schedule: Schedule | None = Field(
        default=None,
        description="When the cluster is up. Its silence at other times is sleep: it is Asleep, not Unreachable.",
    )
    draining: bool = Field(
        default=False,
        description="Set by drain: nothing new is placed here, and runs leave it as their job's lossPolicy says.",
    )
    evict: Evictions = Field(
        default="ByPolicy", description="Which runs a drain stops; All stops those of lossPolicy Wait as well."
    )


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
    """What the agent saw in the cluster; replaced whole by each report.

    In Cluster.status it is a digest: few shapes, and no `counted_runs`. Scheduling counts with the report itself.
    """

    version: str = ""
    distribution: str = ""
    nodes: NonNegative = 0
    nodes_ready: NonNegative = 0
    millicores: NonNegative = 0
    memory_bytes: NonNegative = 0
    gpus: tuple[GpuShape, ...] = ()
    free_gpus: tuple[GpuShape, ...] = ()
    shapes: tuple[NodeShape, ...] = ()
    omitted_nodes: NonNegative = Field(default=0, description="Nodes with room whose shapes are too many to be listed.")
    counted_runs: tuple[str, ...] | None = Field(
        default=None,
        description="Runs (namespace/name) whose pods are bound to nodes: `shapes` is already without them.",
    )
    storage_classes: tuple[StorageClassInfo, ...] = ()
    cni: str = ""
    cni_version: str = ""
    form: ClusterForm = Field(
        default="Cluster",
        description="Nodes of Edge and Device come and go, and a Device with its agent: their silence is no failure.",
    )
    node_states: dict[str, NonNegative] = Field(default_factory=dict)
    kubelet_versions: dict[str, NonNegative] = Field(default_factory=dict)
    devices: tuple[DeviceInfo, ...] = Field(
        default=(), description="All extended resources and DRA devices by sort; `gpus` counts nvidia.com/gpu only."
    )
    troubled_nodes: tuple[NodeTrouble, ...] = Field(default=(), description="The first few by name.")
    workload_kinds: tuple[ServedKind, ...] | None = Field(
        default=None, description="Kinds of which work can be made there; unset while the agent has not told them."
    )
    policy_kinds: tuple[str, ...] | None = Field(
        default=None, description="Kinds of network policies that are served; unset while the agent has not told them."
    )
    batch_engines: tuple[BatchEngineInfo, ...] = Field(
        default=(), description="The batch engines that are installed, in the order in which they are preferred."
    )
    stale_kinds: tuple[str, ...] = Field(
        default=(), description="Kinds that the agent cannot follow just now: what stems from them may be of the past."
    )


class ClusterStatus(Model):
    """What the hub knows of a cluster. `last_proven_at` dates all of it: nothing here is newer."""

    phase: ClusterPhase = "Pending"
    reason: str = ""
    message: str = ""
    wakes_at: datetime | None = Field(
        default=None, description="When the schedule says that it is up again; unset unless it sleeps by its schedule."
    )
    inventory: Inventory | None = None
    links: tuple[MeshLink, ...] = ()
    mesh: MeshFacts | None = Field(default=None, description="The cluster's own place in the mesh.")
    warnings: tuple[OwnedEvent, ...] = Field(
        default=(), description="The cluster's newest few warnings about what Atoll has there, the newest first."
    )
    conditions: tuple[Condition, ...] = ()
    last_proven_at: datetime | None = None
    lost_since: datetime | None = None
    agent_version: str = ""
    observed_generation: int | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing is heard, be it a loss or a sleep: nothing that is asked of the cluster is answered."""
        return self.phase == "Unreachable" or (self.phase == "Asleep" and self.reason not in _HEARD_ASLEEP)

    @property
    def silent_since(self) -> datetime | None:
        """Since when nothing is heard; None while the agent is heard."""
        return (self.lost_since or self.last_proven_at) if self.is_silent else None


class Cluster(Resource):
    """One Kubernetes cluster of the federation."""

    description: ClassVar[str] = "A Kubernetes cluster that an agent has joined to the federation."

    kind: Literal["Cluster"] = "Cluster"
    spec: ClusterSpec = ClusterSpec()
    status: ClusterStatus = ClusterStatus()
