"""Who needs a data service: found by memory where that is right, and by a look at everything before a no."""

from collections.abc import AsyncIterator

import pytest

from atoll.federation.resources import Dataset, DatasetSpec, ObjectMeta
from atoll.hub.client import Client
from atoll.hub.controllers.service_users import Users
from hub.store_world import client_of_store

ONPREM, CLOUD = ("onprem", "lab"), ("cloud", "lab")


def dataset(name: str, home: str) -> Dataset:
    return Dataset(metadata=ObjectMeta(name=name, namespace="lab"), spec=DatasetSpec(home=home))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with client_of_store("onprem", "cloud") as made:
        yield made


async def test_a_need_ends_with_the_last_object_that_has_it(client: Client) -> None:
    users = Users(client)
    for name in ("a", "b"):
        await users.keys_of(await client.create(dataset(name, "onprem")))
    assert users.at("onprem") == [ONPREM]
    await client.delete(Dataset, "lab", "a")
    assert await users.are_known(ONPREM), "b still needs it"
    await client.delete(Dataset, "lab", "b")
    assert not await users.are_known(ONPREM)
    assert users.at("onprem") == []


async def test_an_object_that_moved_is_no_need_where_it_was(client: Client) -> None:
    users = Users(client)
    created = await client.create(dataset("a", "onprem"))
    await users.keys_of(created)
    moved = await client.update(created.model_copy(update={"spec": DatasetSpec(home="cloud")}))
    assert await users.keys_of(moved) == [CLOUD]
    assert not await users.are_known(ONPREM)
    assert await users.are_known(CLOUD)


async def test_a_need_that_nobody_told_of_is_found_before_a_service_is_given_up(client: Client) -> None:
    await client.create(dataset("a", "onprem"))
    users = Users(client)
    assert not await users.are_known(ONPREM)
    assert await users.exist(ONPREM)
    assert not await users.exist(CLOUD)
