"""Indexed Jobs whose indexes fail each for itself, as KEP-3850 has it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.federation.tasks import Tasks
from atoll.sandbox.controllers.job_indexes import INDEX, indexes_in, written
from atoll.sandbox.controllers.job_plan import MOST_ENDED_PODS, JobPlan, forgotten, plan

Json = dict[str, Any]
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


def job(**spec: Any) -> Json:
    own = {
        "parallelism": 2, "completions": 3, "completionMode": "Indexed", "backoffLimit": 2**31 - 1,
        "backoffLimitPerIndex": 0, "template": {"spec": {"containers": []}}, **spec,
    }  # fmt: skip
    return {"metadata": {"name": "sweep", "namespace": "lab", "uid": "u"}, "spec": own}


def pod(index: int, phase: str, name: str = "") -> Json:
    metadata = {
        "name": name or f"p{index}", "uid": name or f"p{index}", "annotations": {INDEX: str(index)},
        "creationTimestamp": "2026-11-23T12:00:00Z", "finalizers": ["batch.kubernetes.io/job-tracking"],
    }  # fmt: skip
    return {"metadata": metadata, "spec": {"nodeName": "n"}, "status": {"phase": phase}}


def step(of: Json, *pods: Json, after: float = 0.0) -> JobPlan:
    return plan(of, pods, NOW + timedelta(seconds=after))


def said(step: JobPlan) -> Json:
    return {entry["type"]: (entry["reason"], entry["message"]) for entry in step.status.get("conditions", ())}


def test_an_index_that_fails_ends_no_other() -> None:
    going = step(job(), pod(0, "Failed"), pod(1, "Running"))
    assert (going.status["failedIndexes"], going.create, going.delete, said(going)) == ("0", (2,), (), {})


def test_the_job_fails_when_nothing_but_failed_indexes_is_left() -> None:
    over = step(job(), pod(0, "Failed"), pod(1, "Succeeded"), pod(2, "Succeeded"))
    assert said(over)["Failed"] == ("FailedIndexes", "Job has failed indexes")
    assert (over.status["failedIndexes"], over.status["completedIndexes"]) == ("0", "1,2")


def test_an_index_is_tried_again_as_often_as_it_may_and_the_others_do_not_wait_for_it() -> None:
    once = job(backoffLimitPerIndex=1)
    first = step(once, pod(0, "Failed"), pod(1, "Succeeded"))
    assert (first.status["failedIndexes"], first.create) == ("", (2,))
    later = step({**once, "status": first.status}, pod(0, "Failed"), pod(1, "Succeeded"), pod(2, "Running"), after=60)
    assert later.create == (0,)
    twice = step({**once, "status": later.status}, pod(0, "Failed"), pod(0, "Failed", "p0b"), pod(2, "Running"))
    assert (twice.status["failedIndexes"], twice.create) == ("0", ())


def test_a_failed_index_stays_failed_when_its_pod_is_gone() -> None:
    first = step(job(), pod(0, "Failed"), pod(1, "Running"))
    after = step({**job(), "status": first.status}, pod(1, "Running"), pod(2, "Running"))
    assert (after.status["failedIndexes"], after.create) == ("0", ())


def test_more_failed_indexes_than_allowed_end_the_job() -> None:
    over = step(job(maxFailedIndexes=1), pod(0, "Failed"), pod(1, "Failed"), pod(2, "Running"))
    assert said(over)["FailureTarget"][0] == "MaxFailedIndexesExceeded"
    assert over.delete == ("p2",)


@pytest.mark.parametrize("text", ["", "0", "0-2,5", "3,5,7-9", "3,4", "0,1,3,4,6-8"])
def test_indexes_are_written_as_kubernetes_writes_them(text: str) -> None:
    assert written(indexes_in({"completedIndexes": text}, "completedIndexes")) == text


@given(indexes=st.sets(st.integers(0, 300)))
def test_any_set_of_indexes_comes_back(indexes: set[int]) -> None:
    assert {*indexes_in({"failedIndexes": written(Tasks.of(indexes))}, "failedIndexes")} == indexes


def test_indexes_that_the_status_calls_completed_from_the_start_never_run() -> None:
    given = {**job(completions=10_000, parallelism=3), "status": {"completedIndexes": "0-4999,5001", "succeeded": 5001}}
    begun = step(given)
    assert (begun.create, begun.status["completedIndexes"]) == ((5000, 5002, 5003), "0-4999,5001")


def test_a_job_forgets_its_oldest_ended_pods_and_failed_ones_last() -> None:
    ended = [pod(index, "Succeeded") for index in range(MOST_ENDED_PODS)] + [pod(7777, "Failed"), pod(8888, "Running")]
    assert forgotten(ended) == [], "none is counted yet"
    for each in ended:
        each["metadata"]["finalizers"] = []
    assert [each["metadata"]["name"] for each in forgotten(ended)] == ["p0"]
