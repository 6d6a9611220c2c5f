"""Runs, from the hub's order to the report, on a simulated cluster and a real NATS."""

import shutil

import pytest

from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import RunReport
from member.harness import HubSide, on_any_cluster, running_agent
from member.orders import NAMESPACE, RUN, RUN_KEY, run_order
from member.world import Cluster, eventually, now_text


async def test_a_run_is_applied_followed_and_reported_to_its_end(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Pending with the scheduler's words, Starting, Running, Succeeded with exit code, times and usage."""
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    why = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
    await cluster.set_pod(pod, "Pending", conditions=[waiting])
    pending = await hub.reported(RUN_KEY, RunReport, lambda report: report.reason == "Unschedulable")
    assert (pending.phase, pending.message, pending.epoch) == ("Pending", why, 1)

    await cluster.set_pod(pod, "Pending", state={"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
    starting = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Starting")
    await hub.reported(RUN_KEY, RunReport, lambda report: report.reason == "ImagePullBackOff")
    assert starting.started_at is None

    began = now_text()
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": began}})
    running = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    assert running.pods == (pod["metadata"]["name"],)
    assert running.started_at is not None

    began_long_ago = "2026-01-01T00:00:00Z"
    await cluster.end_pod(pod, 0, began=began_long_ago)
    done = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
    assert done.exit_code == 0
    assert done.finished_at is not None
    assert done.started_at is not None
    seconds = (done.finished_at - done.started_at).total_seconds()
    assert done.usage.gpu_seconds > 0
    assert done.usage.cpu_seconds == 2 * done.usage.gpu_seconds
    assert abs(done.usage.gpu_seconds - seconds) <= 2


async def test_a_failed_run_names_the_pods_reason_and_exit_code(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """The report of a run that was killed for its memory says OOMKilled and 137."""
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.end_pod(pod, 137, began=now_text(), reason="OOMKilled")
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert (failed.exit_code, failed.reason) == (137, "OOMKilled")
    assert pod["metadata"]["name"] in failed.message


async def test_a_cancelled_run_is_deleted_and_reported_with_what_it_used(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Cancelling deletes Job and pods, and the report keeps when it had started."""
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    await hub.order(RUN_KEY, run_order(cancelled=True))
    cancelled = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Cancelled")
    assert cancelled.started_at is not None
    assert cancelled.finished_at is not None
    assert await cluster.objects("Job", NAMESPACE) == {}
    assert await cluster.objects("Pod", NAMESPACE) == {}


async def test_a_namespace_is_looked_for_once_and_made_anew_for_the_next_run_when_it_has_gone(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Three runs one after the other: the second finds the namespace known, the third finds it gone."""
    for run in ("first", "second"):
        await hub.order(f"run/{NAMESPACE}/{run}", run_order(run=run))
        await cluster.pod_of(run, NAMESPACE)
    assert cluster.faults.requests.count(("GET", f"/api/v1/namespaces/{NAMESPACE}")) == 1
    await cluster.delete("Namespace", NAMESPACE)
    await cluster.edit("Namespace", NAMESPACE, {"metadata": {"finalizers": None}})
    await hub.order(f"run/{NAMESPACE}/third", run_order(run="third"))
    await cluster.pod_of("third", NAMESPACE)
    assert NAMESPACE in await cluster.objects("Namespace")


async def test_a_run_that_is_cancelled_before_it_was_applied_never_starts(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The first order that is heard says cancelled: the report is Cancelled and no Job was ever made."""
    await hub.order(RUN_KEY, run_order(cancelled=True))
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Cancelled")
    assert not [path for method, path in cluster.faults.requests if method in ("PATCH", "POST") and "/jobs" in path]


async def test_a_run_that_was_never_begun_is_made_by_one_request(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """That nothing has its name, the server says by taking it; what is made is not read before it says anything."""
    jobs = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    begun = [each for each in cluster.faults.requests if each[1].startswith(jobs)]
    assert begun[0] == ("POST", jobs)
    assert ("PATCH", f"{jobs}/{RUN}") not in begun
    await cluster.end_pod(pod, 0, began=now_text())
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")


@on_any_cluster
async def test_a_run_is_applied_in_its_namespace_and_cancelled_without_a_trace(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The Job stands as ordered with run label and epoch; cancelling deletes it and leaves the namespace."""
    await hub.order(RUN_KEY, run_order(epoch=3))
    await hub.reported(RUN_KEY, RunReport)
    metadata = (await cluster.objects("Job", NAMESPACE))[RUN]["metadata"]
    assert metadata["labels"]["atoll.dev/run"] == RUN
    assert metadata["annotations"]["atoll.dev/epoch"] == "3"
    await hub.order(RUN_KEY, run_order(epoch=3, cancelled=True))
    cancelled = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Cancelled")
    assert cancelled.epoch == 3
    assert await cluster.objects("Job", NAMESPACE) == {}
    assert NAMESPACE in await cluster.objects("Namespace")


async def test_an_order_that_ends_takes_its_workload_and_its_report_along(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """When the hub deletes the order, the Job, its pods and the report go; the namespace stays."""
    await hub.order(RUN_KEY, run_order())
    await cluster.pod_of(RUN, NAMESPACE)
    await hub.reported(RUN_KEY, RunReport)
    await hub.withdraw(RUN_KEY)
    await hub.gone(RUN_KEY)
    assert await cluster.objects("Job", NAMESPACE) == {}
    assert NAMESPACE in await cluster.objects("Namespace")


async def test_a_newer_epoch_replaces_the_older_one(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """The old epoch's Job is gone before the new one's is made, and the report is of the new one."""
    await hub.order(RUN_KEY, run_order(epoch=1))
    old = await cluster.pod_of(RUN, NAMESPACE)
    await hub.order(RUN_KEY, run_order(epoch=2))

    async def replaced() -> bool:
        jobs = await cluster.objects("Job", NAMESPACE)
        return RUN in jobs and jobs[RUN]["metadata"]["annotations"]["atoll.dev/epoch"] == "2"

    await eventually(replaced)
    await hub.reported(RUN_KEY, RunReport, lambda report: report.epoch == 2)
    new = await cluster.pod_of(RUN, NAMESPACE)
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    assert old["metadata"]["name"] not in await cluster.objects("Pod", NAMESPACE)


async def test_a_stale_epoch_touches_nothing(cluster: Cluster, settings: MemberSettings, hub: HubSide) -> None:
    """An order of an older epoch neither stops nor replaces the newer one, not even after the agent's disk is lost."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order(epoch=2))
        pod = await cluster.pod_of(RUN, NAMESPACE)
    shutil.rmtree(settings.state_dir)
    await hub.withdraw_reports()
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order(epoch=1))
        failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
        assert "stale" in failed.message
        assert (await cluster.pod_of(RUN, NAMESPACE))["metadata"]["uid"] == pod["metadata"]["uid"]


async def test_a_finished_runs_report_stays_when_its_job_is_cleaned_up(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """A Job that a TTL removes is not applied again, not even by an agent that was restarted."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order())
        pod = await cluster.pod_of(RUN, NAMESPACE)
        await cluster.end_pod(pod, 0, began=now_text())
        done = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
        await cluster.delete("Job", RUN, namespace=NAMESPACE)
    async with running_agent(settings):
        await hub.order("run/seismology/other-1", run_order(run="other-1"))
        await cluster.pod_of("other-1", NAMESPACE)
        assert (await hub.report(RUN_KEY, RunReport)) == done
        assert RUN not in await cluster.objects("Job", NAMESPACE)


@on_any_cluster
async def test_a_job_deleted_by_hand_fails_its_run_and_does_not_come_back(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """An epoch starts at most once: whoever deletes its Job ends it."""
    await hub.order(RUN_KEY, run_order())
    await hub.reported(RUN_KEY, RunReport)
    await cluster.delete("Job", RUN, namespace=NAMESPACE)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "WorkloadDeleted"
    assert RUN not in await cluster.objects("Job", NAMESPACE)


@pytest.mark.parametrize("finished", [True, False])
async def test_an_agent_that_lost_its_disk_starts_no_epoch_twice(
    cluster: Cluster, settings: MemberSettings, hub: HubSide, finished: bool
) -> None:
    """It recalls from its own reports what it had begun: what finished stays so, what vanished has failed."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order())
        pod = await cluster.pod_of(RUN, NAMESPACE)
        await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
        await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
        if finished:
            await cluster.end_pod(pod, 0, began=now_text())
            await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
    shutil.rmtree(settings.state_dir)
    await cluster.delete("Job", RUN, namespace=NAMESPACE)
    async with running_agent(settings):
        await hub.order("run/seismology/other-1", run_order(run="other-1"))
        await cluster.pod_of("other-1", NAMESPACE)
        wanted = "Succeeded" if finished else "Failed"
        await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == wanted)
        assert RUN not in await cluster.objects("Job", NAMESPACE)


@on_any_cluster
async def test_a_foreign_job_of_the_same_name_is_left_alone(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """A Job that Atoll did not make is neither changed nor deleted; the run fails and says so."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    foreign = {**run_order().manifests[1], "metadata": {"name": RUN, "namespace": NAMESPACE}}
    await cluster.create(foreign)
    before = (await cluster.objects("Job", NAMESPACE))[RUN]["spec"]
    await hub.order(RUN_KEY, run_order())
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert "not of this run" in failed.message
    await hub.withdraw(RUN_KEY)
    await hub.gone(RUN_KEY)
    assert (await cluster.objects("Job", NAMESPACE))[RUN]["spec"] == before


async def test_one_bad_order_does_not_stop_the_others(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """An order that the API server refuses is reported Failed with its words; the next one runs."""
    await hub.order(RUN_KEY, run_order(backoffLimit="many"))
    await hub.order("run/seismology/good-1", run_order(run="good-1"))
    await cluster.pod_of("good-1", NAMESPACE)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "InvalidManifest"
    assert "backoffLimit" in failed.message
