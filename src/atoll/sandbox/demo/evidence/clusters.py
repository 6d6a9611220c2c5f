"""Clusters and mesh: every cluster proven Ready just now, every link of the mesh connected in both directions."""

from atoll.cli import kinds
from atoll.federation.resources import Cluster
from atoll.sandbox.demo.evidence.section import Check, Section
from atoll.sandbox.demo.world import World


def examine(world: World) -> Section:
    """Read the clusters from the hub."""
    items = world.hub.get(kinds.atoll("Cluster").collection())["items"]
    clusters = sorted((Cluster.model_validate(item) for item in items), key=lambda cluster: cluster.metadata.name)
    ready = [cluster.metadata.name for cluster in clusters if cluster.status.phase == "Ready"]
    links = [link for cluster in clusters for link in cluster.status.links]
    connected = [link for link in links if link.is_connected and link.is_ready]
    wanted = len(clusters) * (len(clusters) - 1)
    look = f"atoll describe cluster NAME; logs in {world.logs}"
    return Section(
        "Clusters",
        f"{len(ready)} of {len(clusters)} Ready, {len(connected)} of {wanted} mesh links connected",
        ("CLUSTER", "VERSION", "GPUS", "MESH", "UPLINK", "GPU/H"),
        tuple(_row(cluster) for cluster in clusters),
        (
            Check("all four clusters are Ready", len(ready) == len(world.state.clusters) == 4, look),
            Check("every cluster reaches every other over the mesh", len(connected) == wanted > 0, look),
        ),
    )


def _row(cluster: Cluster) -> tuple[str, ...]:
    inventory, spec = cluster.status.inventory, cluster.spec
    gpus = ", ".join(f"{shape.count} {_short(shape.model)}" for shape in inventory.gpus) if inventory else ""
    connected = sum(1 for link in cluster.status.links if link.is_connected and link.is_ready)
    return (
        cluster.metadata.name,
        inventory.version if inventory else "",
        gpus or "none",
        f"{connected}/{len(cluster.status.links)}",
        f"{spec.network.uplink_bytes_per_second * 8 / 1e9:g} Gbit/s",
        f"{spec.costs.gpu_hour:.2f}",
    )


def _short(product: str) -> str:
    """Give the model out of GPU Feature Discovery's product label: NVIDIA-A100-SXM4-40GB is an A100."""
    return product.removeprefix("NVIDIA-").partition("-")[0]
