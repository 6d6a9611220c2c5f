"""Queues in the cycle: who goes first, what a limit says to the job that waits for it, and what is news to a job."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from scheduler_world import NOW, cluster, dataset, job, queue, run, shape, snapshot

from atoll.federation.resources import JobStatus
from atoll.hub.client import Client
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.hub.scheduler import SchedulerLoop
from atoll.hub.scheduler.cycle import Memory, plan_cycle
from atoll.hub.scheduler.news import News
from atoll.kubeapi.bucket import stored as raw
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store

PLACED = JobStatus(phase="Placed")


def placed(plan):
    """Name the jobs that start, in order."""
    return [placement.job.metadata.name for placement in plan.placements]


def told(plan):
    """Give the jobs as they are once each was told why it waits."""
    for each in plan.waiting:
        update = {"reason": each.reason, "message": each.message, "decision": each.record()}
        metadata = each.job.metadata.model_copy(update={"resource_version": "2"})
        status = each.job.status.model_copy(update=update)
        yield each.job.model_copy(update={"metadata": metadata, "status": status})


def later(world, **changes):
    """See the same world with some changes."""
    return replace(world, **changes)


def test_queues_take_turns_however_old_or_urgent_the_jobs_of_one_are():
    """Priority counts within a queue: the other queue's job has its turn."""
    jobs = [job(f"old{n}", gpus=1, queue="a", age_seconds=900 - n, priority=9) for n in range(4)]
    here = cluster("here", shape(gpus=2))
    plan = plan_cycle(snapshot(*jobs, job("young", gpus=1, queue="b"), here, queue("a"), queue("b")))
    assert sorted(placed(plan)) == ["old0", "young"]


def test_what_runs_counts_against_its_queue():
    """One queue holds three GPUs already, so the next two are the other's."""
    held = [job(f"held{n}", gpus=1, queue="a", status=PLACED) for n in range(3)]
    waiting = [job(f"{name}{n}", gpus=1, queue=name, age_seconds=60 - n) for name in "ab" for n in range(3)]
    here = cluster("here", shape(gpus=5, free_gpus=2), counted_runs=tuple(f"lab/held{n}-1" for n in range(3)))
    plan = plan_cycle(snapshot(*held, *map(run, held), *waiting, here, queue("a"), queue("b")))
    assert placed(plan) == ["b0", "b1"]


def test_a_guarantee_goes_before_weight():
    """The light queue gets what it was promised first."""
    jobs = [job(f"{name}{n}", gpus=1, queue=name, age_seconds=60 - n) for name in ("heavy", "sure") for n in range(3)]
    queues = [queue("heavy", weight=99), queue("sure", quota={"guaranteed": {"gpus": 2}})]
    assert placed(plan_cycle(snapshot(*jobs, cluster("here", shape(gpus=3)), *queues))) == ["sure0", "sure1", "heavy0"]


LIMITS = {
    "cpu": ({"quota": {"limit": {"cpu": "3"}}}, {"cpus": 2}, "quota.limit.cpu"),
    "gpus": ({"quota": {"limit": {"gpus": 3}}}, {"gpus": 2}, "quota.limit.gpus"),
    "a model": ({"quota": {"limit": {"gpuModels": {"A100": 3}}}}, {"gpus": 2}, "quota.limit.gpuModels.A100"),
    "jobs": ({"maxRunningJobs": 1}, {}, "maxRunningJobs"),
}


@pytest.mark.parametrize("case", LIMITS.values(), ids=LIMITS)
def test_a_job_that_a_limit_holds_back_says_which_and_who_holds_it(case):
    """The record names the queue of the line, the field, the numbers, the holder, and what would help."""
    spec, asks, field = case
    queues = [queue("lab", **spec), queue("lab.a", parent="lab")]
    jobs = [job(f"j{n}", queue="lab.a", age_seconds=60 - n, **asks) for n in range(2)]
    plan = plan_cycle(snapshot(*jobs, cluster("here", shape(gpus=8)), *queues))
    assert placed(plan) == ["j0"]
    (left,) = plan.waiting
    found = left.record()["queue"]
    assert (left.reason, found["queue"], found["field"]) == ("QueueLimit", "lab", field)
    assert [(each["job"], each["queue"]) for each in found["holders"]] == [("lab/j0", "lab.a")]
    assert f"its {field} at" in found["advice"]


def test_what_no_cluster_could_ever_take_is_said_before_what_its_queue_says():
    """It would still wait once the queue had given everything back."""
    small = queue(quota={"limit": {"gpus": 1}})
    held = job("held", gpus=1, status=JobStatus(phase="Running", attempts=1))
    world = (small, held, run(held), cluster("here", shape(gpus=2, free_gpus=1), counted_runs=("lab/held-1",)))
    plan = plan_cycle(snapshot(*world, job("possible", gpus=1), job("never", gpu={"count": 1, "models": ["B200"]})))
    reasons = {each.job.metadata.name: each.reason for each in plan.waiting}
    assert reasons == {"possible": "QueueLimit", "never": "NoFeasibleCluster"}
    never = next(each for each in plan.waiting if each.job.metadata.name == "never")
    assert "0 of 1 clusters can take it: 1 GpuModel" in never.message
    assert "queue" not in never.record()


