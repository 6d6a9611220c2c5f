"""What the silence or the drain of a cluster means for a run and its job, as tables."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path as Folder
from typing import Any

import pytest

from atoll.federation.bus.messages import RunOrder, RunReport
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import Cluster, ClusterStatus, Condition, Job, ObjectMeta, Run, RunSpec, RunStatus
from atoll.hub.controllers.fence import grace_seconds
from atoll.hub.controllers.hearing import Hearing
from atoll.hub.controllers.job_silence import with_silence
from atoll.hub.controllers.jobs import plan_job
from atoll.hub.controllers.loss_rules import FencePolicy, LossRules
from atoll.hub.controllers.run_plan import plan_run
from atoll.hub.controllers.run_scope import RunScope
from atoll.hub.members import Held, Path
from hub.support import job_spec, settings

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RULES = LossRules(FencePolicy(60.0, margin_seconds=10.0, drift=0.01), timeout_seconds=30.0)
FENCE = (60 + 30) * 1.01 + 10


def job(policy: str = "Failover", **changes: Any) -> Job:
    spec = job_spec(lossPolicy=policy, **{k: v for k, v in changes.items() if k in ("retries", "cancelled")})
    status = {k: v for k, v in changes.items() if k not in ("retries", "cancelled")}
    return Job.model_validate({"metadata": {"name": "j", "namespace": "lab"}, "spec": spec, "status": status})


def run(phase: str = "Running", *, epoch: int = 1, displaced: str = "", **status: Any) -> Run:
    conditions = ()
    if displaced:
        conditions = (
            Condition(type="DisruptionTarget", status="True", reason=displaced, message="M", last_transition_time=NOW),
        )
    return Run(
        metadata=ObjectMeta(name=f"j-{epoch}", namespace="lab", uid="u"),
        spec=RunSpec(job="j", cluster="onprem", epoch=epoch),
        status=RunStatus(phase=phase, conditions=conditions, **status),  # type: ignore[arg-type]
    )


def order(*, grace: int | None = None, **changes: Any) -> RunOrder:
    pod = {} if grace is None else {"terminationGracePeriodSeconds": grace}
    manifest = {"kind": "Job", "spec": {"template": {"spec": pod}}}
    fields = {"namespace": "lab", "run": "j-1", "job": "j", "epoch": 1, "manifests": (manifest,), "lease_seconds": 60.0}
    return RunOrder(**{**fields, **changes})


def report(phase: str, **changes: Any) -> RunReport:
    fields = {"namespace": "lab", "run": "j-1", "epoch": 1, "phase": phase, "at": NOW}
    return RunReport.model_validate({**fields, **changes})


def cluster(**spec: Any) -> Cluster:
    return Cluster.model_validate({"metadata": {"name": "onprem"}, "spec": spec})


def scope(**changes: Any) -> RunScope:
    given = RunScope(
        run=run(), job=job(), cluster=cluster(), newest_epoch=1, order=order(), report=report("Running"),
        silence_seconds=1.0, rules=RULES,
    )  # fmt: skip
    return replace(given, **changes)


WAITS = {"job": job("Wait"), "order": order(lease_seconds=None), "silence_seconds": None}
DOUBLES = {"job": job("Duplicate"), "order": order(lease_seconds=None)}
DRAINED = {"cluster": cluster(draining=True)}
TAKEN_BACK = {"order": order(cancelled=True), "run": run(displaced="Lost")}
NEVER_ORDERED = {"order": None, "report": None, "run": run("Staging")}
SLOW_POD = {"terminationGracePeriodSeconds": 90, "containers": [{"name": "main", "image": "busybox"}]}
SLOW = Job.model_validate({
    "metadata": {"name": "j", "namespace": "lab"},
    "spec": job_spec(lossPolicy="Failover", workload={"spec": {"template": {"spec": SLOW_POD}}}),
})  # fmt: skip
GONE = {"cluster": None, "order": None, "report": None}

# name: scope → (phase, reason, is displaced, is the order taken back)
RUNS: dict[str, tuple[RunScope, tuple[str, str, bool, bool]]] = {
    "waits, and its cluster has left": (
        scope(**GONE, job=job("Wait"), silence_seconds=None), ("Failed", "ClusterGone", False, False),
    ),
    "was doubled, and its cluster has left": (
        scope(**GONE, job=job("Duplicate")), ("Failed", "ClusterGone", False, False),
    ),
    "never began, and its cluster has left": (
        scope(**{**GONE, **NEVER_ORDERED}), ("Failed", "ClusterGone", False, False),
    ),
    "fails over, and its cluster has left, but may still run it": (
        scope(**GONE, silence_seconds=FENCE - 0.1), ("Running", "ClusterGone", True, False),
    ),
    "fails over, and its cluster has left, and was not asked for the time its pods may take": (
        scope(**GONE, job=SLOW, silence_seconds=FENCE + 60), ("Running", "ClusterGone", True, False),
    ),
    "fails over, and its cluster has left long enough ago": (
        scope(**GONE, silence_seconds=FENCE), ("Failed", "ClusterGone", False, False),
    ),
    "was reported by a cluster that has left": (
        scope(**{**GONE, "report": report("Running")}, job=job("Wait")), ("Failed", "ClusterGone", False, False),
    ),
    "is heard": (scope(), ("Running", "", False, False)),
    "is not heard, but its lease lasts": (scope(silence_seconds=59.9), ("Running", "", False, False)),
    "has outlived its lease": (scope(silence_seconds=60.0), ("Running", "Lost", True, True)),
    "has outlived its fence, but its order still stands": (
        scope(silence_seconds=FENCE), ("Running", "Lost", True, True),
    ),
    "was taken back, but may be ending": (
        scope(**TAKEN_BACK, silence_seconds=FENCE - 0.1), ("Running", "Lost", True, True),
    ),
    "was taken back and must have ended": (
        scope(**TAKEN_BACK, silence_seconds=FENCE), ("Failed", "Lost", True, False),
    ),
    "was taken back and is heard again": (scope(**TAKEN_BACK), ("Running", "Lost", True, True)),
    "was taken back and says that it has ended": (
        scope(**TAKEN_BACK, report=report("Cancelled")), ("Failed", "Lost", True, False),
    ),
    "was taken back and had succeeded": (
        scope(**TAKEN_BACK, report=report("Succeeded")), ("Succeeded", "", True, False),
    ),
    "ended with its lease": (
        scope(report=report("Failed", reason="LeaseEnded")), ("Failed", "LeaseEnded", False, False),
    ),
    "waits however long": (scope(**WAITS), ("Running", "", False, False)),
    "may be doubled once it is unreachable": (scope(**DOUBLES, silence_seconds=30.0), ("Running", "Lost", True, False)),
    "is doubled no more once it is heard": (
        scope(**DOUBLES, run=run(displaced="Lost")), ("Running", "", False, False),
    ),
    "goes on beside one that does not run yet": (
        scope(**DOUBLES, newest_epoch=2, newest_phase="Starting", silence_seconds=99.0),
        ("Running", "Lost", True, False),
    ),
    "ends when the one beside it runs": (
        scope(**DOUBLES, newest_epoch=2, newest_phase="Running"), ("Failed", "StaleEpoch", False, True),
    ),
    "commits nothing beside a newer one": (
        scope(**DOUBLES, newest_epoch=2, newest_phase="Starting", report=report("Succeeded")),
        ("Failed", "StaleEpoch", False, True),
    ),
    "has not begun in a cluster that is lost": (
        scope(**NEVER_ORDERED, silence_seconds=30.0), ("Failed", "Lost", False, False),
    ),
    "has not begun in a cluster that is drained": (
        scope(**{**NEVER_ORDERED, **WAITS, **DRAINED, "order": None}), ("Failed", "Drained", False, False),
    ),
    "leaves a drained cluster": (scope(**DRAINED), ("Running", "Drained", True, True)),
    "has left a drained cluster": (
        scope(**DRAINED, order=order(cancelled=True), run=run(displaced="Drained"), report=report("Cancelled")),
        ("Failed", "Drained", True, False),
    ),
    "is lost while it leaves": (
        scope(**DRAINED, order=order(cancelled=True), run=run(displaced="Drained"), silence_seconds=FENCE),
        ("Failed", "Lost", True, False),
    ),
    "stays in a drained cluster until another runs": (scope(**DRAINED, **DOUBLES), ("Running", "Drained", True, False)),
    "ends its work in a drained cluster": (scope(**DRAINED, **WAITS), ("Running", "", False, False)),
    "is stopped by force": (
        scope(**WAITS, cluster=cluster(draining=True, evict="All")), ("Running", "Drained", True, True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that(name: str) -> None:
    given, expected = RUNS[name]
    plan = plan_run(given, NOW)
    is_taken_back = plan.order is not None and plan.order.cancelled
    assert (plan.status.phase, plan.status.reason, plan.status.is_displaced, is_taken_back) == expected


def test_a_lost_run_says_since_when_and_when_it_was_certain() -> None:
    plan = plan_run(scope(**TAKEN_BACK, silence_seconds=FENCE), NOW)
    assert "onprem" in plan.status.message
    assert "since 11:58:19 UTC" in plan.status.message
    assert "since 12:00:00 UTC" in plan.status.message


def test_a_run_is_looked_at_again_when_its_lease_and_then_its_fence_are_over() -> None:
    assert plan_run(scope(silence_seconds=20.0), NOW).again_seconds == pytest.approx(40.0)
    assert plan_run(scope(silence_seconds=70.0), NOW).again_seconds == pytest.approx(FENCE - 70.0)
    assert plan_run(scope(**WAITS), NOW).again_seconds is None


def test_the_fence_is_as_long_as_the_longest_grace_of_the_pods() -> None:
    assert grace_seconds(order(grace=300)) == 300
    assert grace_seconds(order(grace=0)) == 0
    assert grace_seconds(order()) == 30


# name: (job, its runs) → (phase, reason)
JOBS: dict[str, tuple[Job, list[Run], tuple[str, str]]] = {
    "waits again after its cluster left": (
        job(), [run("Failed", reason="ClusterGone")], ("Pending", "ClusterGone"),
    ),
    "waits again after it was lost": (job(), [run("Failed", reason="Lost")], ("Pending", "Lost")),
    "waits again after it was drained": (job("Wait"), [run("Failed", reason="Drained")], ("Pending", "Drained")),
    "fails by its first own failure though it was lost before": (
        job(), [run("Failed", reason="Lost"), run("Failed", epoch=2, reason="Error")], ("Failed", "Error"),
    ),
    "keeps its retries while it is lost again and again": (
        job(retries=1),
        [run("Failed", epoch=1, reason="Lost"), run("Failed", epoch=2, reason="Drained"),
         run("Failed", epoch=3, reason="Error")],
        ("Pending", "RetryBackoff"),
    ),
    "has used its retries": (
        job(retries=1),
        [run("Failed", epoch=1, reason="Error"), run("Failed", epoch=2, reason="Lost"),
         run("Failed", epoch=3, reason="Error")],
        ("Failed", "Error"),
    ),
    "waits for a double": (job("Duplicate"), [run(displaced="Lost", reason="Lost")], ("Pending", "Lost")),
    "runs while its fence lasts": (job(), [run(displaced="Lost", reason="Lost")], ("Running", "Lost")),
    "is cancelled rather than placed again": (
        job(cancelled=True, phase="Running"), [run("Failed", reason="Lost")], ("Cancelled", "Cancelled"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_a_job_that(name: str) -> None:
    given, runs, expected = JOBS[name]
    status = plan_job(given, runs, NOW).status
    assert (status.phase, status.reason) == expected


@pytest.mark.parametrize(
    ("policy", "meaning"), [("Wait", "goes on"), ("Failover", "when its lease ends"), ("Duplicate", "newest alone")]
)
def test_a_job_on_a_silent_cluster_says_since_when_and_what_its_policy_makes_of_it(policy: str, meaning: str) -> None:
    status = plan_job(job(policy), [run()], NOW).status
    silent = cluster().model_copy(update={"status": ClusterStatus(phase="Unreachable", lost_since=NOW)})
    told = with_silence(job(policy), status, silent)
    assert (told.phase, told.reason) == ("Running", "ClusterSilent")
    assert "cluster onprem is not heard since 2026-11-23 12:00:00 UTC" in told.message
    assert meaning in told.message
    assert with_silence(job(policy), status, cluster()) == status, "it is heard again"


def test_what_the_fence_says_of_a_run_stands_before_the_silence_of_its_cluster() -> None:
    status = plan_job(job(), [run(displaced="Lost", reason="Lost", message="101 s after")], NOW).status
    silent = cluster().model_copy(update={"status": ClusterStatus(phase="Unreachable", lost_since=NOW)})
    assert with_silence(job(), status, silent) == status


class Reports:
    """A store of heartbeats, and a copy of it that may be behind."""

    def __init__(self) -> None:
        self.stored, self.copied, self.asked = 1, 1, 0

    def held(self, _path: Path) -> Held | None:
        return Held(b"", self.copied)

    async def newest_revision(self, _path: Path) -> int:
        self.asked += 1
        return self.stored


async def test_a_heartbeat_that_this_hub_has_not_read_yet_ends_the_silence() -> None:
    reports, clock = Reports(), [0.0]
    hearing = Hearing(reports, lambda: clock[0])  # type: ignore[arg-type]
    hearing.note("onprem")
    clock[0] = 50.0
    assert await hearing.silence_seconds("onprem", at_least=60.0) == 50.0
    clock[0], reports.stored = 70.0, 2
    assert await hearing.silence_seconds("onprem", at_least=60.0) == 0.0
    clock[0] = 131.0
    assert await hearing.silence_seconds("onprem", at_least=60.0) == 61.0
    assert hearing.note("onprem"), "those who were told of the silence hear of its end"
    assert not hearing.note("onprem")


async def test_a_new_leader_begins_to_count_when_it_is_first_asked() -> None:
    reports, clock = Reports(), [1000.0]
    hearing = Hearing(reports, lambda: clock[0])  # type: ignore[arg-type]
    assert await hearing.silence_seconds("onprem", at_least=60.0) == 0.0
    clock[0] = 1059.0
    assert await hearing.silence_seconds("onprem", at_least=60.0) == 59.0
    assert reports.asked == 0


@pytest.mark.parametrize(("lease", "timeout", "least"), [(3.0, 1.0, "4"), (20.0, 30.0, "30")])
def test_a_lease_that_ends_before_its_cluster_counts_as_silent_is_refused(
    tmp_path: Folder, lease: float, timeout: float, least: str
) -> None:
    given = settings("nats://x", tmp_path, run_lease_seconds=lease, heartbeat_timeout_seconds=timeout)
    with pytest.raises(InvalidInput, match=f"--run-lease {lease:g} is too short.*at least {least} seconds"):
        given.check()
