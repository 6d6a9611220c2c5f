"""One member cluster of a history: kubeapi with memory storage, the sandbox's controllers, and pods on virtual time.

Owns the composition. The cluster lives whatever becomes of its agent: it is a process and a machine of its own.
"""

import asyncio
from random import Random

from atoll.kubeapi.gc import GarbageCollector
from atoll.kubeapi.http import create_app
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.cilium.pods import seed_pods
from atoll.sandbox.controllers import runtime
from atoll.sandbox.controllers.job import JobController
from atoll.sandbox.controllers.namespaces import NamespaceController
from atoll.sandbox.controllers.scheduler import Scheduler
from atoll.sandbox.kinds.catalog import NAMESPACE, NODE, registry
from atoll.sandbox.seeding import NAMESPACES, node_status
from atoll.sandbox.spec import GIB, ClusterSpec, NodeSpec, Storage, Uplink
from twin.api_server import Manners
from twin.kubelet import VirtualKubelet
from twin.machine import Machine, Process, VirtualClock
from twin.policies import PolicyWitness

_VERSION = {"major": "1", "minor": "34", "gitVersion": "v1.34.1", "platform": "linux/amd64"}


class Member:
    """A cluster."""

    def __init__(self, machine: Machine, number: int, clock: VirtualClock, chance: Random) -> None:
        self.name, self._true = (name := machine.name), clock
        self.process = Process(f"kubernetes {name}", machine)
        self.manners = Manners()
        self.spec = ClusterSpec(
            name=name,
            mesh_id=number,
            version="v1.34.1",
            cilium_version="1.18.1",
            nodes=(NodeSpec(f"{name}-0", 16, 64),),
            storage=Storage("rwx", 64 * GIB),
            uplink=Uplink(10**9, 0.005),
        )
        self.store = Store(registry(), MemoryStorage(), clock=clock.datetime, require_namespaces=True)
        self.app = create_app(self.store, self.store.registry, version=_VERSION)
        self.kubelet = VirtualKubelet(name, self.store, clock.datetime, chance)
        self.policies = PolicyWitness(self.store, lambda: clock.now)

    async def run(self) -> None:
        """Live for ever."""
        store, clock = self.store, self._true.datetime
        async with asyncio.TaskGroup() as group:
            for controller in (
                NamespaceController(store).controller(),
                Scheduler(store, clock).controller(),
                JobController(store, clock).controller(),
            ):
                group.create_task(runtime.run(controller, store))
            group.create_task(GarbageCollector(store).run())
            group.create_task(self.kubelet.run(lambda: self._true.now))
            group.create_task(self.policies.run())

    async def seed(self) -> None:
        """Make the objects that a new cluster has."""
        await self.store.start()
        for name in NAMESPACES:
            await self.store.create(NAMESPACE, {"metadata": {"name": name}})
        for node in self.spec.nodes:
            described = {
                "metadata": {"name": node.name, "labels": node.node_labels()},
                "spec": {"providerID": f"twin://{node.name}"},
            }
            made = await self.store.create(NODE, described)
            status = node_status(self.spec, node, self._true.datetime())
            await self.store.update(NODE, {**made, "status": status}, subresource="status")
        await seed_pods(self.store, self.spec, timestamp(self._true.datetime()))
        await self.policies.seed()
