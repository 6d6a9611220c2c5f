"""What readers of the hub share of an object: it is parsed once per revision, and made with a status of its maker."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from atoll.federation.resources import ObjectMeta, Run, RunSpec, RunStatus
from atoll.hub.client import Client
from hub.store_world import client_of_store


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of_store("onprem") as client:
        yield client


def run(name: str, status: RunStatus) -> Run:
    metadata = ObjectMeta(name=name, namespace="lab")
    return Run(metadata=metadata, spec=RunSpec(job="job", cluster="onprem", epoch=1), status=status)


async def test_controllers_the_scheduler_and_its_thread_see_one_and_the_same_object(client: Client) -> None:
    await client.create(run("job-1", RunStatus()))
    follower = client.follow(Run)
    follower.begin()
    seen = [(follower.parse(entry), entry) async for _, entry in follower.changed() if entry is not None]
    [(parsed, entry)] = seen
    assert parsed is await client.get(Run, "lab", "job-1")
    assert await asyncio.to_thread(follower.parse_apart, entry) is parsed


async def test_a_reader_that_holds_an_old_state_is_not_given_the_new_one(client: Client) -> None:
    made = await client.create(run("job-1", RunStatus()))
    follower = client.follow(Run)
    old = follower.entry("lab/job-1")
    assert old is not None
    await client.update_status(made.model_copy(update={"status": RunStatus(phase="Running")}))
    assert follower.parse_apart(old).status.phase == "Pending"
    assert follower.parse(old).status.phase == "Pending"
    now = await client.get(Run, "lab", "job-1")
    assert now is not None
    assert now.status.phase == "Running"


async def test_an_object_is_made_with_the_status_that_its_maker_gives_it(client: Client) -> None:
    """One write instead of two, and the status can be changed afterwards as any other."""
    made = await client.create(run("job-1", RunStatus(phase="Starting", observed_generation=1)))
    stored = await client.get(Run, "lab", "job-1")
    assert stored is not None
    assert (stored.status.phase, stored.metadata.generation) == ("Starting", 1)
    written = await client.update_status(made.model_copy(update={"status": RunStatus(phase="Running")}))
    assert written.status.phase == "Running"


async def test_nobody_else_may_make_an_object_with_a_status(client: Client) -> None:
    """What comes over the API has no such option: a Run that claims to have succeeded is a new one."""
    rt = client.type_of(Run)
    await client.store.create(rt, run("job-1", RunStatus(phase="Succeeded")).wire())
    stored = await client.get(Run, "lab", "job-1")
    assert stored is not None
    assert stored.status == RunStatus()
