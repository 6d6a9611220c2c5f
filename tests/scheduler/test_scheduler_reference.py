"""The cycle beside a plain, slow one that looks at every job by itself: both place the same jobs in the same places."""

from copy import deepcopy
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_world import NOW, cluster, dataset, job, queue, run, shape, snapshot

from atoll.federation.placement import ClusterTable, Links, Occupation, decide, demand_of_job, view_of_cluster
from atoll.federation.queueing import Measure, Party, QueueTree, obstacle, refused_priority
from atoll.federation.resources import JobStatus
from atoll.hub.scheduler.claiming import Ahead, promise
from atoll.hub.scheduler.cycle import Memory, plan_cycle
from atoll.hub.scheduler.usage import capacity


def plain_cycle(world):
    """Decide about one job after another, each time from everything there is.

    Queues stand in one level here. Who could not start has no further turn, nor have those of its queue that ask for
    the same; those of other queues that ask the clusters for the same cannot start either. The first of a queue that
    finds no room is promised some, which those after it leave alone.
    """
    tree, past = QueueTree.of(world.queues), {}
    views = [view_of_cluster(each) for each in world.clusters]
    left = sorted(
        world.jobs.values(), key=lambda each: (-each.spec.priority, each.metadata.creation_timestamp, each.key)
    )
    left = [each for each in left if not is_held_back(each, world, tree)]
    closed, hopeless, placed, heads, claims = set(), set(), {}, set(), {}
    while left:
        wanted = turn(left, world, tree, past)
        left.remove(wanted)
        demand = demand_of_job(wanted, world.queues[wanted.spec.queue], world.datasets)
        vector = tree.axes.charge(demand.pod, demand.count)
        alike = (wanted.spec.queue, wanted.spec.priority, demand.likeness)
        if obstacle(tree, wanted.spec.queue, vector) is None:
            decision = decide(demand, ClusterTable.of(views, Links.of(views, NOW)), decided_at=NOW, against=claims)
            if decision.starts_now and demand.likeness not in hopeless:
                seconds = decision.terms.staging_seconds + decision.terms.run_seconds
                at = next(at for at, view in enumerate(views) if view.name == decision.selected)
                views[at] = views[at].occupied(Occupation(wanted.key, demand.pod, demand.count, seconds, False))
                tree.hold(wanted.key, wanted.spec.queue, vector)
                placed[wanted.key] = decision.selected
                continue
            hopeless.add(demand.likeness)
            claim = None if wanted.spec.queue in heads else claim_of(wanted, demand, vector, decision)
            if claim is not None:
                heads.add(wanted.spec.queue)
                claims[claim.cluster] = (*claims.get(claim.cluster, ()), claim)
        closed.add(alike)
        left = [each for each in left if likeness(each, world) not in closed]
    return placed


def claim_of(wanted, demand, vector, decision):
    """Claim the room in which a job would be done first; None if it is not known when there will be any."""
    possible = [
        (round(each.terms.total_seconds, 3), each.cluster, each.terms) for each in decision.verdicts if each.terms
    ]
    total, where, terms = min(possible, default=(inf, "", None))
    if total == inf:
        return None
    party = Party(wanted.key, wanted.spec.queue, wanted.spec.priority, vector)
    ahead = Ahead(where, terms.wait_seconds, terms.staging_seconds + terms.run_seconds)
    return promise(party, demand, ahead, None, NOW).claim(NOW)


def is_held_back(wanted, world, tree):
    """Tell whether it may not be placed at all."""
    inputs = [world.datasets.get(("lab", each.dataset)) for each in wanted.spec.inputs]
    return (
        wanted.spec.held
        or any(each is None or not each.status.complete for each in inputs)
        or refused_priority(tree, wanted.spec.queue, wanted.spec.priority) is not None
    )


def likeness(wanted, world):
    """Give what makes two jobs alike."""
    demand = demand_of_job(wanted, world.queues[wanted.spec.queue], world.datasets)
    return (wanted.spec.queue, wanted.spec.priority, demand.likeness)


def turn(left, world, tree, past):
    """Find whose turn it is: the first job of the queue that is owed most, or has least."""
    measure, heads = Measure(capacity(world.clusters)), {}
    for each in left:
        heads.setdefault(each.spec.queue, each)

    def order(name):
        grant, head = tree.grants[name], heads[name]
        demand = demand_of_job(head, world.queues[name], world.datasets)
        is_owed = grant.guarantees(tree.used[name], tree.axes.charge(demand.pod, demand.count))
        return (not is_owed, measure.share(tree.used[name], past.get(name, (0, 0, 0))) / grant.weight, name)

    return heads[min(heads, key=order)]


