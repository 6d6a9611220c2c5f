"""What a run is charged and on which days, by values; and sums that count every record once."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.queueing import Spending
from atoll.federation.resources import Cluster, Job, Run, Transfer
from atoll.federation.resources.submitter import QUEUE, SUBMITTER
from atoll.hub.accounting.charging import Charge, final_records, interim_records
from atoll.hub.accounting.closing import CHARGED_JOB, is_charged
from atoll.hub.accounting.records import AccountRecord
from atoll.hub.accounting.sums import DaySum, Sums
from hub.support import GIB, inventory, job_spec, manifest

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
TODAY, HOUR, DAY = NOON.date(), timedelta(hours=1), timedelta(days=1)
LAB = "seismology"
DEMAND = {"pods": 2, "gpus": 1, "millicores": 500, "memoryBytes": GIB, "gpuModels": ["A100"]}


def a_run(*, created: datetime = NOON - HOUR, demand: Any = None, **status: Any) -> Run:
    made = manifest("Run", "j-1", {"job": "j", "cluster": "onprem", "epoch": 1}, LAB)
    made["spec"]["decision"] = {"demand": DEMAND if demand is None else demand}
    made["metadata"] |= {"uid": "u1", "creationTimestamp": created, "annotations": {SUBMITTER: "ada", QUEUE: "lab.a"}}
    return Run.model_validate({**made, "status": {"phase": "Succeeded", **status}})


def a_cluster(name: str = "onprem", **costs: float) -> Cluster:
    return Cluster.model_validate(
        {"metadata": {"name": name}, "spec": {"costs": costs}, "status": {"inventory": inventory()}}
    )


def a_charge(run: Run, *, now: datetime = NOON, **changes: Any) -> Charge:
    clusters = {"onprem": a_cluster(gpuHour=2, cpuHour=0.5), "cloud": a_cluster("cloud", egressGib=0.1)}
    return Charge(run, **{"job": None, "clusters": clusters, "now": now, **changes})


def lasting(hours: float, *, end: datetime = NOON, **usage: float) -> dict[str, Any]:
    return {"startedAt": end - timedelta(hours=hours), "finishedAt": end, "usage": usage}


def test_a_run_is_charged_what_its_agent_tells_by_the_prices_of_its_cluster() -> None:
    """Copies cost what leaves the clusters that they come from. The job is not needed any more."""
    run = a_run(**lasting(0.5, gpuSeconds=3600, cpuSeconds=1800))
    (record,) = final_records(a_charge(run, copied={"cloud": 10 * GIB}), {})
    assert (record.user, record.queue, record.job, record.cluster) == ("ada", "lab.a", "j", "onprem")
    assert (record.gpus, record.gpu_seconds, record.cpu_seconds) == (2, 3600, 1800)
    assert record.memory_byte_seconds == 2 * GIB * 1800
    assert (record.staged_bytes, record.egress_bytes) == (10 * GIB, 10 * GIB)
    assert record.cost == pytest.approx(2 + 0.25 + 1.0)
    assert (record.phase, record.is_final, record.is_estimated) == ("Succeeded", True, False)
    assert (record.started_at, record.ended_at, record.day) == (NOON - HOUR / 2, NOON, TODAY)
    assert AccountRecord.read(record.model_dump_json(by_alias=True).encode()) == record


@pytest.mark.parametrize("skew", [-400 * DAY, -3 * HOUR, 3 * HOUR, 400 * DAY], ids=str)
def test_a_cluster_whose_clock_is_wrong_is_charged_by_its_durations_on_the_hubs_day(skew: timedelta) -> None:
    """An hour is an hour; it lies where the hub knows that the run was."""
    run = a_run(created=NOON - 2 * HOUR, **lasting(1, end=NOON + skew))
    (record,) = final_records(a_charge(run), {})
    assert record.memory_byte_seconds == 2 * GIB * 3600
    assert record.day == TODAY
    assert record.started_at is not None and NOON - 2 * HOUR <= record.started_at <= record.ended_at <= NOON


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (lasting(0), True),
        (lasting(-5, gpuSeconds=-1e9, cpuSeconds=-1), True),
        ({"startedAt": NOON + DAY}, False),
        ({"startedAt": None}, True),
        ({"startedAt": None}, False),
    ],
    ids=["no time", "time and use below nothing", "starts tomorrow", "never started", "never heard of"],
)
def test_nothing_is_charged_below_nothing(status: dict[str, Any], told: bool) -> None:
    """And every run leaves a record."""
    (record,) = final_records(a_charge(a_run(**status), is_told=told), {})
    assert (record.gpu_seconds, record.cpu_seconds, record.memory_byte_seconds, record.cost) == (0, 0, 0, 0)


def test_a_broken_agent_cannot_break_the_sums() -> None:
    """Huge use, a start in the beginning of time, a demand that is none."""
    ages = datetime(1, 1, 1, tzinfo=UTC)
    run = a_run(startedAt=ages, finishedAt=NOON, usage={"gpuSeconds": 1e308, "cpuSeconds": 1e308}, demand={"gpus": "x"})
    (record,) = final_records(a_charge(run), {})
    assert record.gpu_seconds == record.cpu_seconds == 1e15
    assert record.cost < 1e15 and record.gpus == 0


def test_a_lost_run_is_charged_for_as_long_as_it_was_believed_to_run_and_says_so() -> None:
    run = a_run(startedAt=NOON - HOUR, phase="Failed", reason="Lost", usage={"gpuSeconds": 5})
    (record,) = final_records(a_charge(run, is_told=False), {})
    assert (record.gpu_seconds, record.reason, record.is_estimated) == (7200, "Lost", True)
    (gone,) = final_records(a_charge(a_run(**lasting(1, gpuSeconds=7200)), clusters={}), {})
    assert (gone.gpu_seconds, gone.cost, gone.is_estimated) == (7200, 0, True), "nobody knows its prices any more"


def test_a_long_run_is_charged_by_days_which_add_up_to_what_its_agent_tells() -> None:
    """Two days are over while it runs; its agent counts a little less than was reckoned for them."""
    status = {"startedAt": NOON - 2 * DAY, "phase": "Running"}
    going_on = a_charge(a_run(created=NOON - 2 * DAY, **status))
    interim = interim_records(going_on)
    assert [record.day.day for record in interim] == [21, 22]
    assert [record.memory_byte_seconds / (2 * GIB) for record in interim] == [12 * 3600, 24 * 3600]
    assert not any(record.is_final or record.is_estimated for record in interim)
    assert interim_records(going_on, [date(2026, 11, 21)]) == interim[1:]
    told = lasting(48, gpuSeconds=300_000, cpuSeconds=1)
    ended = a_charge(a_run(created=NOON - 2 * DAY, **told), copied={"cloud": GIB})
    first = {interim[0].day: interim[0]}
    records = final_records(ended, first)
    assert [record.is_final for record in records] == [False, True], "the day that stands is not written again"
    whole = [interim[0], *records]
    assert sum(record.gpu_seconds for record in whole) == pytest.approx(300_000)
    assert whole[-1].cpu_seconds == 0, "what stands is not taken back"
    assert [record.staged_bytes for record in whole] == [0, 0, GIB]
    assert len({record.key for record in whole}) == 3


def test_a_copy_is_charged_to_the_attempt_for_which_it_was_made() -> None:
    def copy(made: datetime, **annotations: str) -> Transfer:
        spec = {"dataset": "d", "version": 1, "source": "cloud", "destination": "onprem"}
        found = manifest("Transfer", "t", spec, LAB)
        found["metadata"] |= {"creationTimestamp": made, "annotations": annotations}
        return Transfer.model_validate(found)

    first = a_run()
    second = first.model_copy(update={"spec": first.spec.model_copy(update={"epoch": 2})})
    before, after = copy(NOON - DAY, **{CHARGED_JOB: "j"}), copy(NOON, **{CHARGED_JOB: "j"})
    assert [is_charged(before, first), is_charged(before, second)] == [True, False], "fetched before it was placed"
    assert is_charged(after, second)
    assert not is_charged(copy(NOON, **{CHARGED_JOB: "other"}), first)
    assert not is_charged(copy(NOON), first)


def test_a_job_that_is_there_tells_what_an_old_run_does_not() -> None:
    """Runs of before this version have no annotations."""
    job = Job.model_validate(manifest("Job", "j", job_spec(queue="old"), LAB))
    run = a_run(**lasting(1))
    bare = run.model_copy(update={"metadata": run.metadata.model_copy(update={"annotations": {}})})
    (record,) = final_records(a_charge(bare, job=job), {})
    assert (record.queue, record.user) == ("old", "")


# --- sums


def a_record(**changes: Any) -> AccountRecord:
    (record,) = final_records(a_charge(a_run(**lasting(1, gpuSeconds=3600))), {})
    return record.model_copy(update=changes)


def test_a_record_counts_once_however_often_it_is_given() -> None:
    """Foreseen, then given by the stream, then again after a restart between the day and the head."""
    sums = Sums()
    sums.foresee(7, a_record())
    assert sums.spent(["lab.a"])["lab.a"][TODAY].gpu_hours == 1
    for _ in range(2):
        sums.add(7, a_record())
    assert sums.spent(["lab.a"])["lab.a"][TODAY].gpu_hours == 1
    stored = DaySum.decode(sums.days[TODAY].encode())
    again = Sums(through=0, days={TODAY: stored})
    again.add(7, a_record())
    again.add(8, a_record(queue="lab.b"))
    assert again.spent(["lab.a", "lab.b", "nobody"])["lab.a"][TODAY].gpu_hours == 1
    assert again.spent(["nobody"]) == {"nobody": {}}
    assert sum(amounts.runs for amounts in again.days[TODAY].rows.values()) == 2


def test_what_is_given_out_does_not_change_later() -> None:
    """A cycle reads it in a thread of its own."""
    sums = Sums()
    sums.add(1, a_record())
    before = sums.spent(["lab.a"])
    sums.add(2, a_record())
    assert before["lab.a"][TODAY].gpu_hours == 1 and sums.spent(["lab.a"])["lab.a"][TODAY].gpu_hours == 2
    assert isinstance(before["lab.a"][TODAY], Spending)


def test_days_that_are_too_old_are_forgotten() -> None:
    sums = Sums()
    sums.add(1, a_record())
    sums.add(2, a_record(is_final=False, uid="going"))
    assert sums.going_on == {"going": NOON}
    assert sums.forget(TODAY + DAY) == (TODAY,)
    assert (sums.days, sums.changed, sums.going_on, sums.spent(["lab.a"])) == ({}, set(), {}, {"lab.a": {}})
