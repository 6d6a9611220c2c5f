"""What a run needs next, as a table over everything that can be known of it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.data_messages import CommitOrder, DatasetReport
from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.resources import (
    Cluster,
    Dataset,
    DatasetSpec,
    DatasetStatus,
    Job,
    ObjectMeta,
    Replica,
    Run,
    RunInput,
    RunSpec,
    RunStatus,
    Transfer,
    TransferSpec,
    TransferStatus,
)
from atoll.hub.controllers.run_plan import plan_run
from atoll.hub.controllers.run_scope import Input, Output, RunScope
from hub.support import job_spec

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
GIVEN = RunInput(namespace="lab", dataset="anmo.1", version=2, mount_path="/data")


def run(**changes: Any) -> Run:
    spec = RunSpec(
        job="j", cluster="cloud", epoch=1, inputs=changes.pop("inputs", ()), cancelled=changes.pop("cancelled", False)
    )
    metadata = ObjectMeta(name="j-1", namespace="lab", uid="u", generation=1, creation_timestamp=NOW)
    return Run(metadata=metadata, spec=spec, status=RunStatus(**changes))


def job(**changes: Any) -> Job:
    return Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": job_spec(**changes)})


def scope(**changes: Any) -> RunScope:
    defaults: dict[str, Any] = {
        "run": run(),
        "job": job(),
        "cluster": Cluster(metadata=ObjectMeta(name="cloud")),
        "newest_epoch": 1,
        "order": None,
        "report": None,
    }
    return RunScope(**{**defaults, **changes})


def order(**changes: Any) -> RunOrder:
    return RunOrder(namespace="lab", run="j-1", job="j", epoch=1, manifests=({"kind": "Job"},), **changes)


def report(phase: str, **changes: Any) -> RunReport:
    return RunReport.model_validate(
        {"namespace": "lab", "run": "j-1", "epoch": 1, "phase": phase, "at": NOW, "finishedAt": NOW, **changes}
    )


def dataset(*holders: str, version: int = 2, home: str | None = None) -> Dataset:
    replicas = tuple(Replica(cluster=cluster, version=version) for cluster in holders)
    return Dataset(
        metadata=ObjectMeta(name="anmo.1", namespace="lab"),
        spec=DatasetSpec(home=home),
        status=DatasetStatus(version=version, complete=True, replicas=replicas),
    )


def transfer(phase: str, finished_at: datetime | None = None) -> Transfer:
    return Transfer(
        metadata=ObjectMeta(name="anmo.1.v2.cloud", namespace="lab"),
        spec=TransferSpec(dataset="anmo.1", version=2, source="lab", destination="cloud"),
        status=TransferStatus(phase=phase, message="link down", finished_at=finished_at),  # type: ignore[arg-type]
    )


def commit(**changes: Any) -> CommitOrder:
    return CommitOrder(**{"namespace": "lab", "dataset": "picks", "version": 3, "run": "j-1", "epoch": 1, **changes})


def sealed(**changes: Any) -> DatasetReport:
    fields = {
        "namespace": "lab", "dataset": "picks", "version": 3, "complete": True, "producedBy": "j-1", "at": NOW,
    }  # fmt: skip
    return DatasetReport.model_validate({**fields, **changes})


def output(**changes: Any) -> Output:
    return Output(
        **{"dataset": "picks", "order": None, "is_busy": False, "report": None, "newest_version": 2, **changes}
    )


DONE = report("Succeeded")
WRITES = job(outputs=[{"dataset": "picks", "mountPath": "/out"}])

# name: scope → (phase, reason, ordered, cancelled by order, transfers from, commits of version)
PHASES: dict[str, tuple[RunScope, tuple[str, str]]] = {
    "a new run is ordered": (scope(), ("Starting", "")),
    "a run whose input is at home there is ordered": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("cloud", home="cloud"), None),)),
        ("Starting", ""),
    ),
    "a run at home whose input's newest version was made elsewhere waits for a copy": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab", home="cloud"), None),)),
        ("Staging", "CopyingInputs"),
    ),
    "a run at home reads an older version there": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab", version=5, home="cloud"), None),)),
        ("Starting", ""),
    ),
    "a run whose input was copied there is ordered": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab"), transfer("Succeeded")),)),
        ("Starting", ""),
    ),
    "a run whose input is elsewhere waits for a copy": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab", home="lab"), None),)),
        ("Staging", "CopyingInputs"),
    ),
    "a run whose copy failed has failed": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab"), transfer("Failed", NOW)),)),
        ("Failed", "StagingFailed"),
    ),
    "a copy that failed before this run was placed is made again": (
        scope(
            run=run(inputs=(GIVEN,)),
            inputs=(Input(GIVEN, dataset("lab"), transfer("Failed", NOW - timedelta(hours=1))),),
        ),
        ("Staging", "CopyingInputs"),
    ),
    "a run whose input nobody has any more has failed": (
        scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, None, None),)),
        ("Failed", "InputLost"),
    ),
    "a run on a cluster that has left has failed": (scope(cluster=None), ("Failed", "ClusterGone")),
    "a run that was ordered and is not heard of yet is starting": (scope(order=order()), ("Starting", "")),
    "a report that its order has arrived leaves a run starting": (
        scope(run=run(phase="Starting"), order=order(), report=report("Pending")),
        ("Starting", ""),
    ),
    "a report of what holds a run up is news": (
        scope(run=run(phase="Starting"), order=order(), report=report("Pending", reason="Unschedulable")),
        ("Pending", "Unschedulable"),
    ),
    "a run goes as its agent reports": (scope(order=order(), report=report("Running")), ("Running", "")),
    "a report of another epoch says nothing": (
        scope(order=order(), report=report("Succeeded", epoch=7)),
        ("Starting", ""),
    ),
    "a run without outputs succeeds with its workload": (scope(order=order(), report=DONE), ("Succeeded", "")),
    "a failed workload is a failed run": (
        scope(order=order(), report=report("Failed", reason="Error")),
        ("Failed", "Error"),
    ),
    "an older epoch is over": (scope(newest_epoch=2, order=order()), ("Failed", "StaleEpoch")),
    "a run that was cancelled before it was ordered is over": (
        scope(run=run(cancelled=True)),
        ("Cancelled", "Cancelled"),
    ),
    "a run that was cancelled goes on until its agent says that it has stopped": (
        scope(run=run(cancelled=True), order=order(), report=report("Running")),
        ("Running", ""),
    ),
    "a run that finished before it could be cancelled has succeeded": (
        scope(run=run(cancelled=True), order=order(), report=DONE),
        ("Succeeded", ""),
    ),
    "outputs are committed after the work": (
        scope(job=WRITES, order=order(), report=DONE, outputs=(output(),)),
        ("Committing", ""),
    ),
    "a run has succeeded when its version is sealed": (
        scope(job=WRITES, order=order(), report=DONE, outputs=(output(order=commit(), report=sealed()),)),
        ("Succeeded", ""),
    ),
    "a version that another run sealed is not this run's": (
        scope(
            job=WRITES,
            order=order(),
            report=DONE,
            outputs=(output(order=commit(), report=sealed(producedBy="other-1")),),
        ),
        ("Committing", ""),
    ),
    "an older version by a run of the same name does not count": (
        scope(job=WRITES, order=order(), report=DONE, outputs=(output(order=commit(), report=sealed(version=2)),)),
        ("Committing", ""),
    ),
    "a commit that is refused is shown, and not given up at once": (
        scope(
            job=WRITES,
            order=order(),
            report=DONE,
            outputs=(output(order=commit(), report=sealed(complete=False, error="disk full")),),
        ),
        ("Committing", "CommitRefused"),
    ),
    "a commit that is refused for long fails the run": (
        scope(
            job=WRITES,
            order=order(),
            report=report("Succeeded", finishedAt=NOW - timedelta(minutes=5)),
            outputs=(output(order=commit(), report=sealed(complete=False, error="disk full")),),
        ),
        ("Failed", "CommitFailed"),
    ),
    "what is over stays over": (
        scope(run=run(phase="Failed", reason="Error"), order=order(), report=report("Running")),
        ("Failed", "Error"),
    ),
}


@pytest.mark.parametrize("name", PHASES)
def test_the_phase_of(name: str) -> None:
    given, expected = PHASES[name]
    plan = plan_run(given, NOW)
    assert (plan.status.phase, plan.status.reason) == expected


def test_nothing_is_ordered_before_every_input_is_there() -> None:
    given = scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab", "edge", home="lab"), None),))
    plan = plan_run(given, NOW)
    assert plan.order is None
    assert [(copy.metadata.name, copy.spec.source, copy.spec.destination) for copy in plan.transfers] == [
        ("anmo.1.v2.cloud", "lab", "cloud")
    ]


DECIDED = {"clusters": [{"cluster": "cloud", "staging": [{"dataset": "lab/anmo.1", "source": "near"}]}]}

# name: who holds the version, who of them is not heard, the decision → whom it is copied from
SOURCES: dict[str, tuple[Dataset, set[str], dict[str, Any], str]] = {
    "the one that was decided": (dataset("near", "edge", "home", home="home"), set(), DECIDED, "near"),
    "the home, if the decided one has it no more": (dataset("edge", "home", home="home"), set(), DECIDED, "home"),
    "the home, if the decided one is silent": (dataset("near", "edge", "home", home="home"), {"near"}, DECIDED, "home"),
    "the first that is heard": (dataset("near", "c", "b", "home", home="home"), {"near", "home", "b"}, DECIDED, "c"),
    "the decided one, if nobody is heard": (dataset("near", "edge"), {"near", "edge"}, DECIDED, "near"),
    "the home, without a decision": (dataset("edge", "home", home="home"), set(), {}, "home"),
    "the first by name, without a home": (dataset("near", "edge"), set(), {}, "edge"),
    "a holder, whoever a forged decision names": (dataset("edge"), set(), {**DECIDED, "selected": "x"}, "edge"),
    "the home, of an older version": (dataset("near", version=5, home="home"), set(), DECIDED, "home"),
}


@pytest.mark.parametrize("name", SOURCES)
def test_an_input_is_copied_from(name: str) -> None:
    held, unheard, decision, source = SOURCES[name]
    placed = run(inputs=(GIVEN,))
    placed = placed.model_copy(update={"spec": placed.spec.model_copy(update={"decision": decision})})
    given = Input(GIVEN, held, None, frozenset(unheard))
    plan = plan_run(scope(run=placed, inputs=(given,)), NOW)
    assert [copy.spec.source for copy in plan.transfers] == [source]


def test_a_copy_under_way_is_waited_for_and_not_begun_again() -> None:
    given = scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab"), transfer("Copying")),))
    plan = plan_run(given, NOW)
    assert (plan.status.phase, plan.transfers, plan.order) == ("Staging", (), None)


def test_a_stale_copy_is_discarded_before_it_is_made_again() -> None:
    old = transfer("Failed", NOW - timedelta(hours=1))
    plan = plan_run(scope(run=run(inputs=(GIVEN,)), inputs=(Input(GIVEN, dataset("lab"), old),)), NOW)
    assert plan.discard == (old,)
    assert len(plan.transfers) == 1


@pytest.mark.parametrize(
    "given",
    [scope(run=run(cancelled=True), order=order(), report=report("Running")), scope(newest_epoch=2, order=order())],
    ids=["cancelled", "older epoch"],
)
def test_a_run_that_must_stop_has_its_order_cancelled(given: RunScope) -> None:
    plan = plan_run(given, NOW)
    assert plan.order is not None
    assert plan.order.cancelled


def test_an_older_epoch_commits_nothing() -> None:
    given = scope(newest_epoch=2, job=WRITES, order=order(), report=DONE, outputs=(output(),))
    assert plan_run(given, NOW).commits == ()


def test_a_commit_takes_the_version_after_every_known_one() -> None:
    plan = plan_run(scope(job=WRITES, order=order(), report=DONE, outputs=(output(newest_version=6),)), NOW)
    assert [(made.dataset, made.version, made.run, made.epoch) for made in plan.commits] == [("picks", 7, "j-1", 1)]


def test_a_commit_waits_while_another_runs_commit_stands() -> None:
    busy = output(order=commit(run="other-1"), is_busy=True)
    plan = plan_run(scope(job=WRITES, order=order(), report=DONE, outputs=(busy,)), NOW)
    assert (plan.commits, plan.status.phase) == ((), "Committing")
    assert plan.again_seconds is not None


def test_a_version_that_is_taken_on_the_volume_is_left_and_the_next_one_is_ordered() -> None:
    taken = output(order=commit(), report=sealed(producedBy="lost-1", error="version 3 exists"), newest_version=3)
    plan = plan_run(scope(job=WRITES, order=order(), report=DONE, outputs=(taken,)), NOW)
    assert [made.version for made in plan.commits] == [4]


def test_commit_orders_stand_until_the_success_is_written_and_go_then() -> None:
    given = scope(job=WRITES, order=order(), report=DONE, outputs=(output(order=commit(), report=sealed()),))
    first = plan_run(given, NOW)
    assert (first.status.phase, first.done) == ("Succeeded", ())
    again = plan_run(replace(given, run=given.run.model_copy(update={"status": first.status})), NOW)
    assert again.done == ("picks",)


# --- requeue, grace, rules and arrays


def specified(base: Run, **changes: Any) -> Run:
    return base.model_copy(update={"spec": base.spec.model_copy(update=changes)})


def test_a_requeued_run_ends_as_such_and_its_order_says_how_long_its_pods_may_take() -> None:
    going = specified(run(phase="Running"), cancelled=True, requeued=True, grace_seconds=5.0)
    plan = plan_run(scope(run=going, order=order(), report=report("Running")), NOW)
    assert plan.order is not None
    assert (plan.order.cancelled, plan.order.grace_seconds) == (True, 5.0)
    gone = plan_run(scope(run=going, order=plan.order, report=report("Cancelled")), NOW).status
    assert (gone.phase, gone.reason) == ("Failed", "Requeued")
    never = plan_run(scope(run=going), NOW).status
    assert (never.phase, never.reason) == ("Failed", "Requeued")
    faster = plan_run(scope(run=going, order=plan.order, report=DONE), NOW).status
    assert faster.phase == "Succeeded", "what ended well before it could be stopped stays so"


def test_a_requeued_run_in_a_silent_cluster_leaves_it_as_its_loss_policy_says() -> None:
    going = specified(run(phase="Running"), cancelled=True, requeued=True)
    fenced = order(cancelled=True, lease_seconds=10.0)
    lost = scope(run=going, job=job(lossPolicy="Failover"), order=fenced, silence_seconds=1000.0)
    assert (plan_run(lost, NOW).status.phase, plan_run(lost, NOW).status.reason) == ("Failed", "Lost")
    soon = plan_run(replace(lost, silence_seconds=5.0), NOW)
    assert soon.status.phase not in ("Failed", "Cancelled")


def test_a_failure_that_a_rule_calls_a_success_has_its_outputs_committed() -> None:
    policy = {"rules": [{"exitCodes": [25], "action": "Succeed"}]}
    writes = job(outputs=[{"dataset": "picks", "mountPath": "/out"}], retryPolicy=policy)
    ended = report("Failed", exitCode=25, reason="Error")
    plan = plan_run(scope(job=writes, order=order(), report=ended, outputs=(output(),)), NOW)
    assert [each.version for each in plan.commits] == [3]
    done = plan_run(scope(job=job(retryPolicy=policy), order=order(), report=ended), NOW).status
    assert (done.phase, done.reason, done.exit_code) == ("Succeeded", "CountedAsSuccess", 25)
    other = plan_run(scope(job=job(retryPolicy=policy), order=order(), report=report("Failed", exitCode=1)), NOW)
    assert other.status.phase == "Failed"


def test_an_array_that_grows_is_ordered_so_once_and_the_manifest_stays() -> None:
    wide = specified(run(phase="Running"), parallelism=5)
    going = scope(run=wide, job=job(array={"count": 9}), order=order(parallelism=1), report=report("Running"))
    grown = plan_run(going, NOW).order
    assert grown is not None
    assert (grown.parallelism, grown.manifests) == (5, order().manifests)
    assert plan_run(replace(going, order=grown), NOW).order is None


def test_a_tasks_manifest_tells_it_its_number_its_limit_and_its_grace() -> None:
    array = job(array={"count": 9, "maxParallel": 4}, timeLimit="1h", gracePeriod="90s")
    made = plan_run(scope(run=specified(run(), tasks="3-4", parallelism=1), job=array), NOW).order
    assert made is not None
    assert (made.tasks, made.parallelism) == ("3-4", 1)
    spec = next(each for each in made.manifests if each["kind"] == "Job")["spec"]
    pod = spec["template"]["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 9, 1)
    assert (spec["backoffLimitPerIndex"], "activeDeadlineSeconds" in spec) == (0, False)
    assert (pod["activeDeadlineSeconds"], pod["terminationGracePeriodSeconds"]) == (3600, 90)
    assert [variable["name"] for variable in pod["containers"][0]["env"]] == ["ATOLL_TASK", "ATOLL_TASKS"]


def test_a_run_that_is_made_as_starting_is_ordered_without_another_status() -> None:
    """The scheduler makes a run that waits for no input so: the order is written, and the run is as it was."""
    made = run(phase="Starting", observed_generation=1)
    plan = plan_run(scope(run=made), NOW)
    assert plan.order is not None
    assert plan.status == made.status
