"""The tree of queues: limits that hold, guarantees that are reached, shares that follow weights, one order for all."""

from collections import deque
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement import PodDemand
from atoll.federation.queueing import (
    Axes,
    Measure,
    QueueTree,
    Turns,
    borrowed,
    fair_shares,
    obstacle,
    past_at,
    past_use,
    refused_priority,
    soundness,
)
from atoll.federation.resources import ObjectMeta, Queue, QueueSpec, QueueStatus
from atoll.federation.resources.queue import HeldAmounts

NOW = datetime(2026, 11, 23, tzinfo=UTC)
GPU = (0, 0, 1)


def queue(name, **spec):
    """A queue."""
    return Queue(metadata=ObjectMeta(name=name), spec=QueueSpec.model_validate(spec))


def tree(*queues):
    """A tree in which nothing is held."""
    return QueueTree.of({each.metadata.name: each for each in queues})


class Row:
    """Who waits in one queue, with what each asks for."""

    def __init__(self, items):
        self.items = deque(items)

    is_empty = property(lambda self: not self.items)
    head = property(lambda self: self.items[0][1])


def turns(world, capacity, past, lines):
    """Give who has a turn, one after another; everybody has one."""
    for row in Turns(world, Measure(capacity), past, {name: Row(items) for name, items in lines.items()}):
        yield row.items.popleft()[0]


def fill(world, waiting, *, gpus, past=None):
    """Start jobs, one turn after another, while GPUs are left; give the names of those that started, in order."""
    capacity, free, started = (0, 0, gpus), gpus, []
    lines = {name: [((name, number, ask), ask) for number, ask in enumerate(asks)] for name, asks in waiting.items()}
    for name, number, ask in turns(world, capacity, past or {}, lines):
        if ask[2] <= free and obstacle(world, name, ask) is None:
            world.hold(f"{name}/{number}", name, ask)
            free -= ask[2]
            started.append(f"{name}/{number}")
    return started


def held(world, name):
    """Tell how many GPUs a queue holds."""
    return world.used[name][2]


def quota(*, sure=None, most=None):
    """A quota of GPUs."""
    sides = {"guaranteed": sure, "limit": most}
    return {side: {"gpus": gpus} for side, gpus in sides.items() if gpus is not None}


# --- whose turn it is


def test_equal_queues_take_turns_and_weights_make_some_come_more_often():
    """Three of four turns go to the queue of weight three."""
    world = tree(queue("light"), queue("heavy", weight=3))
    fill(world, {"light": [GPU] * 50, "heavy": [GPU] * 50}, gpus=40)
    assert (held(world, "light"), held(world, "heavy")) == (10, 30)


def test_the_share_that_counts_is_of_the_resource_of_which_a_queue_has_most():
    """The published example: 9 CPUs and 18 GB; A asks for (1 CPU, 4 GB), B for (3 CPUs, 1 GB); 3 and 2 tasks run."""
    world = tree(queue("a"), queue("b"))
    lines = {"a": [(("a", (1, 4, 0)), (1, 4, 0))] * 9, "b": [(("b", (3, 1, 0)), (3, 1, 0))] * 9}
    free = [9, 18]
    for name, ask in turns(world, (9, 18, 0), {}, lines):
        if ask[0] <= free[0] and ask[1] <= free[1]:
            free = [free[0] - ask[0], free[1] - ask[1]]
            world.hold(name, name, ask)
    assert (world.running["a"], world.running["b"]) == (3, 2)


def test_shares_are_compared_among_siblings_only():
    """Two labs have half each, however many queues one of them has."""
    world = tree(queue("a"), queue("b"), *(queue(f"b.{number}", parent="b") for number in range(3)))
    fill(world, {"a": [GPU] * 20, **{f"b.{number}": [GPU] * 20 for number in range(3)}}, gpus=12)
    assert [held(world, name) for name in ("a", "b", "b.0", "b.1", "b.2")] == [6, 6, 2, 2, 2]


def test_jobs_of_a_queue_that_has_queues_below_it_stand_beside_those():
    """The parent's own jobs are one more sibling."""
    world = tree(queue("lab"), queue("lab.a", parent="lab"))
    fill(world, {"lab": [GPU] * 9, "lab.a": [GPU] * 9}, gpus=8)
    assert (held(world, "lab"), held(world, "lab.a")) == (8, 4)


