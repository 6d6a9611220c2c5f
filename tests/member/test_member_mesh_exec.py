"""The mesh by commands in Cilium's pods: a whole simulated cluster, its API server, and an agent without a socket."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.errors import Refused
from atoll.edge.member.kube import Kube
from atoll.edge.member.mesh.sources import PodSource
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import MeshReport
from atoll.federation.errors import Unavailable
from atoll.installation.rights import cilium_rules, cluster_rules
from atoll.kubeapi.http import create_app
from atoll.kubeapi.http.access import Access
from atoll.sandbox.cilium import commands, objects
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cluster import SimulatedCluster, simulated
from atoll.sandbox.podexec import PodExec
from atoll.sandbox.serving import listen, serving
from atoll.sandbox.spec import DEFAULT_CLUSTERS, ClusterSpec
from member.harness import CLUSTER, HubSide, running_agent
from member.rbac import Rbac
from member.world import Json

SPECS = {spec.name: spec for spec in DEFAULT_CLUSTERS}
OTHERS = sorted(set(SPECS) - {CLUSTER})
PEER = OTHERS[0]
CILIUM = ObjectRef(Kind("v1", "Pod"), "kube-system", "cilium-0")


def now() -> datetime:
    return datetime.now(UTC)


@dataclass
class World:
    """The faults of the mesh, and how to reach the cluster."""

    links: Links
    kubeconfig: Path
    rbac: Rbac


@contextlib.asynccontextmanager
async def meshed(folder: Path, spec: ClusterSpec, *, roles: Sequence[Json] | None = None) -> AsyncIterator[World]:
    """A meshed simulated cluster whose Cilium can be asked by commands only; `roles` say who may."""
    links = Links(tuple(SPECS), now)
    async with (
        simulated(spec, folder / "cluster", clock=now, isolation="rewrite", reason="a test") as cluster,
        contextlib.AsyncExitStack() as stack,
    ):
        listener = listen(0)
        rbac = Rbac(cluster.store, roles or ())
        app = cluster.app if roles is None else _guarded(cluster, rbac)
        await stack.enter_async_context(serving(app, listener))
        commands.play(cluster.kubelet.stand_ins, CiliumAgent(spec, SPECS, links, cluster.store))
        await objects.connect(cluster.store, spec, SPECS.values(), ca=objects.new_authority(now()), now=now())
        yield World(links, _kubeconfig(folder, listener.getsockname()[1]), rbac)


def _guarded(cluster: SimulatedCluster, rbac: Rbac) -> Starlette:
    routes, version = PodExec(cluster.store, cluster.kubelet).routes(), {"major": "1", "minor": "35"}
    access = Access(authorizer=rbac)
    return create_app(cluster.store, cluster.store.registry, version=version, access=access, extra_routes=routes)


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


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look at the mesh every half second: here nobody else asks this Cilium anything."""
    monkeypatch.setattr("atoll.edge.member.mesh.pulse.SHORTEST_POLL_SECONDS", 0.5)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster whose agents reach their peers directly."""
    async with meshed(tmp_path, SPECS[CLUSTER]) as running:
        yield running


@pytest.fixture
async def cached(tmp_path: Path) -> AsyncIterator[World]:
    """A cluster whose agents read their peers through KVStoreMesh."""
    async with meshed(tmp_path, replace(SPECS[CLUSTER], has_kvstoremesh=True)) as running:
        yield running


@contextlib.asynccontextmanager
async def door(world: World) -> AsyncIterator[Kube]:
    kube = await Kube.connect(world.kubeconfig)
    try:
        yield kube
    finally:
        await kube.close()


@contextlib.asynccontextmanager
async def reporting(world: World, nats_server: Any, folder: Path) -> AsyncIterator[None]:
    """An agent as `atoll agent --cilium-exec` starts it."""
    settings = MemberSettings(
        cluster=CLUSTER,
        enrolment=EnrolmentSettings(nats_server.url),
        state_dir=folder / "agent",
        kubeconfig=world.kubeconfig,
        cilium_exec=True,
        heartbeat_seconds=0.5,
    )
    async with running_agent(settings):
        yield


async def test_every_node_is_asked_by_commands_and_a_cut_link_is_reported(
    world: World, hub: HubSide, nats_server: Any, tmp_path: Path
) -> None:
    """Without any socket: the links of all nodes' agents, their latency, and what a cut does to both."""
    async with reporting(world, nats_server, tmp_path):
        well = await hub.reported("mesh", MeshReport, lambda report: len(report.links) == len(OTHERS))
        nodes = len(SPECS[CLUSTER].nodes)
        assert all(link.is_ready and link.latency_seconds for link in well.links)
        assert {(link.agents_asked, link.agents_ready) for link in well.links} == {(nodes, nodes)}
        assert well.facts is not None and well.facts.problems == ()
        world.links.set_up(CLUSTER, PEER, is_up=False)
        cut = await hub.reported("mesh", MeshReport, lambda report: not report.links[0].is_ready)
        assert (cut.links[0].peer, cut.links[0].unreachable_nodes) == (PEER, len(SPECS[PEER].nodes))
        assert "deadline exceeded" in cut.links[0].reason
        assert cut.links[0].last_proven_at is not None


