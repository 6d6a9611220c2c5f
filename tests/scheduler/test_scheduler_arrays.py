"""Arrays in the scheduler: when they begin, which of their tasks, how many at once, and what they are charged for."""

import pytest
from scheduler_world import cluster, job, queue, run, shape, snapshot

from atoll.federation.placement import Claim, Claims, pods_of_job, view_of_cluster
from atoll.federation.resources import JobStatus, RunStatus
from atoll.federation.resources.job import ArrayStatus
from atoll.hub.scheduler.admission import blocked_by_jobs
from atoll.hub.scheduler.arrays import growing, grown, held_by
from atoll.hub.scheduler.cycle import plan_cycle
from atoll.hub.scheduler.dependencies import judged
from atoll.hub.scheduler.usage import occupations, queue_tree


def array(name, count, *, done="", phase="Pending", running=0, attempts=0, dependencies=(), **spec):
    """An array of which some tasks have succeeded."""
    succeeded = len([*done.split(",")]) if done else 0
    status = JobStatus(
        phase=phase,
        attempts=attempts,
        dependencies=dependencies,
        array=ArrayStatus(
            total=count, succeeded=succeeded, succeeded_tasks=done, running=running, waiting=count - succeeded - running
        ),
    )
    at_most = {"maxParallel": spec.pop("at_most")} if "at_most" in spec else {}
    return job(name, array={"count": count, **at_most}, status=status, **spec)


def running(of, *, at_once, where="here", tasks="", uncounted=False):
    """A run of an array that has begun all tasks that it may."""
    made = run(of, where=where)
    spec = made.spec.model_copy(update={"parallelism": at_once, "tasks": tasks})
    status = RunStatus(phase="Running", running_tasks=0 if uncounted else at_once)
    return made.model_copy(update={"spec": spec, "status": status})


def placed(*objects):
    """Give what the runs of a plan say of their tasks."""
    plan = plan_cycle(snapshot(*objects))
    return {each.run.metadata.name: (each.run.spec.tasks, each.run.spec.parallelism) for each in plan.placements}


def test_an_array_begins_where_one_task_fits_and_an_attempt_has_what_is_left():
    here = cluster("here", shape(cpus=2))
    assert placed(array("a", 100_000), here) == {"a-1": ("", 1)}
    assert placed(array("a", 5, done="0,3", attempts=1), here) == {"a-2": ("1-2,4", 1)}
    assert placed(job("gang", workload={"parallelism": 3, "completions": 3}), here) == {}
    with_outputs = array("a", 5, done="0,3", attempts=1, outputs=[{"dataset": "o", "mountPath": "/o"}])
    assert placed(with_outputs, here) == {"a-2": ("", 1)}


GROWTH = {
    "into all that is free": ({}, {}, 6),
    "to what it allows itself": ({"at_most": 4}, {}, 4),
    "to what its queue may hold": ({}, {"quota": {"limit": {"cpu": "5"}}}, 5),
    "to nothing more where its queue is full": ({}, {"quota": {"limit": {"cpu": "2"}}}, None),
    "although its queue may run one job only": ({}, {"maxRunningJobs": 1}, 6),
}


@pytest.mark.parametrize("name", GROWTH)
def test_a_running_array_grows(name):
    """Two tasks run on a cluster of six CPUs."""
    spec, limits, at_once = GROWTH[name]
    of = array("a", 100, phase="Running", running=2, **spec)
    seen = snapshot(of, running(of, at_once=2), queue(**limits), cluster("here", shape(cpus=6, free_cpus=4)))
    views = [view_of_cluster(each) for each in seen.clusters]
    found = [each.spec.parallelism for each in grown(growing(seen, ["here"]), views, queue_tree(seen))]
    assert found == ([] if at_once is None else [at_once])


STAYS = {
    "that waits for its pods": {"uncounted": True},
    "that has ended": {"phase": "Succeeded"},
    "on a cluster that is gone": {"where": "gone"},
}


@pytest.mark.parametrize("name", STAYS)
def test_an_array_does_not_grow(name):
    changes = STAYS[name]
    of = array("a", 100, phase=changes.get("phase", "Running"), running=2)
    made = running(of, at_once=2, where=changes.get("where", "here"), uncounted=changes.get("uncounted", False))
    seen = snapshot(of, made, cluster("here", shape(cpus=6, free_cpus=4)))
    assert growing(seen, ["here"]) == []


def test_two_arrays_never_take_the_same_room():
    one, other = (array(name, 100, phase="Running", running=1) for name in ("a", "b"))
    seen = snapshot(
        one, other, running(one, at_once=1), running(other, at_once=1), cluster("here", shape(cpus=6, free_cpus=4))
    )
    views = [view_of_cluster(each) for each in seen.clusters]
    more = list(grown(growing(seen, ["here"]), views, queue_tree(seen)))
    assert sum((each.spec.parallelism or 1) - 1 for each in more) == 4


