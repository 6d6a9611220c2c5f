"""What a job's runs mean for it: its phase, whether another attempt follows, and when. Pure.

Owns Job.status but what the scheduler says of a pending job. The rules of retries are in retries.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.capacity import parse_duration
from atoll.federation.resources import FINISHED_JOB_PHASES, FINISHED_RUN_PHASES, Condition, Job, JobStatus, Run
from atoll.federation.resources.job import JobPhase, RequeueStatus
from atoll.federation.resources.run import DISPLACED_REASONS, REQUEUED
from atoll.hub.arrays import array_status
from atoll.hub.conditions import with_condition
from atoll.hub.controllers.retries import attempts_failed, backoff_seconds, may_retry

RETRY_BACKOFF, RETRYING, TASKS_LEFT = "RetryBackoff", "Retrying", "TasksLeft"
AGAIN = frozenset({RETRY_BACKOFF, RETRYING, *DISPLACED_REASONS})
"""Why a job waits for another attempt; each is the reason of an event, too."""
CANCELLING, REQUEUEING = "Cancelling", "Requeueing"
_NEVER, _QUEUED = "DependencyNeverSatisfied", "Queued"
# A new job says by itself that it waits, and where many come at once most are placed soon: to be told so first is a
# write, and a look for each of its readers. Longer: who looks at a job that waits finds no reason and no time.
_UNTOLD_SECONDS = 3.0
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


@dataclass(frozen=True)
class JobPlan:
    """What to write: the status, and the run that must be stopped. `again_seconds`: when to look again."""

    status: JobStatus
    stop: Run | None = None
    again_seconds: float | None = None


def plan_job(job: Job, runs: Sequence[Run], now: datetime, *, due: datetime | None = None) -> JobPlan:
    """Decide what a job's runs mean for it.

    Args:
        due: when the backoff ends that the job waits for, if this hub has seen it begin. Another hub's clock is not
            relied upon: who takes over begins the wait anew.
    """
    old = job.status
    if old.phase in FINISHED_JOB_PHASES and not is_requeue_asked(job):
        return JobPlan(old)
    job = job.model_copy(update={"status": old.model_copy(update={"array": array_status(job, runs)})})
    newest = max(runs, key=lambda run: run.spec.epoch, default=None)
    is_over = newest is None or newest.status.phase in FINISHED_RUN_PHASES
    if is_requeue_asked(job) and is_over:
        return JobPlan(_requeued(job, newest, now))
    if newest is None:
        status, seconds = _waiting(job, now), _untold_seconds(job, now)
        is_news = old != JobStatus() or status.reason != _QUEUED or seconds <= 0
        return JobPlan(status) if is_news else JobPlan(old, again_seconds=seconds)
    if is_over and _gives_up(job, newest):
        reason = old.reason if not job.spec.cancelled else "Cancelled"
        return JobPlan(_finished(job, job.status, "Cancelled", now, reason=reason))
    if is_over and newest.spec.epoch <= old.requeue.failures_after:  # requeued since: the next run is to come
        return JobPlan(job.status)
    plan = _follow(job, newest, runs, now, due=due)
    return JobPlan(plan.status, _to_stop(job, newest, is_over=is_over), plan.again_seconds)


def is_requeue_asked(job: Job) -> bool:
    """Tell whether a job is to be placed again; a job that is cancelled is not, until somebody takes that back."""
    return job.spec.requeues > job.status.requeue.answered and not job.spec.cancelled


def _to_stop(job: Job, run: Run, *, is_over: bool) -> Run | None:
    """Give the run as it shall be stopped, where that is not what it says already."""
    is_requeued = is_requeue_asked(job)
    if is_over or not (job.spec.cancelled or is_requeued):
        return None
    grace = job.spec.stop_grace
    update = {
        "cancelled": True,
        "requeued": is_requeued,
        "grace_seconds": parse_duration(grace) if grace is not None else None,
    }
    spec = run.spec.model_copy(update=update)
    return run.model_copy(update={"spec": spec}) if spec != run.spec else None


def _gives_up(job: Job, run: Run) -> bool:
    """Tell whether a job whose newest run is over ends as cancelled, where another attempt would follow."""
    is_pending = job.status.phase == "Pending"
    if is_pending and job.status.reason == _NEVER and job.spec.if_never_satisfied == "Cancel":
        return True
    is_moving = run.status.phase == "Failed" and run.status.reason in DISPLACED_REASONS
    return job.spec.cancelled and (is_pending or is_moving)


def _untold_seconds(job: Job, now: datetime) -> float:
    """Give for how much longer a new job need not be told that it waits; 0 if by this hub's clock it is not new."""
    made_at = job.metadata.creation_timestamp
    age = (now - made_at).total_seconds() if made_at is not None else _UNTOLD_SECONDS
    return _UNTOLD_SECONDS - age if age >= 0 else 0.0


