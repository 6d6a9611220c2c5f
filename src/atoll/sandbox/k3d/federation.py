"""A federation of real clusters: NATS, a hub, and one agent for each k3d cluster, as processes of this machine.

A composition root, as sandbox/federation.py is for simulated clusters. Agents reach their clusters by kubeconfigs. The
containers in Docker do not reach NATS, which is on loopback: jobs run there, sinks and movers do not.
"""

from __future__ import annotations

import asyncio
from functools import partial

from atoll.local import hub as local_hub
from atoll.local.ports import assign
from atoll.local.stack import Compose, Stack, start_nats
from atoll.local.state import ClusterAccess
from atoll.sandbox.federation import create_objects, invite_members, manifest, run_agent, wait_ready
from atoll.sandbox.k3d.clusters import USUAL_CLUSTERS, Clusters, clusters_in, server_of
from atoll.sandbox.k3d.plan import K3dCluster
from atoll.sandbox.state import ClusterState

_HEARTBEAT_SECONDS = 5.0
_STORAGE_CLASS = "local-path"  # which K3s brings
# Making a cluster pulls two hundred megabytes, and Cilium six times that.
SECONDS_EACH = 900.0


def compose(count: int | None) -> Compose:
    """Compose NATS, a hub, and so many k3d clusters with an agent each; None means as many as the home has, or two."""
    return partial(_compose, count)


async def _compose(count: int | None, stack: Stack) -> None:
    clusters = Clusters(stack.home, stack.step)
    wanted = await clusters.up(count or len(clusters_in(stack.home)) or USUAL_CLUSTERS)
    states = [_state(cluster, clusters) for cluster in wanted]
    stack.note(
        clusters=tuple(ClusterAccess(name=one.name, url=one.server, kubeconfig=one.kubeconfig) for one in states)
    )
    ports = assign(stack.home.ports_file, ("nats", "hub"))
    server = await start_nats(stack, ports)
    stack.step("starting the hub")
    hub = local_hub.prepare(stack, server, ports["hub"])
    await stack.supervisor.start(hub.process)
    local_hub.note(stack, hub)
    found = await asyncio.to_thread(create_objects, hub, [_object(cluster) for cluster in wanted])
    stack.step("starting the agents")
    await asyncio.to_thread(invite_members, stack.home, hub, found)
    await stack.supervisor.start(*(run_agent(stack.home, each, hub, _HEARTBEAT_SECONDS) for each in states))
    stack.step("waiting until every cluster is Ready")
    await wait_ready(stack, hub, tuple(cluster.name for cluster in wanted))


def _state(cluster: K3dCluster, clusters: Clusters) -> ClusterState:
    kubeconfig = clusters.files.kubeconfig(cluster)
    return ClusterState(
        name=cluster.name,
        server=server_of(kubeconfig),
        port=0,
        kubeconfig=str(kubeconfig),
        cilium_socket="",
        storage_root="",
        storage_class=_STORAGE_CLASS,
        version="",
    )


def _object(cluster: K3dCluster) -> dict[str, object]:
    spec = {"mesh": {"id": cluster.mesh_id}, "storageClass": _STORAGE_CLASS}
    return manifest("Cluster", cluster.name, spec, {"site": "lab", "provider": "k3d"})
