"""Who needs a data service where: which streams, datasets, runs and transfers name a cluster.

Owns what makes a need, and the memory of where to look for one: among ten thousands of objects, reading all of a
namespace for each of its clusters is what a hub would do all day. It must not decide what is ordered.
"""

from collections import defaultdict
from collections.abc import Iterable

from atoll.federation.resources import Dataset, Job, Run, Stream, Transfer
from atoll.hub.client import Client
from atoll.hub.controllers.runtime import Key

User = Stream | Dataset | Run | Transfer
MODELS: tuple[type[User], ...] = (Stream, Dataset, Transfer, Run)
_Hints = dict[tuple[type[User], str], None]
_FINISHED_TRANSFERS = frozenset({"Succeeded", "Failed"})


def needs_of(resource: User, *, uses_data: bool = True) -> set[str]:
    """Name the clusters in which an object's namespace needs its data service."""
    match resource:
        case Stream():
            return {resource.spec.home}
        case Dataset():
            spec, status = resource.spec, resource.status
            named = {spec.home, spec.origin.cluster if spec.origin is not None else None} - {None}
            listed = {cluster for version in status.versions for cluster in version.clusters}
            return {name for name in named if name} | {replica.cluster for replica in status.replicas} | listed
        case Run():
            return {resource.spec.cluster} if uses_data else set()
        case Transfer():
            is_over = resource.status.phase in _FINISHED_TRANSFERS
            return set() if is_over else {resource.spec.source, resource.spec.destination}


class Users:
    """Remembers, per (cluster, namespace), which objects have named it. Whether one still does is read again."""

    def __init__(self, client: Client) -> None:
        self._client = client
        # By cluster and namespace: a change of one of a thousand clusters asks for its own.
        self._hints: defaultdict[str, defaultdict[str, _Hints]] = defaultdict(lambda: defaultdict(dict))

    async def keys_of(self, resource: User) -> Iterable[Key]:
        """Map an object to the services that it needs, and remember it."""
        namespace, name = resource.metadata.namespace or "", resource.metadata.name
        keys = [(cluster, namespace) for cluster in await self._needs(resource)]
        for cluster, _ in keys:
            self._hints[cluster][namespace][type(resource), name] = None
        return keys

    def at(self, cluster: str) -> list[Key]:
        """Give the services of a cluster that anything is known to have needed."""
        return [(cluster, namespace) for namespace in self._hints.get(cluster, ())]

    async def are_known(self, key: Key) -> bool:
        """Tell whether an object that is remembered still needs a service; those that do not are forgotten."""
        cluster, namespace = key
        hints = self._hints[cluster][namespace]
        for model, name in list(hints):
            found = await self._client.get(model, namespace, name)
            if found is not None and cluster in await self._needs(found):
                return True
            hints.pop((model, name), None)
        self._hints[cluster].pop(namespace, None)
        return False

    async def exist(self, key: Key) -> bool:
        """Tell whether anything needs a service, after a look at all objects of its namespace: a no costs files."""
        for model in MODELS:
            for resource in await self._client.list(model, key[1], all_or_none=True):
                await self.keys_of(resource)
        return await self.are_known(key)

    async def _needs(self, resource: User) -> set[str]:
        uses_data = not isinstance(resource, Run) or await self._uses_data(resource)
        return needs_of(resource, uses_data=uses_data)

    async def _uses_data(self, run: Run) -> bool:
        job = await self._client.get(Job, run.metadata.namespace, run.spec.job)
        return bool(run.spec.inputs) or (job is not None and bool(job.spec.outputs))
