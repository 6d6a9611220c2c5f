"""Replays of a snapshot: what is foretold is what the next cycle does with the changed world."""

from dataclasses import replace

import pytest

from atoll.federation.errors import InvalidInput, NotFound
from atoll.federation.resources import JobStatus
from atoll.hub import whatif
from atoll.hub.scheduler.cycle import plan_cycle
from scheduler.scheduler_world import cluster, job, queue, run, shape, snapshot


def running(name, *, where="here", epoch=1, **spec):
    """A job that runs, and its run."""
    status = JobStatus(phase="Running", cluster=where, run=f"{name}-{epoch}", attempts=epoch)
    made = job(name, status=status, **spec)
    decision = {"clusters": [{"cluster": where, "terms": {"runSeconds": 600.0}}]}
    return made, run(made, epoch, where=where, started_seconds_ago=100, decision=decision)


def placed(world):
    """Where the next cycle puts jobs."""
    return {each.job.metadata.name: each.run.spec.cluster for each in plan_cycle(world).placements}


def test_nothing_that_is_asked_changes_the_world_that_it_is_asked_of():
    """A snapshot is frozen, and answers come from copies."""
    old, attempt = running("old", lossPolicy="Failover")
    world = snapshot(old, attempt, job("young", gpus=1), cluster("here", shape(gpus=1)), cluster("there", shape()))
    before = plan_cycle(world)
    whatif.drain(world, "here", "All")
    whatif.queue(world, "default", {"maxRunningJobs": 0})
    whatif.job(world, job("new"))
    assert plan_cycle(world) == before


def test_a_drain_moves_what_its_policy_lets_go_and_leaves_the_rest():
    """Only the forced one stops what should wait for its end."""
    world = snapshot(
        *running("waits", lossPolicy="Wait"), *running("moves", lossPolicy="Failover"),
        cluster("here", shape()), cluster("there", shape()),
    )  # fmt: skip
    told = {each["job"]: each for each in whatif.drain(world, "here", "ByPolicy")["runs"]}
    assert told["lab/waits"]["effect"] == "Stays"
    moved = told["lab/moves"]
    assert (moved["effect"], moved["next"]["cluster"]) == ("Stops", "there")
    assert (moved["lostSeconds"], moved["remainingSeconds"], moved["laterSeconds"]) == (100.0, 500.0, 100.0)
    forced = {each["job"]: each for each in whatif.drain(world, "here", "All")["runs"]}
    assert forced["lab/waits"]["next"]["starts"]


def test_a_drain_tells_whose_wait_grows_because_of_those_who_come():
    """A younger job would have started where the older one now goes first."""
    limited = queue(maxRunningJobs=2)
    world = snapshot(
        *running("moves", lossPolicy="Failover", age_seconds=600), job("young"), limited,
        cluster("here", shape(cpus=1)), cluster("there", shape(cpus=1)),
    )  # fmt: skip
    assert placed(world).keys() == {"young"}
    told = whatif.drain(world, "here", "ByPolicy")
    assert [each["next"]["cluster"] for each in told["runs"]] == ["there"]
    (change,) = told["pending"]
    assert (change["job"], change["before"]["starts"], change["after"]["starts"]) == ("lab/young", True, False)


def test_a_higher_limit_starts_exactly_the_jobs_that_the_next_cycle_starts():
    """And a lower one keeps exactly those waiting that would have started."""
    jobs = [job(f"j{number}", age_seconds=100 - number) for number in range(4)]
    world = snapshot(*jobs, queue(maxRunningJobs=1), cluster("here", shape()))
    told = whatif.queue(world, "default", {"maxRunningJobs": 3})
    changed = replace(world, queues={"default": queue(maxRunningJobs=3)})
    assert told["starts"] == sorted(f"lab/{name}" for name in placed(changed).keys() - placed(world).keys())
    assert len(told["starts"]) == 2
    assert whatif.queue(world, "default", {"maxRunningJobs": 0})["waits"] == ["lab/j0"]


def test_a_job_takes_its_place_behind_those_that_wait_already():
    """It is the youngest; with a higher priority it goes first."""
    world = snapshot(job("old", cpus=8), cluster("here", shape(cpus=8)))
    assert not whatif.job(world, job("new", cpus=8))["starts"]
    assert whatif.job(world, job("new", cpus=8, priority=5))["starts"]


def test_what_does_not_exist_or_would_not_be_admitted_is_said():
    """The message names the thing, or the field."""
    world = snapshot(cluster("here", shape()))
    with pytest.raises(NotFound, match="gone"):
        whatif.drain(world, "gone", "ByPolicy")
    with pytest.raises(NotFound, match="gone"):
        whatif.queue(world, "gone", {"weight": 2})
    with pytest.raises(InvalidInput) as refused:
        whatif.queue(world, "default", {"weight": "heavy"})
    assert any("spec.weight" in problem for problem in refused.value.problems)
