"""Promises, reservations and preemption in the cycle: who gets room, who has to leave, and that all of it ends."""

from datetime import timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st
from scheduler_world import NOW, cluster, job, queue, run, shape, snapshot
from timeline import GRACE_SECONDS, Timeline

from atoll.federation.resources import JobStatus, ObjectMeta, Reservation, ReservationSpec
from atoll.hub.scheduler.cycle import plan_cycle

URGENT = {"preemption": {"withinQueue": "LowerPriority"}}


def running(name, *, gpus=1, age=60, **spec):
    """A job that runs, and its run, which began so many seconds ago."""
    held = job(name, gpus=gpus, status=JobStatus(phase="Running", attempts=1), **spec)
    return held, run(held, started_seconds_ago=age)


def full(*pairs, gpus=8):
    """A cluster on which just these run."""
    used = sum(held.spec.gpu.count for held, _ in pairs)
    names = tuple(each.key for _, each in pairs)
    return (
        cluster(
            "here", shape(gpus=gpus, cpus=64, free_gpus=gpus - used, free_cpus=64 - len(pairs)), counted_runs=names
        ),
        *sum(pairs, ()),
    )


def evicted(plan):
    """Say who has to leave for whom."""
    return [(each.job, sorted(victim.run.spec.job for victim in each.victims)) for each in plan.evictions]


def why(plan):
    """Say why jobs wait."""
    return {each.job.metadata.name: each.reason for each in plan.waiting}


def reservation(*, starts, ends, queue_name="lab", **amounts):
    """A reservation whose window begins and ends in so many seconds."""
    window = {"starts": NOW + timedelta(seconds=starts), "ends": NOW + timedelta(seconds=ends)}
    spec = ReservationSpec.model_validate({"queue": queue_name, **window, "amounts": amounts})
    return Reservation(metadata=ObjectMeta(name="beamtime"), spec=spec)


# --- preemption


def test_the_youngest_of_lower_priority_leaves_and_the_record_says_for_whom_and_at_what_cost():
    """Exactly one of three, and the job that gets the room does not start before it has left."""
    pairs = [running(f"low{n}", gpus=2, age=600 - n, expectedDuration="10h") for n in range(3)]
    urgent = job("urgent", gpus=4, priority=9)
    plan = plan_cycle(snapshot(*full(*pairs), urgent, queue(**URGENT)))
    assert (evicted(plan), plan.placements) == ([("lab/urgent", ["low2"])], ())
    (victim,) = plan.evictions[0].victims
    assert (victim.preempted.by, victim.preempted.ground, victim.preempted.lost_seconds) == (
        "lab/urgent", "LowerPriority", 598,
    )  # fmt: skip
    assert "whose priority 9 is higher than 0; work lost: 19m56s of GPU time" in victim.preempted.message
    (left,) = plan.waiting
    assert (left.reason, left.record()["claim"]["victims"]) == ("Preempting", ["lab/low2-1"])


def test_who_saves_its_work_often_leaves_before_who_has_just_begun():
    """Only what has to be done again counts."""
    saving = running("saving", gpus=4, age=3605, checkpointInterval="1m", expectedDuration="10h")
    young = running("young", gpus=4, age=30, expectedDuration="10h")
    plan = plan_cycle(snapshot(*full(saving, young), job("urgent", gpus=4, priority=9), queue(**URGENT)))
    assert evicted(plan) == [("lab/urgent", ["saving"])]


def test_nobody_is_stopped_who_must_not_be_or_ends_soon_anyway():
    """The one is not preemptible, the other is done before it could have left."""
    kept = running("kept", gpus=4, preemptible=False, expectedDuration="10h")
    urgent, top = job("urgent", gpus=4, priority=9), queue(**URGENT)
    assert evicted(plan_cycle(snapshot(*full(kept, gpus=4), urgent, top))) == []
    ending = running("ending", gpus=4, age=580)
    plan = plan_cycle(snapshot(*full(ending, gpus=4), urgent, top))
    assert (evicted(plan), why(plan)) == ([], {"urgent": "WaitingForCapacity"})


