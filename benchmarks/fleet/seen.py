"""What a client of the hub's API sees of its Clusters, and when: a list and a watch, as kubectl does them.

Owns the newest sight of every Cluster and the first instant of each number of free GPUs. Survives a hub that is away.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

CLUSTERS = "/apis/atoll.dev/v1alpha1/clusters"
_AGAIN_SECONDS = 0.05


@dataclass(frozen=True)
class Sight:
    """One Cluster as it was seen last."""

    phase: str
    gpus: int

    @classmethod
    def of(cls, cluster: dict[str, Any]) -> Sight:
        """Read it from the API's object."""
        status = cluster.get("status", {})
        free = (status.get("inventory") or {}).get("freeGpus") or [{}]
        return cls(status.get("phase", ""), free[0].get("count", 0))


class Clusters:
    """All Clusters, as `run` sees them."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        """See nothing yet."""
        self._http = http
        self._sights: dict[str, Sight] = {}
        self._changed = asyncio.Condition()
        self.first_at: dict[tuple[str, int], float] = {}
        self.events = 0

    async def run(self) -> None:
        """Look for ever."""
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await self._watch(await self._list())
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _list(self) -> str:
        answer = orjson.loads((await self._http.get(CLUSTERS)).raise_for_status().content)
        await self._see(answer["items"])
        return str(answer["metadata"]["resourceVersion"])

    async def _watch(self, version: str) -> None:
        query = {"watch": "true", "resourceVersion": version}
        async with self._http.stream("GET", CLUSTERS, params=query, timeout=None) as answer:
            answer.raise_for_status()
            async for lines in _lines(answer):
                self.events += len(lines)
                await self._see([orjson.loads(line)["object"] for line in lines])

    async def _see(self, clusters: Collection[dict[str, Any]]) -> None:
        now = time.monotonic()
        for cluster in clusters:
            if cluster.get("kind") != "Cluster":  # the Status that ends a watch
                continue
            name, sight = cluster["metadata"]["name"], Sight.of(cluster)
            self._sights[name] = sight
            self.first_at.setdefault((name, sight.gpus), now)
        async with self._changed:
            self._changed.notify_all()

    async def until(self, names: Collection[str], claim: Callable[[Sight], bool], *, seconds: float) -> float:
        """Wait until a claim holds for all of some Clusters; give the instant at which that was seen."""
        left = set(names)
        try:
            async with asyncio.timeout(seconds), self._changed:
                while left := {name for name in left if not (name in self._sights and claim(self._sights[name]))}:
                    await self._changed.wait()
        except TimeoutError:
            some = {name: self._sights.get(name) for name in sorted(left)[:5]}
            raise SystemExit(
                f"{len(left)} of {len(names)} clusters are not there after {seconds:g} s: {some}"
            ) from None
        return time.monotonic()


async def _lines(answer: httpx.Response) -> AsyncIterator[list[bytes]]:
    """Give all whole lines that have come, at once."""
    rest = b""
    async for piece in answer.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        if lines:
            yield lines
