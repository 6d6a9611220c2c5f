"""The deadline of a simulated Job: it kills what runs, says so as Kubernetes does, and may be moved while it runs."""

from datetime import UTC, datetime, timedelta
from typing import Any

from atoll.sandbox.controllers.job_plan import JobPlan, plan

BEGAN = datetime(2026, 11, 23, 12, tzinfo=UTC)


def step(deadline: int, after: float, *, phase: str = "Running", conditions: tuple[Any, ...] = ()) -> JobPlan:
    spec = {
        "parallelism": 1, "completions": 1, "completionMode": "NonIndexed", "backoffLimit": 0,
        "activeDeadlineSeconds": deadline, "template": {"spec": {"containers": []}},
    }  # fmt: skip
    job = {
        "metadata": {"name": "picks-1", "namespace": "lab", "uid": "u"},
        "spec": spec,
        "status": {"startTime": "2026-11-23T12:00:00Z", "conditions": list(conditions)},
    }
    pod = {"metadata": {"name": "picks-1-x", "uid": "p"}, "spec": {"nodeName": "n"}, "status": {"phase": phase}}
    return plan(job, [pod], BEGAN + timedelta(seconds=after))


def said(status: dict[str, Any]) -> dict[str, str]:
    return {entry["type"]: entry["reason"] for entry in status.get("conditions", ())}


def test_a_deadline_that_has_come_deletes_the_running_pods_and_fails_the_job_when_they_are_gone() -> None:
    ending = step(60, 60.0)
    assert ending.delete == ("picks-1-x",)
    assert said(ending.status) == {"FailureTarget": "DeadlineExceeded"}
    over = step(60, 61.0, phase="Failed", conditions=tuple(ending.status["conditions"]))
    assert said(over.status) == {"FailureTarget": "DeadlineExceeded", "Failed": "DeadlineExceeded"}


def test_a_deadline_that_is_moved_in_time_kills_nothing_until_it_comes() -> None:
    assert step(60, 59.0).again_seconds == 1.0
    moved = step(90, 60.0)
    assert (moved.delete, moved.again_seconds) == ((), 30.0)
    assert step(90, 90.0).delete == ("picks-1-x",)


def test_a_job_that_has_begun_to_fail_is_not_saved_by_a_later_deadline() -> None:
    ending = step(60, 60.0)
    assert step(600, 61.0, conditions=tuple(ending.status["conditions"])).delete == ("picks-1-x",)
