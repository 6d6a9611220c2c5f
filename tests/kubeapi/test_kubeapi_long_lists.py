"""Long lists and initial states: complete, in order, never whole in memory, and others are answered in between."""

import asyncio
import gc
import tracemalloc

import httpx
import orjson
import pytest
from starlette.responses import StreamingResponse

from atoll.kubeapi.http.answers import page_answer
from atoll.kubeapi.http.negotiation import Form
from atoll.kubeapi.store import Store
from kubeapi.kinds import CONFIG_MAP, config_map

PATH = "/api/v1/namespaces/default/configmaps"
LONG = {f"setting-{number}": "a value that many objects share" for number in range(200)}


async def fill(store: Store, count: int, **data: str) -> list[str]:
    names = [f"c{number:05}" for number in range(count)]
    for name in names:
        await store.create(CONFIG_MAP, config_map(name, **data))
    return names


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 300])
async def test_a_list_of_any_length_is_complete_and_in_order(http: httpx.AsyncClient, store: Store, count: int) -> None:
    names = await fill(store, count, a="b")
    answer = await http.get(PATH)
    assert answer.headers["content-type"] == "application/json"
    listed = answer.json()
    assert [item["metadata"]["name"] for item in listed["items"]] == names
    assert listed["metadata"]["resourceVersion"] == str(store.cache.revision)
    assert listed["kind"] == "ConfigMapList"


async def test_the_parts_of_a_long_list_that_is_read_in_pages_are_one_list(
    http: httpx.AsyncClient, store: Store
) -> None:
    names, found, token = await fill(store, 250), [], ""
    while not found or token:
        page = (await http.get(PATH, params={"limit": "100", "continue": token})).json()
        found += [item["metadata"]["name"] for item in page["items"]]
        token = page["metadata"].get("continue", "")
    assert found == names


async def test_a_long_list_is_as_it_was_when_it_was_asked_for(store: Store) -> None:
    names = await fill(store, 200)
    response = page_answer(CONFIG_MAP, await store.page(CONFIG_MAP, "default"), Form(), "Metadata")
    assert isinstance(response, StreamingResponse)
    pieces = response.body_iterator.__aiter__()
    body = bytes(await anext(pieces))
    for name in names:
        await store.delete(CONFIG_MAP, "default", name)
    async for piece in pieces:
        body += bytes(piece)
    assert [item["metadata"]["name"] for item in orjson.loads(body)["items"]] == names


async def test_a_long_list_is_never_whole_in_memory(store: Store) -> None:
    await fill(store, 1000, **LONG)
    response = page_answer(CONFIG_MAP, await store.page(CONFIG_MAP, "default"), Form(), "Metadata")
    assert isinstance(response, StreamingResponse)
    gc.collect()
    tracemalloc.start()
    total = sum([len(piece) async for piece in response.body_iterator])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total > 5_000_000
    assert peak < total / 4


async def test_a_watch_gives_a_long_initial_state_in_parts_and_what_changes_meanwhile_after_it(store: Store) -> None:
    names = await fill(store, 500)
    sizes, seen = [], []
    async with asyncio.timeout(20):
        async for deltas in store.deltas(CONFIG_MAP, "default", send_initial=True, bookmarks=True):
            if not sizes:
                await store.delete(CONFIG_MAP, "default", names[-1])
                await store.create(CONFIG_MAP, config_map("late"))
            sizes.append(len(deltas))
            seen += [(delta.type, delta.entry.key.rpartition("/")[2] if delta.entry else "") for delta in deltas]
            if seen[-1] == ("ADDED", "late"):
                break
    assert seen == [*(("ADDED", name) for name in names), ("BOOKMARK", ""), ("DELETED", names[-1]), ("ADDED", "late")]
    assert max(sizes) < 100
