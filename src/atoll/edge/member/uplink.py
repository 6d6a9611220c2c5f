"""The agent's end of the bus: connects for ever, follows the orders, delivers the reports, answers calls.

Everything else in the agent works without it. It must not look into orders or reports.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import structlog

from atoll.edge.enrolment import Enrolled
from atoll.edge.member.data_credentials import DataCredentials
from atoll.edge.member.desired import POLICYSETS, RUNS, SERVICES, Orders
from atoll.edge.member.lease import SavedLease, Witness
from atoll.edge.member.recency import Recency
from atoll.edge.member.reporter import Reporter
from atoll.federation.bus.changes import Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.link import SPREAD_SECONDS, Refused
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    desired_prefix,
    observed_prefix,
    rpc_subject,
)
from atoll.federation.bus.table import Table
from atoll.federation.errors import Unavailable

log = structlog.get_logger(__name__)

Serve = Callable[[bytes], AsyncIterator[bytes]]
Answer = Callable[[bytes], Awaitable[bytes]]
Recall = Callable[[str, bytes], None]

_CONNECT_SECONDS = 10.0
_RETRY_SECONDS, _REFUSED_RETRY_SECONDS = 1.0, 15.0


@dataclass(frozen=True)
class Calls:
    """What answers the hub, by verb: by a stream of chunks, or by one message."""

    streams: Mapping[str, Serve] = field(default_factory=dict)
    answers: Mapping[str, Answer] = field(default_factory=dict)


class Uplink:
    """The connection of one cluster's agent."""

    def __init__(
        self,
        cluster: str,
        orders: Orders,
        *,
        reporter: Reporter,
        calls: Calls,
        recall: Recall,
        data_credentials: DataCredentials,
        lease: SavedLease,
        recency: Recency,
    ) -> None:
        """Work for a cluster.

        Args:
            calls: what answers the hub's calls.
            recall: takes key and report of each run that is reported already, if this agent knows of no hub yet.
            data_credentials: is told of the connection by which the hub can be asked.
            lease: is renewed by the heartbeats that were stored.
            recency: is told when the orders were read.
        """
        self._lease, self._recency = lease, recency
        self._cluster, self._orders, self._reporter = cluster, orders, reporter
        self._calls = calls
        self._recall, self._data_credentials = recall, data_credentials

    async def run(self, enrolled: Enrolled) -> None:
        """Be a member and connected until cancelled."""
        member = await enrolled.membership()
        async with enrolled.waiting(member):
            bus = await self._connect(member)
        try:
            async with self._serving(bus, member.token):
                self._data_credentials.connect(bus, member)
                async with asyncio.TaskGroup() as group:
                    group.create_task(enrolled.keep(bus, member))
                    group.create_task(self._exchange(bus, member.token))
        finally:
            self._data_credentials.connect(None, member)
            await bus.close()

    @contextlib.asynccontextmanager
    async def _serving(self, bus: Bus, token: str) -> AsyncIterator[None]:
        """Answer the hub's calls while the context is open."""
        async with contextlib.AsyncExitStack() as stack:
            for verb, serve in self._calls.streams.items():
                service = await bus.serve_many(rpc_subject(self._cluster, verb, token), serve)
                stack.push_async_callback(service.stop)
            for verb, answer in self._calls.answers.items():
                service = await bus.serve(rpc_subject(self._cluster, verb, token), answer)
                stack.push_async_callback(service.stop)
            yield

    async def _exchange(self, bus: Bus, token: str) -> None:
        desired = bus.own_table(DESIRED_STREAM, desired_prefix("cluster", self._cluster, token))
        observed = bus.own_table(OBSERVED_STREAM, observed_prefix("cluster", self._cluster, token))
        earlier = None
        if not self._orders.store.identity:
            earlier = await _snapshot(observed)
            self._recall_runs(earlier)
        # The hub's store may have been made anew while the connection was away: it is told everything again.
        with bus.on_reconnect(self._reporter.repeat_all):
            async with asyncio.TaskGroup() as group:
                group.create_task(self._orders.follow(self._recency.of(desired)))
                group.create_task(self._reporter.run(Witness(observed, self._lease)))
                group.create_task(self._sweep(observed, earlier))

    async def _connect(self, member: Membership) -> Bus:
        url, name = member.nats_url, f"agent {self._cluster}"
        while True:
            try:
                bus = await Bus.connect(
                    url, name=name, login=member.login, wait_seconds=_CONNECT_SECONDS, spread_seconds=SPREAD_SECONDS
                )
            except Refused as error:
                remedy = f"'atoll cluster join {self._cluster}' lets it in again"
                log.warning("the credentials were revoked or have ended", reason=str(error), remedy=remedy)
                await asyncio.sleep(_REFUSED_RETRY_SECONDS)
            except Unavailable as error:
                log.info("the hub cannot be reached, carrying on from the last orders", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                log.info("connected to the hub", url=url)
                return bus

    def _recall_runs(self, earlier: Mapping[str, bytes]) -> None:
        for key, value in earlier.items():
            if key.startswith(f"{RUNS}/"):
                self._recall(key.removeprefix(f"{RUNS}/"), value)

    async def _sweep(self, observed: Table, earlier: Mapping[str, bytes] | None) -> None:
        """Withdraw what an earlier life of this agent reported about orders that have ended meanwhile.

        Args:
            earlier: what was reported, if that was read already: a read costs NATS a consumer.
        """
        await self._orders.has_synced.wait()
        for key in earlier if earlier is not None else await _snapshot(observed):
            kind, _, rest = key.partition("/")
            if kind in (RUNS, POLICYSETS, SERVICES) and not self._orders.has(kind, rest):
                self._reporter.forget(key)


async def _snapshot(table: Table) -> dict[str, bytes]:
    """Read all keys as they are now."""
    found: dict[str, bytes] = {}
    async with contextlib.aclosing(table.follow()) as items:  # type: ignore[type-var]  # an async generator
        async for item in items:
            if isinstance(item, Synced):
                break
            if item.value is not None:
                found[item.key] = item.value
    return found
