"""Services: every namespace that has data in a cluster gets its volume claim, sink and mover there.

Owns ServiceOrder. The key is (cluster, namespace). The order holds the volume claim, and with it the files: it is taken
back only when no stream, dataset, run or transfer names the cluster and no files are known there.
"""

from collections.abc import Iterable, Sequence

import structlog

from atoll.federation.bus.messages import ServiceOrder
from atoll.federation.resources import (
    Cluster,
    Dataset,
    Job,
    Run,
    Stream,
    Transfer,
)
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.manifests import compile_service
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, Source
from atoll.hub.members import Path

log = structlog.get_logger(__name__)

_FINISHED_TRANSFERS = frozenset({"Succeeded", "Failed"})


def needs_of(resource: Stream | Dataset | Run | Transfer, *, uses_data: bool = True) -> set[str]:
    """Name the clusters in which an object's namespace needs its data service."""
    match resource:
        case Stream():
            return {resource.spec.home}
        case Dataset():
            home = {resource.spec.home} if resource.spec.home is not None else set()
            return home | {replica.cluster for replica in resource.status.replicas}
        case Run():
            return {resource.spec.cluster} if uses_data else set()
        case Transfer():
            is_over = resource.status.phase in _FINISHED_TRANSFERS
            return set() if is_over else {resource.spec.source, resource.spec.destination}


class ServiceController:
    """Keeps ServiceOrder."""

    name = "services"

    def __init__(self, context: Context) -> None:
        self._context = context

    def sources(self) -> Sequence[Source]:
        """Watch everything that has data somewhere, and what stands already."""
        context = self._context
        return (
            Objects(context.client, Stream, _keys),
            Objects(context.client, Dataset, _keys),
            Objects(context.client, Run, self._of_run),
            Objects(context.client, Transfer, _keys),
            Objects(context.client, Cluster, self._of_cluster),
            Messages(context.desired, _standing),
            Messages(context.observed, _found),
        )

    async def _of_run(self, run: Run) -> Iterable[Key]:
        uses_data = await self._uses_data(run)
        return [(cluster, run.metadata.namespace or "") for cluster in needs_of(run, uses_data=uses_data)]

    async def _uses_data(self, run: Run) -> bool:
        job = await self._context.client.get(Job, run.metadata.namespace, run.spec.job)
        return bool(run.spec.inputs) or (job is not None and bool(job.spec.outputs))

    async def _of_cluster(self, cluster: Cluster) -> Iterable[Key]:
        """A changed cluster may change its storage class, or may have come after what needs it."""
        name = cluster.metadata.name
        return [(name, namespace) for namespace in await self._namespaces() if await self._is_needed(name, namespace)]

    async def _namespaces(self) -> set[str]:
        client = self._context.client
        found: set[str] = set()
        for model in (Stream, Dataset, Run, Transfer):
            found |= {item.metadata.namespace or "" for item in await client.list(model)}
        return found

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one namespace's service in one cluster up to date."""
        context, (name, namespace) = self._context, key
        path = Path("cluster", name, f"service/{namespace}")
        cluster = await context.client.get(Cluster, None, name)
        if cluster is not None and await self._is_needed(name, namespace):
            manifests = compile_service(cluster, namespace, context.service)
            if await context.desired.put(path, ServiceOrder(namespace=namespace, manifests=manifests)):
                log.info("ordered a data service", cluster=name, namespace=namespace)
        elif cluster is None or not self._has_files(name, namespace):
            await context.desired.remove(path)
        return DONE

    async def _is_needed(self, cluster: str, namespace: str) -> bool:
        client = self._context.client
        if any(cluster in needs_of(stream) for stream in await client.list(Stream, namespace)):
            return True
        if any(cluster in needs_of(dataset) for dataset in await client.list(Dataset, namespace)):
            return True
        if any(cluster in needs_of(transfer) for transfer in await client.list(Transfer, namespace)):
            return True
        for run in await client.list(Run, namespace):
            if run.spec.cluster == cluster and await self._uses_data(run):
                return True
        return False

    def _has_files(self, cluster: str, namespace: str) -> bool:
        observed = self._context.observed
        return any(path.names[0] == namespace for path in observed.paths("cluster", cluster, "dataset"))


async def _keys(resource: Stream | Dataset | Transfer) -> Iterable[Key]:
    return [(cluster, resource.metadata.namespace or "") for cluster in needs_of(resource)]


async def _standing(path: Path) -> Iterable[Key]:
    return [(path.member, path.names[0])] if path.kind == "cluster" and path.topic == "service" else []


async def _found(path: Path) -> Iterable[Key]:
    return [(path.member, path.names[0])] if path.kind == "cluster" and path.topic == "dataset" else []
