"""Services: every namespace that has data in a cluster gets its volume claim, sink and mover there.

Owns ServiceOrder; what its claim asks for is decided in volume_plan.py. The key is (cluster, namespace). The order
holds the volume claim, and with it the files: it is taken back only when no stream, dataset, run or transfer names the
cluster and no files are known there.
"""

from collections.abc import Iterable, Sequence

import structlog

from atoll.federation.bus.messages import ServiceOrder
from atoll.federation.resources import Cluster, Dataset
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.manifests import compile_service
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source
from atoll.hub.controllers.service_users import MODELS, Users
from atoll.hub.controllers.volume_plan import plan_claim
from atoll.hub.controllers.volumes import Volumes, Wishes
from atoll.hub.members import Path

log = structlog.get_logger(__name__)

# What stands is not taken back before all who may need it were seen once; that takes seconds at most.
_UNTIL_SYNCED_SECONDS = 1.0


class ServiceController:
    """Keeps ServiceOrder."""

    name = "services"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._users = users = Users(context.client)
        self._wishes, self._volumes = Wishes(), Volumes(context)
        mappers = dict.fromkeys(MODELS, users.keys_of) | {Dataset: self._of_dataset}
        self._watched = tuple(
            Objects(context.client, model, mapper, skips_ended=True) for model, mapper in mappers.items()
        )

    def sources(self) -> Sequence[Source]:
        """Watch everything that has data somewhere, and what stands already."""
        context = self._context
        return (
            *self._watched,
            Objects(context.client, Cluster, self._of_cluster),
            Messages(context.desired, _standing),
            Messages(context.observed, _found),
            Messages(context.observed, self._of_storage),
        )

    async def _of_dataset(self, dataset: Dataset) -> Iterable[Key]:
        self._wishes.note(dataset)
        return await self._users.keys_of(dataset)

    async def _of_storage(self, path: Path) -> Iterable[Key]:
        """A volume that fills may have to grow, and so may a storage class let it."""
        if path.topic == "volume" and len(path.names) == 1:
            return [(path.member, path.names[0])]
        return self._users.at(path.member) if path.rest == "inventory/storage" else []

    async def _of_cluster(self, cluster: Cluster) -> Iterable[Key]:
        """A changed cluster may change its storage class, or may have come after what needs it."""
        return self._users.at(cluster.metadata.name)

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one namespace's service in one cluster up to date."""
        context, (name, namespace) = self._context, key
        found = await context.client.get(Cluster, None, name)
        cluster = found if found is None or found.metadata.deletion_timestamp is None else None  # it is leaving
        if cluster is not None and await self._users.are_known(key):
            await self._order(cluster, namespace)
        elif not all(each.has_synced.is_set() for each in self._watched):
            return RequeueAfter(_UNTIL_SYNCED_SECONDS)
        elif cluster is not None and await self._users.exist(key):
            await self._order(cluster, namespace)
        elif cluster is None or not self._has_files(name, namespace):
            await context.desired.remove(Path("cluster", name, f"service/{namespace}"))
        return DONE

    async def _order(self, cluster: Cluster, namespace: str) -> None:
        context, name = self._context, cluster.metadata.name
        scope = await self._volumes.scope(cluster, namespace, self._wishes.of(namespace))
        claim = plan_claim(scope)
        level = context.client.pod_security(namespace)
        manifests = compile_service(cluster, namespace, context.service, claim=claim, level=level)
        order = ServiceOrder(namespace=namespace, manifests=manifests)
        if await context.desired.put(Path("cluster", name, f"service/{namespace}"), order):
            log.info("ordered a data service", cluster=name, namespace=namespace, size_bytes=claim.size_bytes)

    def _has_files(self, cluster: str, namespace: str) -> bool:
        observed = self._context.observed
        return any(path.names[0] == namespace for path in observed.paths("cluster", cluster, "dataset"))


async def _standing(path: Path) -> Iterable[Key]:
    return [(path.member, path.names[0])] if path.kind == "cluster" and path.topic == "service" else []


async def _found(path: Path) -> Iterable[Key]:
    return [(path.member, path.names[0])] if path.kind == "cluster" and path.topic == "dataset" else []
