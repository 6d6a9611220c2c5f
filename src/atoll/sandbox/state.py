"""`clusters.json`: where everything of a running sandbox is, for whoever wires a federation to it.

Owns the file, written whole and at once when all clusters are ready, and the kubeconfigs beside it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from atoll.federation.errors import NotFound

STATE_FILE = "clusters.json"


@dataclass(frozen=True)
class ClusterState:
    """Where one cluster is: paths are absolute, `server` is the API server's URL.

    `connect_to` is its own way to the hub and to NATS, as `atoll agent --connect-to` takes it.
    """

    name: str
    server: str
    port: int
    kubeconfig: str
    cilium_socket: str
    storage_root: str
    storage_class: str
    version: str
    connect_to: tuple[str, ...] = ()


@dataclass(frozen=True)
class SandboxState:
    """A running sandbox."""

    pid: int
    admin_socket: str
    isolation: str
    clusters: tuple[ClusterState, ...]

    def cluster(self, name: str) -> ClusterState:
        """Return one cluster. Raises NotFound."""
        for cluster in self.clusters:
            if cluster.name == name:
                return cluster
        raise NotFound(f"the sandbox has no cluster {name!r}: it has {', '.join(c.name for c in self.clusters)}")


def write_state(home: Path, state: SandboxState) -> None:
    """Write the file, so that a reader sees all of it or none."""
    _replace(home / STATE_FILE, orjson.dumps(asdict(state), option=orjson.OPT_INDENT_2))


def read_state(home: Path) -> SandboxState:
    """Read the file. Raises NotFound if no sandbox is ready in `home`."""
    try:
        raw: dict[str, Any] = orjson.loads((home / STATE_FILE).read_bytes())
    except FileNotFoundError:
        raise NotFound(f"no sandbox is running in {home}: there is no {STATE_FILE}") from None
    clusters = tuple(_cluster(cluster) for cluster in raw.pop("clusters"))
    return SandboxState(**raw, clusters=clusters)


def _cluster(raw: Mapping[str, Any]) -> ClusterState:
    return ClusterState(**{**raw, "connect_to": tuple(raw["connect_to"])})


def write_kubeconfig(path: Path, name: str, server: str) -> None:
    """Write a kubeconfig with one context. It has no credentials: the API server listens on loopback for everyone."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": server}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
    }
    _replace(path, yaml.safe_dump(config, sort_keys=False).encode())


def _replace(path: Path, content: bytes) -> None:
    written = path.with_name(f".{path.name}.{os.getpid()}")
    written.write_bytes(content)
    written.chmod(0o600)
    written.replace(path)
