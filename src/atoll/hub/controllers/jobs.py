"""Jobs: the newest Run of a Job becomes Job.status; a failed run is retried while the Job allows it.

Owns Job.status.phase and what follows from runs. The scheduler owns reason, message and decision of a pending Job, and
makes the Runs: a Job whose phase is Pending is the scheduler's. Both write guarded, and each its own fields.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources import (
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Cluster,
    Condition,
    Job,
    JobStatus,
    Run,
    run_prefix,
)
from atoll.federation.resources.job import JobPhase
from atoll.federation.resources.run import DISPLACED_REASONS
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.job_silence import CLUSTER_SILENT, with_silence
from atoll.hub.controllers.runtime import DONE, Key, Objects, Outcome, Source, own_key

_PHASE_OF_RUN: Mapping[str, JobPhase] = {
    "Pending": "Placed",
    "Staging": "Placed",
    "Starting": "Placed",
    "Running": "Running",
    "Committing": "Committing",
    "Succeeded": "Succeeded",
    "Failed": "Failed",
    "Cancelled": "Cancelled",
}
# What a run ended with that another attempt cannot mend: the member's API server refuses the job's own manifest.
_NOT_RETRIED = frozenset({"InvalidManifest"})
# Why a job waits for another attempt; each is the reason of an event, too.
_AGAIN = frozenset({"Retrying", *DISPLACED_REASONS})
# Event reasons by the phase that a job enters.
_EVENTS = {
    "Placed": "Placed",
    "Running": "Started",
    "Succeeded": "Completed",
    "Failed": "Failed",
    "Cancelled": "Cancelled",
}


@dataclass(frozen=True)
class JobPlan:
    """What to write: the status, and the run that must be stopped."""

    status: JobStatus
    cancel: Run | None = None


def plan_job(job: Job, runs: Sequence[Run], now: datetime) -> JobPlan:
    """Decide what a job's runs mean for it."""
    old = job.status
    if old.phase in FINISHED_JOB_PHASES:
        return JobPlan(old)
    if not runs:
        return JobPlan(_waiting(job, now))
    newest = max(runs, key=lambda run: run.spec.epoch)
    is_over = newest.status.phase in FINISHED_RUN_PHASES
    is_moving = newest.status.phase == "Failed" and newest.status.reason in DISPLACED_REASONS
    if job.spec.cancelled and is_over and (old.phase == "Pending" or is_moving):  # there would be a next attempt
        return JobPlan(_finished(job, old, "Cancelled", now, reason="Cancelled"))
    displaced = sum(run.status.reason in DISPLACED_REASONS for run in runs if run.status.phase == "Failed")
    status = _follow(job, newest, now, displaced=displaced)
    cancel = newest if job.spec.cancelled and not is_over and not newest.spec.cancelled else None
    return JobPlan(status, cancel)


def _waiting(job: Job, now: datetime) -> JobStatus:
    """A job that was never placed: it waits for the scheduler, or is cancelled at once."""
    old = job.status
    if job.spec.cancelled:
        return _finished(job, old, "Cancelled", now, reason="Cancelled")
    reason = old.reason or "Queued"
    return old.model_copy(
        update={
            "phase": "Pending",
            "reason": reason,
            "queued_at": old.queued_at or job.metadata.creation_timestamp or now,
        }
    )


def _follow(job: Job, run: Run, now: datetime, *, displaced: int) -> JobStatus:
    """Give the status that the newest run makes; `displaced` attempts of all ended through no fault of the work."""
    state, phase = run.status, _PHASE_OF_RUN[run.status.phase]
    status = job.status.model_copy(
        update={
            "phase": phase,
            "reason": state.reason,
            "message": state.message,
            "cluster": run.spec.cluster,
            "run": run.metadata.name,
            "attempts": run.spec.epoch,
            "queued_at": job.status.queued_at or job.metadata.creation_timestamp or now,
            "started_at": state.started_at or job.status.started_at,
            "decision": run.spec.decision or job.status.decision,
            "observed_generation": job.metadata.generation,
        }
    )
    if not job.spec.cancelled and _is_to_move(job, run):
        return _again(job, status, run, reason=state.reason)
    failures = run.spec.epoch - displaced
    may_retry = not job.spec.cancelled and state.reason not in _NOT_RETRIED and failures <= job.spec.retries
    if phase == "Failed" and may_retry:
        return _again(job, status, run, reason="Retrying")
    if phase in FINISHED_JOB_PHASES:
        return _finished(job, status, phase, state.finished_at or now, reason=state.reason)
    return status


def _is_to_move(job: Job, run: Run) -> bool:
    """Tell whether a job gets another attempt that counts as none: its run had to go, or may be left behind."""
    if run.status.phase == "Failed":
        return run.status.reason in DISPLACED_REASONS
    is_over = run.status.phase in FINISHED_RUN_PHASES
    return job.spec.loss_policy == "Duplicate" and run.status.is_displaced and not is_over


