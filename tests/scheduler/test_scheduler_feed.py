"""The scheduler's feed: what it knows after any changes is what a whole reading of the store finds."""

import asyncio
import random
from contextlib import asynccontextmanager

import pytest
from scheduler_world import NOW, cluster, job, queue, shape

from atoll.federation.resources import Job, Run
from atoll.hub.client import Client
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.hub.scheduler import SchedulerLoop
from atoll.hub.scheduler.book import Book
from atoll.hub.scheduler.feed import Feed
from atoll.hub.scheduler.snapshot import Snapshot, take_snapshot
from atoll.kubeapi.bucket import stored
from atoll.kubeapi.storage import Change, MemoryStorage
from atoll.kubeapi.store import Store

GONE, ANEW = "atoll.dev/jobs/lab/gone", "atoll.dev/jobs/lab/anew"


class Disk(MemoryStorage):
    """Memory whose follower can be lost."""

    follower_is_lost = False

    def __init__(self):
        """Begin empty."""
        super().__init__()
        self.revisions = {}

    async def write(self, key, value, *, expected):
        """Write, and know the revision of what is there."""
        revision = await super().write(key, value, expected=expected)
        self.revisions[key] = revision
        if value is None:
            del self.revisions[key]
        return revision

    async def follow(self):
        """Follow, until told to lose it."""
        async for change in super().follow():
            if self.follower_is_lost and isinstance(change, Change):
                self.follower_is_lost = False
                raise OSError("the connection is gone")
            yield change


class World:
    """Jobs and runs in a hub's store, written past the API."""

    def __init__(self, client, storage):
        self.client, self.storage = client, storage
        self.feed, self.book = Feed(client), Book()

    async def put(self, made):
        """Store an object over what is there, as it is."""
        await self.client.store.cache.reach(await self.put_unseen(made))

    async def put_unseen(self, made):
        """Store an object, and do not wait until readers see it."""
        key = self.client.type_of(type(made)).key(made.metadata.namespace, made.metadata.name)
        there = self.storage.revisions.get(key, 0)
        return await self.storage.write(key, stored(made.wire()), expected=there)

    async def put_all(self, *made):
        """Store objects."""
        for each in made:
            await self.put(each)

    async def remove(self, model, name):
        """Take an object away."""
        key = self.client.type_of(model).key("lab", name)
        if key in self.storage.revisions:
            await self.client.store.cache.reach(
                await self.storage.write(key, None, expected=self.storage.revisions[key])
            )

    async def look(self, feed=None, book=None):
        """Give what a feed and its book know: the runs, and who waits with whom, or stands aside why."""
        feed, book = feed or self.feed, book if book is not None else self.book
        feed.jobs.turn()
        await feed.take(book)
        book.follow(Snapshot(NOW, feed.jobs, feed.runs, (), {}, {}, is_fed=True))
        groups = {ask: list(group.members) for ask, group in book.groups.items()}
        return [(run.key, run.status.phase) for run in feed.runs], sorted(feed.jobs), groups, dict(book.aside)

    async def afresh(self):
        """Give what a hub would know that begins to lead now."""
        return await self.look(Feed(self.client), Book())


@asynccontextmanager
async def world(history=4096):
    """Offer a store in memory."""
    existing, storage = ExistingObjects(), Disk()
    existing.store = store = Store(build_registry(existing), storage, history=history)
    await store.start()
    try:
        yield World(Client(store), storage)
    finally:
        await store.close()


def attempt(of, epoch, phase, *, uid=None):
    """A run of a job."""
    owner = {"apiVersion": "atoll.dev/v1alpha1", "kind": "Job", "name": of, "uid": uid or f"uid-{of}"}
    return Run.model_validate(
        {
            "metadata": {"name": f"{of}-{epoch}", "namespace": "lab", "ownerReferences": [owner]},
            "spec": {"job": of, "cluster": "here", "epoch": epoch},
            "status": {"phase": phase},
        }
    )


def as_it_is(name, phase, *, uid=None, attempts=0, **spec):
    """A job with a phase."""
    made = job(name, **spec)
    metadata = made.metadata.model_copy(update={"uid": uid or f"uid-{name}"})
    status = made.status.model_copy(update={"phase": phase, "attempts": attempts})
    return made.model_copy(update={"metadata": metadata, "status": status})


PHASES = ("Pending", "Placed", "Running", "Succeeded", "Failed")


async def change(there, chance, number):
    """Change one thing or another."""
    name, epoch = f"j{chance.randrange(6)}", chance.randint(1, 3)
    match chance.randrange(6):
        case 0:
            await there.remove(Job, name)
        case 1:
            await there.remove(Run, f"{name}-{epoch}")
        case 2:
            await there.put(attempt(name, epoch, chance.choice(("Pending", *PHASES[2:]))))
        case _:
            after = [{"job": f"j{chance.randrange(6)}"}] if chance.random() < 0.3 else []
            told = as_it_is(
                name,
                chance.choice(PHASES),
                uid=f"uid-{name}-{number // 20}",
                attempts=chance.randrange(3),
                gpus=chance.randint(1, 2),
                held=chance.random() < 0.2,
                dependsOn=after,
            )
            await there.put(told)


