"""The Cilium agent of a node: the only door to its API over the unix socket, and to httpx.

Reads how this cluster sees the other clusters of the mesh. The socket serves one node's agent; which node is the
installer's choice. It must not raise: a mesh that cannot be read is a message.

Facts of the API (Cilium api/v1/openapi.yaml): absent means false, zero or empty; `cluster-mesh` is absent when Cluster
Mesh is off; a disabled API answers 403.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from atoll.federation.resources.cluster import MeshLink

TIMEOUT_SECONDS = 10.0
# Cilium's API shares the node's agent with the datapath: below this it would be felt (rate limits of its own API).
SHORTEST_POLL_SECONDS = 5.0
_SYNCED = ("nodes", "endpoints", "identities", "services")
# Null or absent means "not watched", which is no failure.
_SYNCED_IF_WATCHED = ("service-exports", "endpoint-slices")


@dataclass(frozen=True)
class Mesh:
    """What the Cilium agent says; `message` tells why there are no links."""

    links: tuple[MeshLink, ...] = ()
    message: str = ""
    version: str = ""


class CiliumAgent:
    """One Cilium agent. Close it when done."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        transport = httpx.AsyncHTTPTransport(uds=str(socket))
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost/v1", timeout=TIMEOUT_SECONDS)

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def mesh(self, now: datetime) -> Mesh:
        """Read the links to all other clusters."""
        try:
            response = await self._client.get("/healthz")
            if response.status_code != 200:
                return Mesh(message=_refusal(response.status_code))
            return read_mesh(response.json(), now)
        except httpx.TimeoutException:
            return Mesh(message=f"the Cilium agent did not answer within {TIMEOUT_SECONDS:g} s")
        except (httpx.HTTPError, OSError) as error:
            return Mesh(message=f"the Cilium agent cannot be reached at {self._socket}: {error}")
        except ValueError:
            return Mesh(message="the Cilium agent answered with something that is no status")


def read_mesh(status: Any, now: datetime) -> Mesh:
    """Read the StatusResponse of `GET /healthz`.

    Raises:
        ValueError: it is no such thing.
    """
    try:
        # "1.18.2 (v1.18.2-0ec01a8e)": the agent's own line of status
        version = str((status.get("cilium") or {}).get("msg", "")).partition(" ")[0]
        clusters = (status.get("cluster-mesh") or {}).get("clusters") or ()
        links = tuple(_link(cluster, now) for cluster in clusters)
    except (AttributeError, TypeError) as error:
        raise ValueError("no StatusResponse") from error
    if "cluster-mesh" not in status:
        return Mesh(message="Cluster Mesh is not enabled in this cluster's Cilium", version=version)
    return Mesh(tuple(sorted(links, key=lambda link: link.peer)), version=version)


def _link(cluster: Mapping[str, Any], now: datetime) -> MeshLink:
    is_ready = bool(cluster.get("ready"))
    return MeshLink(
        peer=str(cluster.get("name", "")),
        is_connected=bool(cluster.get("connected")),
        is_ready=is_ready,
        reason="" if is_ready else why_not_ready(cluster),
        failures=int(cluster.get("num-failures") or 0),
        remote_nodes=int(cluster.get("num-nodes") or 0),
        last_proven_at=now if is_ready else None,
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


def _refusal(code: int) -> str:
    if code == 403:
        return "the Cilium agent's API is disabled (403): allow GetHealthz in --enable-cilium-api-server-access"
    return f"the Cilium agent answered with HTTP status {code}"
