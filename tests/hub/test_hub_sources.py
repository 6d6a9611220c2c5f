"""What a hub that begins looks at: everything that may need it, and nothing of the work that has ended."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommitOrder
from atoll.federation.resources import (
    ObjectMeta,
    Run,
    RunSpec,
    RunStatus,
)
from atoll.federation.resources.run import RunPhase
from atoll.hub.client import Client
from atoll.hub.controllers.runtime import Key, Objects, own_key
from atoll.hub.members import Desired
from atoll.hub.members import Path as MemberPath
from hub.store_world import client_of_store
from hub.support import API, eventually, joined, manifest, now, running_hub


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of_store("onprem") as client:
        yield client


async def run(client: Client, name: str, phase: RunPhase, *, finalizers: tuple[str, ...] = ()) -> Run:
    metadata = ObjectMeta(name=name, namespace="lab", finalizers=finalizers)
    made = await client.create(Run(metadata=metadata, spec=RunSpec(job="job", cluster="onprem", epoch=1)))
    return await client.update_status(made.model_copy(update={"status": RunStatus(phase=phase)}))


class Listener:
    """The keys that a source gives."""

    def __init__(self, source: Objects) -> None:
        self.source = source
        self.keys: list[Key] = []

    async def listen(self) -> None:
        async for keys in self.source.keys():
            self.keys += keys

    async def has(self, *names: str) -> None:
        async with asyncio.timeout(5):
            await self.source.has_synced.wait()
            while sorted(self.keys) != sorted(("lab", name) for name in names):
                await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def listening(client: Client, **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(Objects(client, Run, **options))
    task = asyncio.create_task(listener.listen())
    yield listener
    task.cancel()
    await asyncio.wait({task})


async def own(found: Run) -> Iterable[Key]:
    return [("lab", found.metadata.name)]


@pytest.mark.parametrize("to_keys", [own_key, own], ids=["by its key", "by what it says"])
async def test_what_had_ended_is_passed_over_once_and_looked_at_when_it_changes(client: Client, to_keys: Any) -> None:
    await run(client, "goes-on", "Running")
    ended = await run(client, "ended", "Succeeded")
    async with listening(client, to_keys=to_keys, skips_ended=True) as listener:
        await listener.has("goes-on")
        labelled = ended.metadata.model_copy(update={"labels": {"a": "b"}})
        await client.update(ended.model_copy(update={"metadata": labelled}))
        await listener.has("goes-on", "ended")


async def test_what_had_ended_and_shall_be_deleted_is_looked_at(client: Client) -> None:
    await run(client, "leaves", "Failed", finalizers=("atoll.dev/workload",))
    await client.delete(Run, "lab", "leaves")
    async with listening(client, to_keys=own_key, skips_ended=True) as listener:
        await listener.has("leaves")


async def test_what_ends_while_it_is_watched_is_looked_at(client: Client) -> None:
    running = await run(client, "goes-on", "Running")
    async with listening(client, to_keys=own_key, skips_ended=True) as listener:
        await listener.has("goes-on")
        await client.update_status(running.model_copy(update={"status": RunStatus(phase="Succeeded")}))
        await listener.has("goes-on", "goes-on")


async def test_a_list_of_the_unfinished_follows_what_ends_goes_and_comes_back(client: Client) -> None:
    first = await run(client, "a", "Running")
    await run(client, "b", "Succeeded")

    async def unfinished() -> list[str]:
        return [found.metadata.name for found in await client.list_unfinished(Run, {"Succeeded", "Failed"})]

    assert await unfinished() == ["a"]
    await client.update_status(first.model_copy(update={"status": RunStatus(phase="Failed")}))
    assert await unfinished() == []
    await client.delete(Run, "lab", "b")
    await run(client, "b", "Running")
    assert await unfinished() == ["b"]


@pytest.mark.faults
async def test_a_commit_that_a_dead_hub_left_of_a_run_that_is_no_more_is_taken_back(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    left = MemberPath("cluster", "onprem", "commit/lab/data")
    desired = Desired.on(bus, clock=now)
    await desired.put(left, CommitOrder(namespace="lab", dataset="data", version=1, run="gone-1", epoch=1))
    following = asyncio.create_task(desired.run())

    async def is_gone() -> bool:
        return desired.held(left) is None

    async with joined(bus, "onprem"), running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("Cluster", "onprem"))
        await hub.phase(f"{API}/clusters/onprem", "Ready")
        await eventually(is_gone)
    following.cancel()
    await asyncio.wait({following})
