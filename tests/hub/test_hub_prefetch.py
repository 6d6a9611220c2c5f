"""Which inputs move while a job waits: pure decisions, and what a hub does with them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.resources import Cluster, Dataset, Job, Transfer
from atoll.hub.controllers.prefetch_plan import PrefetchPlan, PrefetchScope, plan_prefetch, selected_of

NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)
GIB = 2**30


def record(*, wait=60.0, staging=30.0, selected="gpu", age_seconds=0.0, source="home"):
    """The decision record of a job that waits for a cluster, as a status has it."""
    terms = {"waitSeconds": wait, "stagingSeconds": staging, "runSeconds": 600.0}
    staged = [{"dataset": "lab/waves", "bytes": GIB, "source": source, "seconds": staging}]
    decided_at = (NOW - timedelta(seconds=age_seconds)).isoformat()
    clusters = [{"cluster": selected, "isFeasible": True, "terms": terms, "staging": staged}]
    return {"selected": selected, "startsNow": False, "decidedAt": decided_at, "clusters": clusters}


def job(*, inputs=("waves",), decision=None, phase="Pending", reason="WaitingForCapacity", **spec):
    """A job that waits for room."""
    mounts = [{"dataset": name, "mountPath": f"/{number}"} for number, name in enumerate(inputs)]
    workload = {"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "i"}]}}}}
    status = {"phase": phase, "reason": reason, "decision": record() if decision is None else decision}
    return Job.model_validate(
        {
            "metadata": {"name": "picks", "namespace": "lab"},
            "spec": {"queue": "q", "inputs": mounts, "workload": workload, **spec},
            "status": status,
        }
    )


def dataset(name="waves", *holders, size=GIB, complete=True, residency=(), home="home"):
    """A dataset whose first version its home holds, unless told."""
    replicas = [{"cluster": holder, "version": 1} for holder in holders or ("home",)]
    status = {"version": 1, "complete": complete, "bytes": size, "replicas": replicas}
    return Dataset.model_validate(
        {
            "metadata": {"name": name, "namespace": "lab"},
            "spec": {"home": home, "residency": residency},
            "status": status,
        }
    )


def cluster(*, free_bytes=None, residency=()):
    """Where the job would go."""
    storage = {"name": "csi", "provisioner": "p", "isDefault": True, "freeBytes": free_bytes}
    return Cluster.model_validate(
        {
            "metadata": {"name": "gpu"},
            "spec": {"residency": residency},
            "status": {"phase": "Ready", "inventory": {"storageClasses": [storage]}},
        }
    )


def moving(name, *, size=GIB, copied=0, destination="gpu", queue="q"):
    """A copy that is under way for some other job."""
    return Transfer.model_validate(
        {
            "metadata": {
                "name": f"{name}.v1.{destination}", "namespace": "lab",
                "annotations": {"atoll.dev/prefetched-in": queue},
            },
            "spec": {"dataset": name, "version": 1, "source": "home", "destination": destination},
            "status": {"phase": "Copying", "totalBytes": size, "copiedBytes": copied},
        }
    )  # fmt: skip


def scope(wanted=None, *, datasets=(), selected_for=60.0, **more):
    """What is known of a waiting job whose input is at home."""
    known = {("lab", each.metadata.name): each for each in datasets or (dataset(),)}
    fields = {"destination": cluster(), "datasets": known, **more}
    return PrefetchScope(wanted or job(), selected_for_seconds=selected_for, **fields)


def begun(plan: PrefetchPlan):
    """Name the copies that a plan begins."""
    return [transfer.key for transfer in plan.transfers]


def test_an_input_that_is_missing_begins_to_move_under_the_name_that_the_run_will_look_for():
    """From where the decision copies, to where the job waits for room."""
    plan = plan_prefetch(scope(), NOW)
    assert begun(plan) == ["lab/waves.v1.gpu"]
    (transfer,) = plan.transfers
    assert (transfer.spec.source, transfer.spec.destination, transfer.spec.version) == ("home", "gpu", 1)
    assert transfer.metadata.annotations["atoll.dev/prefetched-for"] == "lab/picks"


@pytest.mark.parametrize(
    "known",
    [
        scope(job(decision=record(staging=0.2))),
        scope(job(decision=record(wait=0.5))),
        scope(job(decision=record(age_seconds=3600))),
        scope(job(held=True)),
        scope(job(cancelled=True)),
        scope(job(reason="QueueLimit")),
        scope(job(phase="Placed")),
        scope(job(inputs=())),
        scope(job(decision={**record(), "startsNow": True})),
        scope(destination=None),
        scope(pays_for_egress=True),
        scope(datasets=(dataset("waves", "home", "gpu"),)),
        scope(datasets=(dataset(complete=False),)),
        scope(datasets=(dataset(residency=("eu",)),)),
        scope(known=frozenset({"lab/waves.v1.gpu"})),
    ],
)
def test_nothing_moves_where_nothing_is_gained_or_nobody_may(known):
    """Little to copy, hardly a wait, held, limited, there already, not whole, not allowed there, under way already."""
    assert plan_prefetch(known, NOW).transfers == ()


def test_a_copy_waits_until_the_choice_has_settled_and_the_wait_is_of_the_order_of_the_copying():
    """Copies do not follow every change of mind, and what is wanted tomorrow is not moved today."""
    assert plan_prefetch(scope(selected_for=1.0), NOW) == PrefetchPlan(again_seconds=2.0)
    long = scope(job(decision=record(wait=36_000.0, staging=30.0)))
    assert plan_prefetch(long, NOW) == PrefetchPlan(again_seconds=36_000 - 360)


def test_residency_is_judged_anew_whatever_the_record_says():
    """Who may write a status could name any cluster in it."""
    kept = dataset(residency=("eu",))
    assert begun(plan_prefetch(scope(datasets=(kept,), destination=cluster(residency=("eu",))), NOW)) != []
    assert plan_prefetch(scope(datasets=(kept,), destination=cluster(residency=("us",))), NOW).transfers == ()


@pytest.mark.parametrize(
    "forged", [{}, {"clusters": 7}, {"clusters": [{"cluster": "gpu", "staging": "x"}]}, {"decidedAt": 1}]
)
def test_a_record_that_somebody_else_wrote_does_no_harm(forged):
    """It moves nothing, or what the dataset's own facts allow."""
    plan = plan_prefetch(scope(job(decision={**record(), **forged})), NOW)
    assert begun(plan) in ([], ["lab/waves.v1.gpu"])


