"""Retries by exit code and reason, their backoff, requeue, and the sums of arrays: pure decisions as tables."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.resources import Job, Run
from atoll.federation.resources.run import DISPLACED_REASONS
from atoll.hub.arrays import tasks_left
from atoll.hub.controllers.job_plan import plan_job
from atoll.hub.controllers.retries import backoff_seconds

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)
RULES = [
    {"exitCodes": [3], "action": "Succeed"},
    {"exitCodes": [2], "exitCodeRanges": ["64-78"], "action": "Fail"},
    {"reasons": ["OOMKilled"], "action": "Fail"},
    {"reasons": ["Evicted", "NodeLost"], "action": "Ignore"},
    {"exitCodes": [75], "action": "Retry"},  # never reached: the second rule has it
]


def job(status: dict[str, Any] | None = None, **spec: Any) -> Job:
    workload = {"spec": {"template": {"spec": {"containers": [{"name": "main"}]}}}}
    return Job.model_validate(
        {
            "metadata": {"name": "j", "namespace": "lab", "uid": "u"},
            "spec": {"queue": "lab", "workload": workload, **spec},
            "status": status or {},
        }
    )


def run(epoch: int, phase: str, reason: str = "Error", *, code: int | None = None, **more: Any) -> Run:
    spec = {name: more.pop(name) for name in ("tasks", "cancelled", "requeued", "graceSeconds") if name in more}
    status = {"phase": phase, "reason": reason, "message": "M", "exitCode": code, "finishedAt": NOW, **more}
    return Run.model_validate(
        {
            "metadata": {"name": f"j-{epoch}", "namespace": "lab"},
            "spec": {"job": "j", "cluster": "cloud", "epoch": epoch, **spec},
            "status": status,
        }
    )


def ruled(retries: int) -> Job:
    return job(retries=retries, retryPolicy={"rules": RULES})


AFTER_FAILURES = {
    "an exit code without a rule": (ruled(1), [run(1, "Failed", code=1)], "Pending", "RetryBackoff"),
    "an exit code that ends the job": (ruled(9), [run(1, "Failed", code=2)], "Failed", "Error"),
    "an exit code in a range": (ruled(9), [run(1, "Failed", code=75)], "Failed", "Error"),
    "an exit code beyond a range": (ruled(9), [run(1, "Failed", code=79)], "Pending", "RetryBackoff"),
    "too little memory": (ruled(9), [run(1, "Failed", "OOMKilled", code=137)], "Failed", "OOMKilled"),
    "an eviction that is ignored": (ruled(0), [run(1, "Failed", "Evicted")], "Pending", "RetryBackoff"),
    "evictions and one failure, which is allowed": (
        ruled(1), [run(1, "Failed", "Evicted"), run(2, "Failed", code=1), run(3, "Failed", "NodeLost")],
        "Pending", "RetryBackoff",
    ),
    "evictions and two failures": (
        ruled(1), [run(1, "Failed", code=1), run(2, "Failed", "Evicted"), run(3, "Failed", code=1)], "Failed", "Error",
    ),
    "a failure whose run is not there any more": (ruled(1), [run(2, "Failed", code=1)], "Failed", "Error"),
    "a drain, which waits for nothing": (ruled(0), [run(1, "Failed", "Drained")], "Pending", "Drained"),
    "a cancel meanwhile": (
        job({"phase": "Running"}, retries=9, cancelled=True), [run(1, "Failed", code=1)], "Failed", "Error",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AFTER_FAILURES)
def test_what_follows_after(name: str) -> None:
    given_job, runs, phase, reason = AFTER_FAILURES[name]
    status = plan_job(given_job, runs, NOW).status
    assert (status.phase, status.reason) == (phase, reason)
    assert (status.retry_at is not None) == (reason == "RetryBackoff")


def test_a_failed_job_waits_for_its_backoff_once_and_is_then_let_go() -> None:
    failed, begun = [run(1, "Failed", code=1)], job(retries=1, retryPolicy={"backoff": "10s"})
    plan = plan_job(begun, failed, NOW)
    due = plan.status.retry_at
    assert due is not None
    assert plan.again_seconds is not None
    assert 8 <= plan.again_seconds <= 10
    assert plan.status.message == f"attempt 1 failed on cloud: M; it is tried again at {due:%H:%M:%S} UTC"
    waiting = begun.model_copy(update={"status": plan.status})
    soon = NOW + timedelta(seconds=5)
    assert plan_job(waiting, failed, soon, due=due).status == plan.status
    free = plan_job(waiting, failed, due, due=due).status
    assert (free.phase, free.reason, free.retry_at) == ("Pending", "Retrying", None)
    later = plan_job(begun.model_copy(update={"status": free}), failed, due + timedelta(hours=1))
    assert later.status == free, "no second wait after the same failure"


def test_a_hub_that_takes_over_waits_anew_by_its_own_clock_and_never_shorter() -> None:
    failed, begun = [run(1, "Failed", code=1)], job(retries=1, retryPolicy={"backoff": "10s"})
    waiting = begun.model_copy(update={"status": plan_job(begun, failed, NOW).status})
    for skew in (timedelta(hours=-3), timedelta(hours=3)):
        plan = plan_job(waiting, failed, NOW + skew)
        assert plan.again_seconds is not None
        assert 8 <= plan.again_seconds <= 10


@given(failed=st.integers(1, 10_000), epoch=st.integers(1, 10_000))
def test_a_backoff_doubles_up_to_its_bound_and_is_the_same_for_every_hub(failed: int, epoch: int) -> None:
    asked = job(retryPolicy={"backoff": "2s", "maxBackoff": "1m"})
    seconds, whole = backoff_seconds(asked, epoch, failed=failed), min(60.0, 2.0 * 2 ** min(failed - 1, 30))
    assert 0.8 * whole <= seconds <= whole
    assert seconds == backoff_seconds(asked, epoch, failed=failed)


# --- requeue

SUCCEEDED = {"phase": "Succeeded", "attempts": 1, "finishedAt": NOW, "conditions": []}
ANSWERED, CANCELLED = SUCCEEDED | {"requeue": {"answered": 1}}, SUCCEEDED | {"phase": "Cancelled"}
LIMITED = {"phase": "Pending", "reason": "QueueLimit"}
REQUEUES = {
    "stops a run": (job(requeues=1), [run(1, "Running", "")], "Running", True),
    "stops a run once": (
        job(requeues=2), [run(1, "Running", "", cancelled=True, requeued=True)], "Running", False,
    ),
    "places again what was stopped for it": (job(requeues=1), [run(1, "Failed", "Requeued")], "Pending", False),
    "places again what succeeded meanwhile": (job(requeues=1), [run(1, "Succeeded", "")], "Pending", False),
    "places again what had ended": (job(SUCCEEDED, requeues=1), [run(1, "Succeeded", "")], "Pending", False),
    "waits for a commit that is under way": (job(requeues=1), [run(1, "Committing", "")], "Committing", True),
    "was answered": (job(ANSWERED, requeues=1), [run(1, "Succeeded", "")], "Succeeded", False),
    "is nothing to a job that is cancelled": (
        job(CANCELLED, requeues=1, cancelled=True), [run(1, "Cancelled", "")], "Cancelled", False,
    ),
    "cancelled while it waits for the end": (
        job(requeues=1, cancelled=True), [run(1, "Failed", "Requeued")], "Cancelled", False,
    ),
    "of a job that was never placed": (job(LIMITED, requeues=1), [], "Pending", False),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUEUES)
def test_a_requeue(name: str) -> None:
    given_job, runs, phase, stops = REQUEUES[name]
    plan = plan_job(given_job, runs, NOW)
    assert (plan.status.phase, plan.stop is not None) == (phase, stops)
    if plan.stop is not None:
        assert (plan.stop.spec.cancelled, plan.stop.spec.requeued) == (True, True)


BEING_STOPPED = {
    "cancelled": (job(cancelled=True), [run(1, "Running", "")], ("Running", "Cancelling")),
    "requeued": (job(requeues=1), [run(1, "Running", "")], ("Running", "Requeueing")),
    "cancelled, and over": (job(cancelled=True), [run(1, "Cancelled", "")], ("Cancelled", "Cancelled")),
    "cancelled before it was placed": (job(LIMITED, cancelled=True), [], ("Cancelled", "Cancelled")),
    "let go on": (job(), [run(1, "Running", "Slow")], ("Running", "Slow")),
}


@pytest.mark.parametrize("name", BEING_STOPPED)
def test_a_job_says_that_it_is_being_stopped_as_long_as_its_run_goes_on(name: str) -> None:
    given_job, runs, told = BEING_STOPPED[name]
    status = plan_job(given_job, runs, NOW).status
    assert (status.phase, status.reason) == told


def test_a_requeue_of_an_ended_job_forgives_its_failures_and_opens_its_conditions_again() -> None:
    over = plan_job(job(), [run(1, "Failed", code=1)], NOW).status
    assert [(each.type, each.status) for each in over.conditions] == [("Failed", "True")]
    asked = job(requeues=1).model_copy(update={"status": over})
    again = plan_job(asked, [run(1, "Failed", code=1)], NOW).status
    assert (again.phase, again.reason, again.finished_at, again.run) == ("Pending", "Requeued", None, None)
    assert [(each.type, each.status) for each in again.conditions] == [("Failed", "False")]
    answered = asked.model_copy(update={"status": again})
    assert plan_job(answered, [run(1, "Failed", code=1)], NOW).status == again, "asked once, answered once"
    one_retry = answered.model_copy(update={"spec": answered.spec.model_copy(update={"retries": 1})})
    second = [run(1, "Failed", code=1), run(2, "Failed", code=1)]
    assert plan_job(one_retry, second, NOW).status.reason == "RetryBackoff"


@pytest.mark.parametrize("phase", ["Succeeded", "Failed", "Cancelled"])
def test_a_requeued_job_waits_for_its_next_run_whatever_the_last_one_came_to(phase: str) -> None:
    last = [run(1, phase, "R")]
    over = job(requeues=1).model_copy(update={"status": plan_job(job(), last, NOW).status})
    waiting = over.model_copy(update={"status": plan_job(over, last, NOW).status})
    assert waiting.status.phase == "Pending"
    told = waiting.model_copy(update={"status": waiting.status.model_copy(update={"reason": "WaitingForCapacity"})})
    assert plan_job(told, last, NOW).status == told.status
    stopped = told.model_copy(update={"spec": told.spec.model_copy(update={"cancelled": True})})
    assert plan_job(stopped, last, NOW).status.phase == "Cancelled"
    assert plan_job(told, [*last, run(2, phase, "R")], NOW).status.phase == phase


def test_requeued_is_no_failure() -> None:
    assert "Requeued" in DISPLACED_REASONS


def test_a_grace_reaches_the_run_and_a_shorter_one_too() -> None:
    first = plan_job(job(cancelled=True, stopGrace="10s"), [run(1, "Running", "")], NOW).stop
    assert first is not None
    assert first.spec.grace_seconds == 10
    assert plan_job(job(cancelled=True, stopGrace="10s"), [first], NOW).stop is None
    sooner = plan_job(job(cancelled=True, stopGrace="0s"), [first], NOW).stop
    assert sooner is not None
    assert sooner.spec.grace_seconds == 0


# --- arrays


def test_an_array_sums_up_its_attempts_and_only_what_has_not_succeeded_is_left() -> None:
    asked = job(array={"count": 100}, retries=1)
    first = run(1, "Failed", "FailedIndexes", succeededTasks="0-41,43", failedTasks="42,44-99")
    status = plan_job(asked, [first], NOW).status
    assert (status.phase, status.reason) == ("Pending", "RetryBackoff")
    assert status.array is not None
    assert (status.array.succeeded, status.array.failed, status.array.waiting) == (43, 57, 0)
    assert (status.array.succeeded_tasks, status.array.progress) == ("0-41,43", "43/100")
    waiting = asked.model_copy(update={"status": status})
    assert str(tasks_left(waiting)) == "42,44-99"
    second = run(2, "Running", "", tasks="42,44-99", succeededTasks="42", runningTasks=3)
    array = plan_job(waiting, [first, second], NOW).status.array
    assert array is not None
    assert (array.succeeded, array.running, array.waiting, array.failed) == (44, 3, 53, 0)
    done = plan_job(waiting, [first, run(2, "Succeeded", "", tasks="42,44-99")], NOW).status
    assert (done.phase, done.array and done.array.progress) == ("Succeeded", "100/100")


def test_an_attempt_that_was_part_of_an_array_is_followed_by_the_rest() -> None:
    asked = job(array={"count": 4}, dependsOn=[{"job": "a", "perTask": True}])
    status = plan_job(asked, [run(1, "Succeeded", "", tasks="0-1")], NOW).status
    assert (status.phase, status.reason, status.array and status.array.progress) == ("Pending", "TasksLeft", "2/4")


def test_an_array_with_outputs_is_tried_again_whole() -> None:
    asked = job(array={"count": 4}, outputs=[{"dataset": "o", "mountPath": "/o"}], retries=3)
    first = run(1, "Failed", "FailedIndexes", succeededTasks="0-2", failedTasks="3")
    status = plan_job(asked, [first], NOW).status
    assert str(tasks_left(asked.model_copy(update={"status": status}))) == "0-3"
    second = run(2, "Running", "", succeededTasks="0")
    array = plan_job(asked.model_copy(update={"status": status}), [first, second], NOW).status.array
    assert array is not None
    assert array.succeeded_tasks == "0"


def test_an_array_that_was_done_begins_with_all_tasks_and_one_that_failed_with_the_rest() -> None:
    done = plan_job(job(array={"count": 3}), [run(1, "Succeeded", "")], NOW).status
    again = plan_job(
        job(array={"count": 3}, requeues=1).model_copy(update={"status": done}), [run(1, "Succeeded", "")], NOW
    )
    assert again.status.array is not None
    assert again.status.array.progress == "0/3"
    assert str(tasks_left(job(array={"count": 3}).model_copy(update={"status": again.status}))) == "0-2"
    failed = run(1, "Failed", "FailedIndexes", succeededTasks="0,2", failedTasks="1")
    over = plan_job(job(array={"count": 3}), [failed], NOW).status
    rest = plan_job(job(array={"count": 3}, requeues=1).model_copy(update={"status": over}), [failed], NOW).status
    assert str(tasks_left(job(array={"count": 3}).model_copy(update={"status": rest}))) == "1"


def test_a_job_that_can_never_start_is_cancelled_where_that_was_asked_for() -> None:
    stuck = {"phase": "Pending", "reason": "DependencyNeverSatisfied", "message": "why"}
    assert plan_job(job(stuck), [], NOW).status.phase == "Pending"
    ended = plan_job(job(stuck, ifNeverSatisfied="Cancel"), [], NOW).status
    assert (ended.phase, ended.reason, ended.message) == ("Cancelled", "DependencyNeverSatisfied", "why")