def test_a_priority_outside_of_the_range_waits_until_it_is_changed():
    """It is said, and the job takes no turn."""
    plan = plan_cycle(snapshot(job("j", priority=101), cluster("here", shape()), queue(priorities={"highest": 100})))
    (left,) = plan.waiting
    assert (left.reason, left.message) == (
        "PriorityNotAllowed", "spec.priority 101 is above what queue default allows: give at most 100",
    )  # fmt: skip


# --- what is remembered from cycle to cycle


def test_a_demand_is_read_anew_when_its_dataset_has_a_new_version():
    """What is remembered is remembered by revisions: the run pins the new version."""
    memory, wanted = Memory(), job("j", inputs=[{"dataset": "waves", "mountPath": "/d"}])
    for version in (1, 2, 2):
        waves = dataset("waves", "here", version=version)
        revised = waves.metadata.model_copy(update={"resource_version": str(version)})
        world = snapshot(wanted, cluster("here", shape()), waves.model_copy(update={"metadata": revised}))
        (placement,) = plan_cycle(world, memory).placements
        assert [each.version for each in placement.run.spec.inputs] == [version]


def test_a_demand_is_read_anew_when_the_job_was_changed():
    """Another generation asks for something else."""
    memory, wanted = Memory(), job("j", cpus=99)
    here = cluster("here", shape(cpus=8))
    assert placed(plan_cycle(snapshot(wanted, here), memory)) == []
    smaller = job("j", cpus=1)
    changed = smaller.model_copy(update={"metadata": smaller.metadata.model_copy(update={"generation": 2})})
    assert placed(plan_cycle(snapshot(changed, here), memory)) == ["j"]


def test_what_a_job_knows_is_no_news():
    """Neither limits nor clusters are told twice, also when held amounts and dates have changed meanwhile."""
    held = job("held", gpus=1, status=PLACED)
    jobs = [job("a", gpus=2, queue="full"), job("b", cpus=99), job("c", queue="gone")]
    here, full = cluster("here", shape(gpus=8)), queue("full", maxGpus=1)
    news, world = News(), snapshot(held, run(held), *jobs, here, full, queue())
    first = plan_cycle(world)
    assert len(news.of(first.waiting)) == 3
    again = later(world, jobs={each.key: each for each in (held, *told(first))}, taken_at=NOW + timedelta(hours=1))
    assert [news.of(plan_cycle(again).waiting) for _ in range(2)] == [(), ()]


def test_another_limit_is_news():
    """The limit was raised, and is in the way still: the job hears of the new one."""
    jobs = [job(f"j{n}", gpus=1, age_seconds=60 - n) for n in range(4)]
    here, news = cluster("here", shape(gpus=8)), News()
    first = plan_cycle(snapshot(*jobs, here, queue(maxGpus=1)))
    assert len(news.of(first.waiting)) == 3
    second = plan_cycle(snapshot(jobs[0], *told(first), here, queue(maxGpus=2)))
    assert [each.record()["queue"]["limit"] for each in news.of(second.waiting)] == [2, 2]


def test_a_status_that_somebody_else_wrote_is_told_again():
    """What is remembered of a status holds for its revision only."""
    news, world = News(), snapshot(job("large", cpus=99), cluster("here", shape()))
    (knows,) = told(plan_cycle(world))
    assert news.of(plan_cycle(later(world, jobs={knows.key: knows})).waiting) == ()
    metadata = knows.metadata.model_copy(update={"resource_version": "3"})
    status = knows.status.model_copy(update={"decision": {"clusters": "nonsense", "selected": 7}})
    forgot = knows.model_copy(update={"metadata": metadata, "status": status})
    assert len(news.of(plan_cycle(later(world, jobs={forgot.key: forgot})).waiting)) == 1


# --- beside everything else that a hub does


class Counting(Client):
    """The hub's client, which counts what was told."""

    told = 0

    async def update_status(self, resource):
        """Take note."""
        self.told += 1
        return await super().update_status(resource)


async def stored(world):
    """Store a world past the API, and give a client that has it."""
    existing, storage = ExistingObjects(), MemoryStorage()
    existing.store = store = Store(build_registry(existing), storage)
    client = Counting(store)
    for each in (*world.jobs.values(), *world.clusters, *world.queues.values()):
        obj, metadata = each.wire(), each.metadata
        await storage.write(client.type_of(type(each)).key(metadata.namespace, metadata.name), raw(obj), expected=0)
    await store.start()
    return client


async def test_the_event_loop_goes_on_while_thousands_of_jobs_are_decided_about():
    """Leadership is renewed by tasks of the same loop: they have their turns before the cycle has decided."""
    jobs = [job(f"j{number}", cpus=99, queue=f"q{number % 50}") for number in range(3000)]
    world = snapshot(*jobs, cluster("here", shape()), *(queue(f"q{number}") for number in range(50)))
    client, turns = await stored(world), 0
    cycle = asyncio.create_task(SchedulerLoop(client, clock=lambda: NOW).cycle())
    while not cycle.done():
        await asyncio.sleep(0.002)
        turns += not client.told
    applied = await cycle
    await client.store.close()
    assert turns >= 5
    assert applied.told == client.told == 500, (
        "statuses are written in parts, so that a job that can start need not wait"
    )
