"""Clusters as the compiler sees them: from what the hub knows of each. Pure."""

from collections.abc import Sequence
from dataclasses import fields

from atoll.federation.resources import Cluster
from atoll.policies.compile import Target
from atoll.policies.features import DEFAULT_FEATURES, Features
from atoll.policies.manifest import CLUSTER_NETWORK_POLICY


def target_of(cluster: Cluster, clusters: Sequence[Cluster]) -> Target:
    """Describe a cluster to the compiler; its peers are the clusters that are in a mesh as it is.

    Not said is policy-default-local-cluster, although it is known: what is compiled shall mean the same if somebody
    changes it there.
    """
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
        kinds_served=_kinds_served(cluster),
        peers=peers,
        features=features_of(cluster),
    )


def _kinds_served(cluster: Cluster) -> frozenset[str] | None:
    """Give the kinds of policies that are enforced there, not merely stored; None while they are not known."""
    inventory, facts = cluster.status.inventory, cluster.status.mesh
    if inventory is None or inventory.policy_kinds is None:
        return None
    told = facts.policy_features if facts is not None else None
    is_off = inventory.cni.lower() == "cilium" and (told is None or not told.cluster_network_policies)
    return frozenset(inventory.policy_kinds) - ({CLUSTER_NETWORK_POLICY} if is_off else frozenset())


def features_of(cluster: Cluster) -> Features:
    """Give what a cluster's Cilium has switched on; what its agent could not read counts as off."""
    facts = cluster.status.mesh
    told = facts.policy_features if facts is not None else None
    if told is None:
        return DEFAULT_FEATURES
    return Features(told.node_selector_labels, told.extended_ip_protocols, told.host_firewall)


def features_of_any(clusters: Sequence[Cluster]) -> Features:
    """Give what at least one cluster has switched on: what a policy may say that is meant for it."""
    found = [features_of(cluster) for cluster in clusters]
    names = (field.name for field in fields(Features))
    return Features(**{name: any(getattr(one, name) for one in found) for name in names})


def _mesh_name(cluster: Cluster) -> str:
    mesh = cluster.spec.mesh
    return mesh.name if mesh is not None and mesh.name else cluster.metadata.name
