"""Runs: from a RunOrder to a workload, from the workload's state to a RunReport.

Rules:
1. An epoch is started at most once. A workload that vanished after it was applied is reported Failed
   (`WorkloadDeleted`); a new attempt is the hub's decision, with a new epoch (G1).
2. A finished run's report stays as it was, whatever becomes of its Job, until its order ends.
3. What is applied is written to disk first, so that it can be removed after any crash.
4. A run with a lease begins, and goes on, only as fence.py says; one that it stopped is never begun again.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import structlog

from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.errors import is_passing
from atoll.edge.member.fence import Fence
from atoll.edge.member.objects import ObjectRef
from atoll.edge.member.records import Records, RunRecord, saved
from atoll.edge.member.run_status import RunState
from atoll.edge.member.work import DONE, RequeueAfter, Result
from atoll.edge.member.workload import JOB, Workloads, refs_of
from atoll.federation.bus.messages import Message, RunOrder, RunReport
from atoll.federation.errors import AtollError
from atoll.federation.resources.run import FINISHED_RUN_PHASES, LEASE_ENDED

log = structlog.get_logger(__name__)

# How often a run is looked at although nothing was heard of it: keeps the usage in its report current.
_RESYNC_SECONDS = 60.0
_WHILE_ENDING_SECONDS = 0.5
_WHILE_WAITING_SECONDS = 1.0
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
        now: Callable[[], datetime],
    ) -> None:
        self._workloads, self._orders, self._records, self._reports = workloads, orders, records, reports
        self._fence, self._now = fence, now
        self._last_seen: dict[str, RunState] = {}

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
            return await self._observe(key, order)
        except AtollError as error:
            record = self._records.get(key)
            if record and record.is_applied:
                raise  # what was reported stays true as of then; the heartbeat tells that the API server is away
            if not is_passing(error):
                self._finish(key, order, RunState("Failed", error.reason, str(error), finished_at=self._now()))
                return DONE
            self._report(key, order, RunState("Pending", error.reason, str(error)))
            raise

    async def _apply(self, key: str, order: RunOrder) -> None:
        refs = refs_of(order)
        await self._workloads.clear_way(order)
        record = self._fence.bound(order, _record_of(order, refs))
        self._records.put(key, record)
        await self._workloads.apply(order, deadline_seconds=self._fence.first_deadline(order))
        self._records.put(key, record.model_copy(update={"is_applied": True}))
        log.info("applied a run", run=key, epoch=order.epoch)

    async def _observe(self, key: str, order: RunOrder) -> Result:
        state = await self._workloads.read(order)
        if state is None:
            message = f"the Job of run {order.run} was deleted in the cluster, and not by Atoll"
            last = self._last_seen.get(key, RunState("Failed"))
            state = replace(last, phase="Failed", reason="WorkloadDeleted", message=message, finished_at=self._now())
        await self._fence.prolong(key, order, state)
        return self._settle(key, order, state)

    async def _stop(self, key: str, order: RunOrder, end: RunState) -> Result:
        """Stop the workload; report its end once nothing of it runs, or how it ended if it was faster."""
        state = await self._workloads.read(order)
        if state and state.is_finished:
            return self._settle(key, order, state)
        if state and (state.started_at or key not in self._last_seen):  # its pods go before the Job does
            self._last_seen[key] = state
        if not await self._workloads.stop(refs_of(order), order.run, order.epoch):
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
        log.info("removed a run", run=key)
        return DONE

    def _settle(self, key: str, order: RunOrder, state: RunState) -> Result:
        """Report a state, for good if it is final."""
        if state.is_finished:
            self._finish(key, order, state)
            return DONE
        self._last_seen[key] = state
        self._report(key, order, state)
        return RequeueAfter(self._fence.look_again_seconds(order, _RESYNC_SECONDS))

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
            at=self._now(),
        )


def _record_of(order: RunOrder, refs: Iterable[ObjectRef]) -> RunRecord:
    return RunRecord(namespace=order.namespace, run=order.run, epoch=order.epoch, objects=saved(refs))


def _refs(record: RunRecord) -> tuple[ObjectRef, ...]:
    """Name what to remove; a record that was recalled does not know, but a run's Job bears the run's name."""
    return tuple(entry.ref() for entry in record.objects) or (ObjectRef(JOB, record.namespace, record.run),)


def _report_key(key: str) -> str:
    return f"{RUNS}/{key}"
