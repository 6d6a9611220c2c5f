"""One scheduling cycle on a snapshot: who is placed where, who waits, and why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scheduler_world import cluster, dataset, job, queue, run, shape, snapshot

from atoll.federation.resources import JobStatus
from atoll.hub.scheduler.cycle import plan_cycle

PLACED = JobStatus(phase="Placed")
WAVES = [{"dataset": "waves", "mountPath": "/d"}]
GROWING_WAVES = [{"dataset": "waves", "mountPath": "/d", "when": "Available"}]


def placed(plan):
    """Tell where the plan puts each job."""
    return {placement.job.metadata.name: placement.run.spec.cluster for placement in plan.placements}


def waiting(plan):
    """Tell why each other job waits."""
    return {each.job.metadata.name: each.reason for each in plan.waiting}


def test_a_pending_job_gets_a_run_on_the_selected_cluster():
    """The run is named after job and epoch, belongs to the job, pins its inputs, and carries the decision."""
    wanted = job("picks", inputs=[{"dataset": "waves", "mountPath": "/data"}])
    plan = plan_cycle(snapshot(wanted, cluster("here", shape()), dataset("waves", "here", version=3)))
    (placement,) = plan.placements
    assert placement.run.key == "lab/picks-1"
    assert placement.run.spec.cluster == "here"
    assert placement.run.spec.epoch == 1
    (owner,) = placement.run.metadata.owner_references
    assert (owner.kind, owner.name, owner.uid, owner.controller) == ("Job", "picks", "uid-picks", True)
    (given_input,) = placement.run.spec.inputs
    assert (given_input.namespace, given_input.dataset, given_input.version, given_input.mount_path) == (
        "lab", "waves", 3, "/data",
    )  # fmt: skip
    assert placement.run.spec.decision["selected"] == "here"
    assert placement.run.spec.decision["decidedAt"] == "2026-11-22T18:00:00Z"


NOT_PENDING = {
    "placed": job("a", status=PLACED),
    "succeeded": job("a", status=JobStatus(phase="Succeeded")),
    "cancelled": job("a", cancelled=True),
    "being deleted": job("a", is_being_deleted=True),
}


@pytest.mark.parametrize("idle", NOT_PENDING.values(), ids=NOT_PENDING)
def test_a_job_that_wants_no_run_is_left_alone(idle):
    """Nothing is decided about it."""
    plan = plan_cycle(snapshot(idle, cluster("here", shape())))
    assert (plan.placements, plan.waiting) == ((), ())


@pytest.mark.parametrize("phase", ["Pending", "Staging", "Starting", "Running", "Committing"])
def test_a_job_with_an_unfinished_run_gets_no_second_one(phase):
    """At most one run of a job (G1), even while the job's status has not heard of it."""
    wanted = job("a")
    plan = plan_cycle(snapshot(wanted, run(wanted, phase=phase), cluster("here", shape())))
    assert (plan.placements, plan.waiting) == ((), ())


def test_a_job_whose_run_ended_unnoticed_is_not_run_again():
    """A finished run that the job's status does not count yet may have succeeded."""
    wanted = job("a")
    plan = plan_cycle(snapshot(wanted, run(wanted, phase="Succeeded"), cluster("here", shape())))
    assert plan.placements == ()


def test_a_retry_takes_the_next_epoch():
    """Once the failure is counted, the job is placed again under a new name."""
    wanted = job("a", retries=3, status=JobStatus(phase="Pending", attempts=2))
    plan = plan_cycle(
        snapshot(wanted, run(wanted, 1, phase="Failed"), run(wanted, 2, phase="Failed"), cluster("here", shape()))
    )
    assert [placement.run.metadata.name for placement in plan.placements] == ["a-3"]


def test_a_job_made_anew_under_an_old_name_waits_for_the_old_run_and_skips_its_epochs():
    """Runs of a deleted job of that name hold it back while they run, and their names are not used again."""
    wanted = job("a")
    old = run(wanted, 4, uid="uid-of-the-deleted-one")
    assert plan_cycle(snapshot(wanted, old, cluster("here", shape()))).placements == ()
    ended = run(wanted, 4, uid="uid-of-the-deleted-one", phase="Cancelled")
    plan = plan_cycle(snapshot(wanted, ended, cluster("here", shape())))
    assert [placement.run.metadata.name for placement in plan.placements] == ["a-5"]


