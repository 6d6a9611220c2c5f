"""The reports that come by themselves: heartbeat, inventory, mesh. It must not decide what they are used for."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from importlib.metadata import version as package_version

from atoll.edge.member.cilium import SHORTEST_POLL_SECONDS, CiliumAgent, Mesh
from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.facts import (
    CapacityFacts,
    NodeFacts,
    PodFacts,
    StorageClassFacts,
    project_capacity,
    project_node,
    project_pod,
    project_storage_class,
)
from atoll.edge.member.informer import Informer
from atoll.edge.member.inventory import ClusterFacts, build_inventory
from atoll.edge.member.kube import Kube
from atoll.edge.member.objects import Kind
from atoll.edge.member.reporter import Reporter
from atoll.federation.bus.messages import Heartbeat, InventoryReport, MeshReport
from atoll.federation.errors import AtollError

HEARTBEAT, INVENTORY, MESH = "heartbeat", "inventory", "mesh"
_PROBE_SECONDS = 5.0
_STORAGE_SECONDS = 10.0
# A change is in the hub well below a second; a burst of pods makes one report.
_SETTLE_SECONDS = 0.2
# Summing up takes at most a twentieth of one core, however large the cluster.
_REST_FACTOR = 20.0


class ClusterView:
    """Live copies of what an inventory is made of."""

    def __init__(self, kube: Kube) -> None:
        self.nodes: Informer[NodeFacts] = Informer(kube, Kind("v1", "Node"), project=project_node)
        self.pods: Informer[PodFacts] = Informer(kube, Kind("v1", "Pod"), project=project_pod)
        self.storage_classes: Informer[StorageClassFacts] = Informer(
            kube, Kind("storage.k8s.io/v1", "StorageClass"), project=project_storage_class
        )
        self.capacities: Informer[CapacityFacts] = Informer(
            kube, Kind("storage.k8s.io/v1", "CSIStorageCapacity"), project=project_capacity
        )
        self.version = ""
        self.cilium_version = ""
        self.changed = asyncio.Event()
        for informer in self._informers:
            informer.on_change(lambda _key: self.changed.set())

    @property
    def _informers(
        self,
    ) -> tuple[Informer[NodeFacts] | Informer[PodFacts] | Informer[StorageClassFacts] | Informer[CapacityFacts], ...]:
        return self.nodes, self.pods, self.storage_classes, self.capacities

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())

    async def wait_until_complete(self) -> None:
        """Wait until everything has been read once: half a cluster is no inventory.

        Storage is waited for only a while: an agent may lack the right to read it.
        """
        await self.nodes.has_synced.wait()
        await self.pods.has_synced.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_STORAGE_SECONDS):
                await self.storage_classes.has_synced.wait()
                await self.capacities.has_synced.wait()

    @property
    def problem(self) -> str:
        """Why the inventory may be behind; empty if it is not."""
        return self.nodes.problem or self.pods.problem

    def learn(self, *, version: str | None = None, cilium_version: str | None = None) -> None:
        """Take in what no informer tells."""
        before = (self.version, self.cilium_version)
        self.version = version or self.version
        self.cilium_version = cilium_version or self.cilium_version
        if before != (self.version, self.cilium_version):
            self.changed.set()

    def facts(self, *, runs: Iterable[str]) -> ClusterFacts:
        """Give everything as it is now."""
        return ClusterFacts(
            nodes=self.nodes.items,
            pods=self.pods.items,
            storage_classes=self.storage_classes.items,
            capacities=self.capacities.items,
            runs=frozenset(runs),
            version=self.version,
            cilium_version=self.cilium_version,
        )


class Pulse:
    """Reports the cluster itself."""

    def __init__(
        self, kube: Kube, view: ClusterView, *, orders: Orders, reporter: Reporter, now: Callable[[], datetime]
    ) -> None:
        self._kube, self._view, self._orders, self._reporter, self._now = kube, view, orders, reporter, now
        self._started_at = now()
        self._agent_version = package_version("atoll")

    async def heartbeats(self, every_seconds: float) -> None:
        """Tell that the agent lives and whether its API server does, until cancelled."""
        while True:
            problem = await self._probe()
            message = "; ".join(filter(None, (problem or self._view.problem, _retained(self._orders.store.retained))))
            heartbeat = Heartbeat(
                agent_version=self._agent_version,
                started_at=self._started_at,
                api_reachable=not problem,
                message=message,
                at=self._now(),
            )
            self._reporter.refresh(HEARTBEAT, heartbeat)
            await asyncio.sleep(every_seconds)

    async def _probe(self) -> str:
        """Ask the API server for its version; give what is wrong, empty if nothing."""
        try:
            async with asyncio.timeout(_PROBE_SECONDS):
                self._view.learn(version=await self._kube.version())
        except TimeoutError:
            return f"the API server did not answer within {_PROBE_SECONDS:g} s"
        except AtollError as error:
            return str(error)
        return ""

    async def inventories(self) -> None:
        """Report the inventory whenever it has changed, until cancelled."""
        await self._view.wait_until_complete()
        while True:
            self._view.changed.clear()
            began = time.perf_counter()
            inventory = build_inventory(self._view.facts(runs=self._orders.keys(RUNS)))
            self._reporter.report(INVENTORY, InventoryReport(inventory=inventory, at=self._now()))
            await asyncio.sleep(_REST_FACTOR * (time.perf_counter() - began))
            await self._view.changed.wait()
            await asyncio.sleep(_SETTLE_SECONDS)

    async def meshes(self, agent: CiliumAgent, every_seconds: float) -> None:
        """Report the mesh as the Cilium agent sees it, until cancelled."""
        proven: dict[str, datetime] = {}
        while True:
            mesh = await agent.mesh(self._now())
            self._view.learn(cilium_version=mesh.version)
            self._reporter.refresh(MESH, _mesh_report(mesh, proven, self._now()))
            await asyncio.sleep(max(SHORTEST_POLL_SECONDS, every_seconds))


def _mesh_report(mesh: Mesh, proven: dict[str, datetime], at: datetime) -> MeshReport:
    """Date each link by when it was last seen ready; `proven` is carried from poll to poll."""
    proven.update({link.peer: link.last_proven_at for link in mesh.links if link.last_proven_at})
    links = tuple(link.model_copy(update={"last_proven_at": proven.get(link.peer)}) for link in mesh.links)
    return MeshReport(links=links, message=mesh.message, at=at)


def _retained(keys: tuple[str, ...]) -> str:
    if not keys:
        return ""
    return f"{len(keys)} orders are kept that the hub's store has lost, such as {keys[0]}: order or delete them again"
