"""Which runs are stopped: enough for sure, none too many, the least work lost; and by whose right."""

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.capacity import ResourceVector, Shape
from atoll.federation.placement import Candidate, ClusterView, Occupation, PodDemand, cheapest, cost, is_room_sure
from atoll.federation.queueing import Party, QueueTree, Rights, obstacle, without
from atoll.federation.resources import ObjectMeta, Queue, QueueSpec

GIB = 2**30


def pod(gpus=1, cpus=4):
    """A pod that asks for GPUs."""
    return PodDemand(ResourceVector(cpus * 1000, GIB, gpus))


def run(name, *, gpus=1, cpus=4, count=1, lost=100.0, age=None):
    """A run that may be stopped."""
    occupation = Occupation(f"lab/{name}-1", pod(gpus, cpus), count, 1000.0, is_counted=True)
    return Candidate(f"lab/{name}-1", f"lab/{name}", occupation, lost, lost if age is None else age)


def nodes(*frees, gpus=8, cpus=64):
    """One node for each number of free GPUs; each GPU in use comes with four cores."""
    whole = ResourceVector(cpus * 1000, 256 * GIB, gpus)
    return tuple(
        Shape(1, whole - ResourceVector(4000, GIB, 1) * (gpus - free), whole, "NVIDIA-A100-SXM4-40GB", 40 * GIB)
        for free in frees
    )


def view(*frees, runs=(), **node):
    """A cluster of such nodes, with these runs somewhere on them."""
    occupations = tuple(each.occupation for each in runs)
    return ClusterView("here", shapes=nodes(*frees, **node), occupations=occupations)


def chosen(runs, needed):
    """Choose so that enough GPUs become free; name the jobs."""
    found = cheapest(
        runs, is_enough=lambda victims: sum(_gpus(each) for each in victims) >= needed, is_fair=lambda _: True
    )
    return None if found is None else sorted(each.job.removeprefix("lab/") for each in found)


def _gpus(each):
    return each.occupation.pod.resources.gpus * each.occupation.count


CHOICES = {
    "the one that has lost least goes": ([run("old", lost=900), run("new", lost=10)], 1, ["new"]),
    "of equal ones the youngest goes": ([run("b", lost=0, age=900), run("a", lost=0, age=10)], 1, ["a"]),
    "many small ones go before a dear large one": (
        [run("large", gpus=4, lost=1000), *(run(f"s{n}", lost=5) for n in range(4))], 4, ["s0", "s1", "s2", "s3"],
    ),
    "one large cheap one goes before many small dear ones": (
        [run("large", gpus=4, lost=1), *(run(f"s{n}", lost=50) for n in range(4))], 4, ["large"],
    ),
    "a small one that a larger one makes superfluous stays": (
        [run("small", lost=1), run("large", gpus=4, lost=2)], 4, ["large"],
    ),
    "too little is nothing": ([run("a"), run("b")], 3, None),
}  # fmt: skip


@pytest.mark.parametrize("case", CHOICES.values(), ids=CHOICES)
def test_what_is_stopped_is_enough_and_no_more(case):
    """The least work is lost, and nobody is stopped in vain."""
    runs, needed, expected = case
    assert chosen(runs, needed) == expected


victims = st.lists(
    st.tuples(st.integers(1, 4), st.integers(0, 50)), min_size=0, max_size=7
).map(lambda drawn: [run(f"r{n}", gpus=gpus, lost=lost) for n, (gpus, lost) in enumerate(drawn)])  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(victims, st.integers(1, 12))
def test_of_few_runs_no_cheaper_set_would_do_and_none_is_superfluous(runs, needed):
    """Against all sets that there are."""
    sets = [each for size in range(len(runs) + 1) for each in combinations(runs, size)]
    enough = [each for each in sets if sum(map(_gpus, each)) >= needed]
    found = cheapest(runs, is_enough=lambda each: sum(map(_gpus, each)) >= needed, is_fair=lambda _: True)
    if not enough:
        assert found is None
        return
    assert cost(found) == min(map(cost, enough))
    assert all(sum(_gpus(each) for each in found if each is not left) < needed for left in found)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 50)), min_size=11, max_size=40), st.integers(1, 60))
