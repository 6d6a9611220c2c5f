"""Whether a run of lossPolicy Failover may begin, go on, or has to stop: the agent's half of G1 (docs/adr/0021).

Owns the binding of a run to the lease under which it began, and the deadline of its Job. Runs without a lease always
go on.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from atoll.edge.member.deadline import Start, deadline, is_worth_writing
from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.lease import Lease, SavedLease
from atoll.edge.member.recency import Recency
from atoll.edge.member.records import Records, RunRecord
from atoll.edge.member.run_status import RunState
from atoll.edge.member.workload import Workloads
from atoll.federation.bus.messages import RunOrder
from atoll.federation.errors import Internal

Step = Literal["begin", "wait", "go on", "stop"]

# How often a deadline is looked at, as a part of the lease: with heartbeats every sixth of it, half of it is left then.
_LOOK = 1 / 4
_WATCH_SECONDS = 0.5


class Leases:
    """Which orders depend on a lease, and how long theirs is."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._seconds: dict[str, float] = {}
        orders.on_change(RUNS, self._note)

    def _note(self, key: str) -> None:
        raw = self._orders.get(RUNS, key)
        try:
            seconds = RunOrder.decode(raw).lease_seconds if raw is not None else None
        except Internal:  # whoever reconciles the order tells of it
            seconds = None
        if seconds is None:
            self._seconds.pop(key, None)
        else:
            self._seconds[key] = seconds

    def shortest(self) -> float | None:
        """Give the shortest lease that any order depends on; None if none does."""
        return min(self._seconds.values(), default=None)

    def each(self, handler: Callable[[str], None]) -> None:
        """Call a handler with each run that depends on a lease."""
        for key in tuple(self._seconds):
            handler(key)

    async def watch(self, lease: Lease, on_end: Callable[[str], None]) -> None:
        """Call a handler with each run whose lease has ended, again and again while that lasts; until cancelled.

        A timer of the event loop would not do: those stand still while the machine sleeps.
        """
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            for key, seconds in tuple(self._seconds.items()):
                if lease.remaining(seconds) <= 0:
                    on_end(key)


@dataclass(frozen=True)
class Standing:
    """What the agent may rely on at one moment."""

    is_held: bool
    gain: str
    is_current: bool


def decide(order: RunOrder, record: RunRecord | None, standing: Standing) -> Step:
    """Decide about a run. What began under a lease goes on only as long as that has been held without a gap.

    A gap that is over counts as well: the hub may have given the run's work to another cluster in it.
    """
    if order.lease_seconds is None:
        return "go on" if is_begun(record) else "begin"
    if record is not None and is_begun(record):
        return "go on" if standing.is_held and record.lease_gain == standing.gain else "stop"
    return "begin" if standing.is_held and standing.is_current else "wait"


def is_begun(record: RunRecord | None) -> bool:
    """Tell whether something of a run may be in the cluster."""
    return record is not None and (record.is_applied or record.lease_gain != "")


class Fence:
    """The fences of one cluster's runs."""

    def __init__(
        self, saved: SavedLease, recency: Recency, *, records: Records[RunRecord], workloads: Workloads
    ) -> None:
        self._saved, self._recency, self._records, self._workloads = saved, recency, records, workloads

    def step(self, order: RunOrder, record: RunRecord | None) -> Step:
        """Decide about a run as of now."""
        lease = self._saved.lease
        if order.lease_seconds is None:
            return decide(order, record, Standing(is_held=False, gain="", is_current=False))
        is_held = lease.remaining(order.lease_seconds) > 0
        is_current = is_held and (is_begun(record) or self._recency.is_since(lease.gained_at))
        return decide(order, record, Standing(is_held, lease.gain, is_current))

    def bound(self, order: RunOrder, record: RunRecord) -> RunRecord:
        """Give a run's record bound to the present lease, which is on disk from now on."""
        if order.lease_seconds is None:
            return record
        self._saved.save()
        return record.model_copy(update={"lease_gain": self._saved.lease.gain})

    def first_deadline(self, order: RunOrder) -> int | None:
        """Give the deadline with which a Job is made; None: as the order says."""
        if order.lease_seconds is None:
            return None
        lease = self._saved.lease
        return deadline(order, lease.remaining(order.lease_seconds), start=None, now=lease.clock())

    async def prolong(self, key: str, order: RunOrder, state: RunState) -> None:
        """Move a Job's deadline along with the lease."""
        if order.lease_seconds is None or state.is_finished:
            return
        lease, start = self._saved.lease, self._start(key, state)
        wanted = deadline(order, lease.remaining(order.lease_seconds), start=start, now=lease.clock())
        if is_worth_writing(wanted, state.deadline_seconds, lease_seconds=order.lease_seconds):
            await self._workloads.set_deadline(order, wanted)

    def _start(self, key: str, state: RunState) -> Start | None:
        """Remember when a start was first seen; a Job that was suspended and resumed starts again."""
        record = self._records.get(key)
        if not state.job_started or record is None:
            return None
        if record.job_started != state.job_started:
            seen = {"job_started": state.job_started, "start_seen_at": self._saved.lease.clock()}
            record = record.model_copy(update=seen)
            self._records.put(key, record)
        return Start(record.job_started, record.start_seen_at)

    @staticmethod
    def look_again_seconds(order: RunOrder, usual_seconds: float) -> float:
        """Give how long a run may be left alone."""
        return usual_seconds if order.lease_seconds is None else min(usual_seconds, order.lease_seconds * _LOOK)
