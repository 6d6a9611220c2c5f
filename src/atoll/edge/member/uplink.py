"""The agent's end of the bus: connects for ever, follows the orders, delivers the reports, answers calls.

Everything else in the agent works without it. It must not look into orders or reports.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import structlog

from atoll.edge.member.desired import POLICYSETS, RUNS, SERVICES, Orders
from atoll.edge.member.reporter import Reporter
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    desired_prefix,
    observed_prefix,
    rpc_subject,
)
from atoll.federation.bus.table import Synced, Table
from atoll.federation.errors import Unavailable

log = structlog.get_logger(__name__)

Serve = Callable[[bytes], AsyncIterator[bytes]]
Recall = Callable[[str, bytes], None]

_CONNECT_SECONDS = 10.0
_RETRY_SECONDS = 1.0


class Uplink:
    """The connection of one cluster's agent."""

    def __init__(self, cluster: str, orders: Orders, *, reporter: Reporter, logs: Serve, recall: Recall) -> None:
        """Work for a cluster.

        Args:
            logs: answers the `logs` calls.
            recall: takes key and report of each run that is reported already, if this agent knows of no hub yet.
        """
        self._cluster, self._orders, self._reporter = cluster, orders, reporter
        self._logs, self._recall = logs, recall

    async def run(self, nats_url: str) -> None:
        """Be connected until cancelled."""
        bus = await self._connect(nats_url)
        try:
            service = await bus.serve_many(rpc_subject(self._cluster, "logs"), self._logs)
            try:
                await self._exchange(bus)
            finally:
                await service.stop()
        finally:
            await bus.close()

    async def _exchange(self, bus: Bus) -> None:
        desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", self._cluster))
        observed = bus.table(OBSERVED_STREAM, observed_prefix("cluster", self._cluster))
        if not self._orders.store.identity:
            await self._recall_runs(observed)
        # The hub's store may have been made anew while the connection was away: it is told everything again.
        with bus.on_reconnect(self._reporter.repeat_all):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._orders.follow(desired))
                group.create_task(self._reporter.run(observed))
                group.create_task(self._sweep(observed))

    async def _connect(self, url: str) -> Bus:
        while True:
            try:
                bus = await Bus.connect(url, name=f"agent {self._cluster}", wait_seconds=_CONNECT_SECONDS)
            except Unavailable as error:
                log.info("the hub cannot be reached, carrying on from the last orders", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                log.info("connected to the hub", url=url)
                return bus

    async def _recall_runs(self, observed: Table) -> None:
        for key, value in (await _snapshot(observed, RUNS)).items():
            self._recall(key.removeprefix(f"{RUNS}/"), value)

    async def _sweep(self, observed: Table) -> None:
        """Withdraw what an earlier life of this agent reported about orders that have ended meanwhile."""
        await self._orders.has_synced.wait()
        for kind in (RUNS, POLICYSETS, SERVICES):
            for key in await _snapshot(observed, kind):
                if not self._orders.has(kind, key.removeprefix(f"{kind}/")):
                    self._reporter.forget(key)


async def _snapshot(table: Table, under: str) -> dict[str, bytes]:
    """Read all keys below one key as they are now."""
    found: dict[str, bytes] = {}
    async with contextlib.aclosing(table.follow(under)) as items:  # type: ignore[type-var]  # an async generator
        async for item in items:
            if isinstance(item, Synced):
                break
            if item.value is not None:
                found[item.key] = item.value
    return found
