"""Gangs where no batch engine keeps them: suspended until all of their pods fit, released one after the other.

Rules (docs/adr/0025):
1. A gang is released only into room that the agent sees itself and has promised to no other. The promise is on disk
   before the workload is let go, and holds until its pods are on nodes.
2. A released gang of which a pod finds no node for `_GIVEN_SECONDS` holds what others could use: it is suspended again,
   and tried later, each time after a longer while.
3. Once all its pods were on nodes at once, it is never suspended again: what follows is its operator's matter.
4. A gang that found no room for `PATIENCE_SECONDS` goes back to the hub (`NoRoom`), which places it anew.
Which workloads are gangs, their adapters say. It must not decide how a run ends.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from functools import lru_cache

import structlog

from atoll.edge.member.array_tasks import is_array
from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.fuse import JOB
from atoll.edge.member.objects import POD, Object, ObjectRef
from atoll.edge.member.ordered import workloads_of
from atoll.edge.member.records import GangRecord, Records, RunRecord
from atoll.edge.member.room import Pods, less, why_no_room
from atoll.edge.member.run_status import RunState
from atoll.edge.member.workload import Workloads
from atoll.federation.bus.messages import RunOrder
from atoll.federation.capacity import Shape
from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import adapter_of, can_suspend, is_suspended, pod_groups

log = structlog.get_logger(__name__)

WAITING_FOR_ROOM = "WaitingForRoom"
# Shorter, and a cluster that scales up is left before its nodes are there; longer, and a job waits here that could run
# elsewhere.
PATIENCE_SECONDS = 600.0
# kube-scheduler decides within milliseconds, and a driver's devices or a volume within some seconds.
_GIVEN_SECONDS = 30.0
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 15.0, 240.0
_LOOK_SECONDS = 1.0
_ORDINARY_SCHEDULERS = frozenset({None, "", "default-scheduler"})
_PROMISED = frozenset({"Releasing", "Released", "Withdrawing"})


class Sight:
    """What is seen of the cluster's room; handed in by the composition root."""

    def __init__(
        self, shapes: Callable[[], Iterable[Shape]], placed: Callable[[str], int], problem: Callable[[], str]
    ) -> None:
        """Take functions that give the nodes' shapes, a run's live pods on nodes, and why neither can be relied on."""
        self.shapes, self.placed, self.problem = shapes, placed, problem


def gang_of(order: RunOrder) -> tuple[Pods, ...]:
    """Give the pods of an order that must start together and that nobody but the agent keeps; empty if there are none.

    Raises:
        InvalidInput: the workload is malformed.
    """
    return _gang_of(order.encode())


@lru_cache(maxsize=1024)
def _gang_of(encoded: bytes) -> tuple[Pods, ...]:
    own = workloads_of(RunOrder.decode(encoded))
    if not all(_is_gang(each, is_one_of_several=len(own) > 1) for each in own):
        return ()
    groups = [group for each in own for group in pod_groups(each) if group.count]
    has_engine = any(group.pod.get("schedulerName") not in _ORDINARY_SCHEDULERS for group in groups)
    if has_engine or sum(group.count for group in groups) < 2:
        return ()
    return tuple(Pods.of(group.role, group.count, group.pod) for group in groups)


def _is_gang(workload: Object, *, is_one_of_several: bool) -> bool:
    """Tell whether a workload's pods need each other, and nobody else lets it go; several pods are a pod group."""
    is_one = adapter_of(workload).is_gang or is_one_of_several or _is_crew(workload)
    return is_one and can_suspend(workload) and not is_suspended(workload)


def _is_crew(workload: Object) -> bool:
    """Tell whether a Job's indexes all run at once: such a Job is how Kubernetes itself starts workers that talk.

    Others are piles of work, of which some can be done while the rest waits; so are arrays (docs/adr/0028).
    """
    spec = workload["spec"]
    is_indexed = ObjectRef.of(workload).kind == JOB and spec.get("completionMode") == "Indexed"
    return is_indexed and spec.get("parallelism", 1) >= spec.get("completions", 1) and not is_array(workload)