@pytest.mark.parametrize("seed", range(6))
async def test_changes_in_any_order_come_to_what_a_whole_reading_finds(seed):
    """Also with looks after many changes of one object, deletion and creation anew, and a history that was lost."""
    chance = random.Random(seed)
    async with world(history=4 if seed % 2 else 4096) as there:
        for number in range(120):
            await change(there, chance, number)
            if chance.random() < 0.1:
                there.feed.note()
            if chance.random() < 0.2:
                assert await there.look() == await there.afresh(), f"seed {seed}, change {number}"
        assert await there.look() == await there.afresh(), f"seed {seed}"
        whole = await take_snapshot(there.client, NOW, whole=True)
        assert [run.key for run in there.feed.runs] == [
            run.key
            for run in whole.runs
            if run.status.phase not in ("Succeeded", "Failed") or run.key.rpartition("-")[0] in there.feed.jobs
        ]


async def test_what_vanished_while_the_store_was_not_followed_is_not_placed():
    """One job went, one came under the name of another, and its run of before is there yet."""
    async with world() as there:
        for name in ("gone", "anew", "stays"):
            await there.put(as_it_is(name, "Pending"))
        await there.put(attempt("anew", 1, "Failed"))
        await there.look()
        before, there.storage.follower_is_lost = there.client.store.cache.bucket("atoll.dev/jobs/"), True
        await there.storage.write(GONE, None, expected=there.storage.revisions[GONE])
        await there.storage.write(ANEW, None, expected=there.storage.revisions[ANEW])
        await there.put_unseen(as_it_is("anew", "Pending", uid="another"))
        async with asyncio.timeout(30):
            while there.client.store.cache.bucket("atoll.dev/jobs/") is before:
                await asyncio.sleep(0.01)
        runs, jobs, groups, _ = await there.look()
        assert jobs == ["lab/anew", "lab/stays"]
        assert runs == [("lab/anew-1", "Failed")]
        (members,) = groups.values()
        assert sorted(key for _, key in members) == jobs, "an ended run of a former job of that name holds nobody back"
        assert there.book.epoch("lab/anew") == 2


async def test_a_run_that_has_ended_holds_its_job_back_until_the_status_says_so():
    """Whatever of the two is seen first; also where the run was seen to end before the job was seen at all."""
    async with world() as there:
        await there.put(as_it_is("picks", "Pending"))
        await there.put(attempt("picks", 1, "Succeeded"))
        for _ in range(2):
            assert not (await there.look())[2]
        assert not (await there.afresh())[2]
        await there.put(as_it_is("picks", "Pending", attempts=1))
        assert len((await there.look())[2]) == 1, "it was counted, and is to be tried again"


async def test_jobs_are_as_they_were_when_the_cycle_began():
    """What is changed while a cycle decides is seen by the guard of the write, and not by the cycle."""
    async with world() as there:
        await there.put(as_it_is("picks", "Pending"))
        await there.look()
        await there.put(as_it_is("picks", "Pending", cancelled=True))
        assert not there.feed.jobs["lab/picks"].spec.cancelled
        await there.look()
        assert there.feed.jobs["lab/picks"].spec.cancelled


async def test_a_job_that_is_requeued_is_seen_with_the_runs_that_it_had():
    """They did not matter while it had ended."""
    async with world() as there:
        await there.put(attempt("picks", 1, "Failed"))
        await there.put(as_it_is("picks", "Failed", attempts=1))
        assert (await there.look())[:2] == ([], [])
        await there.put(as_it_is("picks", "Pending", attempts=1))
        assert (await there.look())[0] == [("lab/picks-1", "Failed")]
        assert there.book.epoch("lab/picks") == 2


async def test_a_look_that_failed_goes_on_where_it_was():
    """What was not taken in is due at the next look."""
    async with world() as there:
        for number in range(5):
            await there.put(as_it_is(f"j{number}", "Pending"))
        look = there.client.follow(Job)
        look.begin()
        first = [name async for name, _ in _first(look.changed(), 2)]
        assert not look.begin(), "what has changed since is known"
        rest = [name async for name, _ in look.changed()]
        assert {*first, *rest} == {f"lab/j{number}" for number in range(5)}


async def _first(changes, count):
    async for each in changes:
        yield each
        count -= 1
        if not count:
            await changes.aclose()
            return


@pytest.mark.parametrize("turns", (0, 2, 5, 9, 14, 20, 30))
async def test_a_hub_that_loses_its_lead_within_a_cycle_leaves_no_job_twice(turns):
    """The next one begins with a full feed while writes of the former are under way; every job has one run."""
    async with world() as there:
        await there.put_all(queue(), cluster("here", shape(cpus=64)), *(job(f"j{number}") for number in range(8)))
        former = asyncio.create_task(SchedulerLoop(there.client, clock=lambda: NOW).cycle())
        for _ in range(turns):
            await asyncio.sleep(0)
        former.cancel()
        next_one = SchedulerLoop(there.client, clock=lambda: NOW)
        await asyncio.gather(former, next_one.cycle(), return_exceptions=True)
        await next_one.cycle()
        found = await there.client.list(Run)
        assert sorted(run.spec.job for run in found) == [f"j{number}" for number in range(8)]
