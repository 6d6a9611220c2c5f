"""What is asked of k3d, helm and cilium for some clusters: configurations, values and command lines. Pure.

Sources: k3d's configuration `k3d.io/v1alpha5` (its schema.json), K3s "Basic Network Options" (custom CNI), Cilium's
"Setting up Cluster Mesh" and its Helm reference.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from atoll.federation.errors import InvalidInput
from atoll.federation.mesh import JoinPlan, helm_values
from atoll.local.certificates import Pair

MOST_CLUSTERS = 8
K3S_IMAGE = "docker.io/rancher/k3s:v1.34.1-k3s1"
CILIUM_VERSION = "1.19.4"
NETWORK, REGISTRY, REGISTRY_PORT = "atoll-sandbox", "atoll-registry", 5000
_MESH_PORT = 32379
_PREFIX = "atoll-"
# Cilium mounts the BPF file system in the node's container and must see it from its own (k3d, "K3D_FIX_MOUNTS").
FIXED_MOUNTS = {"K3D_FIX_MOUNTS": "1"}


@dataclass(frozen=True)
class K3dCluster:
    """One cluster: its name in the federation, its id in the mesh, and what follows from them."""

    name: str
    mesh_id: int

    @property
    def k3d_name(self) -> str:
        """What k3d calls it; its context in a kubeconfig begins with `k3d-`."""
        return f"{_PREFIX}{self.name}"

    @property
    def context(self) -> str:
        """Name its context."""
        return f"k3d-{self.k3d_name}"

    @property
    def pod_network(self) -> str:
        """Its pods' addresses, which no other cluster of the mesh has."""
        return f"10.{self.mesh_id}.0.0/16"

    @property
    def service_network(self) -> str:
        """Its services' addresses."""
        return f"10.{100 + self.mesh_id}.0.0/16"


@dataclass(frozen=True)
class Files:
    """Where what belongs to one cluster is."""

    folder: Path

    def config(self, cluster: K3dCluster) -> Path:
        """What k3d is told."""
        return self.folder / f"{cluster.name}.k3d.yaml"

    def values(self, cluster: K3dCluster) -> Path:
        """What helm is told of Cilium; it holds the mesh's CA."""
        return self.folder / f"{cluster.name}.cilium.yaml"

    def kubeconfig(self, cluster: K3dCluster) -> Path:
        """How the cluster is reached."""
        return self.folder / f"{cluster.name}.kubeconfig"


@dataclass(frozen=True)
class Command:
    """One command line, what it is for, and variables beside the usual ones."""

    step: str
    argv: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)


def clusters_of(count: int) -> tuple[K3dCluster, ...]:
    """Give so many clusters.

    Raises:
        InvalidInput: more than one machine should run.
    """
    if not 1 <= count <= MOST_CLUSTERS:
        raise InvalidInput(f"--clusters: with k3d there are 1 to {MOST_CLUSTERS}, not {count}: each is a K3s of 1 GB")
    return tuple(K3dCluster(f"k3d-{number}", number) for number in range(1, count + 1))


def config(cluster: K3dCluster) -> dict[str, Any]:
    """Give the configuration of k3d: one server, no CNI, networks of its own, the registry of all."""
    arguments = (
        "--flannel-backend=none",
        "--disable-network-policy",
        "--disable=traefik",
        "--disable=servicelb",
        f"--cluster-cidr={cluster.pod_network}",
        f"--service-cidr={cluster.service_network}",
    )
    return {
        "apiVersion": "k3d.io/v1alpha5",
        "kind": "Simple",
        "metadata": {"name": cluster.k3d_name},
        "servers": 1,
        "agents": 0,
        "image": K3S_IMAGE,
        "kubeAPI": {"hostIP": "127.0.0.1"},
        "network": NETWORK,
        "registries": {"use": [f"k3d-{REGISTRY}:{REGISTRY_PORT}"]},
        "options": {
            "k3d": {"wait": True, "timeout": "5m", "disableLoadbalancer": True},
            "k3s": {"extraArgs": [{"arg": argument, "nodeFilters": ["server:*"]} for argument in arguments]},
            "kubeconfig": {"updateDefaultKubeconfig": False, "switchCurrentContext": False},
        },
    }


def values(cluster: K3dCluster, ca: Pair) -> dict[str, Any]:
    """Give the values of Cilium's chart; one CA for all, by which the clusters of the mesh know each other."""
    plan = JoinPlan(cluster.name, cluster.mesh_id, cluster.pod_network, 255, "tunnel", "vxlan")
    found = helm_values(plan)
    found["clustermesh"]["apiserver"] = {"service": {"type": "NodePort", "nodePort": _MESH_PORT}}
    authority = {"cert": base64.b64encode(ca.certificate).decode(), "key": base64.b64encode(ca.key).decode()}
    return found | {"operator": {"replicas": 1}, "tls": {"ca": authority}}


def create_registry() -> Command:
    """Make the registry from which all clusters take images; on this machine it listens on loopback.

    Each cluster brings it into its own network: that of the first is not there yet.
    """
    argv = ("k3d", "registry", "create", REGISTRY, "--port", "127.0.0.1:random", "--no-help")
    return Command("making the registry", argv)


def create(cluster: K3dCluster, files: Files) -> Command:
    """Make a cluster."""
    argv = ("k3d", "cluster", "create", "--config", str(files.config(cluster)))
    return Command(f"making the cluster {cluster.name}", argv, FIXED_MOUNTS)


def start(cluster: K3dCluster) -> Command:
    """Start a cluster that was stopped."""
    return Command(f"starting the cluster {cluster.name}", ("k3d", "cluster", "start", cluster.k3d_name), FIXED_MOUNTS)


def stop(clusters: Sequence[K3dCluster]) -> Command:
    """Stop clusters; what is in them stays."""
    return Command("stopping the clusters", ("k3d", "cluster", "stop", *(each.k3d_name for each in clusters)))


def ask_kubeconfig(cluster: K3dCluster) -> Command:
    """Have k3d print how a cluster is reached: its port may be another one after a start."""
    return Command(f"asking where {cluster.name} is", ("k3d", "kubeconfig", "get", cluster.k3d_name))


def install_cilium(cluster: K3dCluster, files: Files) -> Command:
    """Install Cilium and wait until it works: until then no pod has a network, and no node is Ready."""
    chart = ("cilium", "--repo", "https://helm.cilium.io", "--version", CILIUM_VERSION, "--namespace", "kube-system")
    argv = ("helm", "upgrade", "--install", "cilium", *chart, "--values", str(files.values(cluster)))
    access = ("--kubeconfig", str(files.kubeconfig(cluster)))
    return Command(f"installing Cilium in {cluster.name}", (*argv, *access, "--wait", "--timeout", "10m"))


def connect(clusters: Sequence[K3dCluster], files: Files) -> tuple[Command, ...]:
    """Connect every pair of clusters."""
    return tuple(
        Command(
            f"connecting {near.name} and {far.name}",
            ("cilium", "clustermesh", "connect", "--context", near.context, "--destination-context", far.context),
            {"KUBECONFIG": f"{files.kubeconfig(near)}:{files.kubeconfig(far)}"},
        )
        for near, far in combinations(clusters, 2)
    )
