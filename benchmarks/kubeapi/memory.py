"""How much memory a stored Job takes in the cache, by what the process holds before and after.

The Jobs are loaded as from a stream, key by key, and dropped by who gave them: what stays is what a hub keeps of each.
Run it with --count 1000000 too. `json_bytes` is the size of one Job as it is sent.
"""

from __future__ import annotations

import gc
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from jobs import job, memory_store, stored_jobs, type_of

from atoll.federation.bus import table
from atoll.hub.levels import Levels
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.storage import Change, Synced

_PAGE_BYTES = 4096


class _Stream:
    """A storage that gives many Jobs once; it remembers their revisions as the hub's storage does."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._levels = Levels()

    async def follow(self) -> AsyncIterator[Change | Synced]:
        """Yield the Jobs, then nothing more."""
        for revision, (key, value) in enumerate(await stored_jobs(self._count), 1):
            for change in self._levels.feed(table.Change(key, value, revision)):
                yield Change(change.key, change.value, change.revision)
        self._levels.feed(table.Synced(self._count))
        yield Synced(self._count)

    async def revision(self) -> int:
        """Return the last revision."""
        return self._count

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        """Refuse: this storage is read only."""
        raise NotImplementedError


async def measure(options: Namespace) -> dict[str, Any]:
    """Load a cache and compare."""
    store = await memory_store()
    prefix = type_of(store, job("")).prefix
    size = len(next(await stored_jobs(1))[1])
    gc.collect()
    before, begin = _resident_bytes(), time.perf_counter()
    cache = WatchCache(_Stream(options.count))
    await cache.start()
    seconds = time.perf_counter() - begin
    gc.collect()
    bucket = cache.bucket(prefix)
    loaded = _resident_bytes() - before
    bucket.keys(prefix)  # the order, which the first list makes
    listed = _resident_bytes() - before
    pause = _collection_seconds()
    await cache.close()
    return {
        "jobs": len(bucket.entries),
        "json_bytes": size,
        "bytes_per_job": round(loaded / options.count),
        "bytes_per_job_after_a_list": round(listed / options.count),
        "seconds_to_make_and_load": round(seconds, 1),
        "full_garbage_collection_ms": round(pause * 1000, 1),
    }


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


def _collection_seconds() -> float:
    begin = time.perf_counter()
    gc.collect()
    return time.perf_counter() - begin
