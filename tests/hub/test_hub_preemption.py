"""What becomes of a run that has to make room, and what a reservation's status says."""

from datetime import timedelta

import pytest

from atoll.federation.capacity import ResourceVector, Shape
from atoll.federation.placement import ClusterView, Occupation, PodDemand
from atoll.federation.resources import ObjectMeta, Reservation, ReservationSpec
from atoll.federation.resources.run import Preempted
from atoll.hub.controllers.job_plan import plan_job
from atoll.hub.controllers.reservations import Census, count
from atoll.hub.controllers.run_plan import plan_run
from hub.test_hub_run_plan import NOW, job, order, report, run, scope

WHY = Preempted(by="lab/urgent", ground="LowerPriority", message="it makes room for job lab/urgent", at=NOW)


def preempted(**changes):
    """A run that has to make room."""
    found = run(**changes)
    return found.model_copy(update={"spec": found.spec.model_copy(update={"preempted": WHY})})


# name: what is known → (phase, reason, whether its order is taken back)
CASES = {
    "before it was ordered it is over at once": (scope(run=preempted()), ("Failed", "Preempted", None)),
    "once it was ordered it is stopped first": (
        scope(run=preempted(phase="Starting"), order=order()), ("Starting", "Preempted", True),
    ),
    "it goes on until its agent says that it was stopped": (
        scope(run=preempted(phase="Running"), order=order(cancelled=True), report=report("Running")),
        ("Running", "Preempted", True),
    ),
    "whatever its lossPolicy": (
        scope(run=preempted(phase="Running"), order=order(), report=report("Running"), job=job(lossPolicy="Duplicate")),
        ("Running", "Preempted", True),
    ),
    "stopped, it has not failed by itself": (
        scope(run=preempted(phase="Running"), order=order(cancelled=True), report=report("Cancelled")),
        ("Failed", "Preempted", None),
    ),
    "if it was done before, it has succeeded": (
        scope(run=preempted(phase="Running"), order=order(cancelled=True), report=report("Succeeded")),
        ("Succeeded", "", None),
    ),
    "its user's word counts more": (
        scope(run=preempted(phase="Running", cancelled=True), order=order(cancelled=True), report=report("Cancelled")),
        ("Cancelled", "", None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_run_that_makes_room_is_stopped_before_it_is_over(case):
    """Nothing is placed again before its agent has said so."""
    given, (phase, reason, is_taken_back) = case
    plan = plan_run(given, NOW)
    cancelled = plan.order.cancelled if plan.order is not None else None
    assert (plan.status.phase, plan.status.reason, cancelled) == (phase, reason, is_taken_back)
    assert plan.status.is_displaced == (phase in ("Starting", "Running"))


def test_a_job_whose_run_made_room_waits_again_and_uses_up_no_retry():
    """It did nothing wrong; the message says for whom."""
    over = preempted(phase="Failed", reason="Preempted", message=WHY.message)
    status = plan_job(job(retries=0), [over], NOW).status
    assert (status.phase, status.reason) == ("Pending", "Preempted")
    assert status.message == "attempt 1 had to leave cloud: it makes room for job lab/urgent"
    failed = run(phase="Failed", reason="Error")
    failed = failed.model_copy(update={"spec": failed.spec.model_copy(update={"epoch": 2})})
    assert plan_job(job(retries=1), [over, failed], NOW).status.phase == "Pending"
    assert plan_job(job(retries=0), [over, failed], NOW).status.phase == "Failed"


# --- reservations


def seen(*, used=0, theirs=0, starts=-60, gpus=8):
    """One node of eight GPUs, some in use by the queue's own run and some by others'."""
    whole = ResourceVector(64_000, 2**38, 8)
    free = whole - ResourceVector(1000, 0, 1) * (used + theirs)
    own = Occupation("lab/own-1", PodDemand(ResourceVector(1000, 0, 1)), used, 9999.0, is_counted=True)
    view = ClusterView("here", shapes=(Shape(1, free, whole, "NVIDIA-A100-SXM4-40GB"),), occupations=(own,))
    spec = ReservationSpec.model_validate(
        {
            "queue": "lab",
            "starts": NOW + timedelta(seconds=starts),
            "ends": NOW + timedelta(seconds=starts + 3600),
            "amounts": {"gpus": gpus},
        }
    )
    kept = Reservation(metadata=ObjectMeta(name="beamtime"), spec=spec)
    return Census([kept], [view], {"beamtime": {"here": [own] if used else []}}, NOW)


STATUSES = {
    "all is there": (seen(), ("Active", 8, 8, 0), True),
    "others are still on it": (seen(theirs=3), ("Active", 8, 5, 0), True),
    "its own runs use it": (seen(used=3), ("Active", 8, 5, 3), True),
    "it has not begun": (seen(starts=600), ("Pending", 8, 8, 0), True),
    "it is over": (seen(starts=-9999), ("Ended", 0, 0, 0), True),
    "there is not as much at all": (seen(gpus=12), ("Active", 8, 8, 0), False),
}


@pytest.mark.parametrize("case", STATUSES.values(), ids=STATUSES)
def test_a_reservation_says_how_much_of_it_there_really_is(case):
    """Kept, free and held are three things."""
    census, expected, is_kept = case
    status = count(census)["beamtime"]
    assert (status.phase, status.reserved.gpus, status.free.gpus, status.held.gpus) == expected
    assert status.free_gpus == status.free.gpus
    (condition,) = status.conditions
    assert (condition.status == "True") is is_kept
