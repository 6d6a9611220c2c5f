"""What a simulated cluster keeps in memory while thousands of pods come and go."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers.copies import Copies
from atoll.sandbox.events import MOST_KEPT, surplus
from atoll.sandbox.kinds.catalog import CONFIG_MAP, registry

Json = dict[str, Any]


@pytest.fixture
async def store() -> AsyncIterator[Store]:
    made = Store(registry(), MemoryStorage())
    await made.start()
    yield made
    await made.close()


async def test_copies_are_as_new_as_the_newest_write_and_only_what_changed_is_decoded_again(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.create(CONFIG_MAP, {"metadata": {"name": name}, "data": {"k": "1"}}, namespace="lab")
    copies = Copies(store, CONFIG_MAP)
    before = {obj["metadata"]["name"]: obj for obj in await copies.list()}
    await store.patch(CONFIG_MAP, "lab", "b", Patch("merge", {"data": {"k": "2"}}))
    await store.delete(CONFIG_MAP, "lab", "c")
    after = {obj["metadata"]["name"]: obj for obj in await copies.list()}
    assert {name: obj["data"] for name, obj in after.items()} == {"a": {"k": "1"}, "b": {"k": "2"}}
    assert after["a"] is before["a"]


def event(name: str, last: str) -> Json:
    return {"metadata": {"name": name, "creationTimestamp": last}, "lastTimestamp": last}


def test_the_oldest_events_go_when_there_are_too_many_or_their_time_is_over() -> None:
    young = [event(f"e{number}", f"2026-11-23T12:{number // 60 % 60:02}:{number % 60:02}Z") for number in range(3600)]
    assert [*surplus(young, "2026-11-23T12:00:00Z")] == []
    assert [each["metadata"]["name"] for each in surplus(young, "2026-11-23T12:00:02Z")] == ["e1", "e0"]
    many = [event(f"m{number}", "2026-11-23T13:00:00Z") for number in range(MOST_KEPT)]
    assert [each["metadata"]["name"] for each in surplus([*young[:1], *many], "2026-11-23T12:00:00Z")] == ["e0"]
