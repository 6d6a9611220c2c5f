"""The pure decisions of the controllers, as tables: what is known becomes what is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from atoll.federation.bus.data_messages import DatasetReport, GatewayReport, TransferReport
from atoll.federation.bus.messages import DriftRecord, PolicyOrder, PolicyReport
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import (
    Cluster,
    ClusterPolicyStatus,
    Dataset,
    DatasetStatus,
    Gateway,
    Job,
    JobStatus,
    ObjectMeta,
    Run,
    RunSpec,
    RunStatus,
    Stream,
    StreamLedger,
    Transfer,
    TransferSpec,
    TransferStatus,
    Trigger,
)
from atoll.hub.controllers import gateways, jobs, policy_plan, streams, transfers
from atoll.hub.controllers.dataset_copies import Copies
from atoll.hub.controllers.dataset_status import plan_status
from atoll.hub.controllers.firing_plan import Firing, fired_versions, make_job, owed_by_dataset, with_mark
from hub.support import inventory, job_spec

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


# --- gateways and streams


def stream(name: str = "anmo", namespace: str = "lab", gateway: str = "lab-a", **status: Any) -> Stream:
    spec = {"gateway": gateway, "topics": ["seis/#"], "dataset": "anmo.{date}", "home": "onprem"}
    return Stream.model_validate({"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status})


def test_a_gateway_is_given_exactly_its_own_streams_in_a_fixed_order() -> None:
    gateway = Gateway.model_validate({"metadata": {"name": "lab-a"}, "spec": {"broker": "mqtt://b:1883"}})
    given = [stream("b"), stream("x", gateway="lab-b"), stream("a"), stream("a", "other")]
    order = gateways.plan_order(gateway, given)
    assert [(item.namespace, item.name) for item in order.streams] == [("lab", "a"), ("lab", "b"), ("other", "a")]
    assert order.broker == "mqtt://b:1883"


GATEWAYS = {
    "never heard": (None, None, "Pending"),
    "with its broker": (GatewayReport(broker_connected=True, at=NOW), ago(1), "Ready"),
    "without its broker": (GatewayReport(at=NOW), ago(1), "Degraded"),
    "silent": (GatewayReport(broker_connected=True, at=NOW), ago(31), "Unreachable"),
}


@pytest.mark.parametrize("name", GATEWAYS)
def test_the_phase_of_a_gateway_that_is(name: str) -> None:
    report, proven, phase = GATEWAYS[name]
    assert gateways.judge(report, proven, now=NOW, timeout_seconds=30).phase == phase


def test_a_streams_counters_come_from_the_ledger_and_never_go_back() -> None:
    rows = (StreamLedger(stream="lab/anmo", received=7, committed=5), StreamLedger(stream="lab/other", received=99))
    status = streams.plan_status(stream(), GatewayReport(ledger=rows, at=NOW), ())
    assert (status.received, status.committed) == (7, 5)
    kept = streams.plan_status(stream(received=9, committed=8), GatewayReport(ledger=rows, at=NOW), ())
    assert (kept.received, kept.committed) == (9, 8)


# --- datasets


def dataset(**status: Any) -> Dataset:
    return Dataset.model_validate(
        {"metadata": {"name": "anmo.1", "namespace": "lab"}, "spec": {"home": "onprem"}, "status": status}
    )


def report(version: int = 1, sha: str = "aa", **changes: Any) -> DatasetReport:
    fields = {
        "namespace": "lab", "dataset": "anmo.1", "version": version, "complete": True, "manifestSha256": sha,
        "bytes": version * 10, "at": NOW,
    }  # fmt: skip
    return DatasetReport.model_validate({**fields, **changes})


def copied(version: int = 1, sha: str = "aa", to: str = "cloud") -> Transfer:
    return Transfer(
        metadata=ObjectMeta(name=f"t-{to}", namespace="lab"),
        spec=TransferSpec(dataset="anmo.1", version=version, source="onprem", destination=to),
        status=TransferStatus(phase="Succeeded", manifest_sha256=sha),
    )


def settled(*steps: Copies) -> DatasetStatus:
    """Apply what is known at one time after the other, a minute apart."""
    current = dataset()
    for index, copies in enumerate(steps):
        status = plan_status(current, copies, NOW + timedelta(minutes=index))
        current = current.model_copy(update={"status": status})
    return current.status


def test_a_growing_version_has_no_replicas_and_completes_once() -> None:
    growing = Copies({"onprem": report(complete=False, manifestSha256="")})
    whole = Copies({"onprem": report()})
    assert (settled(growing).complete, settled(growing).replicas) == (False, ())
    status = settled(growing, whole, whole, whole)
    assert status.completed_at == NOW + timedelta(minutes=1)
    assert [(replica.cluster, replica.version) for replica in status.replicas] == [("onprem", 1)]


def test_a_complete_version_is_never_incomplete_again() -> None:
    status = settled(Copies({"onprem": report()}), Copies({"onprem": report(complete=False)}))
    assert (status.complete, status.bytes) == (True, 10)
    assert settled(Copies({"onprem": report()}), Copies({})).complete


def test_a_newer_version_takes_over_and_an_older_one_changes_nothing() -> None:
    status = settled(Copies({"onprem": report()}), Copies({"onprem": report(2, complete=False, manifestSha256="")}))
    assert (status.version, status.complete, status.completed_at, status.replicas) == (2, False, None, ())
    status = settled(Copies({"onprem": report(2, "bb")}), Copies({"onprem": report(1)}))
    assert (status.version, status.manifest_sha256) == (2, "bb")


REPLICAS = {
    "the home's": (Copies({"onprem": report()}), ["onprem"]),
    "a verified copy": (Copies({"onprem": report()}, (copied(),)), ["cloud", "onprem"]),
    "a copy of another version": (Copies({"onprem": report()}, (copied(2),)), ["onprem"]),
    "a copy that differs": (Copies({"onprem": report(), "cloud": report(sha="bb")}), ["onprem"]),
    "a copy that has changed since": (
        Copies({"onprem": report(), "cloud": report(sha="bb")}, (copied(),)), ["onprem"],
    ),
    "a copy that its cluster reports": (
        Copies({"onprem": report(), "cloud": report()}), ["cloud", "onprem"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REPLICAS)
def test_replicas_count_only_whole_and_equal_copies(name: str) -> None:
    copies, expected = REPLICAS[name]
    status = settled(copies)
    assert [replica.cluster for replica in status.replicas] == expected
    healthy = next(condition for condition in status.conditions if condition.type == "Healthy")
    assert (healthy.status == "False") == any(r.manifest_sha256 == "bb" for r in copies.reports.values())


# --- triggers


def trigger(name_pattern: str = "*", template: str = "p-{dataset}", **spec: Any) -> Trigger:
    return Trigger.model_validate(
        {
            "metadata": {"name": "t", "namespace": "lab", "creationTimestamp": ago(60)},
            "spec": {"on": {"name": name_pattern}, "job": {"name": template, "spec": job_spec()}, **spec},
        }
    )


def complete(**metadata: Any) -> Dataset:
    given = {"name": "anmo.1", "namespace": "lab", **metadata}
    status = {"version": 3, "complete": True, "completedAt": ago(5)}
    return Dataset.model_validate({"metadata": given, "status": status})


TRIGGERS = {
    "any name": (trigger(), complete(), True),
    "a matching name": (trigger("anmo.*"), complete(), True),
    "another name": (trigger("xanmo.*"), complete(), False),
    "a prefix only": (trigger("anmo"), complete(), False),
    "a suspended trigger": (trigger(suspend=True), complete(), False),
    "labels that match": (
        trigger(on={"selector": {"matchLabels": {"a": "b"}}}), complete(labels={"a": "b"}), True,
    ),
    "labels that do not": (trigger(on={"selector": {"matchLabels": {"a": "b"}}}), complete(), False),
    "an incomplete dataset": (trigger(), dataset(version=1), False),
    "a version that was complete before the trigger was made": (
        trigger(), dataset(version=1, complete=True, completedAt=ago(3600)), False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TRIGGERS)
def test_a_trigger_fires_for(name: str) -> None:
    given, found, expected = TRIGGERS[name]
    assert bool(owed_by_dataset(given, found)) is expected


def test_a_triggered_job_is_named_by_dataset_and_version() -> None:
    (owed,) = owed_by_dataset(trigger(), complete())
    assert owed.name == "p-anmo.1-v3"
    assert owed_by_dataset(trigger(template="p-{dataset}.{version}"), complete())[0].name == "p-anmo.1.3"
    job = make_job(trigger(), owed)
    assert job.metadata.labels == {"atoll.dev/trigger": "t", "atoll.dev/dataset": "anmo.1"}


def test_a_template_that_fills_to_nonsense_is_refused_with_its_field() -> None:
    spec = job_spec(
        inputs=[{"dataset": "{dataset}", "mountPath": "/a"}], outputs=[{"dataset": "{dataset}.x", "mountPath": "/a"}]
    )
    broken = trigger(job={"name": "p", "spec": spec})
    with pytest.raises(InvalidInput, match=r"spec\.job\.spec: mountPath /a is used twice"):
        make_job(broken, owed_by_dataset(broken, complete())[0])


def test_marks_remember_every_version_that_was_fired() -> None:
    marked = complete()
    for version in (1, 3, 4, 5, 7):
        marked = with_mark(marked, "t", Firing("j", {}, marked, version))
    assert fired_versions(marked, "t") == (1, 3, 4, 5, 7)
    assert marked.metadata.annotations["trigger.atoll.dev/t"] == "1,3-5,7"
    assert fired_versions(marked, "other") == ()


# --- jobs and queues


def job(name: str = "j", *, retries: int = 0, cancelled: bool = False, **status: Any) -> Job:
    spec = job_spec(retries=retries, cancelled=cancelled, gpu={"count": 2})
    return Job.model_validate({"metadata": {"name": name, "namespace": "lab"}, "spec": spec, "status": status})


def run(phase: str, epoch: int = 1, *, reason: str = "R", **spec: Any) -> Run:
    return Run(
        metadata=ObjectMeta(name=f"j-{epoch}", namespace="lab"),
        spec=RunSpec(job="j", cluster="cloud", epoch=epoch, **spec),
        status=RunStatus(phase=phase, reason=reason, message="M", finished_at=NOW),  # type: ignore[arg-type]
    )


JOBS = {
    "waits for the scheduler": (job(), [], "Pending", "Queued"),
    "keeps what the scheduler said": (job(reason="NoFeasibleCluster"), [], "Pending", "NoFeasibleCluster"),
    "is cancelled before it was placed": (job(cancelled=True), [], "Cancelled", "Cancelled"),
    "is placed": (job(), [run("Staging")], "Placed", "R"),
    "runs": (job(), [run("Running")], "Running", "R"),
    "commits": (job(), [run("Committing")], "Committing", "R"),
    "has succeeded": (job(), [run("Succeeded")], "Succeeded", "R"),
    "has failed": (job(), [run("Failed")], "Failed", "R"),
    "is tried again": (job(retries=1), [run("Failed")], "Pending", "RetryBackoff"),
    "is not tried again with a manifest that no attempt can mend": (
        job(retries=1), [run("Failed", reason="InvalidManifest")], "Failed", "InvalidManifest",
    ),
    "has used its retries": (job(retries=1), [run("Failed"), run("Failed", 2)], "Failed", "R"),
    "follows its newest run": (job(retries=5), [run("Running", 2), run("Failed", 1)], "Running", "R"),
    "is cancelled while it waits for another attempt": (
        job(retries=1, cancelled=True, phase="Pending", attempts=1), [run("Failed")], "Cancelled", "Cancelled",
    ),
    "stays as it ended": (job(phase="Succeeded", reason="X"), [run("Running")], "Succeeded", "X"),
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_a_job(name: str) -> None:
    given, runs, phase, reason = JOBS[name]
    status = jobs.plan_job(given, runs, NOW).status
    assert (status.phase, status.reason) == (phase, reason)


def made(seconds_ago: float, given: Job) -> Job:
    metadata = given.metadata.model_copy(update={"creation_timestamp": ago(seconds_ago)})
    return given.model_copy(update={"metadata": metadata})


@pytest.mark.parametrize("seconds_ago", [0.0, 2.5])
def test_a_new_job_is_not_told_that_it_waits_while_it_may_be_placed_any_moment(seconds_ago: float) -> None:
    plan = jobs.plan_job(made(seconds_ago, job()), [], NOW)
    assert (plan.status, plan.again_seconds) == (JobStatus(), 3.0 - seconds_ago)


TOLD: dict[str, tuple[Job, list[Run], str]] = {
    "it has waited for long enough": (made(3.0, job()), [], "Queued"),
    "the clock of the hub that made it was ahead": (made(-1.0, job()), [], "Queued"),
    "the scheduler has said why it waits": (made(0.0, job(reason="NoFeasibleCluster")), [], "NoFeasibleCluster"),
    "it is cancelled": (made(0.0, job(cancelled=True)), [], "Cancelled"),
    "it has a run": (made(0.0, job()), [run("Staging")], "R"),
}


@pytest.mark.parametrize("why", TOLD)
def test_a_new_job_is_told_at_once_where(why: str) -> None:
    given, runs, reason = TOLD[why]
    plan = jobs.plan_job(given, runs, NOW)
    assert (plan.status.reason, plan.again_seconds) == (reason, None)


def test_the_live_run_of_a_cancelled_job_is_cancelled_once() -> None:
    assert jobs.plan_job(job(cancelled=True), [run("Running")], NOW).stop == run("Running", cancelled=True)
    assert jobs.plan_job(job(cancelled=True), [run("Running", cancelled=True)], NOW).stop is None
    assert jobs.plan_job(job(cancelled=True), [run("Succeeded")], NOW).stop is None


def test_what_the_scheduler_says_of_a_retry_stays() -> None:
    waiting = job(retries=1, phase="Pending", reason="NoFeasibleCluster", attempts=1)
    assert jobs.plan_job(waiting, [run("Failed")], NOW).status == waiting.status


# --- transfers


def test_a_finished_transfer_stays_and_a_namesakes_report_is_not_its_own() -> None:
    made = ObjectMeta(name="t", namespace="lab", creation_timestamp=NOW)
    spec = TransferSpec(dataset="d", version=1, source="a", destination="b")
    new = Transfer(metadata=made, spec=spec)
    old = TransferReport(
        namespace="lab", transfer="t", phase="Failed", started_at=ago(90), finished_at=ago(60), at=ago(60)
    )
    assert transfers.plan_status(new, old, NOW).phase == "Pending"
    done = old.model_copy(update={"phase": "Succeeded", "finished_at": NOW + timedelta(seconds=9)})
    finished = new.model_copy(update={"status": transfers.plan_status(new, done, NOW)})
    assert finished.status.phase == "Succeeded"
    again = done.model_copy(update={"phase": "Copying"})
    assert transfers.plan_status(finished, again, NOW) == finished.status


# --- policies


def view(phase: str = "Ready", **changes: Any) -> policy_plan.ClusterView:
    status = {"phase": phase, "inventory": inventory()}
    cluster = Cluster.model_validate({"metadata": {"name": "onprem"}, "status": status})
    order = PolicyOrder(name="p", commit="c2", manifests=())
    held = PolicyReport(name="p", commit="c2", phase="Applied", objects=4, at=NOW)
    defaults: dict[str, Any] = {"order": order, "refused": (), "report": held, "old": None}
    return policy_plan.ClusterView(cluster, **{**defaults, **changes})


POLICIES = {
    "holds the commit": (view(), "Applied"),
    "holds an older commit": (view(report=PolicyReport(name="p", commit="c1", phase="Applied", at=NOW)), "Pending"),
    "has not reported": (view(report=None), "Pending"),
    "has drifted": (view(report=PolicyReport(name="p", commit="c2", phase="Drifted", at=NOW)), "Drifted"),
    "cannot apply it": (view(report=PolicyReport(name="p", commit="c1", phase="Failed", at=NOW)), "Failed"),
    "cannot enforce a rule": (view(refused=("a.yaml:3: no L7",)), "Unenforceable"),
    "cannot be heard": (view("Unreachable"), "Unreachable"),
    "was ordered nothing": (view(order=None, report=None), "Pending"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_cluster_that(name: str) -> None:
    given, phase = POLICIES[name]
    assert policy_plan.plan_cluster(given).phase == phase


def test_healed_drift_is_told_once_with_who_and_what() -> None:
    drift = DriftRecord(
        kind="NetworkPolicy",
        namespace="lab",
        name="deny",
        paths=("spec.ingress",),
        managers=("kubectl",),
        at=NOW,
        healed=True,
    )
    held = PolicyReport(name="p", commit="c2", phase="Applied", drift_healed=1, drifts=(drift,), at=NOW)
    row = policy_plan.plan_cluster(view(report=held))
    assert row.last_drift == "NetworkPolicy lab/deny: spec.ingress by kubectl"
    assert list(policy_plan.healed((), (row,))) == ["onprem: put back NetworkPolicy lab/deny: spec.ingress by kubectl"]
    assert list(policy_plan.healed((row,), (row,))) == []
    assert isinstance(row, ClusterPolicyStatus)