def test_the_highest_priority_goes_first_then_the_longest_waiting():
    """Two places: the urgent job and the oldest of the rest get them."""
    jobs = [
        job("old", cpus=4, age_seconds=300),
        job("young", cpus=4, age_seconds=10),
        job("urgent", cpus=4, age_seconds=1, priority=5),
    ]
    plan = plan_cycle(snapshot(*jobs, cluster("here", shape(cpus=8))))
    assert [placement.job.metadata.name for placement in plan.placements] == ["urgent", "old"]
    assert waiting(plan) == {"young": "WaitingForCapacity"}


def test_a_job_that_does_not_fit_does_not_hold_up_those_behind_it():
    """The large job waits, the small one behind it runs."""
    plan = plan_cycle(snapshot(job("large", cpus=99, priority=9), job("small"), cluster("here", shape())))
    assert placed(plan) == {"small": "here"}
    assert waiting(plan) == {"large": "NoFeasibleCluster"}


BLOCKED = {
    "a queue that was deleted": ([job("a", queue="gone")], "QueueNotFound", "there is no queue gone"),
    "a dataset that does not exist": (
        [job("a", inputs=WAVES)],
        "DatasetNotFound",
        "input lab/waves",
    ),
    "a dataset that still grows": (
        [job("a", inputs=WAVES), dataset("waves", "here", complete=False)],
        "DatasetIncomplete",
        "version 1 is not complete yet: the run or the job that writes it has not ended",
    ),
    "a dataset of which nothing has arrived": (
        [job("a", inputs=GROWING_WAVES), dataset("waves", version=0, complete=False)],
        "DatasetIncomplete",
        "nothing of it has arrived yet",
    ),
    "a quantity that is none": (
        [job("a", pod={"containers": [{"resources": {"requests": {"cpu": "lots"}}}]})],
        "InvalidDemand",
        "spec.workload.spec.template.spec.containers[0].resources.requests.cpu: 'lots' is no quantity",
    ),
    "a parallelism that is none": (
        [job("a", workload={"parallelism": -1})],
        "InvalidDemand",
        "spec.workload.spec.parallelism: -1",
    ),
    "containers that are none": ([job("a", pod={"containers": ["x"]})], "InvalidDemand", "containers is no list"),
    "a node selector that is none": (
        [job("a", pod={"nodeSelector": "x"})],
        "InvalidDemand",
        "nodeSelector is no mapping",
    ),
    "more GPUs than its queue may ever hold": (
        [job("a", queue="small", gpus=16), queue("small", maxGpus=4), queue()],
        "QueueLimit",
        "the job asks for 16 GPUs, more than queue small allows at all (quota.limit.gpus: 4 GPUs): "
        "ask for less or raise quota.limit.gpus",
    ),
    "a name that leaves no place for the epoch": ([job("a" * 252)], "InvalidDemand", "metadata.name"),
    "an empty federation": ([job("a")], "NoFeasibleCluster", "0 of 0 clusters"),
}


@pytest.mark.parametrize(("objects", "reason", "message"), BLOCKED.values(), ids=BLOCKED)
def test_a_job_that_cannot_be_placed_says_why(objects, reason, message):
    """The reason is a word and a sentence that names the field or the thing; other jobs are placed nonetheless."""
    clusters = [] if reason == "NoFeasibleCluster" else [cluster("here", shape(gpus=16))]
    plan = plan_cycle(snapshot(*objects, *clusters, job("healthy")))
    blocked = next(each for each in plan.waiting if each.job.metadata.name != "healthy")
    assert blocked.reason == reason
    assert message in blocked.message
    assert placed(plan) == ({"healthy": "here"} if clusters else {})


def test_growing_data_may_be_read_where_it_is_written():
    """`when: Available` takes the version that is being written, at the dataset's home."""
    growing = dataset("waves", complete=False, version=2, home="b")
    wanted = job("a", inputs=GROWING_WAVES)
    plan = plan_cycle(snapshot(wanted, growing, cluster("a", shape()), cluster("b", shape())))
    assert placed(plan) == {"a": "b"}
    assert plan.placements[0].run.spec.inputs[0].version == 2


