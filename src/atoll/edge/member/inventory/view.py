"""Live copies of what an inventory is made of: which kinds are followed, and which reports each of them concerns.

It must not decide what is told. Kinds that the cluster does not serve are looked for again now and then.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar

from atoll.edge.member.informer import Informer, Source
from atoll.edge.member.inventory import dra, engines, labelsets, network, nodes, parts, pods, queues, storage
from atoll.edge.member.inventory.events import WARNINGS, HasOrder, owner_of, project_event
from atoll.edge.member.inventory.facts import ClusterFacts
from atoll.edge.member.inventory.kinds import Served
from atoll.edge.member.inventory.parts import PARTS, Part
from atoll.edge.member.objects import Kind, Object, Selection

T = TypeVar("T")

# Newest first: whichever is served is read.
_DRA = ("resource.k8s.io/v1", "resource.k8s.io/v1beta2", "resource.k8s.io/v1beta1")
_KUEUE = ("kueue.x-k8s.io/v1beta2", "kueue.x-k8s.io/v1beta1")
# How soon Kueue, a DRA driver or a CRD that is installed later is noticed; a cluster that lacks them all is asked for
# each once in this time.
LOOK_AGAIN_SECONDS = 30.0
_VOLCANO = "scheduling.volcano.sh/v1beta1"
_PATIENCE_SECONDS = 10.0


class ClusterView:
    """The informers of one cluster."""

    def __init__(self, kube: Source, *, has_order: HasOrder) -> None:
        """Prepare to follow a cluster; `has_order` tells which objects Events are kept of."""
        self._kube = kube
        self._informers: list[Informer[Any]] = []
        self._changed = {part.name: asyncio.Event() for part in PARTS}
        self.version = ""
        self.cilium_version = ""
        self.served: Served | None = None
        nodes_of, storage_of = "v1", "storage.k8s.io/v1"
        about_nodes = (parts.NODES, parts.NETWORK, parts.DEVICES)
        about_storage, about_devices = (parts.NODES, parts.STORAGE), (parts.NODES, parts.DEVICES)
        self.nodes = self._follow(nodes.project_node, "Node", nodes_of, tell=about_nodes)
        self.pods = self._follow(pods.project_pod, "Pod", "v1", tell=(parts.NODES, parts.WORKLOADS))
        self._namespaces = self._follow(labelsets.project_namespace, "Namespace", "v1", tell=(parts.WORKLOADS,))
        self._tally = pods.PodTally()
        self.pods.on_news(lambda key: self._tally.put(key, self.pods.items.get(key)))
        self._classes = self._follow(storage.project_storage_class, "StorageClass", storage_of, tell=about_storage)
        self._capacities = self._follow(storage.project_capacity, "CSIStorageCapacity", storage_of, tell=about_storage)
        self._drivers = self._follow(storage.project_driver, "CSIDriver", storage_of, tell=(parts.STORAGE,))
        self._claims = self._follow(storage.project_volume_claim, "PersistentVolumeClaim", "v1", tell=(parts.STORAGE,))
        self._slices = self._follow(dra.project_slice, "ResourceSlice", *_DRA, tell=about_devices)
        self._device_claims = self._follow(dra.project_claim, "ResourceClaim", *_DRA, tell=about_devices)
        self._device_classes = self._follow(dra.project_class, "DeviceClass", *_DRA, tell=(parts.DEVICES,))
        self._flavors = self._follow(queues.project_flavor, "ResourceFlavor", *_KUEUE, tell=(parts.QUEUES,))
        self._queues = self._follow(queues.project_queue, "ClusterQueue", *_KUEUE, tell=(parts.QUEUES,))
        about_engines = (parts.NODES,)
        self._local_queues = self._follow(engines.project_queue, "LocalQueue", *_KUEUE, tell=about_engines)
        self._volcano_queues = self._follow(engines.project_queue, "Queue", _VOLCANO, tell=about_engines)
        self._cilium_nodes = self._follow(
            network.project_cilium_node, "CiliumNode", "cilium.io/v2", tell=(parts.NETWORK,)
        )
        self._events = self._follow(
            partial(project_event, has_order=has_order),
            "Event",
            "v1",
            tell=(parts.EVENTS,),
            selection=Selection(field_selector=WARNINGS),
            keep=lambda event: bool(owner_of(event.get("involvedObject") or {}, has_order)),
        )

    def _follow(
        self,
        project: Callable[[Object], T],
        kind: str,
        *versions: str,
        tell: Iterable[Part],
        **how: Any,
    ) -> Informer[T]:
        kinds = [Kind(version, kind) for version in versions]
        informer = Informer(
            self._kube,
            kinds[0],
            project=project,
            alternatives=kinds[1:],
            look_again_seconds=LOOK_AGAIN_SECONDS,
            **how,
        )
        for part in tell:
            informer.on_news(self._toucher(part))
        informer.on_loss(partial(self.touch, parts.NODES))
        informer.on_recovery(partial(self.touch, parts.NODES))
        self._informers.append(informer)
        return informer

    def _toucher(self, part: Part) -> Callable[[str], None]:
        return lambda _key: self.touch(part)

    def touch(self, part: Part) -> None:
        """Note that what a part is made of has changed."""
        self._changed[part.name].set()

    def changed(self, part: Part) -> asyncio.Event:
        """Give the event that is set when a part may have something new to tell."""
        return self._changed[part.name]

    async def run(self) -> None:
        """Follow the cluster until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())

    async def wait_until_complete(self) -> None:
        """Wait until everything has been read once: half a cluster is no inventory.

        Other kinds than nodes and pods are waited for only a while: an agent may lack the right to read them.
        """
        await self.nodes.has_synced.wait()
        await self.pods.has_synced.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_PATIENCE_SECONDS):
                for informer in self._informers:
                    await informer.has_synced.wait()

    def placed(self, run: str) -> int:
        """Count a run's live pods on nodes."""
        return self._tally.of_run(run)

    @property
    def cni(self) -> str:
        """The network plugin, which enforces policies; empty if it is not known."""
        return network.cni_of(self.nodes.items.values(), self._tally.cilium_versions, self.cilium_version)[0]

    @property
    def problem(self) -> str:
        """Why what is known of nodes and pods may be behind; empty if it is not."""
        return self.nodes.problem or self.pods.problem

    def learn(
        self, *, version: str | None = None, cilium_version: str | None = None, served: Served | None = None
    ) -> None:
        """Take in what no informer tells."""
        before = (self.version, self.cilium_version, self.served)
        self.version = version or self.version
        self.cilium_version = cilium_version or self.cilium_version
        self.served = served or self.served
        if before != (self.version, self.cilium_version, self.served):
            self.touch(parts.NODES)

    def facts(self, *, runs: Iterable[str]) -> ClusterFacts:
        """Give everything as it is now; valid until the next await."""
        return ClusterFacts(
            nodes=self.nodes.items,
            pods=self._tally,
            storage_classes=self._classes.items,
            drivers=self._drivers.items,
            capacities=self._capacities.items,
            volume_claims=self._claims.items,
            slices=self._slices.items,
            device_claims=self._device_claims.items,
            device_classes=self._device_classes.items,
            flavors=self._flavors.items,
            queues=self._queues.items,
            local_queues=self._local_queues.items,
            volcano_queues=self._volcano_queues.items,
            cilium_nodes=self._cilium_nodes.items,
            events=self._events.items,
            namespaces=self._namespaces.items,
            runs=frozenset(runs),
            stale_kinds=tuple(sorted({informer.kind.kind for informer in self._informers if informer.problem})),
            version=self.version,
            cilium_version=self.cilium_version,
            served=self.served,
        )
