"""How many Jobs a second are created durably by 32 clients over HTTP, and what bounds it.

Two hubs only serve, as every replica does that does not lead: this process holds their lease. A third one leads, so it
also decides about each Job and tells why it waits. Beside them: the same API in memory (what the CPU allows), durable
writes one after another (what a sync to disk per object would allow), the grouped writes of the storage alone, and
kube-apiserver with etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import servers
from client import Connection, Server
from jobs import NAMESPACE, job, stored_jobs

from atoll.federation.bus.batches import GroupedWrites
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.table import Write

_LEADER = "hub that leads, http"
# A scheduling cycle looks at every Job that waits, and here none is ever placed.
_FEWER = 10
_PATH = f"/apis/atoll.dev/v1alpha1/namespaces/{NAMESPACE}/jobs"


async def measure(options: Namespace) -> dict[str, Any]:
    """Run all of it `repeats` times in turn; give medians."""
    rates: dict[str, list[float]] = {}
    cpu: dict[str, list[float]] = {}
    with servers.folder() as home:
        async with _all(home) as running:
            for repeat in range(options.repeats):
                for server in running:
                    count = options.count // (_FEWER if server.name == _LEADER else 1)
                    seconds, used = await _over_http(
                        server, options.clients, range(repeat * count, (repeat + 1) * count)
                    )
                    rates.setdefault(server.name, []).append(count / seconds)
                    cpu.setdefault(server.name, []).append(used / count * 1000)
        for name, values in (await _storage_alone(home, options)).items():
            rates[name] = values
    middle = {name: round(median(values), 1) for name, values in rates.items()}
    return {
        "clients": options.clients,
        "jobs": options.count,
        "repeats": options.repeats,
        "per_second": middle,
        "cpu_ms_per_create": {name: round(median(values), 3) for name, values in cpu.items()},
        "times_one_after_another": {
            name: round(value / middle["one after another"], 2) for name, value in middle.items()
        },
    }


@contextlib.asynccontextmanager
async def _all(home: Path) -> AsyncIterator[list[Server]]:
    async with contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(servers.memory(home))]
        for name, with_tls in (("hub, http", False), ("hub, https", True), (_LEADER, False)):
            place = home / name.replace(", ", "-").replace(" ", "-")
            place.mkdir()
            url, pid = stack.enter_context(servers.nats(place))
            if name != _LEADER:
                await stack.enter_async_context(servers.held_lease(url))
            hub = await stack.enter_async_context(servers.hub(place, url, with_tls=with_tls, beside=(pid,)))
            running.append(replace(hub, name=name))
        real = await stack.enter_async_context(servers.kube(home))
        running += [real] if real else []
        for server in running:
            await servers.prepare(server)
        yield running


async def _over_http(server: Server, clients: int, wanted: Iterable[int]) -> tuple[float, float]:
    """Create Jobs; give the seconds that it took and the CPU seconds that the server used."""
    connections = [await Connection.open(server) for _ in range(clients)]
    numbers = iter(wanted)

    async def work(connection: Connection) -> None:
        for number in numbers:
            await connection.request("POST", _PATH, job(f"bench-{number}"))

    begin, used = time.perf_counter(), server.cpu_seconds()
    await asyncio.gather(*(work(connection) for connection in connections))
    seconds, used = time.perf_counter() - begin, server.cpu_seconds() - used
    for connection in connections:
        connection.close()
    return seconds, used


async def _storage_alone(home: Path, options: Namespace) -> dict[str, list[float]]:
    """Write the same bytes without an API: one after another, and by as many writers as there are clients."""
    values = [value for _, value in await stored_jobs(options.count, finished=False)]
    rates: dict[str, list[float]] = {"one after another": [], "grouped": []}
    place = home / "alone"
    place.mkdir()
    with servers.nats(place) as (url, _):
        bus = await Bus.connect(url, name="bench")
        await bus.ensure_table("STATE", "state", history=16, is_hubs_own=True)
        table = bus.table("STATE", "state")
        grouped = GroupedWrites(bus, table)
        for repeat in range(options.repeats):
            few = values[: max(1, options.count // 5)]
            begin = time.perf_counter()
            for number, value in enumerate(few):
                await table.write(Write(f"one{repeat}/{number}", value, 0))
            rates["one after another"].append(len(few) / (time.perf_counter() - begin))
            begin = time.perf_counter()
            rest = iter(enumerate(values))

            async def work(rest: Any, repeat: int) -> None:
                for number, value in rest:
                    await grouped.write(Write(f"many{repeat}/{number}", value, 0))

            await asyncio.gather(*(work(rest, repeat) for _ in range(options.clients)))
            rates["grouped"].append(options.count / (time.perf_counter() - begin))
        await bus.close()
    return rates