def test_a_job_goes_where_its_data_is_and_says_what_else_there_was():
    """Two clusters could take it; the one with the data is chosen, and both scores are recorded."""
    wanted = job("a", gpus=1, inputs=WAVES)
    plan = plan_cycle(
        snapshot(
            wanted,
            dataset("waves", "onprem", size=10**11),
            cluster("cloud", shape(gpus=4), links=["onprem"]),
            cluster("onprem", shape(gpus=1), links=["cloud"]),
        )
    )
    assert placed(plan) == {"a": "onprem"}
    totals = {
        each["cluster"]: each["terms"]["totalSeconds"] for each in plan.placements[0].run.spec.decision["clusters"]
    }
    assert totals == {"onprem": 600, "cloud": 1800}


# --- assumed capacity


def test_one_cycle_does_not_give_the_same_gpu_twice():
    """Three jobs, two GPUs: two are placed, the third waits for the expected end of the first."""
    jobs = [job(f"j{number}", gpus=1, age_seconds=100 - number) for number in range(3)]
    plan = plan_cycle(snapshot(*jobs, cluster("here", shape(gpus=2))))
    assert sorted(placed(plan)) == ["j0", "j1"]
    (left,) = plan.waiting
    assert left.reason == "WaitingForCapacity"
    assert "here is expected to have room in 10m and the job to be done in 20m" in left.message


@pytest.mark.parametrize(
    ("phase", "counted_runs", "is_placed"),
    [
        ("Staging", None, False),
        ("Starting", None, False),
        ("Running", None, True),
        ("Starting", ("lab/first-1",), True),
        ("Running", (), False),
        ("Committing", (), True),
    ],
)
def test_a_run_is_subtracted_until_the_agent_has_counted_it(phase, counted_runs, is_placed):
    """A run that the inventory does not include yet takes its GPU from what is free; one that is included does not."""
    first = job("first", gpus=1, status=PLACED)
    here = cluster("here", shape(gpus=2, free_gpus=1), counted_runs=counted_runs)
    plan = plan_cycle(snapshot(first, run(first, phase=phase), job("second", gpus=1), here))
    assert (placed(plan) == {"second": "here"}) is is_placed


def test_a_run_that_is_overdue_is_expected_to_overrun_as_long_again():
    """Its end is not taken for granted: 600 s expected, 900 s old, so 300 s more."""
    first = job("first", cpus=8, status=PLACED)
    here = cluster("here", shape(cpus=8, free_cpus=0), counted_runs=("lab/first-1",))
    plan = plan_cycle(snapshot(first, run(first, started_seconds_ago=900), job("second", cpus=8), here))
    assert plan.waiting[0].decision.terms.wait_seconds == 300


def test_the_end_of_a_run_is_what_its_own_decision_expected():
    """On a GPU that is twice as fast, a run ends in half the time; staging that is not over yet is added."""
    first = job("first", cpus=8, status=PLACED)
    terms = {"cluster": "here", "terms": {"runSeconds": 300.0, "stagingSeconds": 40.0}}
    held = run(first, phase="Staging", decision={"clusters": [terms]})
    plan = plan_cycle(snapshot(first, held, job("second", cpus=8), cluster("here", shape(cpus=8))))
    assert plan.waiting[0].decision.terms.wait_seconds == 340


@given(
    st.lists(st.tuples(st.integers(1, 6), st.integers(0, 3), st.integers(1, 3)), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 4)), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_one_cycle_never_overcommits_a_cluster(wants, nodes):
    """Whatever is asked for: what is placed on a cluster fits its nodes together, pod by pod."""
    jobs = [
        job(f"j{number}", cpus=cpus, gpus=gpus, workload={"parallelism": pods})
        for number, (cpus, gpus, pods) in enumerate(wants)
    ]
    clusters = [cluster(f"c{number}", shape(cpus=cpus, gpus=gpus)) for number, (cpus, gpus) in enumerate(nodes)]
    plan = plan_cycle(snapshot(*jobs, *clusters))
    for number, (cpus, gpus) in enumerate(nodes):
        taken = [wants[int(name[1:])] for name, where in placed(plan).items() if where == f"c{number}"]
        assert sum(want_cpus * pods for want_cpus, _, pods in taken) <= cpus
        assert sum(want_gpus * pods for _, want_gpus, pods in taken) <= gpus
    assert len(plan.placements) + len(plan.waiting) == len(jobs)


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_equal_snapshots_give_equal_plans(order):
    """The order in which objects were listed does not matter."""
    jobs = [job(f"j{number}", cpus=3, priority=number % 2) for number in range(6)]
    clusters = [cluster("a", shape()), cluster("b", shape())]
    shuffled = plan_cycle(snapshot(*(jobs[number] for number in order), *clusters))
    assert shuffled == plan_cycle(snapshot(*jobs, *clusters))


