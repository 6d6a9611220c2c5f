"""What each kind's own status, and its pods, amount to."""

from datetime import UTC, datetime

import pytest
from workload_worlds import NAMES, workload

from atoll.federation.workloads import State, at_time_limit, state_of, state_of_all, with_suspend

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
THEN = "2026-11-23T12:00:00Z"


def condition(type_, reason="", message=""):
    """Give a status with one condition that is True."""
    entry = {"type": type_, "status": "True", "reason": reason, "message": message, "lastTransitionTime": THEN}
    return {"conditions": [{"type": "Created", "status": "True"}, entry]}


def pod(phase="Pending", *, code=None, node="n1", name="p", waiting=None):
    """Give a pod at some point of its life."""
    state = {"waiting": {"reason": waiting, "message": "no"}} if waiting else {"running": {"startedAt": THEN}}
    if code is not None:
        state = {"terminated": {"exitCode": code, "reason": "Error", "startedAt": THEN, "finishedAt": THEN}}
    statuses = [{"name": "main", "state": state}] if phase != "Pending" or waiting else []
    return {
        "metadata": {"name": name},
        "spec": {"nodeName": node} if node else {},
        "status": {"phase": phase, "containerStatuses": statuses},
    }


# Example, status → phase, reason, message. Words as the operators write them.
STATES = [
    ("job", condition("Complete"), ("Succeeded", "", "")),
    ("job", condition("Failed", "DeadlineExceeded", "too long"), ("Failed", "DeadlineExceeded", "too long")),
    ("job", condition("Suspended", "JobSuspended", "Job suspended"), ("Pending", "Suspended", "Job suspended")),
    ("job", condition("Failed", "BackoffLimitExceeded", "x") | {"failedIndexes": "1,3"},
     ("Failed", "BackoffLimitExceeded", "x; failed indexes: 1,3")),
    ("pod", {"phase": "Failed", "reason": "Evicted", "message": "disk"}, ("Failed", "Evicted", "disk")),
    ("pod", {"phase": "Succeeded"}, ("Succeeded", "", "")),
    ("jobset", condition("Completed", "AllJobsCompleted"), ("Succeeded", "", "")),
    ("jobset", condition("Failed", "FailedJobs", "jobset failed"), ("Failed", "FailedJobs", "jobset failed")),
    ("pytorchjob", condition("Running", "PyTorchJobRunning", "is running"), ("Running", "", "is running")),
    ("pytorchjob", condition("Failed", "PyTorchJobFailed", "failed"), ("Failed", "PyTorchJobFailed", "failed")),
    ("mpijob", condition("Succeeded"), ("Succeeded", "", "")),
    ("trainjob", condition("Complete", "AllJobsCompleted"), ("Succeeded", "", "")),
    ("trainjob", condition("Failed", "TrainingRuntimeNotSupported", "no such runtime"),
     ("Failed", "TrainingRuntimeNotSupported", "no such runtime")),
    ("experiment", condition("Succeeded", "ExperimentGoalReached"), ("Succeeded", "", "")),
    ("experiment", condition("Failed", "ExperimentMaxTrialsReached", "2 failed"),
     ("Failed", "ExperimentMaxTrialsReached", "2 failed")),
    ("rayjob", {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}, ("Running", "", "")),
    ("rayjob", {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}, ("Succeeded", "", "")),
    ("rayjob", {"jobDeploymentStatus": "Failed", "reason": "DeadlineExceeded", "message": "long"},
     ("Failed", "DeadlineExceeded", "long")),
    ("rayjob", {"jobDeploymentStatus": "Suspended"}, ("Pending", "Suspended", "")),
    ("raycluster", {"state": "ready"}, ("Running", "", "")),
    ("sparkapplication", {"applicationState": {"state": "COMPLETED"}}, ("Succeeded", "", "")),
    ("sparkapplication", {"applicationState": {"state": "FAILED", "errorMessage": "driver container failed"}},
     ("Failed", "Failed", "driver container failed")),
    ("sparkapplication", {"applicationState": {"state": "SUBMITTED"}}, ("Pending", "", "")),
    ("flinkdeployment", {"jobStatus": {"state": "FINISHED"}, "lifecycleState": "STABLE"}, ("Succeeded", "", "")),
    ("flinkdeployment", {"jobManagerDeploymentStatus": "READY"}, ("Running", "", "")),
    ("workflow", {"phase": "Error", "message": "no entrypoint"}, ("Failed", "Failed", "no entrypoint")),
    ("workflow", {"phase": "Succeeded"}, ("Succeeded", "", "")),
    ("volcanojob", {"state": {"phase": "Aborted", "reason": "x", "message": "y"}}, ("Failed", "x", "y")),
    ("volcanojob", {"state": {"phase": "Completed"}}, ("Succeeded", "", "")),
    ("leaderworkerset", condition("Available", "AllGroupsReady"), ("Running", "", "")),
    ("other", {"phase": "Done"}, ("Succeeded", "", "")),
    ("other", {"phase": "Lost", "note": "member 2 is gone"}, ("Failed", "Failed", "member 2 is gone")),
]  # fmt: skip


