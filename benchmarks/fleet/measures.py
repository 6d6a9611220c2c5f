"""The measures of one federation: joins, rest, changes of capacity, restarts, and a queue that waits.

Each waits on what a client of the API sees, and counts the CPU time of processes beside the time that passes.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

import httpx
import stored
from crowd import Crowd
from hub_and_nats import Federation, Usage
from seen import Clusters

_WAIT_SECONDS = 180.0
_RECONCILES = "atoll_controller_reconciles_total{"
Result = dict[str, float]


@dataclass
class Measures:
    """One federation under measurement."""

    federation: Federation
    crowd: Crowd
    clusters: Clusters
    http: httpx.AsyncClient
    # How long the hub is looked at before it is said to have settled, and agents have to tell of a change.
    quiet_seconds: float = 2.0
    _gpus: itertools.count[int] = field(default_factory=lambda: itertools.count(1000))

    async def joins(self, count: int) -> Result:
        """Let clusters come in: from the first request of an administrator until the last is seen Ready."""
        began, usage, agents = time.monotonic(), self._usage(), self.crowd.cpu_seconds()
        new = await self.crowd.join(self.http, count)
        ready_at = await self.clusters.until(new, lambda sight: sight.phase == "Ready", seconds=_WAIT_SECONDS)
        enrolled_at = max(self.crowd.enrolled_at[name] for name in new)
        spent = self._spent(usage)
        return {
            "clusters": count,
            "joins_per_second": round(count / (ready_at - began), 1),
            "enrolments_per_second": round(count / (enrolled_at - began), 1),
            # If hub and nats-server had a core each, and agents were elsewhere.
            "joins_per_second_by_cpu": round(count / max(spent.values()), 1),
            "hub_cpu_ms_per_join": round(1000 * spent["hub"] / count, 1),
            "nats_cpu_ms_per_join": round(1000 * spent["nats"] / count, 1),
            "agent_cpu_ms_per_join": round(1000 * (self.crowd.cpu_seconds() - agents) / count, 1),
        }

    async def rest(self, seconds: float) -> Result:
        """Do nothing but hear heartbeats."""
        await self.settled()
        before, events, began = self._usage(), self.clusters.events, time.monotonic()
        await asyncio.sleep(seconds)
        passed, spent, count = time.monotonic() - began, self._spent(before), len(self.crowd.names)
        return {
            "clusters": count,
            "hub_cores": round(spent["hub"] / passed, 3),
            "hub_millicores_per_cluster": round(1000 * spent["hub"] / passed / count, 2),
            "hub_rss_mb": round(self.federation.hub.usage().rss_mb, 1),
            "nats_cores": round(spent["nats"] / passed, 3),
            "nats_rss_mb": round(self.federation.nats.usage().rss_mb, 1),
            "writes_per_second": round((self.clusters.events - events) / passed, 1),
        }

    async def changes(self, count: int, *, per_second: float) -> Result:
        """Change single clusters' capacity, one after the other; measure until a watcher of the API sees it."""
        gpus, names = next(self._gpus), self._some(count)
        before, began = self._usage(), time.monotonic()
        await self.crowd.change(names, gpus=gpus, pause=self.crowd.processes / per_second)
        end = await self.clusters.until(names, lambda sight: sight.gpus == gpus, seconds=_WAIT_SECONDS)
        times = [self.clusters.first_at[name, gpus] - self.crowd.changed_at[name, gpus] for name in names]
        cuts = quantiles(times, n=100, method="inclusive")
        return {
            "clusters": len(self.crowd.names),
            "changes": len(names),
            "p50_seconds": round(cuts[49], 3),
            "p99_seconds": round(cuts[98], 3),
            "hub_cores": round(self._spent(before)["hub"] / (end - began), 3),
        }

    async def hub_restart(self) -> Result:
        """Kill the hub, change every cluster meanwhile, start it again: until all is seen as it is now."""
        self.federation.hub.kill()
        gpus = await self._all_change()
        began = time.monotonic()
        await self.federation.start_hub()
        ready = time.monotonic() - began
        served_at = await self._all_true(gpus)
        return {
            "ready_seconds": round(ready, 2),
            "serving_seconds": round(served_at - began, 2),
            "hub_cpu_seconds": round(self.federation.hub.usage().cpu_seconds, 2),
            "hub_rss_mb": round(self.federation.hub.usage().rss_mb, 1),
        }

    async def nats_restart(self) -> Result:
        """Kill nats-server, change every cluster meanwhile, start it again: until all is seen as it is now."""
        self.federation.nats.kill()
        gpus = await self._all_change()
        before = self._usage(hub_only=True)
        await self.federation.start_nats()
        began = time.monotonic()
        served_at = await self._all_true(gpus)
        made = await self.federation.connections_made()
        return {
            "proven_seconds": round(served_at - began, 2),
            "connections_per_agent": round(made / len(self.crowd.names), 2),
            "hub_cpu_seconds": round(self.federation.hub.usage().cpu_seconds - before["hub"].cpu_seconds, 2),
            "nats_cpu_seconds": round(self.federation.nats.usage().cpu_seconds, 2),
        }

    async def _all_change(self) -> int:
        gpus = next(self._gpus)
        await self.crowd.change(self.crowd.names, gpus=gpus)
        await asyncio.sleep(self.quiet_seconds)  # the agents have told it, or keep it until they can
        return gpus

    async def _all_true(self, gpus: int) -> float:
        return await self.clusters.until(
            self.crowd.names, lambda sight: sight == type(sight)("Ready", gpus), seconds=_WAIT_SECONDS
        )

    async def fill(self, count: int) -> None:
        """Store objects of a hub that has worked for a while, while none runs; let it see them once."""
        for parent in stored.parents(self.crowd.names[0]):
            await self.create(parent)
        self.federation.hub.stop()
        bus = await self.federation.own_bus()
        await stored.fill(bus, count, self.crowd.names)
        await bus.close()
        await self.federation.start_hub()
        await self.settled()

    async def queue(self, count: int) -> None:
        """Submit Jobs that no cluster can start."""
        for number in range(count):
            await self.create(stored.job(f"waits-{number}", gpus=64))

    async def create(self, obj: dict[str, Any]) -> None:
        """Create an object that may be there already."""
        plural = {"Namespace": "namespaces", "Queue": "queues", "Job": "jobs", "Cluster": "clusters"}[obj["kind"]]
        namespace = obj["metadata"].get("namespace")
        prefix = f"/apis/{obj['apiVersion']}" if "/" in obj["apiVersion"] else f"/api/{obj['apiVersion']}"
        path = f"{prefix}/namespaces/{namespace}/{plural}" if namespace else f"{prefix}/{plural}"
        answer = await self.http.post(path, json=obj)
        if answer.status_code != httpx.codes.CONFLICT:  # it is there
            answer.raise_for_status()

    async def settled(self) -> None:
        """Wait until the hub has done what there was to do: it reconciles no more than heartbeats make it."""
        quiet = self.quiet_seconds * (20 + len(self.crowd.names) / 2)
        before = None
        async with asyncio.timeout(_WAIT_SECONDS):
            while (now := await self._reconciles()) is None or before is None or now - before > quiet:
                before = now
                await asyncio.sleep(self.quiet_seconds)

    async def _reconciles(self) -> float | None:
        """Count the reconciles of a hub that leads; None if it does not yet."""
        lines = (await self.http.get("/metrics")).raise_for_status().text.splitlines()
        if "atoll_hub_leader 1.0" not in lines:
            return None
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_RECONCILES))

    def _some(self, count: int) -> Sequence[str]:
        step = max(1, len(self.crowd.names) // count)
        return self.crowd.names[::step][:count]

    def _usage(self, *, hub_only: bool = False) -> dict[str, Usage]:
        usage = {"hub": self.federation.hub.usage()}
        return usage if hub_only else usage | {"nats": self.federation.nats.usage()}

    def _spent(self, before: dict[str, Usage]) -> dict[str, float]:
        now = self._usage()
        return {name: now[name].cpu_seconds - usage.cpu_seconds for name, usage in before.items()}


def medians(results: Sequence[Result]) -> Result:
    """Give the median of each figure of repeats."""
    return {name: round(median(result[name] for result in results), 3) for name in results[0]}
