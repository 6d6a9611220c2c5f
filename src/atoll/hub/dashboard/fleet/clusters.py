"""Rows of clusters: what all pages show of each, read from the stored object. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.federation.resources import Cluster
from atoll.hub.dashboard.rows import Shelf
from atoll.hub.dashboard.words import instant
from atoll.kubeapi.resource import Object

_REGION = ("topology.kubernetes.io/region", "region")
_SITE = ("topology.kubernetes.io/zone", "site")


@dataclass(frozen=True, slots=True)
class LinkRow:
    """One cluster's view of another in the mesh; `latency_seconds` is None where nothing was probed."""

    peer: str
    is_ready: bool
    is_connected: bool
    reason: str = ""
    latency_seconds: float | None = None
    failures: int = 0
    proven_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """One cluster. GPUs are those of its inventory: all there are, and those that are free.

    `region` is what its label says, else the first jurisdiction that it is in.
    """

    name: str
    phase: str
    reason: str = ""
    message: str = ""
    region: str = ""
    site: str = ""
    residency: tuple[str, ...] = ()
    gpus: int = 0
    free_gpus: int = 0
    models: tuple[tuple[str, int, int], ...] = ()
    """Model, all, free."""
    nodes: int = 0
    nodes_ready: int = 0
    millicores: int = 0
    form: str = "Cluster"
    mesh_name: str = ""
    proven_at: datetime | None = None
    lost_since: datetime | None = None
    is_cordoned: bool = False
    is_draining: bool = False
    links: tuple[LinkRow, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


def read_cluster(obj: Object) -> ClusterRow:
    """Read a stored Cluster."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels, inventory = metadata.get("labels") or {}, status.get("inventory") or {}
    models, residency = _models(inventory), tuple(spec.get("residency", ()))
    return ClusterRow(
        name=metadata["name"],
        phase=status.get("phase", "Pending"),
        reason=status.get("reason", ""),
        message=status.get("message", ""),
        region=_first(labels, _REGION) or next(iter(residency), ""),
        site=_first(labels, _SITE),
        residency=residency,
        gpus=sum(count for _, count, _ in models),
        free_gpus=sum(free for _, _, free in models),
        models=models,
        nodes=inventory.get("nodes", 0),
        nodes_ready=inventory.get("nodesReady", 0),
        millicores=inventory.get("millicores", 0),
        form=inventory.get("form", "Cluster"),
        mesh_name=(status.get("mesh") or {}).get("name") or (spec.get("mesh") or {}).get("name") or metadata["name"],
        proven_at=instant(status.get("lastProvenAt")),
        lost_since=instant(status.get("lostSince")),
        is_cordoned=bool(spec.get("unschedulable")),
        is_draining=bool(spec.get("draining")),
        links=tuple(_link(each) for each in status.get("links", ())),
        labels=labels,
    )


def _first(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((labels[name] for name in names if name in labels), "")


def _models(inventory: Mapping[str, Any]) -> tuple[tuple[str, int, int], ...]:
    free: dict[str, int] = {}
    total: dict[str, int] = {}
    for counts, key in ((total, "gpus"), (free, "freeGpus")):
        for shape in inventory.get(key, ()):
            counts[shape["model"]] = counts.get(shape["model"], 0) + shape["count"]
    return tuple((model, count, min(count, free.get(model, 0))) for model, count in sorted(total.items()))


def _link(link: Mapping[str, Any]) -> LinkRow:
    return LinkRow(
        peer=link["peer"],
        is_ready=bool(link.get("isReady")),
        is_connected=bool(link.get("isConnected")),
        reason=link.get("reason", ""),
        latency_seconds=link.get("latencySeconds"),
        failures=link.get("failures", 0),
        proven_at=instant(link.get("lastProvenAt")),
    )


CLUSTERS: Shelf[ClusterRow] = Shelf(Cluster, read_cluster)
