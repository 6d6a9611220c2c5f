"""More clusters than the four known ones: each of a form that its name decides, like nothing else in its mesh.

Owns the rule. The same name gives the same cluster on every machine; ids, and the networks that follow from them, are
the first that are free. Values are made up but plausible; nothing here is measured.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Collection

from atoll.federation.errors import InvalidInput
from atoll.sandbox.spec import (
    A100_40,
    A100_80,
    DEFAULT_CLUSTERS,
    GBIT,
    GIB,
    H100,
    KUBEADM,
    KUBEEDGE_ROLES,
    KUBEEDGE_VERSION,
    ClusterSpec,
    NodeSpec,
    Prices,
    Storage,
    Uplink,
)

MOST_CLUSTERS = 50
_IDS = range(1, 256)  # Cilium's, with at most 255 connected clusters
# A cluster's pods are in 10.ID.0.0/16: these would be the service networks of kubeadm (10.96.0.0/12) and of K3s.
_SERVICE_NETWORKS = frozenset((43, *range(96, 112)))
# Paths of unix sockets hold the name; "hub" is what `fault cut hub` calls the hub.
_NAME = re.compile(r"^[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?$")
_RESERVED = ("hub", "agent", "apiserver")
_REGIONS = (("eu", ("eu",)), ("us", ("us",)), ("ap", ("ap",)))


def sandbox_clusters(count: int) -> tuple[ClusterSpec, ...]:
    """Give the clusters of a sandbox of this size: the known ones first. Raises InvalidInput."""
    if not 1 <= count <= MOST_CLUSTERS:
        raise InvalidInput(f"clusters: must be 1 to {MOST_CLUSTERS}, not {count}")
    specs = list(DEFAULT_CLUSTERS[:count])
    for number in range(len(specs) + 1, count + 1):
        specs.append(generated(_name(number), {spec.mesh_id for spec in specs}))
    return tuple(specs)


def generated(name: str, taken: Collection[int]) -> ClusterSpec:
    """Give a cluster whose form follows from its name, with the first id that is not taken. Raises InvalidInput."""
    if not _NAME.match(name) or name in _RESERVED:
        raise InvalidInput(
            f"name: {name!r} must be 1 to 40 of a-z, 0-9 and -, begin and end with no -, and not be "
            f"{', '.join(_RESERVED)}"
        )
    free = next((each for each in _IDS if each not in taken and each not in _SERVICE_NETWORKS), None)
    if free is None:
        raise InvalidInput("clusters: every id that a mesh has is taken")
    prefix = name.rpartition("-")[0]
    chance = random.Random(name)  # noqa: S311 - a form, no secret
    return _FORMS.get(prefix, chance.choice(list(_FORMS.values())))(name, free, chance)


def _name(number: int) -> str:
    kinds = tuple(_FORMS)
    return f"{kinds[(number - len(DEFAULT_CLUSTERS) - 1) % len(kinds)]}-{number}"


def _cloud(name: str, mesh_id: int, chance: random.Random) -> ClusterSpec:
    region, residency = chance.choice(_REGIONS)
    gpus, instance = chance.choice(((H100, "a3-highgpu-4g"), (A100_80, "a2-ultragpu-4g")))
    workers = tuple(
        NodeSpec(f"gke-{name}-gpu-{index}", 96, 900, gpus, instance_type=instance)
        for index in range(chance.randint(1, 3))
    )
    return ClusterSpec(
        name=name,
        mesh_id=mesh_id,
        version="v1.34.2-gke.1187000",
        cilium_version="1.20.0",
        nodes=(NodeSpec(f"gke-{name}-system-0", 8, 32, instance_type="n2-standard-8"), *workers),
        storage=Storage("filestore-rwx", 512 * GIB),
        uplink=Uplink(chance.choice((2, 4, 10)) * GBIT, chance.randint(8, 120) / 1000),
        prices=Prices(chance.randint(25, 60) / 10, 0.045, 0.08),
        residency=residency,
        labels={"region": region, "site": "cloud"},
    )


def _onprem(name: str, mesh_id: int, chance: random.Random) -> ClusterSpec:
    count = chance.randint(2, 4)
    gpus = chance.choice((A100_40, A100_80))
    nodes = tuple(
        NodeSpec(f"{name}-node-{index}", 64, 512, gpus, ("control-plane",) if index == 0 else (), annotations=KUBEADM)
        for index in range(count)
    )
    return ClusterSpec(
        name=name,
        mesh_id=mesh_id,
        version=chance.choice(("v1.33.5", "v1.34.1")),
        cilium_version=chance.choice(("1.19.4", "1.20.0")),
        nodes=nodes,
        storage=Storage("nfs-rwx", 256 * GIB),
        uplink=Uplink(10 * GBIT, chance.randint(2, 20) / 1000),
        prices=Prices(gpu_hour=0.9, cpu_hour=0.012),
        residency=("eu", "de"),
        labels={"region": "eu", "site": "datacenter"},
    )


def _k3s(name: str, mesh_id: int, chance: random.Random) -> ClusterSpec:
    cpus = chance.choice((4, 8, 16))
    return ClusterSpec(
        name=name,
        mesh_id=mesh_id,
        version="v1.33.6+k3s1",
        cilium_version="1.19.4",
        nodes=(NodeSpec(f"{name}-0", cpus, 4 * cpus, roles=("control-plane", "master"), instance_type="k3s"),),
        storage=Storage("lab-rwx", 64 * GIB),
        uplink=Uplink(GBIT, chance.randint(4, 40) / 1000),
        prices=Prices(cpu_hour=0.006),
        residency=("eu", "de"),
        labels={"region": "eu", "site": "lab"},
    )


def _kubeedge(name: str, mesh_id: int, chance: random.Random) -> ClusterSpec:
    """One of its edge nodes, at least, is offline: that is how edges are, and no fault."""
    count = chance.randint(2, 4)
    edges = tuple(
        NodeSpec(
            f"{name}-edge-{index}",
            4,
            8,
            roles=KUBEEDGE_ROLES,
            kubelet_version=KUBEEDGE_VERSION,
            is_offline=index == count - 1,
        )
        for index in range(count)
    )
    return ClusterSpec(
        name=name,
        mesh_id=mesh_id,
        version="v1.32.10",
        cilium_version="1.18.5",
        nodes=(NodeSpec(f"{name}-cloud-0", 8, 16, roles=("control-plane",)), *edges),
        storage=Storage("edge-rwx", 32 * GIB),
        uplink=Uplink(GBIT // 10, chance.randint(20, 80) / 1000),
        prices=Prices(cpu_hour=0.004),
        residency=("eu", "de"),
        labels={"region": "eu", "site": "field"},
    )


_FORMS: dict[str, Callable[[str, int, random.Random], ClusterSpec]] = {
    "cloud": _cloud,
    "onprem": _onprem,
    "lab": _k3s,
    "edge": _kubeedge,
}
