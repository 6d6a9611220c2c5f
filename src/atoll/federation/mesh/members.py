"""The clusters of the mesh as values: who each is, what it says of itself and of the others. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.mesh.naming import MAX_CLUSTER_ID
from atoll.federation.resources.cluster import Cluster
from atoll.federation.resources.mesh import MeshFacts, MeshLink

_UNTOLD = MeshFacts()


@dataclass(frozen=True)
class Member:
    """A cluster's place in the mesh: its name in the federation, its name and id in the mesh, what it reported.

    Name and id are what its Cilium says, or what was declared where it has said nothing yet; an id that nobody told is
    None. With `lost_since` all of
    it is what was last known.
    """

    cluster: str
    mesh_name: str
    mesh_id: int | None
    facts: MeshFacts = _UNTOLD
    links: tuple[MeshLink, ...] = ()
    declared_name: str | None = None
    declared_id: int | None = None
    lost_since: datetime | None = None

    @property
    def limit(self) -> int:
        """The largest id that may be; where the cluster did not tell, the largest that any may have."""
        return self.facts.max_connected_clusters or MAX_CLUSTER_ID


@dataclass(frozen=True)
class Violation:
    """A rule of the mesh that clusters break: who, what it does to them, and what to do."""

    reason: str
    clusters: tuple[str, ...]
    message: str
    remedy: str = ""


def members_of(clusters: Iterable[Cluster]) -> tuple[Member, ...]:
    """Take out of clusters those that are in the mesh: declared to be, or seen to have an id."""
    found = (_member(cluster) for cluster in clusters)
    return tuple(sorted(filter(None, found), key=lambda member: member.cluster))


def mesh_name_of(cluster: Cluster) -> str:
    """Give the name that peers know a cluster by: what its Cilium says, else what was declared, else its own."""
    facts, declared, name = cluster.status.mesh, cluster.spec.mesh, cluster.metadata.name
    return (facts.name if facts is not None else "") or (declared.name if declared is not None else "") or name


def _member(cluster: Cluster) -> Member | None:
    declared, status = cluster.spec.mesh, cluster.status
    facts = status.mesh or _UNTOLD
    if declared is None and not facts.id and not status.links:
        return None
    name = cluster.metadata.name
    declared_name = (declared.name or name) if declared is not None else None
    declared_id = declared.id if declared is not None else None
    return Member(
        cluster=name,
        mesh_name=mesh_name_of(cluster),
        mesh_id=facts.id if facts.name else declared_id,
        facts=facts,
        links=status.links,
        declared_name=declared_name,
        declared_id=declared_id,
        lost_since=status.silent_since,
    )


def by_mesh_name(members: Iterable[Member]) -> Mapping[str, Member]:
    """Find members by the name that links call them; where two share one, the first by its cluster's name."""
    return {member.mesh_name: member for member in sorted(members, key=lambda each: each.cluster, reverse=True)}