@pytest.mark.parametrize(("name", "status", "expected"), STATES)
def test_a_kinds_status_is_told_in_one_phase_and_reason(name, status, expected):
    """Whatever words an operator has, a run has five phases."""
    state = state_of({**workload(name), "status": status})
    assert (state.phase, state.reason, state.message) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_workload_of_which_nothing_is_known_yet_is_pending(name):
    """Between being applied and being seen by its operator."""
    assert state_of(workload(name)) == State("Pending")


def test_pods_tell_where_the_kind_says_nothing_yet():
    """A pod that has no node, waits for its image, or runs."""
    given = workload("volcanojob")
    assert state_of(given, [pod(node=None)]).phase == "Pending"
    pulling = state_of(given, [pod(waiting="ImagePullBackOff")])
    assert (pulling.phase, pulling.reason) == ("Starting", "ImagePullBackOff")
    assert state_of(given, [pod("Running")]) == State("Running", started_at=AT)


def test_the_pod_that_failed_says_more_than_an_operator_that_gave_up():
    """Its reason, its exit code, and when it ended."""
    given = {**workload("mpijob"), "status": condition("Failed", "MPIJobFailed", "launcher failed")}
    state = state_of(given, [pod("Running", name="w"), pod("Failed", code=3, name="l")])
    assert (state.reason, state.message) == ("Error", "pod l, container main: ended with exit code 3")
    assert (state.exit_code, state.finished_at) == (3, AT)


@pytest.mark.parametrize("name", ["workflow", "rayjob", "job"])
def test_a_suspended_workload_waits_even_if_its_status_does_not_say_so(name):
    """Not every operator tells."""
    state = state_of(with_suspend(workload(name), True))
    assert (state.phase, state.reason) == ("Pending", "Suspended")


def test_a_group_of_pods_fails_with_the_first_and_succeeds_with_the_last():
    """And while one has ended and another waits, it runs."""
    parts = {
        phase: ({**workload("pod"), "status": {"phase": phase}}, []) for phase in ("Succeeded", "Failed", "Running")
    }
    waiting = (workload("pod"), [])
    assert state_of_all([parts["Succeeded"], parts["Succeeded"]]).phase == "Succeeded"
    assert state_of_all([parts["Running"], parts["Failed"], waiting]).phase == "Failed"
    assert state_of_all([parts["Succeeded"], waiting]).phase == "Running"
    assert state_of_all([waiting, waiting]).phase == "Pending"


def test_a_service_succeeds_when_its_time_is_over_and_anything_else_fails():
    """A service never ends by itself; that it was there as long as it should is all there is to succeed in."""
    assert at_time_limit(workload("raycluster")).phase == "Succeeded"
    assert at_time_limit(workload("sparkapplication")).reason == "DeadlineExceeded"


@pytest.mark.parametrize(
    "status", [{"conditions": "x"}, {"conditions": [1, None]}, {"startTime": "soon"}, {"state": 7}, []]
)
@pytest.mark.parametrize("name", NAMES)
def test_a_status_that_makes_no_sense_says_nothing(name, status):
    """Operators have bugs too; nothing of theirs may stop the agent."""
    assert state_of({**workload(name), "status": status}).phase == "Pending"
