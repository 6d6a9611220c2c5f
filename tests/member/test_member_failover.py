"""Two simulated clusters with real agents and a real hub: one is lost, and its work moves without ever running twice.

The containers are processes of this machine. Each writes down that it lives, and that is all that is believed.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path as Folder
from typing import Any

import pytest

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.main import run
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import RunReport
from atoll.hub.members import Path
from atoll.sandbox.cluster import simulated
from atoll.sandbox.serving import listen, serving
from atoll.sandbox.spec import DEFAULT_CLUSTERS
from hub.support import API, HubClient, eventually, job_spec, manifest, now, path_of, running_hub
from member.sandbox_world import kubeconfig_of

NAMESPACE = "lab"
SPECS = {spec.name: spec for spec in DEFAULT_CLUSTERS}
GRACE_SECONDS = 1
# Ends by itself once it is told to; does not end when it is asked to, so that it uses all of its grace. Kubernetes
# writes $ for $$ in a command, so that the shell reads its own process id.
SCRIPT = """
trap '' TERM
while [ ! -e {folder}/finish ]; do date "+$$$$ %s.%N" >> {folder}/alive; sleep 0.05; done
"""


@dataclass
class Way:
    """The way from one agent to NATS, which can be cut."""

    port: int
    target: int
    is_cut: bool = False
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_cut:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        self._writers |= {writer, far_writer}
        with contextlib.suppress(OSError):
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))

    def cut(self) -> None:
        self.is_cut = True
        for writer in self._writers:
            writer.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextlib.asynccontextmanager
async def way(target: int) -> AsyncIterator[Way]:
    found: list[Way] = []
    server = await asyncio.start_server(lambda r, w: found[0].pass_on(r, w), "127.0.0.1", 0)  # noqa: PLW0108 - made below
    found.append(Way(server.sockets[0].getsockname()[1], target))
    try:
        yield found[0]
    finally:
        found[0].cut()
        server.close()


@dataclass
class Site:
    """A cluster, and its agent that may be cut off or killed."""

    name: str
    way: Way
    store: Any
    settings: MemberSettings
    agent: "asyncio.Task[None]"

    async def kill_agent(self) -> None:
        self.agent.cancel()
        await asyncio.wait({self.agent})

    def start_agent(self) -> None:
        self.agent = asyncio.create_task(run(self.settings))

    async def pods(self) -> list[str]:
        """Name the pods that may still run."""
        kind = next(rt for rt in self.store.registry.all() if rt.kind == "Pod")
        pods = (await self.store.list(kind, NAMESPACE)).items
        return [pod["metadata"]["name"] for pod in pods if pod["status"]["phase"] not in ("Succeeded", "Failed")]


@contextlib.asynccontextmanager
async def site(name: str, nats_port: int, folder: Folder) -> AsyncIterator[Site]:
    async with contextlib.AsyncExitStack() as stack:
        folder.mkdir()
        cluster = await stack.enter_async_context(
            simulated(SPECS[name], folder / "cluster", clock=now, isolation="rewrite", reason="a test")
        )
        listener = listen(0)
        await stack.enter_async_context(serving(cluster.app, listener))
        link = await stack.enter_async_context(way(nats_port))
        settings = MemberSettings(
            cluster=name,
            enrolment=EnrolmentSettings(f"nats://127.0.0.1:{link.port}"),
            state_dir=folder / "agent",
            kubeconfig=kubeconfig_of(folder, listener.getsockname()[1]),
            heartbeat_seconds=0.5,
        )
        found = Site(name, link, cluster.store, settings, asyncio.create_task(run(settings)))
        stack.push_async_callback(found.kill_agent)
        yield found


@dataclass
class World:
    hub: HubClient
    sites: dict[str, Site]
    folder: Folder

    def lives(self) -> dict[str, tuple[float, float]]:
        """Read when each container was first and last alive, by process id."""
        path = self.folder / "alive"
        found: dict[str, tuple[float, float]] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            process, at = line.split()
            found[process] = (found.get(process, (float(at), 0.0))[0], float(at))
        return found

    async def run_of(self, epoch: int) -> dict[str, Any]:
        return await self.hub.get(f"{API}/namespaces/{NAMESPACE}/runs/picks-{epoch}")


@pytest.fixture
async def world(nats_server: Any, tmp_path: Folder) -> AsyncIterator[World]:
    names = ("onprem-gpu", "cloud-eu")
    rules = {"heartbeat_timeout_seconds": 3.0, "run_lease_seconds": 6.0, "run_lease_margin_seconds": 2.0}
    async with contextlib.AsyncExitStack() as stack:
        port = int(nats_server.url.rpartition(":")[2])
        hub = await stack.enter_async_context(running_hub(nats_server.url, tmp_path, **rules))
        await hub.apply(manifest("Namespace", NAMESPACE), manifest("Queue", "lab"))
        sites = {name: await stack.enter_async_context(site(name, port, tmp_path / name)) for name in names}
        for name in names:
            await hub.apply(manifest("Cluster", name))
            await hub.phase(f"{API}/clusters/{name}", "Ready")
        yield World(hub, sites, tmp_path)


async def started(world: World, policy: str) -> tuple[dict[str, Any], Site, Site]:
    """Submit a job and wait until its container lives; give the job, where it runs, and where it does not."""
    container = {"name": "main", "image": "any", "command": ["sh", "-c", SCRIPT.format(folder=world.folder)]}
    pod = {"containers": [container], "terminationGracePeriodSeconds": GRACE_SECONDS}
    workload = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"template": {"spec": pod}}}
    job = manifest("Job", "picks", job_spec(lossPolicy=policy, workload=workload), NAMESPACE)
    await world.hub.apply(job)
    await world.hub.phase(path_of(job), "Running")
    await eventually(_true(lambda: len(world.lives()) == 1))
    here = (await world.hub.status(path_of(job)))["cluster"]
    there = next(name for name in world.sites if name != here)
    return job, world.sites[here], world.sites[there]


def _true(check: Callable[[], bool]) -> Any:
    async def asked() -> bool:
        return check()

    return asked


async def lose_way(site: Site) -> None:
    site.way.cut()


async def lose_agent(site: Site) -> None:
    await site.kill_agent()


@pytest.mark.parametrize("lose", [lose_way, lose_agent])
async def test_work_of_a_lost_cluster_moves_and_never_runs_in_both(world: World, lose: Any) -> None:
    """With its way cut, the agent ends the work; where the agent is dead, the cluster's own Job controller does."""
    job, lost, other = await started(world, "Failover")
    await lose(lost)
    await eventually(_true(lambda: len(world.lives()) == 2), seconds=60)
    first, second = sorted(world.lives().values())
    assert first[1] < second[0], f"the first was alive {first[1] - second[0]:.2f} s into the second one's life"
    run = await world.run_of(1)
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "Lost")
    status = await world.hub.status(path_of(job))
    assert (status["cluster"], status["attempts"]) == (other.name, 2)
    lost.way.is_cut = False
    if lost.agent.done():
        lost.start_agent()
    await world.hub.phase(f"{API}/clusters/{lost.name}", "Ready")
    await eventually(lambda: _is_reported(world, lost, "picks-1"))
    assert await lost.pods() == []
    (world.folder / "finish").touch()
    await world.hub.phase(path_of(job), "Succeeded")
    assert len(world.lives()) == 2


async def _is_reported(world: World, site: Site, run: str) -> bool:
    """Tell whether the agent has said that its run is over."""
    path = Path("cluster", site.name, f"run/{NAMESPACE}/{run}")
    report = world.hub.hub.context.observed.read(RunReport, path)
    return report is not None and report.phase == "Failed" and report.reason == "LeaseEnded"


async def test_a_drained_cluster_gives_its_work_away_in_order(world: World) -> None:
    """The agent stops the run and says so; only then does the other cluster begin it, and no retry is used up."""
    job, here, other = await started(world, "Failover")
    merge = {"Content-Type": "application/merge-patch+json"}
    await world.hub.http.patch(f"{API}/clusters/{here.name}", json={"spec": {"draining": True}}, headers=merge)
    await eventually(_true(lambda: len(world.lives()) == 2), seconds=60)
    first, second = sorted(world.lives().values())
    assert first[1] < second[0]
    run = await world.run_of(1)
    assert (run["status"]["phase"], run["status"]["reason"]) == ("Failed", "Drained")
    (world.folder / "finish").touch()
    status = await world.hub.phase(path_of(job), "Succeeded")
    assert (status["cluster"], status["attempts"]) == (other.name, 2)
