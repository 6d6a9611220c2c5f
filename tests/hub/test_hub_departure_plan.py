"""How a cluster leaves, decided: what is waited for, for how long, and what is said to stay. No hub is needed."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.farewell import FarewellOrder, FarewellReport, Leftover
from atoll.federation.holdings import Holdings
from atoll.federation.resources import Cluster, ClusterStatus, ObjectMeta, Run, RunSpec
from atoll.hub.controllers.departure_plan import (
    DELETE_DATA_ANNOTATION,
    FORCE_ANNOTATION,
    TIMEOUT_ANNOTATION,
    Departure,
    plan_departure,
    warnings_of,
)

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
RUN = Run(metadata=ObjectMeta(name="picks-1", namespace="lab"), spec=RunSpec(job="picks", cluster="edge", epoch=1))
ORDER = FarewellOrder(id="u1", at=NOW)
LEFT = Leftover(what="PersistentVolumeClaim lab/atoll-datasets", why="it holds datasets")


def cluster(phase: str = "Ready", *, deleted: float = 0.0, **annotations: str) -> Cluster:
    heard = None if phase == "Pending" else NOW - timedelta(minutes=5)
    metadata = ObjectMeta(
        name="edge", uid="u1", deletion_timestamp=NOW - timedelta(seconds=deleted), annotations=annotations
    )
    status = ClusterStatus.model_validate({"phase": phase, "last_proven_at": heard, "lost_since": heard})
    return Cluster(metadata=metadata, status=status)


def forced(phase: str = "Ready") -> Cluster:
    return cluster(phase, **{FORCE_ANNOTATION: "true"})


CASES: dict[str, tuple[Departure, str, str]] = {
    "one that was never heard goes at once": (Departure(cluster("Pending")), "Left", "never heard"),
    "one with runs waits, and says what stops them": (
        Departure(cluster(), runs=(RUN,)),
        "Draining",
        "waiting for 1 run; 'atoll cluster leave edge --force' stops them",
    ),
    "a forced one still waits until its runs have stopped": (Departure(forced(), runs=(RUN,)), "Draining", "1 run"),
    "one with orders waits for those who gave them": (
        Departure(cluster(), orders=("policyset/base",)),
        "Withdrawing",
        "policyset/base",
    ),
    "the order of a run that is over stands until then": (
        Departure(cluster(), orders=("run/lab/picks-1",)),
        "Withdrawing",
        "run/lab/picks-1",
    ),
    "one without orders is told to clear up": (Departure(cluster()), "Clearing", "is told to"),
    "one that was told is waited for": (Departure(cluster(), order=ORDER), "Clearing", "waiting for the agent"),
    "what it waits for is shown": (
        Departure(cluster(), order=ORDER, report=FarewellReport(id="u1", waiting_for=("run a/b",), at=NOW)),
        "Clearing",
        "waiting for run a/b",
    ),
    "a report of an earlier leave of that name does not count": (
        Departure(cluster(), order=ORDER, report=FarewellReport(id="u0", is_done=True, at=NOW)),
        "Clearing",
        "waiting for the agent",
    ),
    "an order of an earlier leave of that name does not count either": (
        Departure(cluster(), order=ORDER.model_copy(update={"id": "u0"})),
        "Clearing",
        "is told to",
    ),
    "a silent one is waited for": (Departure(cluster("Unreachable")), "Silent", "at 12:10:00 UTC"),
    "as long as was said": (
        Departure(cluster("Unreachable", **{TIMEOUT_ANNOTATION: "90s"})),
        "Silent",
        "at 12:01:30 UTC",
    ),
    "a time-out that is none is the usual one": (
        Departure(cluster("Unreachable", **{TIMEOUT_ANNOTATION: "soon"})),
        "Silent",
        "at 12:10:00 UTC",
    ),
    "a silent one that is forced goes at once": (Departure(forced("Unreachable"), runs=(RUN,)), "Left", "not heard"),
    "a silent one that is forced waits for what fails over and may be running there": (
        Departure(forced("Unreachable"), runs=(RUN,), leased=("lab/picks-1",)),
        "Fencing",
        "waiting until lab/picks-1 cannot be running there any more",
    ),
    "a silent one whose time is over waits for it too": (
        Departure(cluster("Unreachable", deleted=601), runs=(RUN,), leased=("lab/picks-1",)),
        "Fencing",
        "lossPolicy Failover",
    ),
    "a silent one goes when its time is over": (
        Departure(cluster("Unreachable", deleted=601)),
        "Left",
        "not heard since 2026-11-23 11:55:00 UTC",
    ),
}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_next_step_of_a_leave(case: str) -> None:
    departure, reason, message = CASES[case]
    step = plan_departure(departure, NOW)
    assert (step.reason, step.is_last) == (reason, reason == "Left")
    assert message in step.message


def test_a_leaving_cluster_is_drained_and_a_forced_one_of_all_its_runs() -> None:
    specs = [plan_departure(Departure(each, runs=(RUN,)), NOW).spec for each in (cluster(), forced())]
    assert [(spec.draining, spec.evict) for spec in specs if spec is not None] == [(True, "ByPolicy"), (True, "All")]


def test_the_volumes_with_datasets_are_named_in_the_order_only_if_somebody_said_so() -> None:
    steps = [plan_departure(Departure(each), NOW) for each in (cluster(), cluster(**{DELETE_DATA_ANNOTATION: "true"}))]
    assert [step.order.delete_data for step in steps if step.order is not None] == [False, True]


ALONE = Holdings("edge", streams=("lab/anmo",), only_copies=("lab/anmo.1",))
DELETES = {DELETE_DATA_ANNOTATION: "true"}
DATA: dict[str, tuple[Departure, bool, str]] = {
    "it is not asked for": (Departure(cluster(), holdings=ALONE), False, "it stays there"),
    "it would destroy an only copy": (Departure(cluster(**DELETES), holdings=ALONE), False, "it stays there"),
    "it is forced": (
        Departure(cluster(**DELETES, **{FORCE_ANNOTATION: "true"}), holdings=ALONE), True, "it is deleted",
    ),
    "all is elsewhere as well": (Departure(cluster(**DELETES), holdings=Holdings("edge")), True, ""),
}  # fmt: skip


@pytest.mark.parametrize("case", DATA)
def test_data_is_deleted_or_kept_and_that_is_said_when(case: str) -> None:
    departure, is_deleted, end = DATA[case]
    order = plan_departure(departure, NOW).order
    assert order is not None and order.delete_data == is_deleted
    told = dict(warnings_of(departure))
    assert end in told.get("OnlyCopy", "")
    assert bool(told) == bool(end)


def test_streams_and_only_copies_are_named_to_whoever_deletes_the_cluster_by_another_tool() -> None:
    told = dict(warnings_of(Departure(cluster(), holdings=ALONE)))
    assert told["HomeLeaves"].startswith("stream lab/anmo has edge as home")
    assert told["OnlyCopy"].startswith("dataset lab/anmo.1 has no whole copy but in edge")


def test_only_orders_of_runs_are_taken_back_here_and_none_while_a_run_goes_on() -> None:
    """The others' controllers would order the same again."""
    orders = ("policyset/base", "run/lab/picks-1")
    steps = [plan_departure(Departure(cluster(), runs=runs, orders=orders), NOW) for runs in ((RUN,), ())]
    assert [step.withdraw for step in steps] == [(), ("run/lab/picks-1",)]