async def test_agents_that_are_ready_on_a_cache_do_not_hide_that_the_link_is_cut(
    cached: World, hub: HubSide, nats_server: Any, tmp_path: Path
) -> None:
    """KVStoreMesh is asked itself: its link is cut while every agent goes on saying that it is ready."""
    async with reporting(cached, nats_server, tmp_path):
        well = await hub.reported("mesh", MeshReport, lambda report: len(report.links) == len(OTHERS))
        assert all(link.is_ready and link.is_cached and not link.cache_problem for link in well.links)
        cached.links.set_up(CLUSTER, PEER, is_up=False)
        cut = await hub.reported("mesh", MeshReport, lambda report: report.links[0].cache_problem)
        assert (cut.links[0].peer, cut.links[0].is_ready, cut.links[0].reaches_no_node) == (PEER, True, True)
        assert "deadline exceeded" in cut.links[0].cache_problem
        cached.links.set_up(CLUSTER, PEER, is_up=True)
        await hub.reported("mesh", MeshReport, lambda report: not report.links[0].cache_problem)


async def test_a_command_that_is_not_there_says_so(world: World) -> None:
    """The exit code and the words of the shell reach the caller."""
    async with door(world) as kube:
        with pytest.raises(Unavailable, match="exit code: 127: sandbox: cilium help: no such command"):
            await kube.execute(CILIUM, "cilium-agent", ("cilium", "help"))


def printed(*, with_exec: bool) -> list[Json]:
    """The roles that `cluster join` prints."""
    everywhere = {"metadata": {}, "rules": cluster_rules(with_exec=False)}
    return [everywhere, {"metadata": {"namespace": "kube-system"}, "rules": cilium_rules(with_exec=with_exec)}]


async def test_the_printed_rights_are_what_commands_take(tmp_path: Path) -> None:
    """Both verbs of pods/exec are needed and used, in Cilium's namespace only."""
    async with meshed(tmp_path, SPECS[CLUSTER], roles=printed(with_exec=True)) as running, door(running) as kube:
        look = await PodSource(kube).look()
        assert (len(look.statuses), look.problems) == (len(SPECS[CLUSTER].nodes), ())
        used = {(namespace, verb) for namespace, _, resource, verb in running.rbac.used if resource == "pods/exec"}
        assert used == {("kube-system", "get"), ("kube-system", "create")}
        with pytest.raises(Refused):
            await kube.execute(ObjectRef(Kind("v1", "Pod"), "default", "p"), "c", ("true",))


async def test_an_agent_without_the_right_to_run_commands_is_refused(tmp_path: Path) -> None:
    """The door says so, and a look has that as a problem of each node."""
    async with meshed(tmp_path, SPECS[CLUSTER], roles=printed(with_exec=False)) as running, door(running) as kube:
        with pytest.raises(Refused, match="exec"):
            await kube.execute(CILIUM, "cilium-agent", ("cilium", "status", "-o", "json"))
        look = await PodSource(kube).look()
    assert (look.statuses, bool(look.problems)) == ({}, True)
