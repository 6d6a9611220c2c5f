"""A stored object that this version cannot read, as after an upgrade: it stops nothing but its own."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from atoll.federation.bus.connection import Bus
from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    Cluster,
    Dataset,
    Gateway,
    Job,
    ObjectMeta,
    Queue,
    QueueSpec,
    Reservation,
    Resource,
    Run,
    RunSpec,
    RunStatus,
    Stream,
    Trigger,
)
from atoll.hub.client import Client
from atoll.hub.controllers.queue_tally import QueueTally
from atoll.hub.controllers.runtime import Key, Objects
from atoll.hub.parsing import Unreadable
from atoll.hub.scheduler import SchedulerLoop
from atoll.hub.scheduler.snapshot import take_snapshot
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.bucket import stored
from atoll.kubeapi.storage import MemoryStorage, Storage
from hub.store_world import client_of_store
from hub.support import LAB, HubClient, eventually, job_spec, manifest, path_of, ready_cluster

MERGE = {"content-type": "application/merge-patch+json"}
WRONG = {"ofAnOlderAtoll": "heavy"}
WINDOW = {"starts": "2026-01-01T00:00:00Z", "ends": "2099-01-01T00:00:00Z"}
OLDER: list[tuple[type[Resource], dict[str, Any]]] = [
    (Queue, manifest("Queue", "old")),
    (Cluster, manifest("Cluster", "old")),
    (Gateway, manifest("Gateway", "old")),
    (Reservation, manifest("Reservation", "old", WINDOW | {"queue": "lab", "amounts": {"gpus": 1}})),
    (Job, manifest("Job", "old", job_spec(), LAB)),
    (Run, manifest("Run", "older-1", {"job": "older", "cluster": "onprem", "epoch": 1}, LAB)),
    (Dataset, manifest("Dataset", "old", {}, LAB)),
    (
        Stream,
        manifest("Stream", "old", {"gateway": "old", "topics": ["lab/#"], "home": "onprem", "dataset": "old"}, LAB),
    ),
    (Trigger, manifest("Trigger", "old", {"job": {"name": "p-{dataset}", "spec": job_spec()}}, LAB)),
]


class World:
    """A store in memory, a client of it, and what writes into it below the API."""

    def __init__(self, client: Client, storage: Storage) -> None:
        self.client, self._storage = client, storage

    async def write(self, resource: Resource, **wrong: str) -> None:
        """Store an object as it is, with more in its spec."""
        await write_below(self.client, self._storage, resource, **wrong)


async def write_below(client: Client, storage: Storage, resource: Resource, **wrong: str) -> None:
    rt, metadata, obj = client.type_of(type(resource)), resource.metadata, resource.wire()
    key = rt.key(metadata.namespace, metadata.name)
    there = client.store.cache.get(rt.prefix, key)
    metadata_there = there.decode()["metadata"] if there is not None else {"uid": f"uid-{metadata.name}"}
    value = stored(obj | {"metadata": metadata_there | obj["metadata"], "spec": obj["spec"] | wrong})
    revision = await storage.write(key, value, expected=there.revision if there is not None else 0)
    await client.store.cache.reach(revision)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    storage = MemoryStorage()
    async with client_of_store("onprem", storage=storage) as client:
        yield World(client, storage)


def queue(name: str, weight: int = 1) -> Queue:
    return Queue(metadata=ObjectMeta(name=name), spec=QueueSpec(weight=weight))


def job(name: str, **spec: Any) -> Job:
    return Job.model_validate({"metadata": {"name": name, "namespace": "lab"}, "spec": job_spec(**spec)})


def run(of: str, phase: str) -> Run:
    metadata, spec = ObjectMeta(name=f"{of}-1", namespace="lab"), RunSpec(job=of, cluster="onprem", epoch=1)
    return Run(metadata=metadata, spec=spec, status=RunStatus.model_validate({"phase": phase}))


async def test_a_list_leaves_it_out_and_the_log_names_it_once_with_what_is_wrong(world: World) -> None:
    await world.write(job("old"), **WRONG)
    await world.write(job("new"))
    with capture_logs() as told:
        for _ in range(3):
            assert [each.key for each in await world.client.list(Job)] == ["lab/new"]
            assert [each.key for each in await world.client.list_unfinished(Job, FINISHED_JOB_PHASES)] == ["lab/new"]
    [line] = [each for each in told if each["log_level"] == "warning"]
    assert (line["kind"], line["name"]) == ("Job", "lab/old")
    assert "spec.ofAnOlderAtoll" in line["why"]


async def test_who_asks_for_that_very_one_or_must_have_all_is_told(world: World) -> None:
    await world.write(queue("old"), **WRONG)
    with pytest.raises(Unreadable, match=r"Queue old .* spec\.ofAnOlderAtoll"):
        await world.client.get(Queue, None, "old")
    with pytest.raises(Unreadable):
        await world.client.list(Queue, all_or_none=True)
    with pytest.raises(Unreadable):
        await world.client.list_unfinished(Queue, (), all_or_none=True)


async def test_it_counts_until_it_is_mended_and_a_new_fault_is_told_anew(world: World) -> None:
    client = world.client
    with capture_logs() as told:
        for wrong in (WRONG, {"another": "fault"}):
            await world.write(queue("old"), **wrong)
            assert await client.list(Queue) == []
            assert client.unreadable()["Queue"] == 1
    assert [each["why"].partition(":")[0] for each in told] == ["spec.ofAnOlderAtoll", "spec.another"]
    await world.write(queue("old", weight=7))
    assert client.unreadable()["Queue"] == 0
    assert [each.spec.weight for each in await client.list(Queue)] == [7]


async def test_a_controller_goes_on_with_the_others_also_when_it_is_deleted(world: World) -> None:
    """What is mapped to keys by what it says is read by whoever watches: the watch must outlive it."""

    async def to_keys(each: Queue) -> list[Key]:
        return [("", each.metadata.name)]

    await world.write(queue("old"), **WRONG)
    seen: set[str] = set()

    async def follow() -> None:
        async for keys in Objects(world.client, Queue, to_keys).keys():
            seen.update(name for _, name in keys)

    async def until(name: str) -> None:
        while name not in seen:
            await asyncio.sleep(0.01)

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        following = group.create_task(follow())
        await world.write(queue("first"))
        await until("first")
        await world.client.delete(Queue, None, "old")
        await world.write(queue("second"))
        await until("second")
        following.cancel()
    assert seen == {"first", "second"}


async def test_the_scheduler_places_the_others(world: World) -> None:
    """One that waits first in the same group, and a run of another that goes on: neither can be read."""
    client = world.client
    await world.write(queue("lab"))
    await world.write(job("a-old"), **WRONG)
    await world.write(job("busy"))
    await world.write(run("busy", "Running"), **WRONG)
    await world.write(job("z-new"))
    cycles = asyncio.create_task(SchedulerLoop(client, clock=client.store.clock, period_seconds=0.05).run())

    async def told() -> str:
        found = await client.get(Job, "lab", "z-new")
        return found.status.reason if found is not None else ""

    assert await eventually(told, seconds=30) == "NoFeasibleCluster"
    cycles.cancel()
    await asyncio.wait({cycles})
    assert not await client.list(Run)


async def test_what_would_be_is_answered_without_it(world: World) -> None:
    """A run of a job that cannot be read, and a job that waits for it."""
    await world.write(job("old"), **WRONG)
    await world.write(run("old", "Running"))
    await world.write(job("new", dependsOn=[{"job": "old"}]))
    snapshot = await take_snapshot(world.client, world.client.store.clock(), whole=True)
    assert set(snapshot.jobs) == {"lab/new"}
    assert [each.key for each in snapshot.runs] == ["lab/old-1"]


async def test_queues_are_counted_without_it(world: World) -> None:
    tally = QueueTally(world.client)
    for name in ("old", "new"):
        await world.write(job(name))
        await world.write(run(name, "Running"))
    assert {each.key for each, _ in (await tally.take()).going_on} == {"lab/new-1", "lab/old-1"}
    await world.write(run("old", "Running"), **WRONG)
    assert [each.key for each, _ in (await tally.take()).going_on] == ["lab/new-1"]
    await world.write(job("new"), **WRONG)
    assert not (await tally.take()).going_on


async def test_a_hub_goes_on_with_the_others_of_each_kind_and_what_is_broken_can_be_mended_or_deleted(
    hub: HubClient, bus: Bus
) -> None:
    """Nothing of the hub ends by it: `running_hub` looks at its tasks. The monitor says how many there are."""
    storage = await JetStreamStorage.open(hub.hub.wires.own)
    older = [model.model_validate(made) for model, made in OLDER]
    for each in older:
        await write_below(hub.hub.client, storage, each, **WRONG)
    async with ready_cluster(hub, bus, "onprem"):
        wanted = manifest("Job", "hello", job_spec(), LAB)
        await hub.apply(wanted)
        await hub.phase(path_of(wanted), "Succeeded")

    async def counted() -> int:
        lines = (await hub.http.get("/metrics")).text.splitlines()
        counts = [line.rpartition(" ")[2] for line in lines if line.startswith("atoll_hub_unreadable_objects{")]
        return int(sum(map(float, counts)))

    async def are_all_known() -> bool:
        return await counted() == len(OLDER)

    async def are_gone() -> bool:
        return await counted() == 0

    assert await eventually(are_all_known, seconds=30)
    (_, mended), *rest = OLDER
    patch = json.dumps({"spec": dict.fromkeys(WRONG)})
    answer = await hub.http.patch(path_of(mended), content=patch, headers=MERGE)
    assert answer.status_code == 200, answer.text
    for _, made in rest:
        assert (await hub.http.delete(path_of(made))).status_code == 200
    assert await eventually(are_gone, seconds=30)