def test_of_many_runs_none_is_superfluous(drawn, needed):
    """Also where not every set is weighed."""
    runs = [run(f"r{n}", gpus=gpus, lost=lost) for n, (gpus, lost) in enumerate(drawn)]
    found = cheapest(runs, is_enough=lambda each: sum(map(_gpus, each)) >= needed, is_fair=lambda _: True)
    assert (found is None) == (sum(map(_gpus, runs)) < needed)
    assert not found or all(sum(_gpus(each) for each in found if each is not left) < needed for left in found)


# --- what is sure to be free


ROOMS = {
    "a like run frees its place on whichever node": ((0, 0), {}, [run("a"), run("b")], ["a"], pod(), 1, True),
    "small runs on two nodes need not be on one": (
        (4, 4), {}, [run(f"r{n}", gpus=2, cpus=8) for n in range(4)], ["r0", "r1"], pod(8, 8), 1, False,
    ),
    "all that is there frees whole nodes": (
        (4, 4), {}, [run(f"r{n}", gpus=2, cpus=8) for n in range(4)], ["r0", "r1", "r2", "r3"], pod(8, 8), 2, True,
    ),
    "on the only node small runs add up": (
        (0,), {}, [run(f"r{n}") for n in range(8)], [f"r{n}" for n in range(4)], pod(4, 16), 1, True,
    ),
    "cores that every node has plenty of are no matter": (
        (0, 0), {"cpus": 640}, [run("a"), run("b")], ["a"], pod(1, 9), 1, True,
    ),
    "cores that may be missing are": ((0, 0), {"cpus": 40}, [run("a"), run("b")], ["a"], pod(1, 9), 1, False),
    "what is free and what becomes free add up": ((1, 0), {}, [run("a"), run("b")], ["a"], pod(), 2, True),
}  # fmt: skip