def _again(job: Job, status: JobStatus, run: Run, *, reason: str) -> JobStatus:
    """Give a job back to the scheduler. What the scheduler has said since about the next attempt stays."""
    old = job.status
    if old.phase == "Pending" and old.attempts == run.spec.epoch:
        return old
    why = f": {run.status.message}" if run.status.message else ""
    ended = "failed on" if reason == "Retrying" else "had to leave"
    what = ended if run.status.phase == "Failed" else "may be lost on"
    message = f"attempt {run.spec.epoch} {what} {run.spec.cluster}{why}"
    return status.model_copy(
        update={"phase": "Pending", "reason": reason, "message": message, "cluster": None, "run": None}
    )


def _finished(job: Job, status: JobStatus, phase: JobPhase, at: datetime, *, reason: str) -> JobStatus:
    conditions = _ending(status.conditions, phase, reason or phase, at)
    return status.model_copy(
        update={
            "phase": phase,
            "reason": reason,
            "finished_at": at,
            "conditions": conditions,
            "observed_generation": job.metadata.generation,
        }
    )


def _ending(conditions: tuple[Condition, ...], phase: str, reason: str, at: datetime) -> tuple[Condition, ...]:
    """Set the conditions that `kubectl wait` knows from batch/v1: Complete or Failed."""
    kind = "Complete" if phase == "Succeeded" else "Failed"
    return with_condition(conditions, kind, True, reason=reason, now=at)


class JobController:
    """Keeps Job.status, and stops the runs of cancelled jobs."""

    name = "jobs"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._placed: dict[Key, str] = {}
        self._silent: set[str] = set()

    def sources(self) -> Sequence[Source]:
        """Watch jobs, runs, and whether clusters are heard; an ended job keeps its phase, so nothing is left to do."""
        client = self._context.client
        return (
            Objects(client, Job, own_key, skips_ended=True),
            Objects(client, Run, _job_of, skips_ended=True),
            Objects(client, Cluster, self._placed_where_silence_changes),
        )

    async def _placed_where_silence_changes(self, cluster: Cluster) -> Iterable[Key]:
        name, is_silent = cluster.metadata.name, cluster.status.is_silent
        if is_silent == (name in self._silent):
            return []
        (self._silent.add if is_silent else self._silent.discard)(name)
        return [key for key, where in self._placed.items() if where == name]

    async def reconcile(self, key: Key) -> Outcome:
        """Bring one job's status up to date."""
        context, (namespace, name) = self._context, key
        job = await context.client.get(Job, namespace, name)
        if job is None or job.metadata.deletion_timestamp is not None:
            self._placed.pop(key, None)
            return DONE
        named = await context.client.list(Run, namespace, name_prefix=run_prefix(name))
        runs = [run for run in named if _is_of(run, job)]
        plan = plan_job(job, runs, context.clock())
        if plan.cancel is not None:
            spec = plan.cancel.spec.model_copy(update={"cancelled": True})
            await context.client.update(plan.cancel.model_copy(update={"spec": spec}))
        status = with_silence(job, plan.status, await self._cluster_of(key, plan.status))
        await context.client.update_status(job.model_copy(update={"status": status}))
        await self._tell(job, status)
        return DONE

    async def _cluster_of(self, key: Key, status: JobStatus) -> Cluster | None:
        """Read the cluster of a placed job, which is noted first: a silence that begins now is not missed."""
        if status.cluster is None or status.phase in FINISHED_JOB_PHASES:
            self._placed.pop(key, None)
            return None
        self._placed[key] = status.cluster
        return await self._context.client.get(Cluster, None, status.cluster)

    async def _tell(self, job: Job, status: JobStatus) -> None:
        """Record what the job has entered, and that its cluster is not heard any more."""
        if status.reason == CLUSTER_SILENT != job.status.reason:
            await self._context.events.record(job, CLUSTER_SILENT, status.message, is_warning=True)
        if status.phase == job.status.phase:
            return
        is_again = status.phase == "Pending" and status.reason in _AGAIN
        reason = status.reason if is_again else _EVENTS.get(status.phase)
        if reason is None:
            return
        where = f"on {status.cluster}" if status.cluster else ""
        message = status.message or f"run {status.run} {where}".strip()
        is_warning = reason == "Failed" or is_again
        await self._context.events.record(job, reason, message, is_warning=is_warning)


def _is_of(run: Run, job: Job) -> bool:
    """Tell whether a run is of this very job, and not of a deleted one of the same name."""
    owners = [owner.uid for owner in run.metadata.owner_references if owner.kind == "Job"]
    return run.spec.job == job.metadata.name and (not owners or job.metadata.uid in owners)


async def _job_of(run: Run) -> Iterable[Key]:
    return [(run.metadata.namespace or "", run.spec.job)]
