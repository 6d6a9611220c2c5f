"""What wakes the scheduler, and what does not: with a thousand clusters, dates are written all the time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from scheduler_world import NOW, cluster, job, queue, shape
from test_scheduler_writes import hub

from atoll.federation.resources import Cluster, JobStatus, Queue, QueueStatus
from atoll.hub.members import Path
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.snapshot import take_snapshot
from atoll.hub.scheduler.waking import wakers

# Of jobs, runs and datasets begin and end; beside them the queue and the cluster that there are.
SNAPSHOTS = 8


class Sleeper:
    """A scheduler that only counts."""

    def __init__(self) -> None:
        self.wakes = 0
        self.woken = asyncio.Event()

    def wake(self) -> None:
        self.wakes += 1
        self.woken.set()

    async def until_woken(self) -> None:
        await asyncio.wait_for(self.woken.wait(), 5)
        self.woken.clear()


class Reports:
    """Reports of members that the test gives."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[list[Path]] = asyncio.Queue()

    async def changes(self) -> AsyncIterator[list[Path]]:
        while True:
            yield await self.queue.get()


@pytest.fixture
async def world():
    """A client with a cluster and a queue, the scheduler that is woken, and the members' reports."""
    async with hub() as client:
        await client.create(queue())
        made = await client.create(cluster("onprem", shape()))
        await client.update_status(made.model_copy(update={"status": cluster("onprem", shape()).status}))
        sleeper, reports = Sleeper(), Reports()
        tasks = [asyncio.ensure_future(waker) for waker in wakers(sleeper, client, reports)]
        while sleeper.wakes < SNAPSHOTS:
            await sleeper.until_woken()
        yield client, sleeper, reports
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def change(client, **status):
    found = await client.get(Cluster, None, "onprem")
    await client.update_status(found.model_copy(update={"status": found.status.model_copy(update=status)}))


async def test_a_cluster_that_was_only_proven_again_wakes_nobody_and_one_that_is_lost_does(world):
    client, sleeper, _ = world
    before = sleeper.wakes
    await change(client, last_proven_at=NOW + timedelta(seconds=15))
    await change(client, phase="Unreachable")
    await sleeper.until_woken()
    assert sleeper.wakes == before + 1


async def test_a_queue_whose_counts_changed_wakes_nobody_and_one_whose_limit_was_raised_does(world):
    client, sleeper, _ = world
    before = sleeper.wakes
    found = await client.get(Queue, None, "default")
    counted = await client.update_status(found.model_copy(update={"status": QueueStatus(pending=7)}))
    raised = counted.spec.model_copy(update={"max_gpus": 9})
    await client.update(counted.model_copy(update={"spec": raised}))
    await sleeper.until_woken()
    assert sleeper.wakes == before + 1


async def test_a_job_and_an_inventory_wake_the_scheduler_and_a_heartbeat_does_not(world):
    client, sleeper, reports = world
    await client.create(job("picks"))
    await sleeper.until_woken()
    before = sleeper.wakes
    reports.queue.put_nowait([Path("cluster", "onprem", "heartbeat")])
    reports.queue.put_nowait([Path("cluster", "onprem", "inventory")])
    await sleeper.until_woken()
    assert sleeper.wakes == before + 1


async def test_a_cycle_for_nobody_reads_no_clusters_and_plans_nothing(world):
    client, _, _ = world
    created = await client.create(job("picks"))
    assert len((await take_snapshot(client, NOW)).clusters) == 1
    await client.update_status(created.model_copy(update={"status": JobStatus(phase="Succeeded")}))
    snapshot = await take_snapshot(client, NOW)
    assert snapshot.clusters == ()
    assert plan_cycle(snapshot).waiting == ()
