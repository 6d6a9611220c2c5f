"""What was learned reaches the scheduler, and jobs that must leave a cluster keep their place meanwhile."""

from dataclasses import replace

from atoll.federation.estimates import Estimates, History, Moving, Sample, Traffic, subject_of
from atoll.federation.resources import JobStatus, RunStatus
from atoll.hub.scheduler.cycle import Memory, plan_cycle
from scheduler.scheduler_world import NOW, cluster, dataset, job, queue, run, shape, snapshot


def knowing(world, **seconds_by_job):
    """See the same world once three runs of a job's sort have taken so long."""
    histories = {}
    for name, seconds in seconds_by_job.items():
        samples = (Sample(run=str(number), seconds=seconds, ended_at=NOW) for number in range(3))
        histories[subject_of(world.jobs[f"lab/{name}"]).key] = History(samples=tuple(samples))
    return replace(world, estimates=Estimates(histories, revision=1))


def durations(plan):
    """What each placed job is expected to run."""
    return {placed.job.metadata.name: placed.decision.demand.duration_seconds for placed in plan.placements}


def test_a_job_that_waits_is_expected_anew_when_something_was_learned_of_its_sort():
    """The memory of former cycles does not keep what they did not know."""
    full = snapshot(job("a", cpus=64, expectedDuration=None), job("b", expectedDuration=None), cluster("here", shape()))
    memory = Memory()
    assert durations(plan_cycle(full, memory)) == {"b": 3600.0}
    assert durations(plan_cycle(knowing(full, b=90.0), memory)) == {"b": 90.0}
    assert durations(plan_cycle(knowing(full, b=90.0))) == {"b": 90.0}


def test_jobs_of_one_template_are_expected_by_their_commands():
    """What ran for a moment tells nothing of a job of the same image that does something else."""
    short, long = (
        job(name, expectedDuration=None, pod={"containers": [{"name": "main", "image": "i", "command": words}]})
        for name, words in (("short", ["echo", "hello"]), ("long", ["sleep", "600"]))
    )
    subject = subject_of(short)
    samples = tuple(Sample(run=str(n), seconds=2, command=subject.command, ended_at=NOW) for n in range(3))
    world = snapshot(short, long, cluster("here", shape()))
    knows = replace(world, estimates=Estimates({subject.key: History(samples=samples)}, revision=1))
    assert durations(plan_cycle(knows)) == {"short": 2.0, "long": 3600.0}


def test_a_job_whose_user_says_how_long_it_runs_is_believed():
    """What runs of the same image took is in the record, and does not count."""
    world = knowing(snapshot(job("a", expectedDuration="7m"), cluster("here", shape())), a=90.0)
    (placed,) = plan_cycle(world).placements
    assert placed.decision.demand.duration_seconds == 420.0
    assert placed.decision.demand.learned.seconds == 90.0


def test_a_copy_that_is_under_way_draws_the_job_to_where_it_arrives():
    """Both clusters would have to wait for the same 100 GB; one of them has most of it already."""
    wanted = job("picks", inputs=[{"dataset": "waves", "mountPath": "/in"}])
    clusters = [cluster(name, shape(), links=("home",)) for name in ("left", "right")]
    home = cluster("home", links=("left", "right"))
    world = snapshot(wanted, dataset("waves", "home", size=10**11), home, *clusters)
    for name in ("left", "right"):
        moving = (Moving("lab/waves", 1, "home", name, 10**9),)
        plan = plan_cycle(replace(world, estimates=Estimates(traffic=Traffic(moving=moving))))
        assert [placed.run.spec.cluster for placed in plan.placements] == [name]


def test_a_job_that_had_to_leave_keeps_its_share_of_the_queue_until_it_waits_again():
    """Between the end of its run and its own status nobody behind it may take its place."""
    limited = queue(maxRunningJobs=1)
    old = job("old", age_seconds=600, status=JobStatus(phase="Running", run="old-1", attempts=1))
    drained = run(old).model_copy(update={"status": RunStatus(phase="Failed", reason="Drained")})
    world = snapshot(old, job("young"), drained, limited, cluster("here", shape()))
    plan = plan_cycle(world)
    assert [each.reason for each in plan.waiting] == ["QueueLimit"]
    again = old.model_copy(update={"status": JobStatus(phase="Pending", reason="Drained", attempts=1)})
    plan = plan_cycle(replace(world, jobs={**world.jobs, "lab/old": again}))
    assert [placed.run.metadata.name for placed in plan.placements] == ["old-2"]
    assert [each.job.metadata.name for each in plan.waiting] == ["young"]
