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
