"""One cluster seen closely: what it has, how it is linked, what runs there, and what can be done. Pure."""

from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources import Cluster
from atoll.hub.dashboard.actions import Action, offered
from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.fleet.clusters import ClusterRow, LinkRow
from atoll.hub.dashboard.fleet.deeds import DEEDS
from atoll.hub.dashboard.jobs.book import HOLDING, JobRow
from atoll.hub.dashboard.jobs.timeline import Lane, timeline
from atoll.hub.dashboard.tones import tone

_MOST_JOBS = 30


@dataclass(frozen=True)
class ClusterScope:
    """What the page is made of: the cluster, its row, and the jobs there that the user may see."""

    cluster: Cluster
    row: ClusterRow
    jobs: tuple[JobRow, ...]


@dataclass(frozen=True)
class LinkLine:
    """One link of the mesh as this cluster sees it."""

    row: LinkRow
    tone: str
    word: str


@dataclass(frozen=True)
class NodeGroup:
    """Equal nodes: how many, what each has free, and of what."""

    nodes: int
    model: str
    free_gpus: int
    gpus: int
    free_millicores: int
    millicores: int
    free_memory_bytes: int


@dataclass(frozen=True)
class ConditionLine:
    """One condition; `tone` is that of what it says."""

    type: str
    is_true: bool
    reason: str
    message: str
    since: datetime | None


@dataclass(frozen=True)
class ClusterModel:
    """What the page shows."""

    row: ClusterRow
    tone: str
    facts: tuple[tuple[str, str], ...]
    links: tuple[LinkLine, ...]
    nodes: tuple[NodeGroup, ...]
    conditions: tuple[ConditionLine, ...]
    troubles: tuple[tuple[str, str], ...]
    jobs: tuple[JobRow, ...]
    job_count: int
    lane: Lane | None
    jobs_url: str
    actions: tuple[Action, ...]


def view_cluster(scope: ClusterScope, ask: Ask) -> ClusterModel:
    """Make the page of a cluster."""
    cluster, row = scope.cluster, scope.row
    lanes = timeline(scope.jobs, ask).lanes
    there = [job for job in scope.jobs if job.phase in HOLDING]
    newest = sorted(there, key=lambda job: job.created_at, reverse=True)
    return ClusterModel(
        row=row,
        tone=tone(row.phase),
        facts=tuple(_facts(cluster, row)),
        links=tuple(_link(each) for each in row.links),
        nodes=_nodes(cluster),
        conditions=_conditions(cluster),
        troubles=_troubles(cluster),
        jobs=tuple(newest[:_MOST_JOBS]),
        job_count=len(newest),
        lane=lanes[0] if lanes else None,
        jobs_url=link("jobs", cluster=row.name),
        actions=offered(ask, DEEDS, cluster.wire()),
    )


def _facts(cluster: Cluster, row: ClusterRow) -> list[tuple[str, str]]:
    inventory, costs = cluster.status.inventory, cluster.spec.costs
    facts = [
        ("region", row.region),
        ("site", row.site),
        ("residency", ", ".join(cluster.spec.residency)),
        ("Kubernetes", f"{inventory.version} {inventory.distribution}".strip() if inventory else ""),
        ("network", f"{inventory.cni} {inventory.cni_version}".strip() if inventory else ""),
        ("mesh", f"{row.mesh_name}, id {cluster.spec.mesh.id}" if cluster.spec.mesh else ""),
        ("GPU hour", f"{costs.gpu_hour:g}" if costs.gpu_hour else ""),
        ("agent", cluster.status.agent_version),
    ]
    return [(word, value) for word, value in facts if value]


def _link(row: LinkRow) -> LinkLine:
    if row.is_ready:
        return LinkLine(row, "good", "ready")
    return LinkLine(row, "warn", "connected") if row.is_connected else LinkLine(row, "bad", "down")


def _nodes(cluster: Cluster) -> tuple[NodeGroup, ...]:
    inventory = cluster.status.inventory
    return tuple(
        NodeGroup(
            nodes=shape.nodes,
            model=shape.gpu_model or "",
            free_gpus=shape.free_gpus,
            gpus=shape.allocatable_gpus,
            free_millicores=shape.free_millicores,
            millicores=shape.allocatable_millicores,
            free_memory_bytes=shape.free_memory_bytes,
        )
        for shape in (inventory.shapes if inventory else ())
    )


def _conditions(cluster: Cluster) -> tuple[ConditionLine, ...]:
    return tuple(
        ConditionLine(each.type, each.status == "True", each.reason, each.message, each.last_transition_time)
        for each in cluster.status.conditions
    )


def _troubles(cluster: Cluster) -> tuple[tuple[str, str], ...]:
    return tuple((each.reason, each.message) for each in cluster.status.warnings)
