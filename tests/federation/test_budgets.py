"""Budgets and limits per user: which period is now, what is spent and expected, and who must wait for what."""

from datetime import UTC, date, datetime, timedelta

import pytest

from atoll.federation.queueing import (
    Axes,
    Budgets,
    Outlook,
    QueueTree,
    Spending,
    UserTallies,
    period_at,
)
from atoll.federation.resources import BY_NAME, Queue
from atoll.federation.resources.budget import Budget
from atoll.federation.resources.validation import parse

NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)
TODAY = NOW.date()
HOUR = timedelta(hours=1)


def queue(name, **spec):
    """A queue of the wire's form."""
    return Queue.model_validate({"metadata": {"name": name}, "spec": spec})


def queues(*made):
    """Queues by name."""
    return {each.metadata.name: each for each in made}


@pytest.mark.parametrize(
    ("budget", "now", "first", "following"),
    [
        ({"period": "Day"}, NOW, "2026-11-23", "2026-11-24"),
        ({"period": "Week"}, NOW, "2026-11-23", "2026-11-30"),
        ({"period": "Week", "starts": "2026-11-26"}, NOW, "2026-11-19", "2026-11-26"),
        ({"period": "Month"}, NOW, "2026-11-01", "2026-12-01"),
        ({"period": "Month", "starts": "2026-04-15"}, datetime(2026, 12, 20, tzinfo=UTC), "2026-12-15", "2027-01-15"),
        ({"period": "Month", "starts": "2026-04-15"}, datetime(2027, 1, 3, tzinfo=UTC), "2026-12-15", "2027-01-15"),
        ({"period": "Month", "starts": "2026-01-31"}, datetime(2026, 2, 28, tzinfo=UTC), "2026-02-28", "2026-03-31"),
        ({"period": "14d", "starts": "2026-11-20"}, NOW, "2026-11-20", "2026-12-04"),
        ({"period": "14d", "starts": "2026-12-01"}, NOW, "2026-11-17", "2026-12-01"),
    ],
    ids=str,
)
def test_a_period_begins_where_the_calendar_or_its_start_says(budget, now, first, following):
    """A start in the future tells where the periods before it began, too."""
    period = period_at(Budget.model_validate({**budget, "money": 1}), now)
    assert (period.first.isoformat(), period.next.isoformat()) == (first, following)
    assert period.began_at <= now < period.renews_at


def test_an_instant_of_another_zone_lies_in_the_day_of_utc():
    """An hour after midnight in Tokyo it is still yesterday where days are counted."""
    tokyo = datetime.fromisoformat("2026-11-24T01:00:00+09:00")
    assert period_at(Budget(period="Day", money=1), tokyo).first == TODAY


@pytest.mark.parametrize(
    ("budget", "field"),
    [
        ({"period": "Year", "money": 1}, "spec.budgets[0].period"),
        ({"period": "36h", "money": 1}, "spec.budgets[0].period"),
        ({"period": "0d", "money": 1}, "spec.budgets[0].period"),
        ({"period": "367d", "money": 1}, "spec.budgets[0].period"),
        ({"period": "Day"}, "spec.budgets[0]"),
        ({"period": "Day", "gpuHours": -1}, "spec.budgets[0].gpuHours"),
        ({"period": "Day", "money": float("nan")}, "spec.budgets[0].money"),
        ({"period": "Day", "egressGib": 1e300}, "spec.budgets[0].egressGib"),
        ({"period": "Month", "money": 1, "starts": "2026-02-30"}, "spec.budgets[0].starts"),
    ],
    ids=str,
)
def test_a_bad_budget_is_refused_by_the_name_of_its_field(budget, field):
    """Nothing that cannot be reckoned with is stored."""
    manifest = {"apiVersion": "atoll.dev/v1alpha1", "kind": "Queue", "metadata": {"name": "lab"}}
    resource, problems = parse(BY_NAME["Queue"], {**manifest, "spec": {"budgets": [budget]}})
    assert resource is None
    assert [problem.field for problem in problems] == [field]


def test_a_job_waits_that_would_exceed_what_is_left():
    """Spent 6, expected 2, 3 more asked of 10; the message says all of it and when the budget renews."""
    lab = queue("lab", budgets=[{"period": "Day", "gpuHours": 10}])
    budgets = Budgets.of(queues(lab), {"lab": {TODAY: Spending(gpu_hours=6)}}, NOW)
    budgets.expect("lab", Outlook(Spending(gpu_hours=1), NOW, NOW + 2 * HOUR))
    assert budgets.obstacle("lab", Spending(gpu_hours=2)) is None, "just within"
    found = budgets.obstacle("lab", Spending(gpu_hours=3))
    assert found is not None
    assert (found.reason, found.field, found.spent, found.expected) == ("BudgetSpent", "budgets[0].gpuHours", 6, 2)
    for words in ("lab", "6 GPU hours of 10 GPU hours per Day", "2 GPU hours more", "renews at 2026-11-24 00:00 UTC"):
        assert words in found.message
    assert not found.is_lasting


