"""What cycles write, on the hub's own store in memory: runs, reasons, and nothing that is stale."""

import asyncio
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from scheduler_world import cluster, job, queue, shape

from atoll.federation.errors import Conflict
from atoll.federation.estimates import NOTHING_LEARNED
from atoll.federation.resources import Cluster, Job, Queue, Run
from atoll.hub.client import Client
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.hub.scheduler import SchedulerLoop
from atoll.hub.scheduler.apply import apply_plan
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.snapshot import take_snapshot
from atoll.kubeapi import errors as api
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}


class FaultyStorage(MemoryStorage):
    """Memory that can be told to refuse writes."""

    is_down = False
    refusals = 0

    async def revision(self):
        """Give the newest revision, unless some questions are to be refused first."""
        if self.refusals:
            self.refusals -= 1
            raise api.Unavailable("NATS is away")
        return await super().revision()

    async def write(self, key, value, *, expected):
        """Write, unless down."""
        if self.is_down:
            raise api.Unavailable("the disk is gone")
        return await super().write(key, value, expected=expected)


@asynccontextmanager
async def hub(storage=None):
    """Offer a typed client on a started store."""
    existing = ExistingObjects()
    registry = build_registry(existing)
    existing.store = store = Store(registry, storage or MemoryStorage())
    await store.start()
    try:
        await store.create(registry.by_kind("", "Namespace"), NAMESPACE)
        yield Client(store)
    finally:
        await store.close()


@pytest.fixture
async def client():
    """A client on a store in memory, with a queue."""
    async with hub() as made:
        await made.create(queue())
        yield made


def now():
    """The present."""
    return datetime.now(UTC)


async def submit(client, wanted):
    """Create a job as the API would."""
    bare = wanted.metadata.model_copy(update={"uid": None, "creation_timestamp": None, "generation": None})
    return await client.create(wanted.model_copy(update={"metadata": bare}))


async def join(client, made):
    """Create a cluster, and report its status."""
    stored = await client.create(made)
    return await client.update_status(stored.model_copy(update={"status": made.status}))


def loop_on(client, **options):
    """Make a loop with the clock of this machine."""
    return SchedulerLoop(client, clock=now, **options)


async def test_a_cycle_makes_the_run(client):
    """After one cycle the run is stored, owned by the job, with the decision in it."""
    await join(client, cluster("here", shape()))
    wanted = await submit(client, job("picks"))
    applied = await loop_on(client).cycle()
    assert (applied.placed, applied.told, applied.dropped) == (1, 0, 0)
    (made,) = await client.list(Run)
    assert (made.key, made.spec.cluster) == ("lab/picks-1", "here")
    assert made.metadata.owner_references[0].uid == wanted.metadata.uid
    assert made.spec.decision["selected"] == "here"


async def test_a_second_cycle_makes_no_second_run(client):
    """Cycles are level-based: while the run is unfinished, or its end is not counted, nothing more is made."""
    await join(client, cluster("here", shape()))
    await submit(client, job("picks"))
    loop = loop_on(client)
    await loop.cycle()
    assert (await loop.cycle()).placed == 0
    (made,) = await client.list(Run)
    await client.update_status(
        made.model_copy(update={"status": made.status.model_copy(update={"phase": "Succeeded"})})
    )
    assert (await loop.cycle()).placed == 0
    assert len(await client.list(Run)) == 1


async def test_two_schedulers_on_one_snapshot_make_one_run(client):
    """Both decide the same epoch; the second collides on the name and drops its result (G1)."""
    await join(client, cluster("here", shape()))
    await submit(client, job("picks"))
    plan = plan_cycle(await take_snapshot(client, now()))
    results = await asyncio.gather(apply_plan(plan, client), apply_plan(plan, client))
    assert sorted(result.placed for result in results) == [0, 1]
    assert sorted(result.dropped for result in results) == [0, 1]
    assert len(await client.list(Run)) == 1


