"""What placement sees of a cluster: a frozen view made of the Cluster object and of the runs that it holds."""

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from itertools import chain
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from atoll.federation.capacity import ResourceVector, Shape, group_shapes
from atoll.federation.mesh import LinkView, Uplink, mesh_name_of
from atoll.federation.placement.demand import PodDemand, Pods
from atoll.federation.placement.gangs import taken
from atoll.federation.placement.waiting import End, Future
from atoll.federation.resources import Cluster, Inventory, NodeShape
from atoll.federation.resources.cluster import Costs

# More than any run holds: sums of thousands stay within 64 bits.
_MOST = 2**50

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


class Columns(NamedTuple):
    """Runs as columns, in any order: in how many seconds they end, and rows of CPU, memory and GPUs that they hold."""

    ends_in_seconds: NDArray[np.float64]
    amounts: NDArray[np.int64]


class Occupations(Sequence[Occupation]):
    """The runs on a cluster, of who has them as columns already; as objects they are asked for rarely."""

    @property
    @abstractmethod
    def columns(self) -> Columns:
        """Lay them out."""

    @property
    @abstractmethod
    def ends(self) -> Iterable[End]:
        """Tell when each ends."""


class Joined(Occupations):
    """The runs on a cluster, and those that a cycle has put there."""

    def __init__(self, found: Sequence[Occupation], added: Sequence[Occupation]) -> None:
        """Put some behind others."""
        self._found, self._added = found, added

    def __len__(self) -> int:
        """Count them."""
        return len(self._found) + len(self._added)

    @overload
    def __getitem__(self, at: int) -> Occupation: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Occupation]: ...
    def __getitem__(self, at: int | slice) -> Occupation | Sequence[Occupation]:
        """Give one, or some."""
        return self._all[at]

    def __iter__(self) -> Iterator[Occupation]:
        """Give each of them."""
        return iter(self._all)

    @cached_property
    def _all(self) -> tuple[Occupation, ...]:
        return (*self._found, *self._added)

    @property
    def columns(self) -> Columns:
        """Lay them out."""
        parts = (columns_of(self._found), columns_of(self._added))
        ends, amounts = zip(*parts, strict=True)
        return Columns(np.concatenate(ends), np.concatenate(amounts))

    @property
    def ends(self) -> Iterable[End]:
        """Tell when each ends."""
        return chain(ends_of(self._found), ends_of(self._added))


def ends_of(occupations: Sequence[Occupation]) -> Iterable[End]:
    """Tell when the runs on a cluster end."""
    if isinstance(occupations, Occupations):
        return occupations.ends
    return ((each.ends_in_seconds, each.run, each.pods) for each in occupations)


def columns_of(occupations: Sequence[Occupation]) -> Columns:
    """Lay out the runs on a cluster."""
    if isinstance(occupations, Occupations):
        return occupations.columns
    ends = np.array([each.ends_in_seconds for each in occupations], np.float64)
    rows = [amounts_of_run(each.resources) for each in occupations]
    return Columns(ends, np.array(rows, np.int64).reshape(-1, 3))


def amounts_of_run(held: ResourceVector) -> tuple[int, int, int]:
    """Lay out what a run holds, as a row of Columns."""
    return (min(held.millicores, _MOST), min(held.memory_bytes, _MOST), min(held.gpus, _MOST))


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
    occupations: Sequence[Occupation] = ()
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
        return Future(self.shapes, ends_of(self.occupations))

    @cached_property
    def _places(self) -> dict[PodDemand, tuple[int, ...]]:
        return {}

    def places_of(self, pod: PodDemand) -> tuple[int, ...]:
        """Give, by place, the shapes of nodes on which such pods may be: they suit them, and have as much in use."""
        known = self._places.get(pod)
        if known is None:
            rows = enumerate(self.shapes)
            known = tuple(at for at, shape in rows if pod.suits(shape) and shape.in_use.covers(pod.resources))
            self._places[pod] = known
        return known

    @cached_property
    def capacity(self) -> ResourceVector:
        """What all its nodes have, free or not."""
        return sum((shape.allocatable * shape.nodes for shape in self.shapes), ResourceVector())

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