def _waiting(job: Job, now: datetime) -> JobStatus:
    """A job that was never placed: it waits for the scheduler, or is cancelled at once."""
    old = job.status
    if job.spec.cancelled:
        return _finished(job, old, "Cancelled", now, reason="Cancelled")
    reason = old.reason or _QUEUED
    if reason == _NEVER and job.spec.if_never_satisfied == "Cancel":
        return _finished(job, old, "Cancelled", now, reason=reason)
    queued_at = old.queued_at or job.metadata.creation_timestamp or now
    return old.model_copy(update={"phase": "Pending", "reason": reason, "queued_at": queued_at})


def _requeued(job: Job, newest: Run | None, now: datetime) -> JobStatus:
    """Give a job back to the scheduler as if nothing had failed; one that was done begins with all of its tasks."""
    old, epoch = job.status, newest.spec.epoch if newest is not None else job.status.attempts
    is_done = old.array is not None and old.array.succeeded == old.array.total
    answer = RequeueStatus(
        answered=job.spec.requeues,
        failures_after=epoch,
        tasks_after=epoch if is_done else old.requeue.tasks_after,
    )
    update: dict[str, object] = {
        "phase": "Pending",
        "reason": REQUEUED,
        "message": f"it was requeued after attempt {epoch}" if epoch else "it was requeued",
        "attempts": epoch,
        "cluster": None,
        "run": None,
        "retry_at": None,
        "finished_at": None,
        "started_at": None,
        "queued_at": now if old.phase in FINISHED_JOB_PHASES else old.queued_at or now,
        "conditions": _reopened(old.conditions, now),
        "requeue": answer,
        "observed_generation": job.metadata.generation,
    }
    if is_done and job.spec.array is not None:
        fresh = job.model_copy(update={"status": old.model_copy(update={"requeue": answer})})
        update["array"] = array_status(fresh, ())
    return old.model_copy(update=update)


def _reopened(conditions: tuple[Condition, ...], now: datetime) -> tuple[Condition, ...]:
    """Say that a job has not ended after all."""
    for kind in [condition.type for condition in conditions if condition.type in ("Complete", "Failed")]:
        conditions = with_condition(conditions, kind, False, reason=REQUEUED, now=now)
    return conditions


def _follow(job: Job, run: Run, runs: Sequence[Run], now: datetime, *, due: datetime | None) -> JobPlan:
    """Give the status that the newest run makes."""
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
            "retry_at": None,
            "decision": run.spec.decision or job.status.decision,
            "observed_generation": job.metadata.generation,
        }
    )
    if not job.spec.cancelled and _is_to_move(job, run):
        return JobPlan(_again(job, status, run, reason=state.reason))
    if not job.spec.cancelled and phase == "Succeeded" and _has_tasks_left(status):
        return JobPlan(_again(job, status, run, reason=TASKS_LEFT))
    if not job.spec.cancelled and phase == "Failed" and may_retry(job, run, runs):
        if due is None:
            due = now + timedelta(seconds=backoff_seconds(job, run.spec.epoch, failed=attempts_failed(job, runs)))
        return _after_backoff(job, _again(job, status, run, reason=RETRYING), run, due=due, now=now)
    if phase in FINISHED_JOB_PHASES:
        return JobPlan(_finished(job, status, phase, state.finished_at or now, reason=state.reason))
    return JobPlan(_being_stopped(job, status))


