"""Watches: resume, initial state, selectors, bookmarks."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from atoll.kubeapi import watching
from atoll.kubeapi.errors import BadRequest, Gone
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.storage import Change, MemoryStorage, Synced
from atoll.kubeapi.store import Store, WatchEvent
from kubeapi.kinds import CONFIG_MAP, WIDGET, config_map, make_registry, widget


async def take(stream: AsyncIterator[WatchEvent], count: int) -> list[tuple[str, str]]:
    """Return type and name of the next events."""
    events = [await asyncio.wait_for(anext(stream), 10) for _ in range(count)]
    return [(event.type, event.object["metadata"].get("name", "")) for event in events]


async def test_a_watch_without_a_version_begins_with_what_is_there(store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    stream = store.watch(WIDGET)
    assert await take(stream, 1) == [("ADDED", "one")]
    await store.create(WIDGET, widget("two"))
    assert await take(stream, 1) == [("ADDED", "two")]


async def test_a_watch_resumes_after_a_version(store: Store) -> None:
    first = await store.create(WIDGET, widget("one"))
    await store.create(WIDGET, widget("two"))
    await store.delete(WIDGET, "default", "one")
    stream = store.watch(WIDGET, resource_version=first["metadata"]["resourceVersion"])
    assert await take(stream, 2) == [("ADDED", "two"), ("DELETED", "one")]


async def test_a_deleted_event_carries_the_version_of_the_deletion(store: Store) -> None:
    first = await store.create(WIDGET, widget("one"))
    await store.delete(WIDGET, "default", "one")
    event = await anext(store.watch(WIDGET, resource_version=first["metadata"]["resourceVersion"]))
    assert int(event.object["metadata"]["resourceVersion"]) > int(first["metadata"]["resourceVersion"])
    assert event.object["spec"] == first["spec"]


async def test_an_object_that_begins_or_ceases_to_match_is_added_or_deleted(store: Store) -> None:
    version = (await store.list(WIDGET)).resource_version
    stream = store.watch(WIDGET, label_selector="app=web", resource_version=version)
    await store.create(WIDGET, widget("one"))
    for label in ("web", "web", "db", None):
        patch = Patch("merge", {"metadata": {"labels": {"app": label}, "annotations": {"n": str(id(label))}}})
        await store.patch(WIDGET, "default", "one", patch)
    await store.patch(WIDGET, "default", "one", Patch("merge", {"metadata": {"labels": {"app": "web"}}}))
    await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": 9}}))
    await store.delete(WIDGET, "default", "one")
    expected = ["ADDED", "DELETED", "ADDED", "MODIFIED", "DELETED"]
    assert [kind for kind, _ in await take(stream, 5)] == expected


async def test_a_watch_of_one_namespace_sees_no_other(store: Store) -> None:
    stream = store.watch(WIDGET, "team")
    await store.create(WIDGET, widget("other", namespace="team-b"))
    await store.create(WIDGET, widget("mine", namespace="team"))
    assert await take(stream, 1) == [("ADDED", "mine")]


async def test_initial_events_end_with_a_marked_bookmark(store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    stream = store.watch(WIDGET, send_initial=True, bookmarks=True)
    added, mark = await anext(stream), await anext(stream)
    assert (added.type, mark.type) == ("ADDED", "BOOKMARK")
    assert mark.object["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
    assert mark.object["metadata"]["resourceVersion"] == added.object["metadata"]["resourceVersion"]


async def test_a_quiet_watch_gets_bookmarks_of_progress(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "BOOKMARK_SECONDS", 0.05)
    stream = store.watch(WIDGET, bookmarks=True, send_initial=False)
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    written = await store.create(CONFIG_MAP, config_map("a"))
    event = await asyncio.wait_for(waiting, 10)
    while event.object["metadata"]["resourceVersion"] != written["metadata"]["resourceVersion"]:
        event = await asyncio.wait_for(anext(stream), 10)
    assert event.type == "BOOKMARK"


async def test_a_version_that_is_forgotten_is_gone() -> None:
    store = Store(make_registry(), MemoryStorage(), history=4)
    await store.start()
    first = await store.create(WIDGET, widget("one"))
    for size in range(4, 20):
        await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": size}}))
    with pytest.raises(Gone, match="too old resource version"):
        await anext(store.watch(WIDGET, resource_version=first["metadata"]["resourceVersion"]))
    await store.close()


async def test_a_slow_watcher_is_told_that_it_fell_behind() -> None:
    store = Store(make_registry(), MemoryStorage(), history=4)
    await store.start()
    await store.create(WIDGET, widget("one"))
    stream = store.watch(WIDGET)
    await anext(stream)
    for size in range(4, 20):
        await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": size}}))
    with pytest.raises(Gone):
        await anext(stream)
    await store.close()


async def test_changes_of_one_kind_do_not_push_out_the_history_of_another() -> None:
    store = Store(make_registry(), MemoryStorage(), history=4)
    await store.start()
    first = await store.create(WIDGET, widget("one"))
    await store.create(WIDGET, widget("two"))
    for index in range(20):
        await store.create(CONFIG_MAP, config_map(f"c{index}"))
    stream = store.watch(WIDGET, resource_version=first["metadata"]["resourceVersion"])
    assert await take(stream, 1) == [("ADDED", "two")]
    await store.close()


async def test_a_bad_version_is_refused(store: Store) -> None:
    with pytest.raises(BadRequest):
        await anext(store.watch(WIDGET, resource_version="new"))


async def test_watches_end_when_the_store_closes(store: Store) -> None:
    async def count() -> int:
        return len([event async for event in store.watch(WIDGET)])

    tasks = [asyncio.create_task(count()) for _ in range(5)]
    await asyncio.sleep(0.05)
    await store.close()
    assert await asyncio.wait_for(asyncio.gather(*tasks), 10) == [0] * 5


async def test_a_thousand_watchers_get_one_change_from_one_encoding(store: Store) -> None:
    streams = [store.deltas(WIDGET, send_initial=False) for _ in range(1000)]
    waiting = [asyncio.create_task(anext(stream)) for stream in streams]  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    await store.create(WIDGET, widget("one"))
    batches = await asyncio.wait_for(asyncio.gather(*waiting), 20)
    assert {delta.type for batch in batches for delta in batch} == {"ADDED"}
    assert len({id(batch[0].entry) for batch in batches}) == 1


class LosingStorage:
    """A storage that loses its followers when told to, and goes on elsewhere: history is lost."""

    def __init__(self) -> None:
        self.memory = MemoryStorage()
        self.lost = asyncio.Event()

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        return await self.memory.write(key, value, expected=expected)

    async def revision(self) -> int:
        return await self.memory.revision()

    async def follow(self) -> AsyncIterator[Change | Synced]:
        stream = self.memory.follow()
        while True:
            following = asyncio.ensure_future(anext(stream))  # type: ignore[arg-type]
            losing = asyncio.ensure_future(self.lost.wait())
            done, _ = await asyncio.wait({following, losing}, return_when=asyncio.FIRST_COMPLETED)
            losing.cancel()
            if following not in done:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
                await stream.aclose()  # type: ignore[attr-defined]
                self.lost.clear()
                raise ConnectionError("the connection is gone")
            yield following.result()


async def test_a_cache_that_lost_its_storage_follows_anew_and_old_watches_are_gone() -> None:
    storage = LosingStorage()
    store = Store(make_registry(), storage)
    await store.start()
    one = await store.create(WIDGET, widget("one"))
    await store.create(WIDGET, widget("two"))
    stream = store.watch(WIDGET, send_initial=False)
    waiting = asyncio.create_task(anext(stream))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    storage.lost.set()
    await asyncio.sleep(0.05)
    await storage.memory.write(WIDGET.key("default", "one"), None, expected=int(one["metadata"]["resourceVersion"]))
    with pytest.raises(Gone):
        await asyncio.wait_for(waiting, 10)
    assert [item["metadata"]["name"] for item in (await store.list(WIDGET)).items] == ["two"]
    await store.close()
