"""A store of the hub's kinds in memory, and a client of it."""

import contextlib
from collections.abc import AsyncIterator

from atoll.federation.resources import Cluster, ClusterSpec, ObjectMeta
from atoll.hub.client import Client
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.storage import MemoryStorage, Storage
from atoll.kubeapi.store import Store
from hub.support import manifest


@contextlib.asynccontextmanager
async def client_of_store(*clusters: str, storage: Storage | None = None) -> AsyncIterator[Client]:
    """Give a client of a store that has the namespace `lab` and these clusters."""
    existing = ExistingObjects()
    registry = build_registry(existing)
    existing.store = store = Store(registry, storage or MemoryStorage())
    await store.start()
    namespaces = registry.by_kind("", "Namespace")
    assert namespaces is not None
    await store.create(namespaces, manifest("Namespace", "lab"))
    client = Client(store)
    for name in clusters:
        await client.create(Cluster(metadata=ObjectMeta(name=name), spec=ClusterSpec()))
    try:
        yield client
    finally:
        await store.close()
