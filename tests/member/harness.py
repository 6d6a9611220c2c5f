"""The hub's side of the bus, and an agent in this process."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import pytest

from atoll.edge.member.main import run
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.changes import Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import DESIRED_STREAM, OBSERVED_STREAM, desired_prefix, observed_prefix
from member.world import eventually

M = TypeVar("M", bound=Message)
CLUSTER = "onprem-gpu"
# For tests that need no controller and no kubelet: the agent cannot tell which API server it talks to.
on_any_cluster = pytest.mark.parametrize(
    "cluster", ["simulated", pytest.param("real", marks=pytest.mark.real_kube)], indirect=True
)


@dataclass
class HubSide:
    """What the hub would do: give orders, read reports."""

    bus: Bus

    async def order(self, key: str, message: Message) -> None:
        await self.bus.table(DESIRED_STREAM, desired_prefix("cluster", CLUSTER)).put(key, message.encode())

    async def withdraw(self, key: str) -> None:
        await self.bus.table(DESIRED_STREAM, desired_prefix("cluster", CLUSTER)).delete(key)

    async def withdraw_reports(self) -> None:
        """Forget every run that was ever reported."""
        observed = self.bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER))
        async for item in observed.follow("run"):
            if isinstance(item, Synced):
                return
            await observed.delete(item.key)

    async def report(self, key: str, model: type[M]) -> M | None:
        change = await self.bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER)).get(key)
        return model.decode(change.value) if change and change.value else None

    async def reported(
        self, key: str, model: type[M], is_it: Callable[[M], Any] = bool, *, within_seconds: float = 15.0
    ) -> M:
        """Wait for a report that satisfies a predicate."""
        last: M | None = None

        async def look() -> M | None:
            nonlocal last
            last = await self.report(key, model)
            return last if last is not None and is_it(last) else None

        try:
            return await eventually(look, within_seconds=within_seconds)  # type: ignore[no-any-return]
        except AssertionError:
            raise AssertionError(f"the report of {key} never was as expected; last: {last!r}") from None

    async def gone(self, key: str) -> None:
        async def look() -> bool:
            return await self.bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER)).get(key) is None

        await eventually(look)


@contextlib.asynccontextmanager
async def running_agent(settings: MemberSettings) -> AsyncIterator[None]:
    """An agent in this process for the time of a block."""
    task = asyncio.create_task(run(settings))
    try:
        yield
        if task.done():
            task.result()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
