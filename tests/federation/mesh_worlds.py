"""Meshes for tests: members that agree in everything, and ways to make them differ."""

from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.federation.mesh import Member
from atoll.federation.resources import MeshCertificate, MeshFacts, MeshLink

NOW = datetime(2026, 11, 22, 18, 0, tzinfo=UTC)
YEAR = timedelta(days=365)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def ready(peer: str, **fields: Any) -> MeshLink:
    """A view of a peer that was ready ten seconds ago."""
    given = {"is_connected": True, "is_ready": True, "last_proven_at": ago(10), "seen_at": ago(10), **fields}
    return MeshLink(peer=peer, **given)


def down(peer: str, **fields: Any) -> MeshLink:
    """A view of a peer that was lost ten minutes ago, seen ten seconds ago."""
    given = {"reason": "i/o timeout", "failures": 1, "last_proven_at": ago(600), "seen_at": ago(10), **fields}
    return MeshLink(peer=peer, **given)


def facts(name: str, number: int, peers: tuple[str, ...] | None = (), **fields: Any) -> MeshFacts:
    """Facts that agree with everybody else's; only addresses are a cluster's own."""
    given = {
        "name": name,
        "id": number,
        "max_connected_clusters": 255,
        "routing_mode": "tunnel",
        "tunnel_protocol": "vxlan",
        "default_local_cluster": True,
        "label_filters": "",
        "has_kvstoremesh": True,
        "expected_peers": peers,
        "ca_fingerprints": ("ab" * 32,),
        "certificates": (MeshCertificate(name="clustermesh-apiserver-server-cert", expires_at=NOW + YEAR),),
        "pod_cidrs": (f"10.{number}.0.0/16",),
        "node_cidrs": (f"172.31.{number}.0/28",),
        "seen_at": ago(10),
        **fields,
    }
    return MeshFacts(**given)


def mesh(size: int = 3, **changed: dict[str, Any]) -> list[Member]:
    """A full mesh of clusters a, b, c…; `changed` gives facts of a cluster that differ, by its name."""
    clusters = [chr(ord("a") + index) for index in range(size)]
    names = {cluster: changed.get(cluster, {}).get("name", cluster) for cluster in clusters}
    ids = {cluster: changed.get(cluster, {}).get("id", number) for number, cluster in enumerate(clusters, start=1)}
    members = []
    for number, cluster in enumerate(clusters, start=1):
        peers = {names[peer]: ids[peer] for peer in clusters if names[peer] != names[cluster]}
        told = facts(names[cluster], number, tuple(peers)).model_copy(update=changed.get(cluster, {}))
        links = tuple(ready(peer, peer_id=peer_id) for peer, peer_id in peers.items())
        members.append(Member(cluster, names[cluster], ids[cluster], told, links))
    return members
