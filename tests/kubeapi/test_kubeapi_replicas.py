"""Two stores on one storage, one of them behind: what it answers is never older than what was written."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from atoll.kubeapi.errors import AlreadyExists, Conflict, NotFound, Timeout
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import Change, MemoryStorage, Synced
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, config_map, make_registry


class LaggingStorage:
    """The view of a replica that hears of changes only while its gate is open."""

    def __init__(self, memory: MemoryStorage) -> None:
        self.memory = memory
        self.gate = asyncio.Event()
        self.gate.set()

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        return await self.memory.write(key, value, expected=expected)

    async def revision(self) -> int:
        return await self.memory.revision()

    async def follow(self) -> AsyncIterator[Change | Synced]:
        async for item in self.memory.follow():
            await self.gate.wait()
            yield item


class Pair:
    """A store that is up to date, and one that lags."""

    def __init__(self) -> None:
        memory = MemoryStorage()
        self.view = LaggingStorage(memory)
        self.leads = Store(make_registry(), memory)
        self.lags = Store(make_registry(), self.view)

    async def write_behind(self, *data: dict[str, str] | None) -> None:
        """Write the config map `a` through one store while the other hears nothing; None deletes it."""
        self.view.gate.clear()
        for values in data:
            if values is None:
                await self.leads.delete(CONFIG_MAP, "default", "a")
            elif self.leads.cache.get(CONFIG_MAP.prefix, CONFIG_MAP.key("default", "a")) is None:
                await self.leads.create(CONFIG_MAP, config_map("a", **values))
            else:
                await self.leads.patch(CONFIG_MAP, "default", "a", Patch("merge", {"data": values}))
        asyncio.get_running_loop().call_later(0.05, self.view.gate.set)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """Both stores, running."""
    pair = Pair()
    await pair.leads.start()
    await pair.lags.start()
    yield pair
    await pair.leads.close()
    await pair.lags.close()


async def test_a_read_waits_for_the_newest_write(pair: Pair) -> None:
    await pair.write_behind({"x": "1"})
    assert (await pair.lags.get(CONFIG_MAP, "default", "a"))["data"] == {"x": "1"}
    await pair.write_behind({"x": "2"})
    assert (await pair.lags.list(CONFIG_MAP)).items[0]["data"] == {"x": "2"}
    await pair.write_behind(None)
    with pytest.raises(NotFound):
        await pair.lags.get(CONFIG_MAP, "default", "a")


async def test_a_write_that_seems_to_change_nothing_is_tried_on_the_newest_state(pair: Pair) -> None:
    await pair.lags.create(CONFIG_MAP, config_map("a", x="1"))
    await pair.write_behind({"x": "2"})
    patched = await pair.lags.patch(CONFIG_MAP, "default", "a", Patch("merge", {"data": {"x": "1"}}))
    assert patched["data"] == {"x": "1"}
    assert (await pair.leads.get(CONFIG_MAP, "default", "a"))["data"] == {"x": "1"}


async def test_a_patch_of_an_object_not_heard_of_yet_finds_it(pair: Pair) -> None:
    await pair.write_behind({"x": "1"})
    patched = await pair.lags.patch(CONFIG_MAP, "default", "a", Patch("merge", {"data": {"y": "2"}}))
    assert patched["data"] == {"x": "1", "y": "2"}


async def test_an_update_made_from_the_newest_state_is_taken(pair: Pair) -> None:
    await pair.lags.create(CONFIG_MAP, config_map("a", x="1"))
    await pair.write_behind({"x": "2"})
    newest = await pair.leads.get(CONFIG_MAP, "default", "a")
    updated = await pair.lags.update(CONFIG_MAP, {**newest, "data": {"x": "3"}})
    with pytest.raises(Conflict):
        await pair.lags.update(CONFIG_MAP, newest)
    assert updated["data"] == {"x": "3"}


async def test_a_name_that_was_freed_can_be_taken_and_one_that_was_taken_cannot(pair: Pair) -> None:
    await pair.lags.create(CONFIG_MAP, config_map("a", x="1"))
    await pair.write_behind(None)
    await pair.lags.create(CONFIG_MAP, config_map("a", x="2"))
    await pair.write_behind(None, {"x": "3"})
    with pytest.raises(AlreadyExists):
        await pair.lags.create(CONFIG_MAP, config_map("a"))
    assert (await pair.leads.get(CONFIG_MAP, "default", "a"))["data"] == {"x": "3"}


async def test_an_apply_meets_an_object_not_heard_of_yet(pair: Pair) -> None:
    await pair.write_behind({"x": "1"})
    applied = await pair.lags.patch(
        CONFIG_MAP, "default", "a", Patch("apply", config_map("a", y="2")), field_manager="me"
    )
    assert applied["data"] == {"x": "1", "y": "2"}


async def test_a_watch_goes_on_at_the_other_replica(pair: Pair) -> None:
    first = await pair.leads.create(CONFIG_MAP, config_map("a", x="1"))
    await pair.write_behind({"x": "2"})
    stream = pair.lags.watch(CONFIG_MAP, resource_version=first["metadata"]["resourceVersion"])
    event = await asyncio.wait_for(anext(stream), 10)
    assert (event.type, event.object["data"]) == ("MODIFIED", {"x": "2"})


async def test_a_replica_that_stays_behind_says_so(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atoll.kubeapi.cache._WAIT_SECONDS", 0.05)
    pair.view.gate.clear()
    await pair.leads.create(CONFIG_MAP, config_map("a"))
    with pytest.raises(Timeout) as refused:
        await pair.lags.get(CONFIG_MAP, "default", "a")
    assert refused.value.retryable
    assert refused.value.retry_after_seconds == 1
    pair.view.gate.set()
