"""Limits per user and budgets in a cycle: who starts, who waits for what, and that one cycle counts what it started."""

from datetime import timedelta

from scheduler_world import NOW, cluster, job, queue, run, shape, snapshot

from atoll.federation.queueing import Spending
from atoll.federation.resources.submitter import QUEUE, SUBMITTER
from atoll.hub.accounting.outlooks import Charged
from atoll.hub.scheduler.cycle import plan_cycle

TODAY = NOW.date()


def of(user, name, **spec):
    """A pending job of somebody, of one hour."""
    made = job(name, expectedDuration="1h", **spec)
    metadata = made.metadata.model_copy(update={"annotations": {SUBMITTER: user}})
    return made.model_copy(update={"metadata": metadata})


def planned(*objects, charged=None):
    """Who starts, and why others wait, by name."""
    seen = snapshot(*objects)
    if charged is not None:
        seen = type(seen)(**{**vars(seen), "charged": charged})
    plan = plan_cycle(seen)
    waiting = {each.job.metadata.name: each for each in plan.waiting}
    return [each.job.metadata.name for each in plan.placements], waiting


def test_a_user_gets_no_more_than_the_limit_and_others_go_on():
    """Two of Ada's three start in one cycle, and Bob's behind them does."""
    jobs = [of("ada", f"a{n}", gpus=1, age_seconds=100 - n) for n in range(3)]
    started, waiting = planned(
        *jobs,
        of("bob", "b", gpus=1),
        cluster("here", shape(cpus=64, gpus=8)),
        queue(perUser={"limit": {"gpus": 2}}),
    )
    assert sorted(started) == ["a0", "a1", "b"]
    assert waiting["a2"].reason == "UserLimit"
    assert "user ada holds 2 GPUs of at most 2 GPUs in queue default" in waiting["a2"].message
    assert waiting["a2"].record()["queue"]["user"] == "ada"


def test_what_a_users_runs_hold_counts_in_every_queue_above():
    """A run in the queue beside counts for the parent's limit."""
    running = of("ada", "r", queue="top.a", status=None)
    running = running.model_copy(update={"status": running.status.model_copy(update={"phase": "Running"})})
    started, waiting = planned(
        running,
        run(running),
        of("ada", "w", queue="top.b"),
        cluster("here", shape(cpus=64)),
        queue("top", perUser={"maxRunningJobs": 1}),
        queue("top.a", parent="top"),
        queue("top.b", parent="top"),
    )
    assert started == []
    assert (waiting["w"].reason, waiting["w"].obstacle.queue) == ("UserLimit", "top")


def test_one_cycle_starts_no_more_than_the_budget_pays_for():
    """Of 5 GPU hours 2 are spent: three jobs of an hour start, the fourth waits until the next period."""
    jobs = [of("ada", f"j{n}", gpus=1, age_seconds=100 - n) for n in range(4)]
    charged = Charged({"default": {TODAY: Spending(gpu_hours=2)}})
    started, waiting = planned(
        *jobs,
        cluster("here", shape(cpus=64, gpus=8)),
        queue(budgets=[{"period": "Day", "gpuHours": 5}]),
        charged=charged,
    )
    assert started == ["j0", "j1", "j2"]
    assert waiting["j3"].reason == "BudgetSpent"
    record = waiting["j3"].record()["queue"]
    assert (record["spent"], record["expected"], record["asked"]) == (2, 3, 1)
    assert record["renewsAt"] == "2026-11-23T00:00:00Z"


def test_a_run_that_goes_on_is_expected_to_spend_until_its_end():
    """Half an hour is charged already; what is left of its hour is expected. Prices are the cluster's."""
    first = of("ada", "first")
    decision = plan_cycle(snapshot(first, cluster("here", shape(cpus=8), costs={"cpuHour": 2}))).placements[0].run
    going = run(first, started_seconds_ago=1800, decision=decision.spec.decision)
    going = going.model_copy(update={"metadata": going.metadata.model_copy(update={"uid": "u1"})})
    first = first.model_copy(update={"status": first.status.model_copy(update={"phase": "Running"})})
    charged = Charged({"default": {TODAY: Spending(money=1)}}, {"u1": NOW - timedelta(minutes=15)})
    started, waiting = planned(
        first,
        going,
        of("bob", "second"),
        cluster("here", shape(cpus=8), costs={"cpuHour": 2}),
        queue(budgets=[{"period": "Day", "money": 3.9}]),
        charged=charged,
    )
    assert started == []
    found = waiting["second"].obstacle
    assert (found.resource, found.spent, round(found.expected, 6), found.asked) == ("money", 1, 1.5, 2)