CHANGES = {
    "cancelled": lambda it: it.model_copy(update={"spec": it.spec.model_copy(update={"cancelled": True})}),
    "given another priority": lambda it: it.model_copy(update={"spec": it.spec.model_copy(update={"priority": 9})}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_job_that_changed_since_the_snapshot_is_not_placed(client, change):
    """The decision is stale: it is dropped, and the next cycle decides anew."""
    await join(client, cluster("here", shape()))
    wanted = await submit(client, job("picks"))
    plan = plan_cycle(await take_snapshot(client, now()))
    await client.update(change(wanted))
    applied = await apply_plan(plan, client)
    assert (applied.placed, applied.dropped) == (0, 1)
    assert await client.list(Run) == []


async def test_a_job_that_was_deleted_since_the_snapshot_is_not_placed(client):
    """Nothing is made for it, nor told to it."""
    await join(client, cluster("here", shape()))
    await submit(client, job("picks"))
    await submit(client, job("large", cpus=99))
    plan = plan_cycle(await take_snapshot(client, now()))
    for name in ("picks", "large"):
        await client.delete(Job, "lab", name)
    applied = await apply_plan(plan, client)
    assert (applied.placed, applied.told, applied.dropped) == (0, 0, 2)
    assert await client.list(Run) == []


async def test_a_job_that_waits_says_why_once(client):
    """The reason and the decision are stored; cycles that find the same again write nothing."""
    await join(client, cluster("here", shape()))
    await submit(client, job("large", cpus=99))
    loop = loop_on(client)
    assert (await loop.cycle()).told == 1
    told = await client.get(Job, "lab", "large")
    assert told.status.phase == "Pending"
    assert told.status.reason == "NoFeasibleCluster"
    assert told.status.decision["clusters"][0]["reasons"][0]["reason"] == "InsufficientCpu"
    assert (await loop.cycle()).told == 0
    assert (await client.get(Job, "lab", "large")).metadata.resource_version == told.metadata.resource_version


async def test_a_job_that_waits_for_another_reason_says_so(client):
    """A cordon changes the reasons of the one cluster, so the record is written anew."""
    here = await join(client, cluster("here", shape()))
    await submit(client, job("large", cpus=99))
    loop = loop_on(client)
    await loop.cycle()
    spec = here.spec.model_copy(update={"unschedulable": True})
    await client.update(here.model_copy(update={"spec": spec}))
    assert (await loop.cycle()).told == 1
    reasons = (await client.get(Job, "lab", "large")).status.decision["clusters"][0]["reasons"]
    assert [reason["reason"] for reason in reasons] == ["Cordoned", "InsufficientCpu"]


async def test_a_waiting_job_is_told_again_only_when_its_end_is_expected_at_another_time(client):
    """While the run before it keeps to its time nothing is written; when it overruns, the end of the wait moves."""
    await join(client, cluster("here", shape(cpus=8)))
    start, offset = now(), timedelta()
    loop = SchedulerLoop(client, clock=lambda: start + offset)
    await submit(client, job("first", cpus=8))
    assert (await loop.cycle()).placed == 1
    first = await client.get(Run, "lab", "first-1")
    running = first.status.model_copy(update={"phase": "Running", "started_at": start})
    await client.update_status(first.model_copy(update={"status": running}))
    here = await client.get(Cluster, None, "here")
    busy = here.status.model_copy(update={"inventory": cluster("here", shape(cpus=8, free_cpus=0)).status.inventory})
    await client.update_status(here.model_copy(update={"status": busy}))
    await submit(client, job("second", cpus=8))
    assert (await loop.cycle()).told == 1
    assert (await client.get(Job, "lab", "second")).status.reason == "WaitingForCapacity"
    offset = timedelta(minutes=9)
    assert (await loop.cycle()).told == 0
    offset = timedelta(minutes=15)
    assert (await loop.cycle()).told == 1


async def test_a_watch_that_begins_while_the_store_is_away_begins_again():
    """The end of a watch would be the end of the hub: nothing starts it again."""
    storage = FaultyStorage()
    async with hub(storage) as client:
        await client.create(queue())
        storage.refusals = 2
        async with asyncio.timeout(20):
            async for seen in client.watch(Queue):
                if seen.key is not None:
                    break
        assert (seen.key, storage.refusals) == (("", "default"), 0)


async def test_a_store_that_refuses_writes_loses_nothing():
    """The cycle fails, the loop goes on, and when the store is back the job is placed."""
    storage = FaultyStorage()
    async with hub(storage) as client:
        await client.create(queue())
        await join(client, cluster("here", shape()))
        await submit(client, job("picks"))
        loop = loop_on(client, pause_seconds=0.01, period_seconds=0.05)
        storage.is_down = True
        async with running(loop):
            await asyncio.sleep(0.1)
            assert await client.list(Run) == []
            storage.is_down = False
            await until(client, runs=1)


async def until(client, *, runs, seconds=5.0):
    """Wait until so many runs exist."""
    async with asyncio.timeout(seconds):
        while len(await client.list(Run)) < runs:
            await asyncio.sleep(0.005)


@asynccontextmanager
async def running(loop):
    """Run a loop for a while."""
    task = asyncio.create_task(loop.run())
    try:
        yield
    finally:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_wake_starts_a_cycle_long_before_the_period_is_over(client):
    """The period is an hour; a woken loop places the job at once."""
    await join(client, cluster("here", shape()))
    loop = loop_on(client, pause_seconds=0.01, period_seconds=3600)
    async with running(loop):
        await asyncio.sleep(0.05)
        await submit(client, job("picks"))
        await asyncio.sleep(0.05)
        assert await client.list(Run) == []
        loop.wake()
        await until(client, runs=1)


async def test_without_any_wake_the_period_starts_a_cycle(client):
    """A lost wake costs a period, not the job."""
    await join(client, cluster("here", shape()))
    async with running(loop_on(client, pause_seconds=0.01, period_seconds=0.05)):
        await submit(client, job("picks"))
        await until(client, runs=1)


async def test_many_wakes_are_one_cycle(client):
    """Cycles are at least a pause apart, however often the loop is woken."""
    taken = []

    def clock():
        taken.append(now())
        return taken[-1]

    loop = SchedulerLoop(client, clock=clock, pause_seconds=0.1, period_seconds=3600)
    async with running(loop):
        for _ in range(30):
            loop.wake()
            await asyncio.sleep(0.01)
    assert 2 <= len(taken) <= 5


async def test_a_cycle_that_ends_in_a_mistake_is_followed_by_one_that_begins_anew(client):
    """What is learned is asked for first; the first answer is nonsense that no cycle was made for."""
    answers = iter([None])
    loop = loop_on(client, estimates=lambda: next(answers, NOTHING_LEARNED), period_seconds=0.05)
    await join(client, cluster("here", shape()))
    await submit(client, job("picks"))
    async with running(loop):
        async with asyncio.timeout(20):
            while not await client.list(Run):
                await asyncio.sleep(0.01)
    assert next(answers, "all given") == "all given"


async def test_a_hundred_jobs_are_placed_in_one_cycle_within_what_is_free(client):
    """Eighty places for a hundred jobs: eighty runs, twenty reasons."""
    for number in range(5):
        await join(client, cluster(f"c{number}", shape(cpus=8, nodes=2)))
    for number in range(100):
        await submit(client, job(f"j{number:03}"))
    applied = await loop_on(client).cycle()
    assert (applied.placed, applied.told) == (80, 20)
    where = [made.spec.cluster for made in await client.list(Run)]
    assert {name: where.count(name) for name in where} == {f"c{number}": 16 for number in range(5)}


async def test_a_run_that_the_api_refuses_is_told_to_its_job_and_stops_no_other(client):
    """A cluster that was deleted right after the snapshot: the run's reference leads nowhere."""
    await join(client, cluster("gone", shape()))
    await submit(client, job("picks"))
    plan = plan_cycle(await take_snapshot(client, now()))
    there = await client.get(Cluster, None, "gone")
    bare = there.metadata.model_copy(update={"finalizers": ()})
    await client.update(there.model_copy(update={"metadata": bare}))
    await client.delete(Cluster, None, "gone")
    assert (await apply_plan(plan, client)).told == 1
    assert (await client.get(Job, "lab", "picks")).status.reason == "RunRefused"


async def test_a_lost_guard_drops_the_reason_too(client):
    """Telling a job why it waits does not overwrite what somebody else has said since."""
    await join(client, cluster("here", shape()))
    wanted = await submit(client, job("large", cpus=99))
    plan = plan_cycle(await take_snapshot(client, now()))
    status = wanted.status.model_copy(update={"reason": "Held"})
    await client.update_status(wanted.model_copy(update={"status": status}))
    assert (await apply_plan(plan, client)).dropped == 1
    assert (await client.get(Job, "lab", "large")).status.reason == "Held"
    with pytest.raises(Conflict):
        await client.update_status(
            wanted.model_copy(update={"status": wanted.status.model_copy(update={"reason": "X"})})
        )


async def put_phase(client, model, name, phase):
    """Write a phase as a controller would."""
    held = await client.get(model, "lab", name)
    return await client.update_status(
        held.model_copy(update={"status": held.status.model_copy(update={"phase": phase})})
    )


async def test_what_has_ended_is_left_out_of_a_snapshot_unless_something_still_goes_on(client):
    """A job that may want another run is seen with its old ones; a run that stops yet, with its job."""
    await join(client, cluster("here", shape(cpus=64)))
    for name in ("over", "again", "stops"):
        await submit(client, job(name))
    assert (await loop_on(client).cycle()).placed == 3
    for name in ("over-1", "again-1"):
        await put_phase(client, Run, name, "Succeeded")
    for name in ("over", "stops"):
        await put_phase(client, Job, name, "Cancelled")
    for _ in range(2):  # the second one has looked before
        seen = await take_snapshot(client, now())
        assert sorted(seen.jobs) == ["lab/again", "lab/stops"]
        assert [run.metadata.name for run in seen.runs] == ["again-1", "stops-1"]
    await put_phase(client, Run, "stops-1", "Cancelled")
    assert sorted((await take_snapshot(client, now())).jobs) == ["lab/again"]
    await put_phase(client, Job, "over", "Pending")
    assert [run.metadata.name for run in (await take_snapshot(client, now())).runs] == ["again-1", "over-1"]
