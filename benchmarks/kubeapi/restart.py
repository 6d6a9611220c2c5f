"""How long a hub that is started on a full store takes until it serves, beside bare reading of the same stream.

`ready` is from the start of the process until /readyz says yes, `empty` the same on an empty store (imports, streams,
listening), `load` the cache alone, and `bare` reading the stream's messages through nats-py without keeping them. This
process holds the hubs' lease: what a leader does with the Jobs next is not in the figures. CPU seconds are those of the
one Python process that reads; on a machine with other work they say more than the time that passes.
"""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import servers
from lists import fill

from atoll.federation.bus.changes import Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import STATE_PREFIX, STATE_STREAM
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.cache import WatchCache


async def measure(options: Namespace) -> dict[str, Any]:
    """Measure on one store, and on an empty one."""
    taken: dict[str, list[_Taken]] = {name: [] for name in ("ready", "empty", "load", "bare")}
    with servers.folder() as home:
        full, empty = home / "full", home / "empty"
        full.mkdir()
        empty.mkdir()
        with servers.nats(full) as (url, _), servers.nats(empty) as (empty_url, _):
            await fill(url, options.count)
            for _ in range(options.repeats):
                taken["ready"].append(await _until_ready(full, url))
                taken["empty"].append(await _until_ready(empty, empty_url))
                taken["load"].append(await _load(url))
                taken["bare"].append(await _bare(url))
    passed = {f"{name}_seconds": round(median(one.seconds for one in all_), 2) for name, all_ in taken.items()}
    cpu = {f"{name}_cpu_seconds": round(median(one.cpu_seconds for one in all_), 2) for name, all_ in taken.items()}
    ratio = round(cpu["load_cpu_seconds"] / cpu["bare_cpu_seconds"], 2)
    return {"jobs": options.count, "repeats": options.repeats, **passed, **cpu, "load_divided_by_bare": ratio}


class _Taken(NamedTuple):
    seconds: float
    cpu_seconds: float

    @classmethod
    def now(cls) -> _Taken:
        return cls(time.perf_counter(), time.process_time())

    def since(self) -> _Taken:
        """Return what has passed."""
        return _Taken(time.perf_counter() - self.seconds, time.process_time() - self.cpu_seconds)


async def _until_ready(home: Path, url: str) -> _Taken:
    async with servers.held_lease(url):
        begin = time.perf_counter()
        async with servers.hub(home, url) as server:
            return _Taken(time.perf_counter() - begin, server.cpu_seconds())


async def _load(url: str) -> _Taken:
    bus = await Bus.connect(url, name="bench")
    cache = WatchCache(await JetStreamStorage.open(bus))
    begin = _Taken.now()
    await cache.start()
    taken = begin.since()
    await cache.close()
    await bus.close()
    return taken


async def _bare(url: str) -> _Taken:
    bus = await Bus.connect(url, name="bench")
    begin = _Taken.now()
    async for item in bus.table(STATE_STREAM, STATE_PREFIX).follow():
        if isinstance(item, Synced):
            break
    taken = begin.since()
    await bus.close()
    return taken