def test_a_queue_within_its_guarantee_goes_before_one_that_has_less_of_its_share():
    """The heavy queue would have had nearly everything by weight alone."""
    world = tree(queue("heavy", weight=100), queue("sure", quota=quota(sure=4)))
    assert fill(world, {"heavy": [GPU] * 9, "sure": [GPU] * 9}, gpus=6)[:4] == [f"sure/{n}" for n in range(4)]
    assert held(world, "heavy") == 2


def test_a_guarantee_holds_below_a_parent_that_has_borrowed_beyond_its_own():
    """What a sibling borrowed is not held against the queue that was promised something."""
    world = tree(
        queue("lab", quota=quota(sure=4)),
        queue("lab.greedy", parent="lab"),
        queue("lab.sure", parent="lab", quota=quota(sure=4)),
        queue("other", weight=1000),
    )
    for number in range(8):
        world.hold(f"old{number}", "lab.greedy", GPU)
    started = fill(world, {"lab.sure": [GPU] * 9, "lab.greedy": [GPU] * 9, "other": [GPU] * 9}, gpus=6)
    assert started[:4] == [f"lab.sure/{number}" for number in range(4)]


def test_what_nobody_else_wants_is_borrowed_up_to_the_limit():
    """A queue alone takes more than its guarantee, and no more than it may."""
    world = tree(queue("a", quota=quota(sure=2, most=5)), queue("b", quota=quota(sure=6)))
    fill(world, {"a": [GPU] * 9}, gpus=8)
    assert held(world, "a") == 5
    assert borrowed(world)["a"].gpus == 3


def test_who_held_much_until_now_goes_later():
    """A queue that comes back after a burst stands behind one that was idle."""
    world = tree(queue("a"), queue("b"))
    assert fill(world, {"a": [GPU], "b": [GPU]}, gpus=1, past={"a": (0.0, 0.0, 3.0)}) == ["b/0"]


def test_a_queue_that_is_below_itself_does_not_hang_the_order():
    """Both stand at the top."""
    world = tree(queue("a", parent="b"), queue("b", parent="a"), queue("c", parent="a"))
    assert sorted(fill(world, {"a": [GPU], "c": [GPU]}, gpus=9)) == ["a/0", "c/0"]


# --- limits


def test_the_limit_in_the_way_is_named_with_who_holds_it_and_what_would_help():
    """The nearest queue of the line whose limit it is; the largest holders first."""
    world = tree(queue("lab", quota=quota(most=8)), queue("lab.a", parent="lab"), queue("lab.b", parent="lab"))
    world.hold("ns/small", "lab.a", (0, 0, 2))
    world.hold("ns/big", "lab.b", (0, 0, 5))
    found = obstacle(world, "lab.a", (1000, 0, 2))
    assert (found.queue, found.resource, found.field, found.held, found.limit) == (
        "lab", "gpus", "quota.limit.gpus", 7, 8,
    )  # fmt: skip
    assert found.holders == (("ns/big", "lab.b", 5), ("ns/small", "lab.a", 2))
    assert found.advice == "1 GPU given back in queue lab, or its quota.limit.gpus at 9 GPUs"
    assert obstacle(world, "lab.a", (1000, 0, 1)) is None


def test_asking_for_more_than_a_queue_may_ever_hold_is_told_before_what_waiting_would_mend():
    """The job above the parent's limit hears of that, although its own queue is full, too."""
    world = tree(queue("lab", quota=quota(most=3)), queue("lab.a", parent="lab", maxRunningJobs=1))
    world.hold("ns/j", "lab.a", GPU)
    found = obstacle(world, "lab.a", (0, 0, 4))
    assert found.is_lasting
    assert found.message.startswith("the job asks for 4 GPUs, more than queue lab allows at all")
    assert obstacle(world, "lab.a", GPU).field == "maxRunningJobs"


MODELS = {
    "the model": (("A100",), 2, 0),
    "a closer name of it": (("A100-SXM4-40GB",), 2, 0),
    "another one": (("H100",), 0, 2),
    "either": (("H100", "A100"), 2, 2),
    "any": ((), 2, 2),
    "one that no quota names": (("L4",), 0, 0),
}