class Gangs:
    """The gangs of one cluster."""

    def __init__(
        self,
        workloads: Workloads,
        orders: Orders,
        *,
        records: Records[RunRecord],
        sight: Sight,
        now: Callable[[], datetime],
    ) -> None:
        self._workloads, self._orders, self._records, self._sight, self._now = workloads, orders, records, sight, now
        self._unplaced_since: dict[str, datetime] = {}

    def begun(self, order: RunOrder) -> GangRecord | None:
        """Give the record with which a run begins: None unless its workload has to be suspended."""
        return GangRecord(held_since=self._now()) if gang_of(order) else None

    def is_given_back(self, record: RunRecord) -> bool:
        """Tell whether a gang has waited for room for so long that the hub shall place it anew."""
        gang = record.gang
        return gang is not None and gang.stage == "Held" and self._waited(gang) > PATIENCE_SECONDS

    async def keep(self, key: str, order: RunOrder, state: RunState) -> RunState:
        """Bring a gang further; give the state that is to be reported."""
        record = self._records.get(key)
        gang = record.gang if record is not None else None
        if record is None or gang is None or gang.stage == "Whole" or state.is_finished:
            self._unplaced_since.pop(key, None)
            return state
        match gang.stage:
            case "Held" if not state.is_suspended:  # somebody else let it go
                self._put(key, record, stage="Released")
            case "Held":
                why = self._promise(key, order, record, gang)
                if why:
                    return replace(state, phase="Pending", reason=WAITING_FOR_ROOM, message=why)
                return await self._release(key, order, state)
            case "Releasing":
                return await self._release(key, order, state)
            case "Withdrawing":
                return await self._withdraw(key, order, state)
        return await self._watch(key, order, state)

    def _promise(self, key: str, order: RunOrder, record: RunRecord, gang: GangRecord) -> str:
        """Promise room, on disk, or say why not. Nothing is awaited here: so no other gang is promised the same."""
        why = self._why_not_now(key, order, gang)
        if not why:
            self._put(key, record, stage="Releasing")
        return why

    def _why_not_now(self, key: str, order: RunOrder, gang: GangRecord) -> str:
        if problem := self._sight.problem():
            return f"what room there is cannot be seen: {problem}"
        if gang.retry_at is not None and self._now() < gang.retry_at:
            again = f"it is tried again at {gang.retry_at:%H:%M:%S} UTC"
            return f"others took its room {_times(gang.attempts)}: {again}"
        return why_no_room(gang_of(order), self._promised(key), self._sight.shapes())

    def _promised(self, key: str) -> Iterator[Pods]:
        """Give all room that was promised to other gangs and that their pods do not fill yet."""
        for other in self._records:
            record, raw = self._records.get(other), self._orders.get(RUNS, other)
            gang = record.gang if record is not None and record.report is None else None
            if other != key and raw is not None and gang is not None and gang.stage in _PROMISED:
                yield from less(gang_of(RunOrder.decode(raw)), self._sight.placed(other))

    async def _release(self, key: str, order: RunOrder, state: RunState) -> RunState:
        await self._workloads.suspend(order, is_suspended=False)
        self._put(key, self._records.get(key), stage="Released")
        log.info("released a gang", run=key, pods=sum(pods.count for pods in gang_of(order)))
        return replace(state, phase="Pending", reason="", message="")

    async def _watch(self, key: str, order: RunOrder, state: RunState) -> RunState:
        """See a released gang through until all of its pods are on nodes."""
        is_foreign = state.is_suspended  # somebody else has suspended it: from now on it is theirs to say
        if is_foreign or state.placed_pods >= sum(pods.count for pods in gang_of(order)):
            self._put(key, self._records.get(key), stage="Whole")
        if not state.unplaced_pods:
            self._unplaced_since.pop(key, None)
            return state
        since = self._unplaced_since.setdefault(key, self._now())
        if (self._now() - since).total_seconds() < _GIVEN_SECONDS:
            return state
        if any(ObjectRef.of(each).kind == POD for each in workloads_of(order)):
            # A pod's gate is given at its creation only: the hub has to place it anew.
            too_long = self._now() - timedelta(seconds=2 * PATIENCE_SECONDS)
            self._put(key, self._records.get(key), stage="Held", held_since=too_long)
            return state
        self._put(key, self._records.get(key), stage="Withdrawing")
        return await self._withdraw(key, order, state)

    async def _withdraw(self, key: str, order: RunOrder, state: RunState) -> RunState:
        await self._workloads.suspend(order, is_suspended=True)
        record = self._records.get(key)
        attempts = (record.gang.attempts if record is not None and record.gang is not None else 0) + 1
        delay = min(_FIRST_RETRY_SECONDS * 2 ** (attempts - 1), _LONGEST_RETRY_SECONDS)
        self._unplaced_since.pop(key, None)
        self._put(key, record, stage="Held", attempts=attempts, retry_at=self._now() + timedelta(seconds=delay))
        log.info("called a gang back", run=key, unplaced_pods=state.unplaced_pods, retry_seconds=delay)
        message = f"{state.unplaced_pods} of its pods found no node: {state.message}"
        return replace(state, phase="Pending", reason=WAITING_FOR_ROOM, message=message)

    def _put(self, key: str, record: RunRecord | None, **changes: object) -> None:
        if record is not None and record.gang is not None:
            self._records.put(key, record.model_copy(update={"gang": record.gang.model_copy(update=changes)}))

    def _waited(self, gang: GangRecord) -> float:
        return (self._now() - gang.held_since).total_seconds()

    async def watch(self, on_news: Callable[[str], None]) -> None:
        """Call a handler with each gang that can be brought further, until cancelled.

        Those that wait are looked at here, in memory: to read each from the API server would cost more than it tells.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for key in self._records:
                if self._is_news(key):
                    on_news(key)

    def _is_news(self, key: str) -> bool:
        record, raw = self._records.get(key), self._orders.get(RUNS, key)
        gang = record.gang if record is not None and record.is_applied and record.report is None else None
        if record is None or raw is None or gang is None or gang.stage == "Whole":
            return False
        if gang.stage != "Held" or self.is_given_back(record):
            return key in self._unplaced_since or gang.stage != "Released"
        try:
            return not self._why_not_now(key, RunOrder.decode(raw), gang)
        except InvalidInput:  # whoever reconciles the order tells of it
            return True


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
