"""A Job and its pods as a table: what a run is said to be doing."""

from datetime import UTC, datetime
from typing import Any

import pytest

from atoll.edge.member.run_status import RunState
from atoll.edge.member.run_status import read_run as read_all

Json = dict[str, Any]
NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
BEGAN, ENDED = "2026-11-22T11:58:00Z", "2026-11-22T11:59:00Z"


def job(*conditions: Json, **status: Any) -> Json:
    of_kind = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {}}
    return of_kind | {"status": {"conditions": list(conditions), **status}}


def read_run(given: Json, pods: list[Json], now: datetime) -> RunState:
    return read_all([(given, pods)], now)


def holds(kind: str, reason: str = "", message: str = "") -> Json:
    return {"type": kind, "status": "True", "reason": reason, "message": message, "lastTransitionTime": ENDED}


def pod(
    phase: str = "Pending", state: Json | None = None, *, name: str = "p", placed: bool = True, **status: Any
) -> Json:
    resources = {"requests": {"cpu": "500m"}, "limits": {"nvidia.com/gpu": "2"}}
    statuses = [{"name": "main", "state": state}] if state else []
    return {
        "metadata": {"name": name, "creationTimestamp": BEGAN},
        "spec": {"containers": [{"name": "main", "resources": resources}]} | ({"nodeName": "n"} if placed else {}),
        "status": {"phase": phase, "containerStatuses": statuses, **status},
    }


def ended(code: int, reason: str = "Error", message: str = "") -> Json:
    end: Json = {"exitCode": code, "reason": reason, "startedAt": BEGAN, "finishedAt": ENDED}
    return {"terminated": end | ({"message": message} if message else {})}


UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
PULL = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
CREATING = {"waiting": {"reason": "ContainerCreating"}}
RUNNING = {"running": {"startedAt": BEGAN}}
COMPLETE = job(holds("Complete"), completionTime=ENDED)
GAVE_UP = job(holds("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit"))
LATE = job(holds("Failed", "DeadlineExceeded", "Job was active longer than specified deadline"))
PER_INDEX = job(holds("Failed", "FailedIndexes", "Job has failed indexes"), failedIndexes="1,3-5")

# narrative: (job, pods) → (phase, reason, words in the message, exit code)
CASES: dict[str, tuple[Json, list[Json], tuple[str, str, str, int | None]]] = {
    "no pod yet": (job(), [], ("Pending", "", "", None)),
    "suspended by a queue": (job(holds("Suspended", "", "by Kueue")), [], ("Pending", "Suspended", "by Kueue", None)),
    "no node fits": (
        job(),
        [pod(placed=False, conditions=[UNSCHEDULABLE])],
        ("Pending", "Unschedulable", "0/3 nodes", None),
    ),
    "on a node": (job(), [pod(state=CREATING)], ("Starting", "", "", None)),
    "the image is missing": (job(), [pod(state=PULL)], ("Starting", "ErrImagePull", "no such image", None)),
    "running": (job(), [pod("Running", RUNNING)], ("Running", "", "", None)),
    "the pod has ended, the Job not yet": (job(), [pod("Succeeded", ended(0))], ("Running", "", "", None)),
    "one of two has started": (job(), [pod(), pod("Running", RUNNING, name="q")], ("Running", "", "", None)),
    "complete": (COMPLETE, [pod("Succeeded", ended(0))], ("Succeeded", "", "", 0)),
    "complete, the pods are cleaned up": (COMPLETE, [], ("Succeeded", "", "", 0)),
    "exit code": (GAVE_UP, [pod("Failed", ended(3))], ("Failed", "Error", "exit code 3", 3)),
    "out of memory": (
        GAVE_UP,
        [pod("Failed", ended(137, "OOMKilled"))],
        ("Failed", "OOMKilled", "main", 137),
    ),
    "the program's last words": (
        GAVE_UP,
        [pod("Failed", ended(1, message="no data for ANMO"))],
        ("Failed", "Error", "no data for ANMO", 1),
    ),
    "evicted": (
        GAVE_UP,
        [pod("Failed", reason="Evicted", message="The node was low on resource: memory")],
        ("Failed", "Evicted", "low on resource", None),
    ),
    "too long": (LATE, [], ("Failed", "DeadlineExceeded", "longer than", None)),
    "indexes failed, each for itself": (
        PER_INDEX,
        [],
        ("Failed", "FailedIndexes", "Job has failed indexes; failed indexes: 1,3-5", None),
    ),
    "an index failed, and its pod tells why": (
        job(holds("Failed"), failedIndexes="7"),
        [pod("Failed", ended(3), name="j-7-x")],
        ("Failed", "Error", "pod j-7-x, container main: ended with exit code 3; failed indexes: 7", 3),
    ),
    "given up, no pod left": (GAVE_UP, [], ("Failed", "BackoffLimitExceeded", "backoff limit", None)),
}


@pytest.mark.parametrize("narrative", CASES)
def test_a_job_and_its_pods_are_read_as(narrative: str) -> None:
    """Phase, reason, message and exit code are what a person would read out of the objects."""
    given_job, pods, (phase, reason, words, exit_code) = CASES[narrative]
    state = read_run(given_job, pods, NOW)
    assert (state.phase, state.reason, state.exit_code) == (phase, reason, exit_code)
    assert words in state.message
    assert state.is_finished == (phase in ("Succeeded", "Failed"))


def test_of_very_many_failed_indexes_the_first_are_named_whole() -> None:
    failed = ",".join(str(index) for index in range(1000, 3000, 2))
    state = read_run(job(holds("Failed", "FailedIndexes"), failedIndexes=failed), [], NOW)
    named = state.message.removeprefix("failed indexes: ").removesuffix(" and more").split(",")
    assert state.message.endswith(" and more")
    assert named == [str(index) for index in range(1000, 1000 + 2 * len(named), 2)]
    assert 10 <= len(named) <= 20


def test_usage_is_what_the_pods_asked_for_while_they_ran() -> None:
    """One pod ran for a minute, one has run for two minutes so far, one never started."""
    pods = [pod("Succeeded", ended(0)), pod("Running", RUNNING, name="q"), pod(name="r")]
    state = read_run(job(), pods, NOW)
    assert state.usage.gpu_seconds == 2 * (60 + 120)
    assert state.usage.cpu_seconds == 0.5 * (60 + 120)
    assert state.pods == ("p", "q", "r")
    assert state.started_at == datetime(2026, 11, 22, 11, 58, tzinfo=UTC)
    assert state.finished_at is None


def test_a_finished_run_has_its_end() -> None:
    """The Job's completion time, or for a failed Job the end of its last container."""
    end = datetime(2026, 11, 22, 11, 59, tzinfo=UTC)
    assert read_run(COMPLETE, [], NOW).finished_at == end
    assert read_run(GAVE_UP, [pod("Failed", ended(3))], NOW).finished_at == end
    assert read_run(GAVE_UP, [], NOW).finished_at == end
