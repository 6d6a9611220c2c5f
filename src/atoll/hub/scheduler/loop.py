"""When cycles run: soon after something changed, never too often, and now and then in any case."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from atoll.federation.errors import AtollError
from atoll.federation.estimates import NOTHING_LEARNED, Estimates
from atoll.hub.parsing import Unreadable
from atoll.hub.scheduler.apply import Applied, Writer, apply_plan
from atoll.hub.scheduler.cycle import Memory, run_cycle
from atoll.hub.scheduler.feed import Feed, Following
from atoll.hub.scheduler.growth import Grower, grow_arrays
from atoll.hub.scheduler.outcome import CyclePlan
from atoll.hub.scheduler.snapshot import (
    Inventories,
    Reader,
    Reported,
    Snapshot,
    Spent,
    by_status,
    nothing_charged,
    take_snapshot,
    with_surroundings,
)
from atoll.hub.scheduler.telling import Telling

log = structlog.get_logger(__name__)


class Objects(Reader, Writer, Grower, Following, Protocol):
    """Reads, follows and writes typed objects; the hub's Client is one."""


class SchedulerLoop:
    """Runs scheduling cycles until cancelled. Only the leading hub may run one.

    Args:
        client: the hub's objects.
        clock: gives the present as an aware datetime.
        inventories: gives what agents reported; without it, what clusters' statuses say is all that is known.
        estimates: gives what was learned of run times and links.
        charged: gives what was spent, for budgets.
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
        estimates: Callable[[], Estimates] = lambda: NOTHING_LEARNED,
        charged: Spent = nothing_charged,
        pause_seconds: float = 0.05,
        period_seconds: float = 5.0,
    ) -> None:
        self._client, self._clock, self._inventories, self._estimates = client, clock, inventories, estimates
        self._charged = charged
        self._pause_seconds, self._period_seconds = pause_seconds, period_seconds
        self._woken = asyncio.Event()
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Know nothing: everything stored is read by the next cycle."""
        self._memory, self._telling, self._feed = Memory(), Telling(), Feed(self._client)
        self._reported = Reported()

    def wake(self) -> None:
        """Ask for a cycle: a job, run, cluster, queue or dataset has changed."""
        self._feed.note()
        self._woken.set()

    async def run(self) -> None:
        """Run cycles for ever. A failed cycle is logged and the next one starts from what is then stored.

        One that ends in a mistake of ours forgets everything first: the hub must go on serving whatever a cycle met. So
        does one that meets an object which cannot be read: from then on that is known, and the feed leaves it out.
        """
        while True:
            self._woken.clear()
            began = time.monotonic()
            try:
                await self.cycle()
            except Unreadable:
                # The log has named it. A cycle that meets one on its way does not know what it has taken in by then.
                self._begin_anew()
                await asyncio.sleep(self._period_seconds)
            except AtollError as error:
                log.warning("A scheduling cycle failed.", reason=error.reason, error=str(error))
            except Exception:
                log.exception("A scheduling cycle ended in a mistake; the next one begins anew.")
                self._begin_anew()
                await asyncio.sleep(self._period_seconds)
            await asyncio.sleep(max(self._pause_seconds, time.monotonic() - began))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._period_seconds):
                    await self._woken.wait()

    async def cycle(self) -> Applied:
        """Run one cycle: take in what changed, decide, write.

        Raises:
            Unavailable: the store could not be read or written; retryable.
        """
        self._feed.jobs.turn()
        snapshot = await self._see()
        # In a thread, since leadership must be renewed meanwhile; what the snapshot and the book hold does not change
        # before the next look.
        plan = await asyncio.to_thread(self._plan, snapshot)
        if self._telling.is_behind:
            self.wake()
        applied = await apply_plan(plan, self._client)
        await self._feed.take(self._memory.book)
        see, promises = partial(self._see, everything=True), self._memory.promises.standing
        await grow_arrays(self._client, self._feed.runs, see, promises=promises)
        return applied

    async def look(self) -> Snapshot:
        """See everything, also when nobody waits, as one whole that is the caller's own: for who asks what would be
        if. It reads every job, which a cycle does not."""
        now, learned = self._clock(), self._estimates()
        return await take_snapshot(
            self._client, now, self._inventories, estimates=learned, charged=self._charged, whole=True
        )

    async def _see(self, *, everything: bool = False) -> Snapshot:
        """Take in what has changed, and see what a cycle decides from; unless everything is asked for, no more than
        jobs and runs when nobody waits."""
        await self._feed.take(self._memory.book)
        seen = Snapshot(
            self._clock(), self._feed.jobs, self._feed.runs, (), {}, {}, estimates=self._estimates(), is_fed=True
        )
        if not everything and not self._memory.book.wanted:
            return seen
        return await with_surroundings(seen, self._client, self._inventories, self._charged, reported=self._reported)

    def _plan(self, snapshot: Snapshot) -> CyclePlan:
        """Decide, and find whom to tell why he waits."""
        cycle = run_cycle(snapshot, self._memory)
        return CyclePlan(tuple(cycle.placements()), self._telling.of(cycle), cycle.evictions)