def test_a_job_that_exceeds_the_whole_budget_alone_is_told_so():
    """Waiting for the next period would not help."""
    lab = queue("lab", budgets=[{"period": "Week", "money": 5}, {"period": "Day", "gpuHours": 1}])
    found = Budgets.of(queues(lab), {"lab": {TODAY: Spending(money=4)}}, NOW).obstacle("lab", Spending(1.5, 0, 2))
    assert found is not None and found.is_lasting, "the one that never fits goes before the one that waits"
    assert "the job alone would take 1.5 GPU hours, more than the whole budget of queue lab per Day" in found.message


def test_what_queues_below_spend_their_parents_spend_too():
    """And a budget of the parent holds back jobs of the child, not those of a stranger."""
    made = queues(queue("top", budgets=[{"period": "Day", "money": 3}]), queue("top.a", parent="top"), queue("other"))
    budgets = Budgets.of(made, {"top.a": {TODAY: Spending(money=2)}, "other": {TODAY: Spending(money=99)}}, NOW)
    found = budgets.obstacle("top.a", Spending(money=2))
    assert found is not None and found.queue == "top"
    assert budgets.obstacle("other", Spending(money=99)) is None


def test_what_was_spent_before_the_period_does_not_count():
    """A run that began yesterday counts from midnight on, and what it copied then does not."""
    lab = queue("lab", budgets=[{"period": "Day", "gpuHours": 100, "egressGib": 1}])
    budgets = Budgets.of(queues(lab), {"lab": {date(2026, 11, 22): Spending(99, 0, 0, 99)}}, NOW)
    midnight = datetime(2026, 11, 23, tzinfo=UTC)
    budgets.expect("lab", Outlook(Spending(gpu_hours=2), midnight - HOUR, midnight + HOUR, Spending(egress_gib=5)))
    (account,) = budgets.accounts["lab"]
    assert (account.spent, account.expected) == (Spending(), Spending(gpu_hours=2))


def test_what_a_job_does_not_take_holds_it_not_back():
    """A spent GPU budget lets a job without GPUs start."""
    lab = queue("lab", budgets=[{"period": "Day", "gpuHours": 1}])
    budgets = Budgets.of(queues(lab), {"lab": {TODAY: Spending(gpu_hours=5)}}, NOW)
    assert budgets.obstacle("lab", Spending(cpu_hours=100)) is None
    assert budgets.obstacle("lab", Spending(gpu_hours=0.001)) is not None


def test_a_budget_of_nothing_lets_only_start_what_takes_nothing():
    """Zero is a limit, not the absence of one."""
    lab = queue("lab", budgets=[{"period": "Day", "money": 0}])
    budgets = Budgets.of(queues(lab), {}, NOW)
    assert budgets.obstacle("lab", Spending(gpu_hours=4)) is None
    found = budgets.obstacle("lab", Spending(money=0.01))
    assert found is not None and found.is_lasting


# --- limits per user


def tallies(*made):
    """Tallies of the tree of these queues."""
    by_name = queues(*made)
    return UserTallies.of(QueueTree.of(by_name), by_name)


def test_one_user_is_limited_and_another_is_not_touched_by_that():
    """Ada holds her two GPUs, in a queue below; Bob may have his."""
    found = tallies(queue("lab", perUser={"limit": {"gpus": 2}}), queue("lab.a", parent="lab"))
    found.start("ada", "lab.a", (1000, 0, 2))
    assert found.obstacle("bob", "lab", (1000, 0, 2)) is None
    limit = found.obstacle("ada", "lab", (1000, 0, 1))
    assert limit is not None and (limit.reason, limit.queue, limit.user) == ("UserLimit", "lab", "ada")
    assert limit.message == (
        "user ada holds 2 GPUs of at most 2 GPUs in queue lab (perUser.limit.gpus), the job asks for 1 GPU"
    )
    assert limit.to_dict()["user"] == "ada"
    assert found.left("ada", "lab.a", (1000, 0, 1), at_most=5) == 0
    assert found.left("bob", "lab.a", (1000, 0, 1), at_most=5) == 2
    assert found.left("bob", "lab.a", (1000, 0, 0), at_most=5) == 5


def test_a_limit_per_user_at_any_level_counts_jobs_and_models():
    """The nearest broken limit is named; one that can never be kept goes before it."""
    made = (
        queue("lab", perUser={"limit": {"gpuModels": {"A100": 1}}}),
        queue("lab.a", parent="lab", perUser={"maxRunningJobs": 1}),
    )
    found = tallies(*made)
    assert Axes.of(made).models == ("A100",)
    found.start("ada", "lab.a", (1, 1, 0, 0))
    assert (limit := found.obstacle("ada", "lab.a", (1, 1, 1, 1))) and limit.field == "perUser.maxRunningJobs"
    assert (limit := found.obstacle("ada", "lab.a", (1, 1, 2, 2))) and limit.is_lasting
    assert limit.field == "perUser.limit.gpuModels.A100"


def test_jobs_of_nobody_known_share_one_limit():
    """Those of before the annotation cannot be used to go past it."""
    found = tallies(queue("lab", perUser={"maxRunningJobs": 1}))
    found.start("", "lab", (1, 1, 0))
    assert found.obstacle("", "lab", (1, 1, 0)) is not None