QUEUES = ("a", "b", "c")
jobs = st.builds(
    dict,
    cpus=st.sampled_from((1, 2, 3, 9)),
    gpus=st.sampled_from((0, 0, 1, 2)),
    queue=st.sampled_from(QUEUES),
    age_seconds=st.integers(1, 5),
    priority=st.integers(0, 1),
    held=st.sampled_from((False,) * 5 + (True,)),
    inputs=st.sampled_from(([], [], ["here"], ["growing"], ["gone"])),
    expectedDuration=st.sampled_from(("1m", "10m", "2h")),
    workload=st.sampled_from(({}, {}, {"parallelism": 3})),
)
clusters = st.lists(
    st.tuples(st.integers(1, 8), st.integers(0, 3), st.integers(1, 2), st.sampled_from((0.0, 60.0))),
    min_size=1,
    max_size=4,
)
quotas = st.fixed_dictionaries(
    {
        "weight": st.integers(1, 3),
        "quota": st.sampled_from(({}, {"guaranteed": {"gpus": 1}}, {"limit": {"cpu": "4"}}, {"limit": {"gpus": 2}})),
    },
    optional={"maxRunningJobs": st.integers(0, 3), "priorities": st.just({"highest": 0})},
)


def worlds(asked, nodes, granted):
    """Make a snapshot of what was drawn."""
    made = []
    for number, wishes in enumerate(asked):
        inputs = [{"dataset": name, "mountPath": f"/{name}"} for name in wishes["inputs"]]
        made.append(job(f"j{number}", **{**wishes, "inputs": inputs}))
    names = [f"c{number}" for number in range(len(nodes))]
    placed = [
        cluster(name, shape(cpus=cpus, gpus=gpus, nodes=count), links=names, costs={"cpuHour": price})
        for name, (cpus, gpus, count, price) in zip(names, nodes, strict=True)
    ]
    queues = [queue(name, **spec) for name, spec in zip(QUEUES, granted, strict=True)]
    data = [dataset("here", "c0", size=10**10), dataset("growing", "c0", complete=False)]
    return snapshot(*made, *placed, *queues, *data)


def placed(plan):
    """Tell where a plan puts each job, in the order of their turns."""
    return {each.job.key: each.run.spec.cluster for each in plan.placements}


@given(st.lists(jobs, min_size=1, max_size=14), clusters, st.tuples(quotas, quotas, quotas))
@settings(max_examples=100, deadline=None)
def test_the_cycle_places_what_a_plain_one_places_job_by_job(asked, nodes, granted):
    """The same jobs, on the same clusters, in the same order; and every other job is told why it waits."""
    world = worlds(asked, nodes, granted)
    plan = plan_cycle(world)
    assert list(placed(plan).items()) == list(plain_cycle(world).items())
    assert sorted([*placed(plan), *(each.job.key for each in plan.waiting)]) == sorted(world.jobs)


@given(
    st.lists(st.tuples(st.integers(0, 7), jobs), min_size=1, max_size=25), clusters, st.tuples(quotas, quotas, quotas)
)
@settings(max_examples=12, deadline=None)
def test_what_is_remembered_changes_no_plan(changes, nodes, granted):
    """Jobs come, change, are placed, and go: a book that followed all of it plans like one that was just begun.

    What was promised is no memory of the book but a word that was given (how far a start may slip is said once), so
    both know the promises that stand.
    """
    memory, live, runs = Memory(), {}, ()
    for number, wishes in changes:
        live[number] = wishes if live.get(number) != wishes else None
        world = worlds([each for each in live.values() if each], nodes, granted)
        world = replace(world, runs=tuple(each for each in runs if f"lab/{each.spec.job}" in world.jobs))
        begun = Memory(promises=deepcopy(memory.promises))
        remembered = plan_cycle(world, memory)
        assert plan_cycle(world, begun) == remembered
        runs = tuple(each.run for each in remembered.placements[:1])


RETURNS = {
    "its run ended and was noticed": (JobStatus(phase="Pending", attempts=1), "Failed", True),
    "its run ended unnoticed": (JobStatus(phase="Pending"), "Failed", False),
    "its run goes on": (JobStatus(phase="Pending", attempts=1), "Running", False),
}


@pytest.mark.parametrize("case", RETURNS.values(), ids=RETURNS)
def test_a_job_comes_back_into_the_book_when_its_run_lets_it(case):
    """The book has seen it wait, then run."""
    status, phase, comes_back = case
    memory, wanted, here = Memory(), job("a"), cluster("here", shape())
    plan_cycle(snapshot(wanted, here), memory)
    busy = job("a", status=JobStatus(phase="Running", attempts=1))
    plan_cycle(snapshot(busy, run(busy), here), memory)
    again = job("a", status=status)
    plan = plan_cycle(snapshot(again, run(again, phase=phase), here), memory)
    assert bool(plan.placements) is comes_back