@pytest.mark.parametrize("case", ROOMS.values(), ids=ROOMS)
def test_room_counts_only_where_it_is_sure(case):
    """On which node a run is, is not known."""
    frees, node, runs, stopped, wanted, count, expected = case
    gone = [each for each in runs if each.job.removeprefix("lab/") in stopped]
    assert is_room_sure(view(*frees, runs=runs, **node), ((wanted, count),), gone) is expected


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_sure_room_is_there_wherever_the_runs_are(data):
    """Runs are put on nodes at random; whatever is called sure then fits, node by node."""
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=7))
    where = [data.draw(st.integers(0, 1)) for _ in sizes]
    free = [8, 8]
    runs = []
    for number, (size, node) in enumerate(zip(sizes, where, strict=True)):
        if free[node] >= size:
            free[node] -= size
            runs.append((run(f"r{number}", gpus=size, cpus=4 * size), node))
    stopped = [each for each, _ in runs if data.draw(st.booleans())]
    size, count = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 4))
    here = view(*free, runs=[each for each, _ in runs], cpus=32)
    if is_room_sure(here, ((pod(size, 4 * size), count),), stopped):
        for each, node in runs:
            free[node] += _gpus(each) if each in stopped else 0
        assert sum(gpus // size for gpus in free) >= count


# --- by whose right


def tree(specs, held):
    """Queues by name with what runs in them: (job, queue, gpus)."""
    queues = {
        name: Queue(metadata=ObjectMeta(name=name), spec=QueueSpec.model_validate(spec)) for name, spec in specs.items()
    }
    counted = QueueTree.of(queues)
    for job, queue, gpus in held:
        counted.hold(job, queue, (0, 0, gpus))
    return counted, Rights.of(counted, queues)


def party(job, queue, gpus=1, priority=0):
    """A job with what it asks for or holds."""
    return Party(job, queue, priority, (0, 0, gpus))


SURE = {"quota": {"guaranteed": {"gpus": 4}}}
OWN = {"preemption": {"withinQueue": "LowerPriority"}}
ACROSS = {"preemption": {"acrossQueues": "LowerPriority"}}
RIGHTS = {
    "nobody takes without a rule": ({"a": {}}, [("x", "a", 1)], party("j", "a", priority=9), party("x", "a"), None),
    "higher takes from lower in its queue": (
        {"a": OWN}, [("x", "a", 1)], party("j", "a", priority=9), party("x", "a"), "LowerPriority",
    ),
    "what is covered is not given up for what is not": (
        {"a": {**OWN, **SURE}}, [("x", "a", 4)], party("j", "a", 5, priority=9), party("x", "a", 4), None,
    ),
    "what is covered is given up for what is covered": (
        {"a": {**OWN, **SURE}}, [("x", "a", 4)], party("j", "a", 4, priority=9), party("x", "a", 4), "LowerPriority",
    ),
    "equals take nothing from each other": ({"a": OWN}, [("x", "a", 1)], party("j", "a"), party("x", "a"), None),
    "its queue is also what is below it": (
        {"a": OWN, "b": {"parent": "a"}}, [("x", "b", 1)],
        party("j", "a", priority=9), party("x", "b"), "LowerPriority",
    ),
    "across queues takes the rule for that": (
        {"top": {}, "a": {**OWN, "parent": "top"}, "b": {"parent": "top"}}, [("x", "b", 1)],
        party("j", "a", priority=9), party("x", "b"), None,
    ),
    "across queues of one top": (
        {"top": {}, "a": {**ACROSS, "parent": "top"}, "b": {"parent": "top"}}, [("x", "b", 1)],
        party("j", "a", priority=9), party("x", "b"), "LowerPriority",
    ),
    "queues of another top are no matter of priority": (
        {"a": ACROSS, "b": {}}, [("x", "b", 1)], party("j", "a", priority=9), party("x", "b"), None,
    ),
    "what a guarantee covers stays whatever the priority": (
        {"top": {}, "a": {**ACROSS, "parent": "top"}, "b": {**SURE, "parent": "top"}}, [("x", "b", 4)],
        party("j", "a", priority=9), party("x", "b", 4), None,
    ),
    "what is owed is taken from who borrows": (
        {"a": SURE, "b": {}}, [("x", "b", 8)], party("j", "a", 4), party("x", "b", 8, priority=9), "Borrowed",
    ),
    "beyond its own guarantee nothing is owed": (
        {"a": SURE, "b": {}}, [("x", "b", 8)], party("j", "a", 5), party("x", "b", 8), None,
    ),
    "reclaim can be forbidden": (
        {"a": {**SURE, "preemption": {"reclaim": "Never"}}, "b": {}}, [("x", "b", 8)],
        party("j", "a", 4), party("x", "b", 8), None,
    ),
    "what is owed below is taken from beside the queue above": (
        {"top": {}, "a": {**SURE, "parent": "top"}, "b": {}}, [("x", "b", 8)],
        party("j", "a", 4), party("x", "b", 8), "Borrowed",
    ),
    "a guarantee above covers those below": (
        {"top": SURE, "b": {"parent": "top"}, "a": SURE}, [("x", "b", 4)], party("j", "a", 4), party("x", "b", 4), None,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RIGHTS.values(), ids=RIGHTS)
def test_a_run_is_stopped_by_right_only(case):
    """Priority within one tree, guarantees between all queues."""
    specs, held, taker, holder, expected = case
    assert tree(specs, held)[1].ground(taker, holder) == expected


def test_only_what_is_borrowed_is_taken_together():
    """Of three runs of two GPUs beyond a guarantee of four, the first one that goes leaves nothing borrowed."""
    held = [(f"x{n}", "b", 2) for n in range(3)]
    rights = tree({"a": SURE, "b": SURE}, held)[1]
    taker, holders = party("j", "a", 4), [party(f"x{n}", "b", 2) for n in range(3)]
    assert [rights.are_fair(taker, holders[:count]) for count in range(4)] == [True, True, False, False]


def test_a_tree_without_runs_has_room_under_its_limits():
    """The limit of the queue above is in the way until one of them is gone."""
    specs = {"top": {"quota": {"limit": {"gpus": 4}}}, "a": {"parent": "top"}, "b": {"parent": "top"}}
    counted, _ = tree(specs, [("x", "b", 2), ("y", "b", 2)])
    assert obstacle(counted, "a", (0, 0, 2)) is not None
    assert obstacle(without(counted, "a", [party("x", "b", 2)]), "a", (0, 0, 2)) is None
    assert counted.used["top"] == [0, 0, 4]


COVERED = {
    "nobody was promised anything": ({"a": {}}, "a", 9, True),
    "within its own guarantee": ({"a": SURE}, "a", 4, True),
    "beyond it": ({"a": SURE}, "a", 5, False),
    "only others were promised": ({"a": {}, "b": SURE}, "a", 1, False),
}


@pytest.mark.parametrize("case", COVERED.values(), ids=COVERED)
def test_a_job_is_covered_where_nobody_can_reclaim_it(case):
    """Only such a job may be not preemptible."""
    specs, queue, gpus, expected = case
    assert tree(specs, [])[1].is_covered(party("j", queue, gpus)) is expected
