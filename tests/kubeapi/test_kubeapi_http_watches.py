"""Watches over HTTP: streams of JSON lines that begin, end and fail as clients expect."""

import asyncio
import json
from typing import Any

import httpx

from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from kubeapi.kinds import WIDGET, widget

WIDGETS = "/apis/example.dev/v1/namespaces/default/widgets"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


async def lines(http: httpx.AsyncClient, path: str, count: int) -> list[dict[str, Any]]:
    """Return the first events of a watch."""
    events: list[dict[str, Any]] = []
    async with http.stream("GET", path) as stream:
        async for line in stream.aiter_lines():
            events.append(json.loads(line))
            if len(events) == count:
                break
    return events


async def test_a_watch_streams_events_and_ends_after_its_timeout(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    events = await lines(http, f"{WIDGETS}?watch=1&timeoutSeconds=1", 99)
    assert [(event["type"], event["object"]["metadata"]["name"]) for event in events] == [("ADDED", "one")]


async def test_a_watch_of_one_object_sees_only_it(http: httpx.AsyncClient, store: Store) -> None:
    for name in ("one", "two"):
        await store.create(WIDGET, widget(name))
    events = await lines(http, f"{WIDGETS}/two?watch=true&timeoutSeconds=1", 99)
    assert [event["object"]["metadata"]["name"] for event in events] == ["two"]


async def test_a_watch_from_a_forgotten_version_streams_an_error(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    bucket = store.cache.bucket(WIDGET.prefix)
    bucket.floor = 2
    events = await lines(http, f"{WIDGETS}?watch=1&resourceVersion=1", 1)
    assert events[0]["type"] == "ERROR"
    assert (events[0]["object"]["code"], events[0]["object"]["reason"]) == (410, "Expired")


async def test_a_watch_of_tables_sends_a_table_for_each_event(http: httpx.AsyncClient, store: Store) -> None:
    await store.create(WIDGET, widget("one"))
    async with http.stream("GET", f"{WIDGETS}?watch=1&timeoutSeconds=5", headers={"accept": TABLE}) as stream:
        incoming = stream.aiter_lines()
        first = json.loads(await anext(incoming))
        await store.patch(WIDGET, "default", "one", Patch("merge", {"spec": {"size": 7}}))
        second = json.loads(await anext(incoming))
    assert [event["object"]["rows"][0]["cells"][1] for event in (first, second)] == [3, 7]


async def test_a_watcher_that_leaves_is_forgotten(http: httpx.AsyncClient, store: Store) -> None:
    before = len(asyncio.all_tasks())
    async with http.stream("GET", f"{WIDGETS}?watch=1") as stream:
        await store.create(WIDGET, widget("one"))
        await anext(stream.aiter_lines())
    async with asyncio.timeout(10):
        while len(asyncio.all_tasks()) > before + 1:
            await asyncio.sleep(0.02)