def promised(*, cpus, starts=60, holder="default/big"):
    """A job of one-CPU pods that waits for room."""
    one = pods_of_job(job("one").spec)[0][0]
    return Claim(holder, "Waiting", "here", ((one, cpus),), starts_in_seconds=starts, roomy_in_seconds=starts)


CLAIMED = {
    "beside nothing into all that is free": ([], 6),
    "not into what the next one was promised": ([promised(cpus=3)], 3),
    "beside what is promised for when it has ended": ([promised(cpus=3, starts=100_000)], 6),
    "not at all where somebody waits for the whole cluster": ([promised(cpus=6)], None),
    "into what its own job was promised": ([promised(cpus=6, holder=job("a").key)], 6),
}


@pytest.mark.parametrize("name", CLAIMED)
def test_a_running_array_leaves_room_for_what_others_were_promised(name):
    """Two tasks run on a cluster of six CPUs, for another hour as is expected."""
    claims, at_once = CLAIMED[name]
    of = array("a", 100, phase="Running", running=2, expectedDuration="1h")
    seen = snapshot(of, running(of, at_once=2), queue(), cluster("here", shape(cpus=6, free_cpus=4)))
    views = [view_of_cluster(each, occupations(seen)[each.metadata.name]) for each in seen.clusters]
    more = grown(growing(seen, ["here"]), views, queue_tree(seen), claims=Claims.of(claims))
    assert [each.spec.parallelism for each in more] == ([] if at_once is None else [at_once])


def test_an_array_is_charged_for_what_may_run_and_at_its_end_for_what_is_left():
    of = array("a", 10, phase="Running", running=4)
    made = running(of, at_once=4)
    assert [count for _, count in held_by(made, of)] == [4]
    late = array("a", 10, done="0,1,2,3,4,5,6", phase="Running", running=3)
    assert [count for _, count in held_by(made, late)] == [3]
    seen = snapshot(of, made, cluster("here", shape(cpus=8)))
    assert queue_tree(seen).used["default"][0] == 4000
    assert [each.count for each in occupations(seen)["here"]] == [4]


# --- task by task


def after(name, count, *others, condition="Succeeded", **more):
    waits = [{"job": other, "condition": condition, "perTask": True} for other in others]
    return array(name, count, dependsOn=waits, **more)


def seen_beside(first, *others):
    return judged(first, {each.key: each for each in others})


def test_tasks_begin_as_their_own_tasks_of_the_other_array_have_succeeded():
    here = cluster("here", shape())
    first, second = array("a", 4, done="0,2", phase="Running", running=2), after("b", 4, "a")
    assert placed(first, second, here) == {"b-1": ("0,2", 1)}
    then = after("b", 4, "a", done="0,2", attempts=1)
    assert placed(first, then, here) == {}
    more = array("a", 4, done="0,1,2", phase="Running", running=1)
    assert placed(more, then, here) == {"b-2": ("1", 1)}


RELEASED = {
    ("Succeeded", "Running"): "0",
    ("Succeeded", "Failed"): "0",
    ("Failed", "Running"): "",
    ("Failed", "Failed"): "1-2",
    ("Failed", "Cancelled"): "1-2",
    ("Finished", "Running"): "0",
    ("Finished", "Failed"): "0-2",
}


@pytest.mark.parametrize(("condition", "phase"), RELEASED)
def test_which_tasks_an_array_lets_go_that_has_done_its_first(condition, phase):
    first = array("a", 3, done="0", phase=phase)
    standing = seen_beside(after("b", 3, "a", condition=condition), first).status.dependencies[0]
    assert standing.tasks == RELEASED[condition, phase]
    ends = {"0-2": "Holds"}.get(standing.tasks or "", "Never" if phase != "Running" else "Waiting")
    assert standing.state == ends


def test_a_task_whose_own_has_failed_never_begins_and_the_job_says_which_were_let_go():
    first = array("a", 3, done="0", phase="Failed")
    second = seen_beside(after("b", 3, "a", done="0", attempts=1), first)
    block = blocked_by_jobs(second, {})
    assert block is not None
    assert block.reason == "DependencyNeverSatisfied"
    assert "job lab/a is Failed, and lets no more tasks go than 0" in block.message


def test_an_array_of_another_size_or_none_at_all_lets_no_task_go():
    for other in (array("a", 4, done="0,1,2,3", phase="Succeeded"), job("a", status=JobStatus(phase="Succeeded"))):
        standing = seen_beside(after("b", 3, "a"), other).status.dependencies[0]
        assert (standing.state, standing.tasks) == ("Never", "")


def test_what_was_let_go_stays_so_when_the_other_array_is_deleted():
    second = seen_beside(after("b", 3, "a"), array("a", 3, done="0,1", phase="Running", running=1))
    alone = seen_beside(second)
    assert (alone.status.dependencies[0].tasks, alone.status.dependencies[0].state) == ("0-1", "Never")
    assert blocked_by_jobs(alone, {}) is None, "two tasks may begin"
