"""The mesh of a whole simulated cluster: the sockets of its Cilium, its objects, and the agent that reports both."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.inventory_messages import NetworkReport
from atoll.federation.bus.mesh_messages import MeshServicesReport
from atoll.federation.bus.messages import MeshReport
from atoll.sandbox.cilium import objects
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cluster import simulated
from atoll.sandbox.serving import listen, listen_unix, serving
from atoll.sandbox.spec import DEFAULT_CLUSTERS
from member.harness import CLUSTER, HubSide, running_agent
from member.mesh_world import endpoint_slice, service

SPECS = {spec.name: spec for spec in DEFAULT_CLUSTERS}
OTHERS = sorted(set(SPECS) - {CLUSTER})


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """The faults of the mesh, the stand-in, and how to reach the cluster."""

    links: Links
    cilium: CiliumAgent
    kubeconfig: Path


@pytest.fixture
async def world(nats_server: Any, tmp_path: Path) -> AsyncIterator[World]:
    """A meshed simulated cluster with an agent."""
    links, spec = Links(tuple(SPECS), now), SPECS[CLUSTER]
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(
            simulated(spec, tmp_path / "cluster", clock=now, isolation="rewrite", reason="a test")
        )
        listener = listen(0)
        await stack.enter_async_context(serving(cluster.app, listener))
        cilium = CiliumAgent(spec, SPECS, links, cluster.store)
        sockets = Path(stack.enter_context(tempfile.TemporaryDirectory()))  # pytest's own are too long for sockets
        for app, name in ((cilium.app(), "cilium.sock"), (cilium.health_app(), "health.sock")):
            await stack.enter_async_context(serving(app, listen_unix(sockets / name)))
        await objects.connect(cluster.store, spec, SPECS.values(), ca=objects.new_authority(now()), now=now())
        settings = MemberSettings(
            cluster=CLUSTER,
            enrolment=EnrolmentSettings(nats_server.url),
            state_dir=tmp_path / "agent",
            kubeconfig=_kubeconfig(tmp_path, listener.getsockname()[1]),
            cilium_socket=sockets / "cilium.sock",
            heartbeat_seconds=0.5,
        )
        await stack.enter_async_context(running_agent(settings))
        yield World(links, cilium, tmp_path / "kubeconfig")


def _kubeconfig(folder: Path, port: int) -> Path:
    content = {
        "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    }
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump(content))
    return path


async def test_links_come_with_latency_and_the_clusters_own_place_with_its_peers(world: World, hub: HubSide) -> None:
    """Sockets, ConfigMap, Secrets and CiliumNodes of one cluster end in what the hub needs to check the mesh."""
    report = await hub.reported("mesh", MeshReport, lambda report: len(report.links) == len(OTHERS))
    spec = SPECS[CLUSTER]
    for link in report.links:
        round_trip = spec.uplink.round_trip_seconds + SPECS[link.peer].uplink.round_trip_seconds
        assert link.latency_seconds == pytest.approx(round_trip, abs=0.001)
        assert (link.is_expected, link.probed_nodes) == (True, len(SPECS[link.peer].nodes))
        assert link.peer_id == SPECS[link.peer].mesh_id
    assert report.facts is not None
    assert (report.facts.name, report.facts.id) == (CLUSTER, spec.mesh_id)
    assert report.facts.expected_peers == tuple(OTHERS)
    assert (len(report.facts.ca_fingerprints), len(report.facts.certificates)) == (1, 2)
    assert report.facts.problems == ()
    network = await hub.reported("inventory/network", NetworkReport)
    assert network.pod_cidrs


async def test_a_cut_link_shows_its_unreachable_nodes_and_heals(world: World, hub: HubSide) -> None:
    """Nodes behind a cut do not answer probes; when it heals, the link is proven anew."""
    peer = OTHERS[0]
    world.links.set_up(CLUSTER, peer, is_up=False)
    cut = await hub.reported("mesh", MeshReport, lambda report: report.links and not report.links[0].is_ready)
    assert (cut.links[0].peer, cut.links[0].unreachable_nodes) == (peer, len(SPECS[peer].nodes))
    assert cut.links[0].last_failure_at is not None
    world.links.set_up(CLUSTER, peer, is_up=True)
    healed = await hub.reported("mesh", MeshReport, lambda report: report.links and report.links[0].is_ready)
    assert healed.links[0].unreachable_nodes == 0
    assert healed.links[0].last_proven_at == healed.links[0].seen_at


async def test_a_disabled_health_api_costs_latency_and_says_so(world: World, hub: HubSide) -> None:
    """Links stay ready; what is missing is named with the switch that brings it back."""
    world.cilium.forbidden = {"/status"}
    report = await hub.reported(
        "mesh", MeshReport, lambda report: report.links and report.links[0].latency_seconds is None
    )
    assert all(link.is_ready for link in report.links)
    assert report.facts is not None
    assert "--enable-cilium-health-api-server-access" in report.facts.problems[0]


async def test_a_global_service_is_reported_and_so_is_the_end_of_its_endpoints(world: World, hub: HubSide) -> None:
    """What `mesh services` shows as failover begins with this report."""
    kube = await Kube.connect(world.kubeconfig)
    try:
        await kube.server_side_apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
        await kube.server_side_apply(service("db", **{"global": "true"}))
        await kube.server_side_apply(endpoint_slice("db-1", "db", 2))
        told = await hub.reported(
            "mesh/services", MeshServicesReport, lambda report: report.services and report.services[0].endpoints == 2
        )
        assert (told.services[0].namespace, told.services[0].name) == ("lab", "db")
        await kube.delete(ObjectRef(Kind("discovery.k8s.io/v1", "EndpointSlice"), "lab", "db-1"))
        await hub.reported("mesh/services", MeshServicesReport, lambda report: report.services[0].endpoints == 0)
    finally:
        await kube.close()