def test_a_queue_takes_back_what_it_was_guaranteed_also_through_the_limit_above():
    """The limit of their parent is reached by what the other one borrows."""
    top = queue("top", quota={"limit": {"gpus": 4}})
    queues = [top, queue("a", parent="top", quota={"guaranteed": {"gpus": 2}}), queue("b", parent="top")]
    pairs = [running(f"b{n}", gpus=2, queue="b", priority=9, age=600 - n, expectedDuration="10h") for n in range(2)]
    plan = plan_cycle(snapshot(*full(*pairs), job("owed", gpus=2, queue="a"), *queues))
    assert evicted(plan) == [("lab/owed", ["b1"])]
    assert plan.evictions[0].victims[0].preempted.ground == "Borrowed"
    assert evicted(plan_cycle(snapshot(*full(*pairs), job("more", gpus=3, queue="a"), *queues))) == []


def test_a_job_that_must_not_be_stopped_does_not_borrow():
    """Else it would hold what others are guaranteed for as long as it likes."""
    queues = [queue("a", quota={"guaranteed": {"gpus": 2}}), queue("b")]
    jobs = [job("sure", gpus=2, queue="a", preemptible=False), job("borrows", gpus=1, queue="b", preemptible=False)]
    plan = plan_cycle(snapshot(*jobs, cluster("here", shape(gpus=8)), *queues))
    assert [each.job.metadata.name for each in plan.placements] == ["sure"]
    assert why(plan) == {"borrows": "NotCovered"}


def test_while_runs_leave_for_a_job_nobody_takes_the_room_and_no_others_are_stopped():
    """Neither a small job of another queue, nor the one that was stopped, nor a second choice."""
    line = Timeline(4, [queue("a", **URGENT), queue("b")])
    for n in range(2):
        line.submit(job(f"low{n}", gpus=2, queue="a", expectedDuration="10h"), 36000)
    line.step(1)
    line.submit(job("urgent", gpus=2, queue="a", priority=9), 60)
    line.step(60)
    line.submit(job("small", gpus=1, queue="b"), 60)
    for _ in range(GRACE_SECONDS + 2):
        line.step(1)
    assert len(line.preempted) == 1
    assert line.started["lab/urgent"] == [61 + GRACE_SECONDS]
    assert "lab/small" not in line.started


jobs_drawn = st.lists(
    st.tuples(st.sampled_from("ab"), st.integers(1, 4), st.integers(0, 3), st.integers(5, 200), st.integers(0, 100)),
    min_size=3, max_size=8,
)  # fmt: skip
QUEUES = [
    queue("top"),
    queue("a", parent="top", quota={"guaranteed": {"gpus": 2}}, preemption={"withinQueue": "LowerPriority"}),
    queue("b", parent="top", preemption={"withinQueue": "LowerPriority", "acrossQueues": "LowerPriority"}),
]


@settings(max_examples=5, deadline=None)
@given(jobs_drawn, st.integers(0, 2))
def test_whoever_is_stopped_comes_back_and_everything_ends(drawn, guess):
    """No two take from each other for ever, nobody is stopped for a job that does not start, nothing starves."""
    line = Timeline(4, QUEUES)
    arrivals = sorted((at, n, spec) for n, (*spec, at) in enumerate(drawn))
    for _ in range(300):
        while arrivals and arrivals[0][0] <= line.seconds:
            _, n, (name, gpus, priority, takes) = arrivals.pop(0)
            said = f"{max(1, takes * guess)}s"
            line.submit(job(f"j{n}", gpus=gpus, queue=name, priority=priority, expectedDuration=said), takes)
        line.step(10)
        if not arrivals and not line.jobs:
            break
    assert len(line.done) == len(drawn)
    takers = {by for _, by in line.preempted}
    assert takers <= line.done
    assert len(line.preempted) <= len(drawn) ** 2


# --- promises


