"""Clusters as the compiler sees them: from what the hub knows of each. Pure."""

from collections.abc import Sequence

from atoll.federation.resources import Cluster
from atoll.policies.compile import Target


def target_of(cluster: Cluster, clusters: Sequence[Cluster]) -> Target:
    """Describe a cluster to the compiler; its peers are the clusters that are in a mesh as it is."""
    inventory, mesh = cluster.status.inventory, cluster.spec.mesh
    peers = {
        _mesh_name(other): dict(other.metadata.labels)
        for other in clusters
        if mesh is not None and other.spec.mesh is not None and other.metadata.name != cluster.metadata.name
    }
    return Target(
        cluster=_mesh_name(cluster),
        labels=dict(cluster.metadata.labels),
        cni=inventory.cni.lower() if inventory is not None else "",
        cilium_version=inventory.cni_version if inventory is not None else "",
        peers=peers,
    )


def _mesh_name(cluster: Cluster) -> str:
    mesh = cluster.spec.mesh
    return mesh.name if mesh is not None and mesh.name else cluster.metadata.name