@pytest.mark.parametrize("case", MODELS.values(), ids=MODELS)
def test_a_job_counts_for_every_gpu_model_that_it_may_get(case):
    """Which GPU it gets is the member's choice, so no limit of a model can be exceeded by it."""
    wanted, a100, h100 = case
    world = tree(queue("a", quota={"limit": {"gpuModels": {"A100": 4, "H100": 4}}}))
    vector = world.axes.charge(PodDemand(ResourceVector(0, 0, 1), wanted), 2)
    assert vector == (0, 0, 2, a100, h100)


@pytest.mark.parametrize(("priority", "is_allowed"), [(-1, False), (0, True), (100, True), (101, False)])
def test_a_priority_must_be_in_the_range_of_every_queue_of_the_line(priority, is_allowed):
    """The message says which queue, and what it takes."""
    world = tree(queue("lab", priorities={"highest": 100}), queue("lab.a", parent="lab", priorities={"lowest": 0}))
    refused = refused_priority(world, "lab.a", priority)
    assert (refused is None) == is_allowed


# --- accounts


def test_use_is_forgotten_by_half_with_every_half_life():
    """Eight GPUs that were held for long count four after one half-life of nothing, two after two."""
    status = QueueStatus(past=past_use((0.0, 0.0, 8.0), NOW, 3600))
    assert past_at(status, NOW + timedelta(hours=1))[2] == pytest.approx(4)
    assert past_at(status, NOW + timedelta(hours=2))[2] == pytest.approx(2)
    assert past_at(status, NOW - timedelta(hours=2))[2] == pytest.approx(8)


@given(st.lists(st.floats(0, 1e5), min_size=1, max_size=6), st.integers(0, 64))
def test_summing_up_at_any_moments_in_between_changes_nothing(steps, gpus):
    """However often a status is written while the same is held, the average is the same at the end."""
    status = QueueStatus(used=HeldAmounts(gpus=gpus), past=past_use((0.0, 0.0, 3.0), NOW, 3600))
    at, often = NOW, status
    for step in steps:
        at += timedelta(seconds=step)
        often = often.model_copy(update={"past": past_use(past_at(often, at), at, 3600)})
    assert past_at(often, at)[2] == pytest.approx(past_at(status, at)[2], abs=1e-6)


def test_a_queue_whose_children_are_promised_more_than_it_is_says_so():
    """Nothing is refused, since the order in which queues are applied must not matter."""
    queues = [
        queue("lab", quota=quota(sure=4)),
        queue("lab.a", parent="lab", quota=quota(sure=3)),
        queue("lab.b", parent="lab", quota=quota(sure=3)),
        queue("lost", parent="gone"),
        queue("x", parent="y"),
        queue("y", parent="x"),
    ]
    world, parents = tree(*queues), {each.metadata.name: each.spec.parent for each in queues}
    told = {name: soundness(world, name, parents) for name in parents}
    reasons = {name: each.reason for name, each in told.items()}
    assert reasons == {
        "lab": "Overcommitted", "lab.a": "Backed", "lab.b": "Backed",
        "lost": "ParentNotFound", "x": "BelowItself", "y": "BelowItself",
    }  # fmt: skip
    assert told["lab"].message == (
        "the queues below it are guaranteed 6 GPUs, it has 4 GPUs: raise quota.guaranteed.gpus or lower theirs"
    )


def test_weights_divide_the_part_of_the_queue_above():
    """A quarter of the lab's half is an eighth."""
    world = tree(queue("a"), queue("b"), queue("b.x", parent="b"), queue("b.y", parent="b", weight=3))
    assert fair_shares(world) == {"a": 0.5, "b": 0.5, "b.x": 0.125, "b.y": 0.375}


# --- properties

AMOUNT = st.none() | st.integers(0, 12)


