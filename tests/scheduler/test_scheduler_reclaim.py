"""Taking back what a guarantee promises: exactly that much, once, and from whoever borrowed it."""

from collections import Counter

import pytest
from scheduler_world import job, queue
from timeline import GRACE_SECONDS, Timeline

LONG = 36000


def lab(*, limit=None, prod=2, dev=None, **preemption):
    """Two queues under one; the first is guaranteed 2 GPUs unless told."""
    sure = {} if dev is None else {"guaranteed": {"gpus": dev}}
    return [
        queue("lab", quota={"limit": {"gpus": 4} if limit is None else limit}),
        queue("lab.prod", parent="lab", quota={"guaranteed": {"gpus": prod}}, preemption=preemption),
        queue("lab.dev", parent="lab", quota=sure),
    ]


def borrowed(queues, *, runs=3):
    """Let the one queue hold some of 4 GPUs for long, each run younger than the one before."""
    line = Timeline(4, queues)
    for n in range(runs):
        line.submit(job(f"dev{n}", gpus=1, queue="lab.dev", expectedDuration="10h"), LONG)
        line.step(30)
    return line


def submit_prod(line, *, every, priorities=(10, 20, 30)):
    """Let three jobs come and follow them to where nothing changes."""
    for n, priority in enumerate(priorities, start=1):
        line.submit(job(f"pr{n}", gpus=1, queue="lab.prod", priority=priority, expectedDuration="10h"), LONG)
        if every is not None:
            line.step(every)
    for _ in range(6 * GRACE_SECONDS):
        line.step(1)


def held(line):
    """Count what runs, by queue."""
    return Counter(line.jobs[f"lab/{run.spec.job}"].spec.queue for run in line.runs.values())


PAUSES = (0, 1, GRACE_SECONDS, 60)


@pytest.mark.parametrize("every", [None, *PAUSES])
@pytest.mark.parametrize("priorities", [(10, 20, 30), (30, 20, 10), (0, 0, 0)])
def test_a_guarantee_of_two_takes_back_one_run_and_stops_nobody_of_its_own(every, priorities):
    """One job had room, one run of the other queue goes for the second, and the third waits, whoever asks again."""
    line = borrowed(lab())
    submit_prod(line, every=every, priorities=priorities)
    assert [victim for victim, _ in line.preempted] == ["lab/dev2"]
    assert held(line) == {"lab.prod": 2, "lab.dev": 2}
    assert all(len(times) == 1 for times in line.started.values())


@pytest.mark.parametrize("every", PAUSES)
@pytest.mark.parametrize("limit", [{"gpus": 4}, {}], ids=["limit", "no limit"])
def test_where_the_lower_give_way_too_who_borrows_goes_first_and_then_the_lowest_once(every, limit):
    """The second job reclaims; the third is beyond the guarantee, and only its own queue's lowest goes for it."""
    line = borrowed(lab(limit=limit, withinQueue="LowerPriority"))
    submit_prod(line, every=every)
    assert line.preempted == [("lab/dev2", "lab/pr2"), ("lab/pr1", "lab/pr3")]
    assert held(line) == {"lab.prod": 2, "lab.dev": 2}
    assert {key for key, times in line.started.items() if len(times) > 1} == set()


def test_what_is_leaving_is_no_longer_borrowed():
    """Else two jobs that reclaim at once would leave the other queue with less than it is guaranteed."""
    line = borrowed(lab(dev=2, prod=3), runs=3)
    submit_prod(line, every=1)
    assert [victim for victim, _ in line.preempted] == ["lab/dev2"]
    assert held(line) == {"lab.prod": 2, "lab.dev": 2}


def test_of_jobs_that_come_at_once_the_highest_start_and_none_is_stopped_for_another():
    """One has room and one reclaims; the third is beyond the guarantee, and lower than both."""
    line = borrowed(lab(withinQueue="LowerPriority"))
    submit_prod(line, every=None)
    assert line.preempted == [("lab/dev2", "lab/pr2")]
    assert "lab/pr1" not in line.started
