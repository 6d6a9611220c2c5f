"""Jobs that wait for other jobs, and jobs that are held: when they start, and what they say until then."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scheduler_world import NOW, cluster, job, queue, shape, snapshot
from test_scheduler_writes import hub

from atoll.federation.resources import FINISHED_JOB_PHASES, Job, JobStatus
from atoll.hub.scheduler.apply import apply_plan
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.dependencies import circles, judged
from atoll.hub.scheduler.snapshot import take_snapshot

PHASES = ("Pending", "Placed", "Running", "Committing", "Succeeded", "Failed", "Cancelled")
HOLD = {"Succeeded": {"Succeeded"}, "Failed": {"Failed", "Cancelled"}, "Finished": FINISHED_JOB_PHASES}


def after(name, *dependencies, **more):
    """A job that waits for others, each given as a name or as (name, condition)."""
    pairs = [each if isinstance(each, tuple) else (each, "Succeeded") for each in dependencies]
    return job(name, dependsOn=[{"job": key, "condition": condition} for key, condition in pairs], **more)


def being(name, phase):
    """A job in a phase."""
    return job(name, held=phase == "Pending", status=JobStatus(phase=phase))


def said(*jobs):
    """Give what the plan says of each job: placed, or its reason and message."""
    plan = plan_cycle(snapshot(*jobs, cluster("here", shape())))
    placed = {each.job.metadata.name: ("placed", "") for each in plan.placements}
    return placed | {each.job.metadata.name: (each.reason, each.message) for each in plan.waiting}


def remembering(first, *jobs):
    """See a job with what it remembers of a former cycle."""
    return judged(first, {each.key: each for each in jobs})


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("condition", HOLD)
def test_a_job_starts_when_the_other_ended_as_it_should_and_says_so_when_it_never_will(phase, condition):
    reason, message = said(being("first", phase), after("second", ("first", condition)))["second"]
    if phase in HOLD[condition]:
        assert reason == "placed"
        return
    assert reason == ("DependencyNeverSatisfied" if phase in FINISHED_JOB_PHASES else "WaitingForJobs")
    assert "job lab/first" in message and phase in message


RUNNING, DONE, FAILED = (being("first", phase) for phase in ("Running", "Succeeded", "Failed"))
TOLD = {
    "a job that does not exist yet": (
        [after("a", "first")],
        "WaitingForJobs",
        "waits for job lab/first to succeed (it does not exist yet)",
    ),
    "a job of another namespace": (
        [after("a", ("other/first", "Finished"))],
        "WaitingForJobs",
        "waits for job other/first to end (it does not exist yet)",
    ),
    "one that has ended beside one that runs": (
        [after("a", "done", "first"), being("done", "Succeeded"), RUNNING],
        "WaitingForJobs",
        "waits for job lab/first to succeed (it is Running)",
    ),
    "one that failed": (
        [after("a", "first"), FAILED],
        "DependencyNeverSatisfied",
        "job lab/first is Failed and should succeed: cancel this job, or take that out of spec.dependsOn",
    ),
    "one that was deleted before it ended": (
        [remembering(after("a", "first"), RUNNING)],
        "DependencyNeverSatisfied",
        "job lab/first was deleted and should succeed: cancel this job, or take that out of spec.dependsOn",
    ),
    "one that failed and was made anew": (
        [remembering(after("a", "first"), FAILED), RUNNING],
        "WaitingForJobs",
        "waits for job lab/first to succeed (it is Running)",
    ),
    "two in a circle": (
        [after("a", "b"), after("b", "a")],
        "DependencyNeverSatisfied",
        "waits for lab/",
    ),
    "held": ([job("a", held=True)], "Held", "until it is released: atoll job release a -n lab"),
    "held beside a dependency that failed": ([after("a", "first", held=True), FAILED], "Held", "released"),
}


@pytest.mark.parametrize("case", TOLD)
def test_a_job_that_waits_for_others_or_for_people_says_for_whom(case):
    jobs, reason, message = TOLD[case]
    told = said(*jobs)["a"]
    assert told[0] == reason
    assert message in told[1]


FREE = {
    "one that held before it was deleted": [remembering(after("a", "first"), DONE)],
    "a further attempt, whatever became of the first job": [
        after("a", "first", retries=3, status=JobStatus(attempts=1)),
        FAILED,
    ],
    "one that was taken out of the spec after it failed": [
        job("a", status=remembering(after("a", "first"), FAILED).status),
        FAILED,
    ],
}


@pytest.mark.parametrize("case", FREE)
def test_what_held_once_holds(case):
    assert said(*FREE[case])["a"][0] == "placed"


def test_of_many_dependencies_a_few_are_named_and_the_rest_counted():
    _, message = said(after("a", *(f"j{number}" for number in range(9))))["a"]
    assert message.count("does not exist yet") == 5
    assert message.endswith(" and 4 more")


def test_every_circle_is_found_and_nobody_outside_is_in_one():
    jobs = [after("a", "b"), after("b", "c"), after("c", "a"), after("x", "y"), after("y", "x"), after("behind", "a")]
    by_key = {each.key: each for each in jobs}
    found = circles([judged(each, by_key) for each in jobs])
    assert set(found) == {"lab/a", "lab/b", "lab/c", "lab/x", "lab/y"}
    for circle in set(found.values()):
        assert circle[0] == circle[-1]
        for one, following in itertools.pairwise(circle):
            assert f"lab/{by_key[one].spec.depends_on[0].job}" == following


@st.composite
def chains(draw):
    """Jobs of which each may depend on those before it, and how each will end."""
    count = draw(st.integers(1, 8))
    jobs, ends = [], {}
    for number in range(count):
        before = st.tuples(st.integers(0, max(number - 1, 0)), st.sampled_from(sorted(HOLD)))
        picked = draw(st.lists(before, max_size=3)) if number else []
        jobs.append(after(f"j{number}", *((f"j{each}", condition) for each, condition in picked)))
        ends[f"j{number}"] = draw(st.sampled_from(sorted(FINISHED_JOB_PHASES)))
    return jobs, ends, draw(st.randoms(use_true_random=False))


@given(chains())
def test_no_job_starts_before_its_dependencies_hold_and_all_end_or_say_that_they_never_will(world):
    """Running jobs end one by one, in any order and in any way."""
    jobs, ends, random = world
    state, running, ended = {each.key: each for each in jobs}, [], {}
    for _ in range(4 * len(jobs)):
        plan = plan_cycle(snapshot(*state.values(), cluster("here", shape(cpus=3))))
        for waiting in plan.waiting:
            status = waiting.job.status.model_copy(update={"reason": waiting.reason})
            state[waiting.job.key] = waiting.job.model_copy(update={"status": status})
        for placement in plan.placements:
            held = [ended.get(each.job) in HOLD[each.condition] for each in placement.job.spec.depends_on]
            assert all(held), placement.job.key
            running.append(placement.job)
            moved = JobStatus(phase="Running", attempts=1)
            state[placement.job.key] = placement.job.model_copy(update={"status": moved})
        if running:
            last = running.pop(random.randrange(len(running)))
            ended[last.metadata.name] = phase = ends[last.metadata.name]
            state[last.key] = last.model_copy(update={"status": JobStatus(phase=phase, attempts=1)})
    left = [each for each in state.values() if each.status.phase == "Pending"]
    assert not running
    for each in left:
        names = {dependency.job for dependency in each.spec.depends_on}
        stuck = {other.metadata.name for other in left}
        assert each.status.reason == "DependencyNeverSatisfied" or names & stuck


async def test_the_hub_reads_exactly_the_ended_jobs_that_are_named_and_remembers_what_they_were():
    async with hub() as client:
        await client.create(queue())
        for name, phase in (("first", "Succeeded"), ("unrelated", "Succeeded"), ("bad", "Failed")):
            made = await client.create(job(name))
            await client.update_status(made.model_copy(update={"status": JobStatus(phase=phase)}))
        await client.create(after("second", "first"))
        await client.create(after("third", "bad"))
        seen = await take_snapshot(client, NOW)
        assert set(seen.jobs) == {"lab/first", "lab/bad", "lab/second", "lab/third"}
        await apply_plan(plan_cycle(seen), client)
        await client.delete(Job, "lab", "first")
        await client.delete(Job, "lab", "bad")
        again = plan_cycle(await take_snapshot(client, NOW))
        assert {each.job.metadata.name: each.reason for each in again.waiting} == {
            "second": "NoFeasibleCluster",
            "third": "DependencyNeverSatisfied",
        }