def test_a_cleared_cluster_leaves_and_what_stays_is_told() -> None:
    report = FarewellReport(id="u1", is_done=True, removed=("Job lab/a",), kept=(LEFT,), at=NOW)
    step = plan_departure(Departure(cluster(), order=ORDER, report=report), NOW)
    assert (step.is_last, step.message, step.kept) == (True, "removed Job lab/a", (LEFT,))


@pytest.mark.parametrize(
    ("departure", "later"),
    [
        (Departure(cluster("Unreachable"), reported=("run/lab/picks-1", "service/lab")), timedelta(minutes=11)),
        (Departure(cluster(), order=ORDER, reported=("run/lab/picks-1", "service/lab")), timedelta(minutes=11)),
    ],
    ids=["silent", "heard but never done"],
)
def test_one_that_is_given_up_is_told_with_all_that_it_reported_last_and_its_agent(
    departure: Departure, later: timedelta
) -> None:
    step = plan_departure(departure, NOW + later)
    assert step.is_last
    assert [left.what for left in step.kept] == ["run lab/picks-1", "service lab", "the agent"]


def test_a_step_that_waits_for_time_is_looked_at_again_then() -> None:
    """Its message stands still meanwhile: a message that counted down would be written for ever."""
    first, second = (
        plan_departure(Departure(cluster("Unreachable")), NOW + timedelta(seconds=each)) for each in (1, 2.7)
    )
    assert (first.message, first.again_seconds) == (second.message, 599.0)


def removed_names(count: int) -> dict[str, Any]:
    return {"id": "u1", "is_done": True, "removed": tuple(f"Job lab/{index}" for index in range(count)), "at": NOW}


def test_a_long_list_is_shortened() -> None:
    report = FarewellReport(**removed_names(7))
    step = plan_departure(Departure(cluster(), order=ORDER, report=report), NOW)
    assert step.message == "removed Job lab/0, Job lab/1, Job lab/2, Job lab/3, Job lab/4 and 2 more"