def test_a_job_that_the_whole_budget_cannot_pay_says_so_and_others_go_on():
    """It does not hold up those behind it."""
    started, waiting = planned(
        of("ada", "big", gpus=4, age_seconds=100),
        of("ada", "small", gpus=1),
        cluster("here", shape(cpus=64, gpus=8)),
        queue(budgets=[{"period": "Month", "gpuHours": 2}]),
    )
    assert started == ["small"]
    assert "the job alone would take 4 GPU hours, more than the whole budget" in waiting["big"].message


def test_a_job_that_its_budget_forbids_says_so_too_while_no_cluster_has_room_and_keeps_none():
    """What it is told does not change when room comes and goes, and another job is promised the room."""
    going = of("ada", "going", gpus=8, queue="rich")
    going = going.model_copy(update={"status": going.status.model_copy(update={"phase": "Running"})})
    full = cluster("here", shape(cpus=64, free_cpus=56, gpus=8, free_gpus=0), counted_runs=("lab/going-1",))
    queues = (queue("poor", budgets=[{"period": "Day", "gpuHours": 1}]), queue("rich"))
    jobs = (of("ada", "big", gpus=8, queue="poor", age_seconds=100), of("ada", "next", gpus=8, queue="rich"))
    started, waiting = planned(going, run(going, started_seconds_ago=60), *jobs, full, *queues)
    assert started == []
    assert waiting["big"].reason == "BudgetSpent" and waiting["big"].promise is None
    assert "more than the whole budget of queue poor" in waiting["big"].message
    assert waiting["next"].promise is not None
    empty = cluster("here", shape(cpus=64, gpus=8))
    started, later = planned(*jobs, empty, *queues)
    assert started == ["next"] and later["big"].message == waiting["big"].message


def test_nobody_is_stopped_for_a_job_that_its_budget_forbids():
    """It is within its guarantee, and could take what others borrow."""
    going = of("bob", "going", gpus=8, queue="other")
    going = going.model_copy(update={"status": going.status.model_copy(update={"phase": "Running"})})
    full = cluster("here", shape(cpus=64, free_cpus=56, gpus=8, free_gpus=0), counted_runs=("lab/going-1",))
    rules = {"quota": {"guaranteed": {"gpus": 8}}, "preemption": {"reclaim": "Borrowed"}}
    objects = (going, run(going, started_seconds_ago=60), of("ada", "big", gpus=8, queue="sure"), full, queue("other"))
    assert len(plan_cycle(snapshot(*objects, queue("sure", **rules))).evictions) == 1
    poor = queue("sure", **rules, budgets=[{"period": "Day", "gpuHours": 1}])
    plan = plan_cycle(snapshot(*objects, poor))
    assert plan.evictions == () and [each.reason for each in plan.waiting] == ["BudgetSpent"]


def test_an_array_is_expected_to_spend_what_all_its_tasks_will():
    """Ten tasks of an hour do not fit into five GPU hours."""
    started, waiting = planned(
        of("ada", "many", gpus=1, array={"count": 10}),
        cluster("here", shape(cpus=64, gpus=8)),
        queue(budgets=[{"period": "Day", "gpuHours": 5}]),
    )
    assert started == [] and waiting["many"].obstacle.asked == 10


def test_a_run_says_itself_to_whom_it_is_charged():
    """The job may be gone when it ends."""
    plan = plan_cycle(snapshot(of("ada", "j"), cluster("here", shape())))
    assert plan.placements[0].run.metadata.annotations == {QUEUE: "default", SUBMITTER: "ada"}
