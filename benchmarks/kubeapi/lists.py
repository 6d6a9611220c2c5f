"""How long a list of ten thousand Jobs takes, beside encoding the same objects with orjson.dumps.

`answer` is what the server computes for a list (in this process, from the cache to the bytes of the body), `over_http`
the whole request to a hub, and `naive` orjson.dumps of the objects as a cache of decoded objects would hold them.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from statistics import median
from typing import Any

import orjson
import servers
from client import Connection, Server
from jobs import NAMESPACE, job, memory_store, stored_jobs, type_of
from starlette.responses import StreamingResponse

from atoll.federation.bus.connection import Bus
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.http.answers import page_answer
from atoll.kubeapi.http.negotiation import Form

_PATH = f"/apis/atoll.dev/v1alpha1/namespaces/{NAMESPACE}/jobs"


async def measure(options: Namespace) -> dict[str, Any]:
    """Measure in this process and over HTTP."""
    results = {"jobs": options.count, "repeats": options.repeats, **await _in_process(options)}
    with servers.folder() as home:
        with servers.nats(home) as (url, pid):
            await fill(url, options.count)
            async with servers.hub(home, url, beside=(pid,)) as server:
                results["hub_ms"] = await _over_http(server, options)
        async with servers.kube(home) as real:
            if real is not None:
                await servers.prepare(real)
                await _create(real, options.count)
                results["kube_apiserver_ms"] = await _over_http(real, options)
    results["naive_divided_by_answer"] = round(results["naive_ms"] / results["answer_ms"], 2)
    return results


async def fill(url: str, count: int) -> None:
    """Store Jobs in a hub's stream, past its API."""
    bus = await Bus.connect(url, name="bench")
    storage = await JetStreamStorage.open(bus)
    pairs = await stored_jobs(count)

    async def work() -> None:
        for key, value in pairs:
            await storage.write(key, value, expected=0)

    await asyncio.gather(*(work() for _ in range(200)))
    await bus.close()


async def _in_process(options: Namespace) -> dict[str, float]:
    store = await memory_store()
    rt = type_of(store, job(""))
    bucket = store.cache.bucket(rt.prefix)
    for revision, (key, value) in enumerate(await stored_jobs(options.count), store.cache.revision + 1):
        bucket.place(key, bucket.entry(key, revision, value))

    async def answer() -> int:
        response = page_answer(rt, await store.page(rt, NAMESPACE), Form(), "Metadata")
        if isinstance(response, StreamingResponse):
            return sum([len(piece) async for piece in response.body_iterator])
        return len(response.body)

    objects = (await store.list(rt, NAMESPACE)).items

    async def naive() -> int:
        return len(orjson.dumps({"kind": "JobList", "items": objects}))

    results = {
        "answer_ms": await _median_ms(answer, options.repeats),
        "naive_ms": await _median_ms(naive, options.repeats),
        "megabytes": round(await answer() / 1e6, 1),
    }
    await store.close()
    return results


async def _over_http(server: Server, options: Namespace) -> float:
    connection = await Connection.open(server)
    found = orjson.loads(await connection.request("GET", _PATH))
    assert len(found["items"]) == options.count

    async def request() -> None:
        await connection.request("GET", _PATH)

    milliseconds = await _median_ms(request, options.repeats)
    connection.close()
    return milliseconds


async def _create(server: Server, count: int) -> None:
    numbers = iter(range(count))

    async def work() -> None:
        connection = await Connection.open(server)
        for number in numbers:
            await connection.request("POST", _PATH, job(f"picks-{number:07}"))
        connection.close()

    await asyncio.gather(*(work() for _ in range(32)))


async def _median_ms(work: Callable[[], Awaitable[object]], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        await work()
        seconds.append(time.perf_counter() - begin)
    return round(median(seconds) * 1000, 2)
