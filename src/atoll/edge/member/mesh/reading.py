"""What a Cilium agent says of the mesh: its StatusResponse, and KVStoreMesh's list of the same form. Pure.

Field names are those of Cilium's api/v1/openapi.yaml. Go leaves out what is false, zero or empty.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from atoll.federation.errors import Internal

_SYNCED = ("nodes", "endpoints", "identities", "services")
# Null or absent means "not watched", which is no failure.
_SYNCED_IF_WATCHED = ("service-exports", "endpoint-slices")
_MALFORMED = (AttributeError, TypeError, ValueError, KeyError, OverflowError)
# What an agent says is told to the hub and kept there: no more of it than a person reads, or than can be.
_LONGEST_REASON, _LONGEST_NAME, _LARGEST_COUNT = 300, 63, 2**31 - 1


@dataclass(frozen=True)
class RemoteView:
    """How one agent sees one remote cluster."""

    peer: str
    is_connected: bool = False
    is_ready: bool = False
    reason: str = ""
    failures: int = 0
    nodes: int = 0
    peer_id: int = 0
    is_cached: bool = False
    last_failure_at: datetime | None = None


@dataclass(frozen=True)
class AgentStatus:
    """What one agent says. `views` is None where Cluster Mesh is off."""

    version: str = ""
    views: tuple[RemoteView, ...] | None = None


def read_status(status: Any) -> AgentStatus:
    """Read the StatusResponse of `GET /healthz`, which is also what `cilium status -o json` prints.

    Raises:
        Internal: it is no such thing.
    """
    try:
        # "1.18.2 (v1.18.2-0ec01a8e)": the agent's own line of status
        version = str((status.get("cilium") or {}).get("msg", "")).partition(" ")[0]
        mesh = status.get("cluster-mesh")
        return AgentStatus(version, None if mesh is None else read_remotes(mesh.get("clusters") or ()))
    except _MALFORMED as error:
        raise Internal("the Cilium agent answered with something that is no status") from error


def read_remotes(clusters: Iterable[Mapping[str, Any]]) -> tuple[RemoteView, ...]:
    """Read a list of RemoteClusters.

    Raises:
        Internal: it is no such thing.
    """
    try:
        views = {view.peer: view for view in map(_remote, clusters)}
        return tuple(views[peer] for peer in sorted(views))
    except _MALFORMED as error:
        raise Internal("Cilium answered with something that is no list of remote clusters") from error


def _remote(cluster: Mapping[str, Any]) -> RemoteView:
    is_ready, config = bool(cluster.get("ready")), cluster.get("config") or {}
    name = str(cluster.get("name") or "")
    if not 0 < len(name) <= _LONGEST_NAME:
        raise ValueError("a remote cluster without a name, or with one that cannot be")
    return RemoteView(
        peer=name,
        is_connected=bool(cluster.get("connected")),
        is_ready=is_ready,
        reason="" if is_ready else why_not_ready(cluster)[:_LONGEST_REASON],
        failures=_count(cluster, "num-failures"),
        nodes=_count(cluster, "num-nodes"),
        peer_id=_count(config, "cluster-id"),
        is_cached=bool(config.get("kvstoremesh")),
        last_failure_at=_instant(cluster.get("last-failure")),
    )


def why_not_ready(cluster: Mapping[str, Any]) -> str:
    """Say why a remote cluster is not ready, in the order in which cilium-cli decides (clustermesh/clustermesh.go)."""
    if not cluster.get("connected"):
        return str(cluster.get("status") or "not connected")
    config = cluster.get("config")
    if config is None:
        return "retrieval of the remote cluster configuration is unknown"
    if config.get("required") and not config.get("retrieved"):
        return "remote cluster configuration missing: KVStoreMesh is not connected, or the cluster name is wrong"
    synced = cluster.get("synced")
    if synced is None:
        return "synchronization status unknown"
    behind = [name for name in _SYNCED if not synced.get(name)]
    behind += [name for name in _SYNCED_IF_WATCHED if synced.get(name) is False]
    return f"synchronization in progress for {', '.join(behind)}" if behind else "not ready"


def _count(values: Mapping[str, Any], key: str) -> int:
    return min(max(0, int(values.get(key) or 0)), _LARGEST_COUNT)


def _instant(text: Any) -> datetime | None:
    """Read a time; Go's zero time says that it never was."""
    if not text:
        return None
    instant = datetime.fromisoformat(str(text))
    instant = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return None if instant.year <= 1 else instant