@st.composite
def worlds(draw):
    """Some queues in a tree with quotas, and jobs that wait in them."""
    count = draw(st.integers(1, 6))
    queues = []
    for number in range(count):
        sure, most = draw(AMOUNT), draw(AMOUNT)
        if sure is not None and most is not None and sure > most:
            sure, most = most, sure
        parent = draw(st.none() | st.sampled_from([f"q{at}" for at in range(count)]))
        spec = {"weight": draw(st.integers(1, 5)), "quota": quota(sure=sure, most=most), "parent": parent}
        queues.append(queue(f"q{number}", maxRunningJobs=draw(AMOUNT), **spec))
    ask = st.tuples(st.just(0), st.just(0), st.integers(0, 5))
    waiting = {each.metadata.name: draw(st.lists(ask, max_size=8)) for each in queues}
    return queues, waiting, draw(st.integers(0, 30))


@given(worlds())
@settings(max_examples=80)
def test_no_limit_is_ever_exceeded_and_nobody_is_forgotten(world):
    """Neither of GPUs nor of running jobs, in no queue of any line; and every job has one turn."""
    queues, waiting, gpus = world
    made = tree(*queues)
    fill(made, waiting, gpus=gpus)
    for each in queues:
        name, spec = each.metadata.name, each.spec
        assert spec.quota.limit.gpus is None or held(made, name) <= spec.quota.limit.gpus
        assert spec.max_running_jobs is None or made.running[name] <= spec.max_running_jobs
    lines = {name: [((name, number), ask) for number, ask in enumerate(asks)] for name, asks in waiting.items()}
    had = list(turns(tree(*queues), (0, 0, gpus), {}, lines))
    assert sorted(had) == sorted(each for asks in lines.values() for each, _ in asks)


@given(worlds(), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_the_order_in_which_queues_are_given_changes_nothing(world, random):
    """Equal worlds give equal turns."""
    queues, waiting, gpus = world
    shuffled, names = list(queues), list(waiting)
    random.shuffle(shuffled)
    random.shuffle(names)
    first = fill(tree(*queues), waiting, gpus=gpus)
    assert fill(tree(*shuffled), {name: waiting[name] for name in names}, gpus=gpus) == first


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 12), st.integers(1, 9)), min_size=1, max_size=6))
def test_a_guarantee_that_is_backed_is_reached_while_jobs_of_it_wait(given_queues):
    """With one GPU a job and room for all guarantees, each queue holds the least of what it is sure of and wants."""
    queues = [
        queue(f"q{at}", weight=weight, quota=quota(sure=sure)) for at, (sure, _, weight) in enumerate(given_queues)
    ]
    world = tree(*queues)
    waiting = {f"q{at}": [GPU] * wanted for at, (_, wanted, _) in enumerate(given_queues)}
    fill(world, waiting, gpus=sum(sure for sure, _, _ in given_queues))
    for at, (sure, wanted, _) in enumerate(given_queues):
        assert held(world, f"q{at}") >= min(sure, wanted)


@given(st.lists(st.integers(1, 20), min_size=2, max_size=8), st.integers(1, 200))
def test_shares_follow_weights_to_within_one_job(weights, gpus):
    """While all have enough waiting, no two weighted shares differ by more than one job of either queue."""
    world = tree(*(queue(f"q{at}", weight=weight) for at, weight in enumerate(weights)))
    fill(world, {f"q{at}": [GPU] * gpus for at in range(len(weights))}, gpus=gpus)
    for at, one in enumerate(weights):
        for other_at, other in enumerate(weights):
            gap = held(world, f"q{at}") / one - held(world, f"q{other_at}") / other
            assert gap <= 1 / one + 1e-9


@given(st.integers(2, 6), st.integers(1, 40))
def test_no_equal_starves(count, gpus):
    """Queues of one weight differ by one job at most, and jobs of one queue start in the order in which they wait."""
    world = tree(*(queue(f"q{at}") for at in range(count)))
    started = fill(world, {f"q{at}": [GPU] * gpus for at in range(count)}, gpus=gpus)
    most = [held(world, f"q{at}") for at in range(count)]
    assert max(most) - min(most) <= 1
    own = [each for each in started if each.startswith("q0/")]
    assert own == [f"q0/{number}" for number in range(len(own))]


def test_models_are_measured_apart_only_where_a_quota_names_them():
    """Without quotas of models there are three resources."""
    assert Axes.of([queue("a")]).paths == ("cpu", "memory", "gpus")
    assert Axes.of([queue("a", quota={"guaranteed": {"gpuModels": {"H100": 1}}})]).paths[3:] == ("gpuModels.H100",)
