"""Who of a dataset's holders cannot be copied from, as the hub's store has them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.federation.resources import Cluster, Dataset
from atoll.hub.client import Client
from atoll.hub.controllers.copy_sources import copy_source, holders_of, unheard_holders
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.bucket import stored
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from hub.support import manifest

PHASES = {"near": "Ready", "edge": "Degraded", "far": "Unreachable", "desk": "Asleep", "new": "Pending"}


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    """A hub's store in memory, with clusters in every phase."""
    existing, storage = ExistingObjects(), MemoryStorage()
    existing.store = store = Store(build_registry(existing), storage)
    await store.start()
    client = Client(store)
    rt = client.type_of(Cluster)
    for name, phase in PHASES.items():
        obj = {**manifest("Cluster", name, {}), "status": {"phase": phase}}
        revision = await storage.write(rt.key(None, name), stored(obj), expected=0)
        await store.cache.reach(revision)
    yield client
    await store.close()


def dataset(*holders: str, home: str | None = None, version: int = 1) -> Dataset:
    status: dict[str, Any] = {"version": version, "complete": True}
    status["replicas"] = [{"cluster": name, "version": version} for name in holders]
    return Dataset.model_validate(
        {"metadata": {"name": "waves", "namespace": "lab"}, "spec": {"home": home}, "status": status}
    )


async def test_holders_that_are_silent_asleep_never_heard_or_gone_are_not_copied_from(client: Client) -> None:
    held = dataset(*PHASES, "gone")
    assert await unheard_holders(client, held, 1) == {"far", "desk", "new", "gone"}
    record = {"clusters": [{"cluster": "here", "staging": [{"dataset": "lab/waves", "source": "far"}]}]}
    unheard = await unheard_holders(client, held, 1)
    assert copy_source(held, 1, destination="here", record=record, unheard=unheard) == "edge"
    assert copy_source(held, 1, destination="edge", record=record, unheard=unheard) == "near"


async def test_an_older_version_is_at_home_or_nowhere(client: Client) -> None:
    older = dataset("near", "edge", home="far", version=3)
    assert holders_of(older, 2) == {"far"}
    assert await unheard_holders(client, older, 2) == {"far"}
    assert copy_source(older, 2, destination="here", record={}, unheard=frozenset({"far"})) == "far"
    assert copy_source(dataset("near", version=3), 2, destination="here", record={}) is None
