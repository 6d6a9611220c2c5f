"""What placement sees of a cluster: a frozen view made of the Cluster object and of the runs that it holds."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from atoll.federation.capacity import ResourceVector, Shape, group_shapes
from atoll.federation.mesh import LinkView, Uplink, mesh_name_of
from atoll.federation.placement.demand import PodDemand, Pods
from atoll.federation.placement.gangs import taken
from atoll.federation.placement.waiting import Future
from atoll.federation.resources import Cluster, Inventory, NodeShape
from atoll.federation.resources.cluster import Costs

PLAIN_KINDS = frozenset({("batch/v1", "Job"), ("v1", "Pod")})
"""What every cluster serves; all that is known to be served where the agent does not say."""


@dataclass(frozen=True)
class Occupation:
    """A run that holds capacity: its pods, and in how many seconds it is expected to end.

    `is_counted` tells whether the cluster's reported free capacity is already without it.
    """

    run: str
    pod: PodDemand
    count: int
    ends_in_seconds: float
    is_counted: bool
    beside: Pods = ()

    @classmethod
    def of(cls, run: str, pods: Pods, ends_in_seconds: float, *, is_counted: bool) -> "Occupation":
        """Let a run hold all groups of its pods."""
        (pod, count), *beside = pods
        return cls(run, pod, count, ends_in_seconds, is_counted, tuple(beside))

    @property
    def pods(self) -> Pods:
        """All groups of its pods."""
        return ((self.pod, self.count), *self.beside)

    @property
    def resources(self) -> ResourceVector:
        """What all of them ask for together."""
        own = self.pod.resources * self.count
        return sum((pod.resources * count for pod, count in self.beside), own) if self.beside else own


@dataclass(frozen=True)
class StorageView:
    """The StorageClass that dataset volumes of the cluster use; `free_bytes` None: its driver does not say."""

    name: str
    free_bytes: int | None = None


@dataclass(frozen=True)
class ClusterView:
    """One cluster at one moment. `trouble` says why it is not ready; links are by the peers' names in the mesh.

    `storage` None: it has no StorageClass of the name that the operator chose, or no default one.
    """

    name: str
    phase: str = "Ready"
    trouble: str = ""
    lost_since: datetime | None = None
    wakes_at: datetime | None = None
    is_cordoned: bool = False
    is_leaving: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    residency: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    occupations: tuple[Occupation, ...] = ()
    storage: StorageView | None = None
    wanted_storage_class: str | None = None
    costs: Costs = field(default_factory=Costs)
    uplink: Uplink = field(default_factory=lambda: Uplink(125_000_000))
    links: Mapping[str, LinkView] = field(default_factory=dict)
    mesh_name: str = ""  # empty: its own name
    workload_kinds: frozenset[tuple[str, str]] = PLAIN_KINDS

    @cached_property
    def future(self) -> Future:
        """Its nodes after each expected end."""
        return Future(self.shapes, self.occupations)

    @property
    def is_ready(self) -> bool:
        """Whether new work can start there."""
        return self.phase == "Ready"

    @property
    def is_asleep(self) -> bool:
        """Whether nothing can start there because nothing is expected to."""
        return self.phase == "Asleep"

    @property
    def is_heard(self) -> bool:
        """Whether its datasets can be read: they can while only its API server or its nodes are in trouble."""
        return self.phase in ("Ready", "Degraded")

    def occupied(self, occupation: Occupation) -> "ClusterView":
        """See the cluster with one more run on it, which its agent has not reported yet."""
        return replace(self, shapes=taken(self.shapes, occupation.pods), occupations=(*self.occupations, occupation))


def view_of_cluster(cluster: Cluster, occupations: Iterable[Occupation] = ()) -> ClusterView:
    """See a cluster and the unfinished runs on it."""
    spec, status = cluster.spec, cluster.status
    inventory = status.inventory or Inventory()
    held = tuple(occupations)
    view = ClusterView(
        name=cluster.metadata.name,
        phase=status.phase,
        trouble=next(
            (each.message for each in status.conditions if each.type == "Ready" and each.status != "True"), ""
        ),
        lost_since=status.lost_since,
        wakes_at=status.wakes_at,
        is_cordoned=spec.unschedulable or spec.draining,
        is_leaving=cluster.metadata.deletion_timestamp is not None,
        labels=cluster.metadata.labels,
        residency=spec.residency,
        shapes=group_shapes(_shape(shape) for shape in inventory.shapes),
        occupations=tuple(occupation for occupation in held if occupation.is_counted),
        storage=_storage(inventory, spec.storage_class),
        wanted_storage_class=spec.storage_class,
        costs=spec.costs,
        uplink=Uplink(spec.network.uplink_bytes_per_second, spec.network.round_trip_seconds),
        links=_links(cluster),
        mesh_name=mesh_name_of(cluster),
        workload_kinds=_kinds(inventory),
    )
    for occupation in held:
        if not occupation.is_counted:
            view = view.occupied(occupation)
    return view


def _kinds(inventory: Inventory) -> frozenset[tuple[str, str]]:
    if inventory.workload_kinds is None:
        return PLAIN_KINDS
    return frozenset((served.api_version, served.kind) for served in inventory.workload_kinds)


def _shape(shape: NodeShape) -> Shape:
    free = ResourceVector(shape.free_millicores, shape.free_memory_bytes, shape.free_gpus)
    whole = ResourceVector(shape.allocatable_millicores, shape.allocatable_memory_bytes, shape.allocatable_gpus)
    labels = frozenset(shape.labels.items())
    return Shape(shape.nodes, free, whole.at_least(free), shape.gpu_model, shape.gpu_memory_bytes, labels)


def _storage(inventory: Inventory, wanted: str | None) -> StorageView | None:
    for info in inventory.storage_classes:
        if info.name == wanted or (wanted is None and info.is_default):
            return StorageView(info.name, info.free_bytes)
    return None


def _links(cluster: Cluster) -> dict[str, LinkView]:
    """Take the cluster's link views; one that has no date of its own was true when the cluster was last proven."""
    fallback = {"last_proven_at": cluster.status.last_proven_at}
    return {
        link.peer: link if link.last_proven_at else link.model_copy(update=fallback) for link in cluster.status.links
    }
