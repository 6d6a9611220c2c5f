"""The garbage collector deletes what lost its owners, in the way that was asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from atoll.kubeapi.gc import GarbageCollector
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, POD, SLOW, WIDGET, widget


@pytest.fixture
async def collector(store: Store) -> AsyncIterator[None]:
    """A collector at work on the store."""
    task = asyncio.create_task(GarbageCollector(store).run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def owned_by(*owners: dict[str, Any], name: str, blocks: bool = False) -> dict[str, Any]:
    """Return an object that belongs to others."""
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": blocks,
        }
        for owner in owners
    ]
    return {"metadata": {"name": name, "namespace": "default", "ownerReferences": references}}


async def names(store: Store) -> set[str]:
    """Return the names of all objects."""
    return {item["metadata"]["name"] for rt in (WIDGET, POD, CONFIG_MAP) for item in (await store.list(rt)).items}


async def until(store: Store, holds: Callable[[set[str]], bool]) -> set[str]:
    """Wait until a claim about the names holds."""
    async with asyncio.timeout(20):
        while not holds(found := await names(store)):
            await asyncio.sleep(0.01)
    return found


@pytest.mark.usefixtures("collector")
async def test_dependents_go_after_their_owner_and_theirs_after_them(store: Store) -> None:
    owner = await store.create(WIDGET, widget("owner"))
    child = await store.create(POD, owned_by(owner, name="child"))
    await store.create(CONFIG_MAP, owned_by(child, name="grandchild"))
    await store.create(CONFIG_MAP, {"metadata": {"name": "free", "namespace": "default"}})
    await store.delete(WIDGET, "default", "owner", propagation="Background")
    assert await until(store, lambda found: "grandchild" not in found) == {"free"}


@pytest.mark.usefixtures("collector")
async def test_an_object_created_after_its_owner_went_goes_too(store: Store) -> None:
    owner = await store.create(WIDGET, widget("owner"))
    await store.delete(WIDGET, "default", "owner")
    await store.create(WIDGET, widget("owner"))  # the same name is not the same owner
    await store.create(POD, owned_by(owner, name="late"))
    assert await until(store, lambda found: "late" not in found) == {"owner"}


@pytest.mark.usefixtures("collector")
async def test_an_object_stays_while_it_has_one_owner_left_and_loses_the_other(store: Store) -> None:
    one, two = await store.create(WIDGET, widget("one")), await store.create(WIDGET, widget("two"))
    await store.create(POD, owned_by(one, two, name="shared"))
    await store.delete(WIDGET, "default", "one")
    async with asyncio.timeout(20):
        while True:
            references = (await store.get(POD, "default", "shared"))["metadata"]["ownerReferences"]
            if len(references) == 1:
                break
            await asyncio.sleep(0.01)
    assert references[0]["name"] == "two"
    await store.delete(WIDGET, "default", "two")
    assert await until(store, lambda found: "shared" not in found) == set()


@pytest.mark.usefixtures("collector")
async def test_a_foreground_deletion_waits_for_blocking_dependents(store: Store) -> None:
    owner = await store.create(WIDGET, widget("owner"))
    held = owned_by(owner, name="held", blocks=True)
    held["metadata"]["finalizers"] = ["example.dev/hold"]
    await store.create(POD, held)
    await store.create(CONFIG_MAP, owned_by(owner, name="quick", blocks=True))
    await store.delete(WIDGET, "default", "owner", propagation="Foreground")
    assert await until(store, lambda found: "quick" not in found) == {"owner", "held"}
    waiting = await store.get(WIDGET, "default", "owner")
    assert waiting["metadata"]["finalizers"] == ["foregroundDeletion"]
    await store.patch(POD, "default", "held", Patch("merge", {"metadata": {"finalizers": None}}))
    assert await until(store, lambda found: "owner" not in found) == set()


@pytest.mark.usefixtures("collector")
async def test_an_orphan_deletion_sets_dependents_free(store: Store) -> None:
    owner = await store.create(WIDGET, widget("owner"))
    await store.create(POD, owned_by(owner, name="child"))
    await store.delete(WIDGET, "default", "owner", propagation="Orphan")
    assert await until(store, lambda found: "owner" not in found) == {"child"}
    assert "ownerReferences" not in (await store.get(POD, "default", "child"))["metadata"]


@pytest.mark.usefixtures("collector")
async def test_an_owner_of_a_kind_that_is_not_served_is_taken_to_exist(store: Store) -> None:
    unknown = {"apiVersion": "other.dev/v1", "kind": "Thing", "metadata": {"name": "x", "uid": "u"}}
    await store.create(POD, owned_by(unknown, name="child"))
    owner = await store.create(WIDGET, widget("owner"))
    await store.create(CONFIG_MAP, owned_by(owner, name="marker"))
    await store.delete(WIDGET, "default", "owner")
    assert await until(store, lambda found: "marker" not in found) == {"child"}


async def test_what_was_orphaned_while_no_collector_ran_is_collected_at_start(store: Store) -> None:
    owner = await store.create(WIDGET, widget("owner"))
    await store.create(POD, owned_by(owner, name="child"))
    await store.delete(WIDGET, "default", "owner")
    task = asyncio.create_task(GarbageCollector(store).run())
    assert await until(store, lambda found: "child" not in found) == set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_an_orphan_deletion_that_was_asked_for_before_the_collector_ran_frees_every_dependent(
    store: Store,
) -> None:
    owner = await store.create(CONFIG_MAP, {"metadata": {"name": "owner", "namespace": "default"}})
    for rt in (WIDGET, POD, SLOW):
        await store.create(rt, {**owned_by(owner, name=f"of-{rt.plural}"), "spec": {"size": 3} if rt is WIDGET else {}})
    await store.delete(CONFIG_MAP, "default", "owner", propagation="Orphan")
    task = asyncio.create_task(GarbageCollector(store).run())
    await until(store, lambda found: "owner" not in found)
    left = [item for rt in (WIDGET, POD, SLOW) for item in (await store.list(rt)).items]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(left) == 3
    assert all("ownerReferences" not in item["metadata"] for item in left)
