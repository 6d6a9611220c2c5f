"""When cycles run: soon after something changed, never too often, and now and then in any case."""

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

import structlog

from atoll.federation.errors import AtollError
from atoll.hub.scheduler.apply import Applied, Writer, apply_plan
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.snapshot import Reader, take_snapshot

log = structlog.get_logger(__name__)


class Objects(Reader, Writer, Protocol):
    """Reads and writes typed objects; the hub's Client is one."""


class SchedulerLoop:
    """Runs scheduling cycles until cancelled. Only the leading hub may run one.

    Args:
        client: the hub's objects.
        clock: gives the present as an aware datetime.
        pause_seconds: least time between two cycles. Shorter: changes that come together are looked at one by one.
            Longer: each job waits that much more.
        period_seconds: a cycle runs at least this often. Expected ends of runs pass without any change that would wake.
    """

    def __init__(
        self,
        client: Objects,
        *,
        clock: Callable[[], datetime],
        pause_seconds: float = 0.05,
        period_seconds: float = 5.0,
    ) -> None:
        self._client, self._clock = client, clock
        self._pause_seconds, self._period_seconds = pause_seconds, period_seconds
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Ask for a cycle: a job, run, cluster, queue or dataset has changed."""
        self._woken.set()

    async def run(self) -> None:
        """Run cycles for ever. A failed cycle is logged and the next one starts from what is then stored."""
        while True:
            self._woken.clear()
            try:
                await self.cycle()
            except AtollError as error:
                log.warning("A scheduling cycle failed.", reason=error.reason, error=str(error))
            await asyncio.sleep(self._pause_seconds)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._woken.wait()

    async def cycle(self) -> Applied:
        """Run one cycle: snapshot, decide, write.

        Raises:
            Unavailable: the store could not be read or written; retryable.
        """
        snapshot = await take_snapshot(self._client, self._clock())
        return await apply_plan(plan_cycle(snapshot), self._client)
