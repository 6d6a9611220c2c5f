"""When cycles run: soon after something changed, never too often, and now and then in any case."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import structlog

from atoll.federation.errors import AtollError
from atoll.hub.scheduler.apply import Applied, Writer, apply_plan
from atoll.hub.scheduler.cycle import CyclePlan, plan_cycle
from atoll.hub.scheduler.demands import Demands
from atoll.hub.scheduler.news import MOST_TOLD, News
from atoll.hub.scheduler.snapshot import Inventories, Reader, Snapshot, by_status, take_snapshot

log = structlog.get_logger(__name__)


class Objects(Reader, Writer, Protocol):
    """Reads and writes typed objects; the hub's Client is one."""


class SchedulerLoop:
    """Runs scheduling cycles until cancelled. Only the leading hub may run one.

    Args:
        client: the hub's objects.
        clock: gives the present as an aware datetime.
        inventories: gives what agents reported; without it, what clusters' statuses say is all that is known.
        pause_seconds: least time between two cycles. Shorter: changes that come together are looked at one by one.
            Longer: each job waits that much more. After a cycle that took longer, the pause is as long as it was.
        period_seconds: a cycle runs at least this often. Expected ends of runs pass without any change that would wake.
    """

    def __init__(
        self,
        client: Objects,
        *,
        clock: Callable[[], datetime],
        inventories: Inventories = by_status,
        pause_seconds: float = 0.05,
        period_seconds: float = 5.0,
    ) -> None:
        self._client, self._clock, self._inventories = client, clock, inventories
        self._pause_seconds, self._period_seconds = pause_seconds, period_seconds
        self._demands, self._news = Demands(), News()
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Ask for a cycle: a job, run, cluster, queue or dataset has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Run cycles for ever. A failed cycle is logged and the next one starts from what is then stored."""
        while True:
            self._woken.clear()
            began = time.monotonic()
            try:
                await self.cycle()
            except AtollError as error:
                log.warning("A scheduling cycle failed.", reason=error.reason, error=str(error))
            await asyncio.sleep(max(self._pause_seconds, time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._woken.wait()

    async def cycle(self) -> Applied:
        """Run one cycle: snapshot, decide, write.

        Raises:
            Unavailable: the store could not be read or written; retryable.
        """
        snapshot = await take_snapshot(self._client, self._clock(), self._inventories)
        # In a thread, since leadership must be renewed meanwhile; the snapshot is frozen, so nothing changes under it.
        plan = await asyncio.to_thread(self._plan, snapshot)
        if len(plan.waiting) > MOST_TOLD:
            plan = replace(plan, waiting=plan.waiting[:MOST_TOLD])
            self.wake()
        return await apply_plan(plan, self._client)

    def _plan(self, snapshot: Snapshot) -> CyclePlan:
        """Decide, and leave out the jobs whose statuses say already why they wait."""
        plan = plan_cycle(snapshot, self._demands)
        return replace(plan, waiting=self._news.of(plan.waiting))
