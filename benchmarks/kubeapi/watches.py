"""How soon a thousand watchers know of one change: from the moment that a client sends it until each has its event.

The watchers are connections of this process, which reads them on the same machine: its share is in the figures.
"""

from __future__ import annotations

import asyncio
import time
from argparse import Namespace
from collections.abc import Sequence
from statistics import median, quantiles
from typing import Any

import orjson
import servers
from client import Connection, Server
from jobs import NAMESPACE, job

_PATH = f"/apis/atoll.dev/v1alpha1/namespaces/{NAMESPACE}/jobs"


class Watchers:
    """Many watches of the same Jobs, and when each of them last had an event."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self._connections: list[Connection] = []
        self._arrivals: list[float] = []
        self._complete = asyncio.Event()

    async def begin(self, server: Server, count: int) -> None:
        """Open the watches, some at a time: a listening socket takes only so many at once."""
        listed = orjson.loads(await (await Connection.open(server)).request("GET", _PATH))
        path = f"{_PATH}?watch=1&resourceVersion={listed['metadata']['resourceVersion']}"
        while len(self._connections) < count:
            some = min(100, count - len(self._connections))
            opened = await asyncio.gather(*(Connection.open(server) for _ in range(some)))
            for connection in opened:
                connection.begin(path, self._arrived)
            self._connections += opened
        await asyncio.sleep(2)  # until the last of them is registered

    def _arrived(self, _piece: bytes) -> None:
        self._arrivals.append(time.perf_counter())
        if len(self._arrivals) == len(self._connections):
            self._complete.set()

    async def after(self, server: Server, number: int) -> list[float]:
        """Change a Job; give the seconds that each watcher waited for it."""
        self._arrivals, self._complete = [], asyncio.Event()
        connection = await Connection.open(server)
        patch = {"metadata": {"labels": {"bench": str(number)}}}
        begin = time.perf_counter()
        await connection.request("PATCH", f"{_PATH}/watched", patch, media_type="application/merge-patch+json")
        await asyncio.wait_for(self._complete.wait(), 30)
        connection.close()
        await asyncio.sleep(0.1)
        return [arrival - begin for arrival in self._arrivals]

    def close(self) -> None:
        """End all watches."""
        for connection in self._connections:
            connection.close()


async def measure(options: Namespace) -> dict[str, Any]:
    """Measure a hub without and with TLS, and kube-apiserver if it is there."""
    results: dict[str, Any] = {"watchers": options.watchers, "changes": options.changes}
    with servers.folder() as home:
        for with_tls in (False, True):
            place = home / f"tls-{with_tls}"
            place.mkdir()
            with servers.nats(place) as (url, pid):
                async with servers.hub(place, url, with_tls=with_tls, beside=(pid,)) as server:
                    results[server.name] = await _measure(server, options)
        async with servers.kube(home) as real:
            if real is not None:
                results[real.name] = await _measure(real, options)
    return results


async def _measure(server: Server, options: Namespace) -> dict[str, float]:
    await servers.prepare(server)
    await (await Connection.open(server)).request("POST", _PATH, job("watched"))
    watchers = Watchers()
    await watchers.begin(server, options.watchers)
    used = server.cpu_seconds()
    waits = [sorted(await watchers.after(server, number)) for number in range(options.changes)]
    used = server.cpu_seconds() - used
    watchers.close()
    return {
        "p50_ms": _middle(waits, 50),
        "p99_ms": _middle(waits, 99),
        "first_ms": round(median(one[0] for one in waits) * 1000, 2),
        "cpu_us_per_event": round(used / options.changes / options.watchers * 1e6, 1),
    }


def _middle(waits: Sequence[Sequence[float]], percent: int) -> float:
    """Return the median over the changes of a percentile over the watchers, in milliseconds."""
    return round(median(quantiles(one, n=100)[percent - 1] for one in waits) * 1000, 2)
