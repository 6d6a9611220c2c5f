"""What the counts of queues rest on: after any changes it is what a new hub reads."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.federation.resources import Job, Resource, Run
from atoll.hub.client import Client
from atoll.hub.controllers.queue_tally import QueueTally, Tallied
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.kubeapi.bucket import stored
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from hub.support import job_spec, manifest

LAB = "seismology"


class Shelf:
    """A hub's store in memory, written past the API."""

    def __init__(self, client: Client, storage: MemoryStorage) -> None:
        self.client, self.storage = client, storage

    async def put(self, kind: type[Resource], name: str, obj: dict[str, Any] | None) -> None:
        """Store an object over what is there, or take it away."""
        rt = self.client.type_of(kind)
        there = self.client.store.cache.get(rt.prefix, rt.key(LAB, name))
        if obj is None and there is None:
            return
        value = None if obj is None else stored(obj)
        revision = await self.storage.write(rt.key(LAB, name), value, expected=there.revision if there else 0)
        await self.client.store.cache.reach(revision)

    async def put_job(self, name: str, queue: str, phase: str, *, gpus: int = 1) -> None:
        obj = manifest("Job", name, job_spec(queue=queue, gpu={"count": gpus}), LAB)
        await self.put(Job, name, {**obj, "status": {"phase": phase}})

    async def put_run(self, of: str, phase: str) -> None:
        obj = manifest("Run", f"{of}-1", {"job": of, "cluster": "onprem", "epoch": 1}, LAB)
        await self.put(Run, f"{of}-1", {**obj, "status": {"phase": phase}})


@pytest.fixture(params=[4096, 3], ids=["", "history is lost"])
async def shelf(request: pytest.FixtureRequest) -> AsyncIterator[Shelf]:
    existing, storage = ExistingObjects(), MemoryStorage()
    existing.store = store = Store(build_registry(existing), storage, history=request.param)
    await store.start()
    yield Shelf(Client(store), storage)
    await store.close()


def seen(tallied: Tallied) -> tuple[Any, ...]:
    """Put what was tallied into an order."""
    held = {each.run.key: (each.queue, each.run.status.phase, each.pods) for each in tallied.held}
    revisions = {
        run.key: (run.metadata.resource_version, job.metadata.resource_version) for run, job in tallied.going_on
    }
    return dict(tallied.pending), held, revisions


async def test_who_waits_and_what_is_held_follow_jobs_and_runs(shelf: Shelf) -> None:
    tally = QueueTally(shelf.client)
    for name in ("one", "two"):
        await shelf.put_job(name, "a", "Pending")
    assert (await tally.take()).pending == {"a": 2}
    await shelf.put_job("one", "a", "Running")
    await shelf.put_run("one", "Running")
    await shelf.put_job("two", "b", "Pending")
    tallied = await tally.take()
    assert tallied.pending == {"b": 1}
    assert [(each.run.key, each.queue) for each in tallied.held] == [(f"{LAB}/one-1", "a")]
    await shelf.put_run("one", "Committing")
    tallied = await tally.take()
    assert ([run.key for run, _ in tallied.going_on], list(tallied.held)) == ([f"{LAB}/one-1"], [])
    await shelf.put(Job, "one", None)
    await shelf.put(Job, "two", None)
    assert seen(await tally.take()) == ({}, {}, {}), "a run without its job is counted nowhere"


@pytest.mark.parametrize("seed", range(4))
async def test_changes_in_any_order_come_to_what_a_new_hub_reads(shelf: Shelf, seed: int) -> None:
    chance, tally = random.Random(seed), QueueTally(shelf.client)
    for number in range(100):
        name = f"j{chance.randrange(5)}"
        match chance.randrange(5):
            case 0:
                await shelf.put(chance.choice((Job, Run)), *chance.choice(((name, None), (f"{name}-1", None))))
            case 1:
                await shelf.put_run(name, chance.choice(("Pending", "Running", "Committing", "Failed")))
            case _:
                phase, queue = chance.choice(("Pending", "Running", "Succeeded")), chance.choice("ab")
                await shelf.put_job(name, queue, phase, gpus=chance.randint(1, 2))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
            assert seen(await tally.take()) == seen(await QueueTally(shelf.client).take()), f"change {number}"
