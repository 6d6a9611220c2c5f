"""Runs: from a RunOrder to a workload, from the workload's state to a RunReport.

Rules:
1. An epoch is started at most once. A workload that vanished after it was applied is reported Failed
   (`WorkloadDeleted`); a new attempt is the hub's decision, with a new epoch (G1). Where the whole cluster is younger
   than the run, nobody deleted it and nothing of it can run any more: `ClusterGone`, which is no failure of the work.
2. A finished run's report stays as it was, whatever becomes of its Job, until its order ends.
3. What is applied is written to disk first, so that it can be removed after any crash.
4. A run with a lease begins, and goes on, only as fence.py says; one that it stopped is never begun again.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Protocol

import structlog

from atoll.edge.member.array_tasks import patience_seconds
from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.errors import is_passing
from atoll.edge.member.fence import Fence
from atoll.edge.member.fuse import JOB
from atoll.edge.member.gangs import PATIENCE_SECONDS, Gangs
from atoll.edge.member.last_words import LastWords
from atoll.edge.member.limits import at_limit, seconds_left
from atoll.edge.member.objects import ObjectRef
from atoll.edge.member.ordered import is_plain, refs_of
from atoll.edge.member.records import EndRecord, Records, RunRecord, saved
from atoll.edge.member.run_status import RunState
from atoll.edge.member.work import DONE, RequeueAfter, Result
from atoll.edge.member.workload import Workloads
from atoll.federation.bus.messages import Message, RunOrder, RunReport
from atoll.federation.errors import AtollError, Conflict, NotFound
from atoll.federation.resources.run import CLUSTER_GONE, FINISHED_RUN_PHASES, LEASE_ENDED, NO_ROOM

log = structlog.get_logger(__name__)

# How often a run is looked at although nothing was heard of it: keeps the usage in its report current.
_RESYNC_SECONDS = 60.0
_WHILE_ENDING_SECONDS = 0.5
_WHILE_WAITING_SECONDS = 1.0
_WHILE_ABSENT_SECONDS = 5.0
# What was applied is heard of by its watch in a moment, and read then; after so long it is read in any case.
_UNTIL_HEARD_SECONDS = 1.0
_NO_ROOM = f"there was no room for all of its pods at once for {PATIENCE_SECONDS:.0f} s"
_BURNT = "its lease was not prolonged in time, so that the cluster itself ended it"
_ANEW = "the cluster is a new one since the run began, and nothing of the run is in it"
_UNHEARD = "no heartbeat was stored for as long as the run's lease lasts, so that it was stopped"
_UNPROVEN = "it begins when a heartbeat was stored and the orders were read again"


class Reports(Protocol):
    """Where reports go."""

    def report(self, key: str, message: Message) -> None:
        """Take a report."""
        ...

    def forget(self, key: str) -> None:
        """Withdraw a report."""
        ...


def recall(records: Records[RunRecord], key: str, reported: bytes) -> None:
    """Remember a run that an earlier agent of this cluster reported as begun, where that agent's disk is lost.

    Without it the epoch would start a second time if its Job is gone.
    """
    report = RunReport.decode(reported)
    if records.get(key) is None and report.phase != "Pending":
        final = report if report.phase in FINISHED_RUN_PHASES else None
        record = RunRecord(namespace=report.namespace, run=report.run, epoch=report.epoch, objects=())
        records.put(key, record.model_copy(update={"is_applied": True, "report": final}))


class RunController:
    """Carries out the run orders of one cluster."""

    def __init__(
        self,
        workloads: Workloads,
        orders: Orders,
        *,
        records: Records[RunRecord],
        reports: Reports,
        fence: Fence,
        gangs: Gangs,
        words: LastWords,
        now: Callable[[], datetime],
    ) -> None:
        self._workloads, self._orders, self._records, self._reports = workloads, orders, records, reports
        self._fence, self._gangs, self._words, self._now = fence, gangs, words, now
        self._last_seen: dict[str, RunState] = {}
        self._absent_since: dict[str, datetime] = {}

    def patience_seconds(self, key: str) -> float:
        """Tell how long news of a run's objects may wait to be joined by others."""
        return patience_seconds(self._last_seen.get(key))

    async def reconcile(self, key: str) -> Result:
        """Bring one run (`namespace/name`) closer to its order, and report it."""
        raw, record = self._orders.get(RUNS, key), self._records.get(key)
        if raw is None:
            return await self._end(key, record)
        order = RunOrder.decode(raw)
        if record and record.epoch > order.epoch:
            log.warning("ignored a stale run order", run=key, epoch=order.epoch, newest_epoch=record.epoch)
            return DONE
        if record and record.epoch < order.epoch:
            return await self._supersede(key, record)
        if record and record.report:
            self._reports.report(_report_key(key), record.report)
            return DONE
        return await self._carry_out(key, order, record)

    async def _carry_out(self, key: str, order: RunOrder, record: RunRecord | None) -> Result:
        try:
            if record and record.ending:
                return await self._stop(key, order, RunState(**dict(record.ending)))
            if order.cancelled:
                return await self._stop(key, order, RunState("Cancelled", "Cancelled"))
            step = self._fence.step(order, record)
            if step == "stop":
                return await self._stop(key, order, RunState("Failed", LEASE_ENDED, _UNHEARD))
            if step == "wait":
                self._report(key, order, RunState("Pending", "AwaitingLease", _UNPROVEN))
                return RequeueAfter(_WHILE_WAITING_SECONDS)
            if not (record and record.is_applied):
                await self._apply(key, order)
                return RequeueAfter(_UNTIL_HEARD_SECONDS)
            if self._gangs.is_given_back(record):
                return await self._end_as(key, order, RunState("Failed", NO_ROOM, _NO_ROOM))
            return await self._observe(key, order)
        except AtollError as error:
            record = self._records.get(key)
            if record and record.is_applied:
                raise  # what was reported stays true as of then; the heartbeat tells that the API server is away
            return self._not_begun(key, order, error)

    def _not_begun(self, key: str, order: RunOrder, error: AtollError) -> Result:
        """Report why a run could not begin; raise what is worth another try."""
        is_absent = isinstance(error, NotFound) and self._may_come(key)
        if not is_passing(error) and not is_absent:
            self._finish(key, order, RunState("Failed", error.reason, str(error), finished_at=self._now()))
            return DONE
        self._report(key, order, RunState("Pending", error.reason, str(error)))
        if is_absent:
            return RequeueAfter(_WHILE_ABSENT_SECONDS)
        raise error

    def _may_come(self, key: str) -> bool:
        """Tell whether a CRD or a namespace that is not there may still come: it may be being installed anew."""
        since = self._absent_since.setdefault(key, self._now())
        return (self._now() - since).total_seconds() < PATIENCE_SECONDS

    async def _apply(self, key: str, order: RunOrder) -> None:
        refs, known = refs_of(order), self._records.get(key)
        # That nothing has the name of a run that was never begun, its making tells.
        standing = None if known is None and is_plain(order) else await self._workloads.clear_way(order)
        gang = self._gangs.begun(order)
        begun = known or _record_of(order, refs).model_copy(update={"begun_at": self._now()})
        fresh = _record_of(order, refs).model_copy(update={"begun_at": begun.begun_at})
        record = self._fence.bound(order, fresh).model_copy(update={"gang": gang})
        self._records.put(key, record)
        deadline, is_held = self._fence.first_deadline(order), gang is not None
        apply = partial(self._workloads.apply, order, deadline_seconds=deadline, is_suspended=is_held)
        try:
            await apply(standing=standing)
        except Conflict:
            if standing is not None:
                raise
            await apply(standing=await self._workloads.clear_way(order))
        self._records.put(key, record.model_copy(update={"is_applied": True}))
        self._absent_since.pop(key, None)
        log.info("applied a run", run=key, epoch=order.epoch)

    async def _observe(self, key: str, order: RunOrder) -> Result:
        state = await self._workloads.read(order)
        if state is None:
            return await self._end_as(key, order, await self._how_it_went(key, order))
        if end := at_limit(order, state, self._now()):
            return await self._end_as(key, order, end)
        state = await self._gangs.keep(key, order, state)
        if state.is_finished:
            await self._workloads.put_out(order)
        await self._fence.prolong(key, order, state)
        if order.parallelism is not None and state.parallelism not in (None, order.parallelism):
            await self._workloads.set_parallelism(order, order.parallelism)
        return self._settle(key, order, state)

    async def _how_it_went(self, key: str, order: RunOrder) -> RunState:
        """Tell why a workload is gone that the agent has not removed."""
        if await self._workloads.is_burnt(order):
            return RunState("Failed", LEASE_ENDED, _BURNT)
        record, made_at = self._records.get(key), await self._workloads.cluster_made_at()
        if record and record.begun_at and made_at and made_at > record.begun_at:
            return RunState("Failed", CLUSTER_GONE, f"{_ANEW}: it was made at {made_at:%Y-%m-%d %H:%M:%S} UTC")
        message = f"the workload of run {order.run} was deleted in the cluster, and not by Atoll"
        return RunState("Failed", "WorkloadDeleted", message)

    async def _end_as(self, key: str, order: RunOrder, end: RunState) -> Result:
        """End a run in a way that is on disk first: when nothing is left of it, nothing else could tell."""
        if record := self._records.get(key):
            ending = EndRecord(phase=end.phase, reason=end.reason, message=end.message)
            self._records.put(key, record.model_copy(update={"ending": ending}))
        return await self._stop(key, order, end)

    async def _stop(self, key: str, order: RunOrder, end: RunState) -> Result:
        """Stop the workload; report its end once nothing of it runs, or how it ended if it was faster."""
        state = await self._workloads.read(order)
        if state and state.is_finished:
            return self._settle(key, order, state)
        if state and (state.started_at or key not in self._last_seen):  # its pods go before the Job does
            self._last_seen[key] = state
        if end.reason != LEASE_ENDED:  # a fence waits for nothing: its pods are listened to as they end
            await self._words.before_stop(order.namespace, order.run)
        grace = order.grace_seconds
        if not await self._workloads.stop(refs_of(order), order.run, order.epoch, grace_seconds=grace):
            return RequeueAfter(_WHILE_ENDING_SECONDS)
        last = self._last_seen.get(key, end)
        log.info("stopped a run", run=key, epoch=order.epoch, reason=end.reason)
        ended = replace(last, phase=end.phase, reason=end.reason, message=end.message, finished_at=self._now())
        return self._settle(key, order, ended)

    async def _supersede(self, key: str, record: RunRecord) -> Result:
        """Stop an older epoch; the newer one starts when nothing of it is left."""
        if not await self._workloads.stop(_refs(record), record.run, record.epoch):
            return RequeueAfter(_WHILE_ENDING_SECONDS)
        self._records.delete(key)
        self._last_seen.pop(key, None)
        return RequeueAfter(0)

    async def _end(self, key: str, record: RunRecord | None) -> Result:
        """Remove what an order that has ended had applied."""
        if record and not await self._workloads.stop(_refs(record), record.run, record.epoch):
            return RequeueAfter(_WHILE_ENDING_SECONDS)
        self._records.delete(key)
        self._last_seen.pop(key, None)
        self._reports.forget(_report_key(key))
        self._words.forget(key)
        log.info("removed a run", run=key)
        return DONE

    def _settle(self, key: str, order: RunOrder, state: RunState) -> Result:
        """Report a state, for good if it is final."""
        if state.is_finished:
            self._finish(key, order, state)
            return DONE
        self._last_seen[key] = state
        self._report(key, order, state)
        usual = min(_RESYNC_SECONDS, seconds_left(order, state, self._now()))
        return RequeueAfter(self._fence.look_again_seconds(order, usual))

    def _finish(self, key: str, order: RunOrder, state: RunState) -> None:
        """Report a final state, on disk first: no later reading may change it."""
        record, report = self._records.get(key) or _record_of(order, ()), self._report_of(order, state)
        self._records.put(key, record.model_copy(update={"report": report}))
        self._last_seen.pop(key, None)
        self._reports.report(_report_key(key), report)

    def _report(self, key: str, order: RunOrder, state: RunState) -> None:
        self._reports.report(_report_key(key), self._report_of(order, state))

    def _report_of(self, order: RunOrder, state: RunState) -> RunReport:
        return RunReport(
            namespace=order.namespace,
            run=order.run,
            epoch=order.epoch,
            phase=state.phase,
            reason=state.reason,
            message=state.message,
            exit_code=state.exit_code,
            pods=state.pods,
            started_at=state.started_at,
            finished_at=state.finished_at,
            usage=state.usage,
            running_tasks=state.running_tasks,
            succeeded_tasks=state.succeeded_tasks,
            failed_tasks=state.failed_tasks,
            at=self._now(),
        )


def _record_of(order: RunOrder, refs: Iterable[ObjectRef]) -> RunRecord:
    return RunRecord(namespace=order.namespace, run=order.run, epoch=order.epoch, objects=saved(refs))


def _refs(record: RunRecord) -> tuple[ObjectRef, ...]:
    """Name what to remove; a record that was recalled does not know, but a run's Job bears the run's name."""
    return tuple(entry.ref() for entry in record.objects) or (ObjectRef(JOB, record.namespace, record.run),)


def _report_key(key: str) -> str:
    return f"{RUNS}/{key}"