@example(1, [82], True)  # whose ends fall between the microseconds of a promise
@settings(max_examples=3, deadline=None)
@given(st.integers(1, 3), st.lists(st.integers(20, 200), min_size=1, max_size=5), st.booleans())
def test_a_large_job_starts_within_a_bound_although_small_ones_keep_coming(size, takes, is_said):
    """Also if the small ones take longer than they say, or say nothing."""
    line = Timeline(4, [queue("a"), queue("b")])
    for n in range(400):
        if n == 10:
            line.submit(job("large", gpus=4, queue="a"), 60)
        seconds = takes[n % len(takes)]
        said = {"expectedDuration": f"{seconds}s"} if is_said else {"expectedDuration": "30s"}
        line.submit(job(f"s{n}", gpus=min(size, 3), queue="ab"[n % 2], **said), seconds)
        line.step(10)
        if "lab/large" in line.started:
            break
    before, slip = 10 * max(takes), 300 + 3 * max(takes)  # ten came before it, one at a time at worst
    assert line.started["lab/large"][0] - 100 <= before + slip
    assert line.preempted == []


def test_a_small_job_starts_beside_a_promise_if_it_is_done_in_time():
    """One of two is; the other one says for whom the room is kept."""
    held = running("held", gpus=3, age=0)
    jobs = [
        job("large", gpus=4, age_seconds=90),
        job("short", gpus=1, expectedDuration="5m"),
        job("long", gpus=1, expectedDuration="1h"),
    ]
    plan = plan_cycle(snapshot(*full(held, gpus=4), *jobs))
    assert [each.job.metadata.name for each in plan.placements] == ["short"]
    plan = plan_cycle(snapshot(*full(held, gpus=4), jobs[0], jobs[2]))
    assert why(plan) == {"large": "WaitingForCapacity", "long": "RoomClaimed"}
    large, long = sorted(plan.waiting, key=lambda each: each.job.metadata.name, reverse=True)[::-1]
    assert large.record()["claim"]["latestAt"] == "2026-11-22T18:15:00Z"
    assert "its room is kept for job lab/large" in long.message


# --- reservations


def test_nothing_starts_on_reserved_room_that_would_still_run_then_but_for_its_own_queue():
    """And the job that waits names the reservation."""
    queues = [queue("lab"), queue("lab.x", parent="lab"), queue("weather")]
    jobs = [
        job("own", gpus=8, queue="lab.x", expectedDuration="1h"),
        job("short", gpus=8, queue="weather", expectedDuration="9m"),
        job("long", gpus=1, queue="weather", expectedDuration="11m"),
    ]
    for each, starts in zip(jobs, (True, True, False), strict=True):
        kept = reservation(starts=600, ends=4200, gpus=8)
        plan = plan_cycle(_with(snapshot(cluster("here", shape(gpus=8, cpus=64)), each, *queues), kept))
        assert [len(plan.placements), why(plan).get("long")] == [int(starts), None if starts else "Reserved"]
    assert (
        "here has room, but its room is kept by reservation beamtime, from 2026-11-22 18:10 UTC"
        in plan.waiting[0].message
    )


def test_what_overruns_into_a_reservation_leaves_when_its_queue_needs_the_room():
    """In the window only, and only for as much as is reserved."""
    late, queues = running("late", gpus=8, queue="weather", age=900), [queue("lab"), queue("weather")]
    world = snapshot(*full(late), job("own", gpus=8, queue="lab"), *queues)
    kept = reservation(starts=-60, ends=3600, gpus=8)
    plan = plan_cycle(_with(world, kept))
    assert evicted(plan) == [("lab/own", ["late"])]
    assert plan.evictions[0].victims[0].preempted.ground == "Reserved"
    for other in (reservation(starts=60, ends=3600, gpus=8), reservation(starts=-60, ends=3600, gpus=4)):
        assert evicted(plan_cycle(_with(world, other))) == []


def _with(world, *reservations):
    return type(world)(**{**vars(world), "reservations": reservations})