# --- queues


def test_a_queue_holds_no_more_gpus_than_its_limit():
    """One GPU is held, the limit is two: one job of two goes, and the message has the numbers."""
    held = job("held", gpus=1, status=PLACED)
    jobs = [job("a", gpus=1, age_seconds=9), job("b", gpus=1, age_seconds=8), job("cpu-only")]
    here = cluster("here", shape(gpus=8))
    plan = plan_cycle(snapshot(held, run(held), *jobs, here, queue(maxGpus=2)))
    assert sorted(placed(plan)) == ["a", "cpu-only"]
    assert waiting(plan) == {"b": "QueueLimit"}
    told = "queue default holds 2 GPUs of at most 2 GPUs (quota.limit.gpus), the job asks for 1 GPU"
    assert plan.waiting[0].message == told


def test_a_parent_queue_limits_those_below_it():
    """GPUs of both children count against the parent's limit."""
    queues = [queue("lab", maxGpus=2), queue("lab.a", parent="lab"), queue("lab.b", parent="lab")]
    jobs = [job("first", gpus=2, queue="lab.a", age_seconds=9), job("second", gpus=1, queue="lab.b", age_seconds=8)]
    plan = plan_cycle(snapshot(*jobs, *queues, cluster("here", shape(gpus=8))))
    assert placed(plan) == {"first": "here"}
    assert waiting(plan) == {"second": "QueueLimit"}
    assert "queue lab holds 2 GPUs of at most 2 GPUs" in plan.waiting[0].message


def test_queues_that_are_each_others_parents_do_not_hang_the_cycle():
    """A loop in the tree ends where it began."""
    queues = [queue("a", parent="b"), queue("b", parent="a")]
    plan = plan_cycle(snapshot(job("j", gpus=1, queue="a"), *queues, cluster("here", shape(gpus=1))))
    assert placed(plan) == {"j": "here"}


def test_the_price_of_time_is_the_queues():
    """A thrifty queue takes the cheap cluster, a hurried one the near cluster."""
    objects = [
        dataset("waves", "dear", size=10**10),
        cluster("dear", shape(), links=["cheap"], costs={"cpuHour": 6.0}),
        cluster("cheap", shape(), links=["dear"]),
    ]
    wanted = job("a", inputs=WAVES)
    assert placed(plan_cycle(snapshot(wanted, *objects, queue(secondsPerCurrency=0)))) == {"a": "dear"}
    assert placed(plan_cycle(snapshot(wanted, *objects, queue(secondsPerCurrency=600)))) == {"a": "cheap"}


def test_the_message_sums_up_why_no_cluster_will_do_and_what_would_help():
    """Reasons are counted like kube-scheduler does, and the cheapest change is named."""
    clusters = [cluster("a", shape(), unschedulable=True), cluster("b", shape(cpus=1)), cluster("c", shape(cpus=2))]
    plan = plan_cycle(snapshot(job("j", cpus=4), *clusters))
    (left,) = plan.waiting
    assert left.message == ("0 of 3 clusters can take it: 1 Cordoned, 2 InsufficientCpu; would help: uncordon a")
    assert left.decision.selected is None
    assert [advice.message for advice in left.decision.diagnosis[1:]] == [
        "ask for at most 2 CPU per pod",
        "ask for at most 1 CPU per pod",
    ]


def test_many_equal_jobs_that_cannot_start_are_decided_about_once_and_told_each():
    """A thousand jobs of a likeness each get a record of their own name, and the cycle stays short."""
    jobs = [job(f"j{number}", cpus=99) for number in range(1000)]
    plan = plan_cycle(snapshot(*jobs, *(cluster(f"c{number}", shape()) for number in range(4))))
    assert len(plan.waiting) == 1000
    assert {each.decision.demand.job for each in plan.waiting} == {each.key for each in jobs}