def _being_stopped(job: Job, status: JobStatus) -> JobStatus:
    """Say of a job whose run goes on though it is to be stopped that this is under way."""
    if not (job.spec.cancelled or is_requeue_asked(job)):
        return status
    reason, what = (CANCELLING, "cancelled") if job.spec.cancelled else (REQUEUEING, "requeued")
    message = f"the job is {what}, and its run on {status.cluster} is being stopped"
    return status.model_copy(update={"reason": reason, "message": message})


def _after_backoff(job: Job, status: JobStatus, run: Run, *, due: datetime, now: datetime) -> JobPlan:
    """Let a failed job wait for its backoff; once it has been let go, it does not wait anew."""
    if _is_waiting_after(job, run) and job.status.retry_at is None:
        return JobPlan(status)
    if due <= now:
        words = {"reason": RETRYING, "message": _ended_how(run, RETRYING)}
        return JobPlan(status.model_copy(update={"retry_at": None, **words}))
    message = f"{_ended_how(run, RETRYING)}; it is tried again at {due:%H:%M:%S} UTC"
    update = {"reason": RETRY_BACKOFF, "message": message, "retry_at": due}
    return JobPlan(status.model_copy(update=update), again_seconds=(due - now).total_seconds())


def _has_tasks_left(status: JobStatus) -> bool:
    """Tell whether an array has tasks that were not part of the run that has succeeded."""
    return status.array is not None and status.array.succeeded < status.array.total


def _is_to_move(job: Job, run: Run) -> bool:
    """Tell whether a job gets another attempt that counts as none: its run had to go, or may be left behind."""
    if run.status.phase == "Failed":
        return run.status.reason in DISPLACED_REASONS
    is_over = run.status.phase in FINISHED_RUN_PHASES
    return job.spec.loss_policy == "Duplicate" and run.status.is_displaced and not is_over


def _is_waiting_after(job: Job, run: Run) -> bool:
    """Tell whether a job was given back to the scheduler after this very run."""
    return job.status.phase == "Pending" and job.status.attempts == run.spec.epoch


def _again(job: Job, status: JobStatus, run: Run, *, reason: str) -> JobStatus:
    """Give a job back to the scheduler. What the scheduler has said since about the next attempt stays."""
    if _is_waiting_after(job, run):
        return job.status
    update = {"phase": "Pending", "reason": reason, "message": _ended_how(run, reason), "cluster": None, "run": None}
    return status.model_copy(update=update)


def _ended_how(run: Run, reason: str) -> str:
    """Say in a sentence how an attempt ended that another one follows."""
    why = f": {run.status.message}" if run.status.message else ""
    if reason == TASKS_LEFT:
        return f"attempt {run.spec.epoch} has done its tasks on {run.spec.cluster}, others are left"
    ended = "failed on" if reason == RETRYING else "had to leave"
    what = ended if run.status.phase == "Failed" else "may be lost on"
    return f"attempt {run.spec.epoch} {what} {run.spec.cluster}{why}"


def _finished(job: Job, status: JobStatus, phase: JobPhase, at: datetime, *, reason: str) -> JobStatus:
    conditions = _ending(status.conditions, phase, reason or phase, at)
    return status.model_copy(
        update={
            "phase": phase,
            "reason": reason,
            "finished_at": at,
            "retry_at": None,
            "conditions": conditions,
            "observed_generation": job.metadata.generation,
        }
    )


def _ending(conditions: tuple[Condition, ...], phase: str, reason: str, at: datetime) -> tuple[Condition, ...]:
    """Set the conditions that `kubectl wait` knows from batch/v1: Complete or Failed."""
    kind = "Complete" if phase == "Succeeded" else "Failed"
    return with_condition(conditions, kind, True, reason=reason, now=at)
