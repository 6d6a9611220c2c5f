"""The cluster as the proof sees it: out of the inventory's informers and what is known of the mesh. Pure."""

from atoll.edge.member.inventory.view import ClusterView
from atoll.edge.member.proof.ladder import Scene
from atoll.federation.bus.messages import MeshReport

# Identities have 24 bits: with up to 255 clusters 8 of them are the cluster's, with up to 511 nine
_SMALL_MESH = 255


def scene_of(view: ClusterView, mesh: MeshReport | None) -> Scene:
    """Give the cluster as it is known just now; `mesh` is None before the mesh was looked at."""
    facts = mesh.facts if mesh is not None else None
    most = facts.max_connected_clusters if facts is not None else None
    return Scene(
        cluster=facts.name if facts is not None else "",
        engine=view.cni,
        nodes=frozenset(view.nodes.items),
        peer_ids={link.peer: link.peer_id for link in (mesh.links if mesh is not None else ()) if link.peer_id},
        identity_bits=16 if (most or _SMALL_MESH) <= _SMALL_MESH else 15,
    )