def test_a_source_that_lost_its_copy_is_not_asked():
    """The decision is older than the dataset's replicas."""
    gone = scope(job(decision=record(source="elsewhere")), datasets=(dataset("waves", "b", "a", home=None),))
    assert plan_prefetch(gone, NOW).transfers[0].spec.source == "a"


def test_a_source_that_is_silent_is_not_asked_while_another_is_heard_and_nothing_moves_if_none_is():
    """A job that waits can wait for its copy, too: when its run begins, somebody may be heard again."""
    two = scope(job(decision=record(source="a")), datasets=(dataset("waves", "b", "a", home=None),))
    assert plan_prefetch(two, NOW).transfers[0].spec.source == "a"
    assert plan_prefetch(replace(two, unheard=frozenset({"a"})), NOW).transfers[0].spec.source == "b"
    assert begun(plan_prefetch(replace(two, unheard=frozenset({"a", "b"})), NOW)) == []


@pytest.mark.parametrize(
    "bound",
    [
        {"moving": [moving(f"d{number}") for number in range(4)]},
        {"moving": [moving("big", size=256 * GIB)]},
        {"moving": [moving(f"d{number}", destination=f"c{number}") for number in range(8)]},
        {"destination": cluster(free_bytes=GIB // 2)},
        {"destination": cluster(free_bytes=GIB + GIB // 2), "moving": [moving("other")]},
    ],
)
def test_copies_are_bounded_by_destination_queue_and_storage_and_looked_at_again(bound):
    """Links and volumes are for runs first."""
    plan = plan_prefetch(scope(**bound), NOW)
    assert plan.transfers == ()
    assert plan.again_seconds is not None


def test_of_many_inputs_as_many_move_as_there_is_room_for():
    """What was begun counts for those behind it."""
    names = [f"d{number}" for number in range(6)]
    many = scope(job(inputs=names), datasets=[dataset(name) for name in names])
    plan = plan_prefetch(many, NOW)
    assert begun(plan) == [f"lab/{name}.v1.gpu" for name in names[:4]]
    assert plan.again_seconds is not None
    rest = replace(many, known=frozenset(begun(plan)))
    assert begun(plan_prefetch(rest, NOW)) == ["lab/d4.v1.gpu", "lab/d5.v1.gpu"]


def test_a_job_waits_for_a_cluster_only_while_its_status_says_so():
    """A decision that stands in the status of a running job is of another time."""
    assert selected_of(job()) == "gpu"
    assert selected_of(job(phase="Running")) is None
    assert selected_of(job(decision={"selected": 7})) is None
