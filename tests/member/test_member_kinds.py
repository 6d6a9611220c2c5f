"""Runs of other kinds than Jobs: their operator's words, their fence, their limits, and what others do to them."""

from typing import Any

import pytest

from atoll.edge.member import discovery, runs
from atoll.edge.member.fuse import fuse, fuse_ref
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.messages import Heartbeat, InventoryReport, RunOrder, RunReport
from member.harness import HubSide, running_agent
from member.nodes import A100
from member.orders import NAMESPACE, RUN, RUN_KEY
from member.workloads import job_set, order, pods_of, pytorch_job, template
from member.world import Cluster, Json, eventually, node, now_text

# Longer than a busy machine stalls; the run of a dead agent is waited for as long.
LEASE_SECONDS = 5.0


async def of_one_pod(cluster: Cluster, *kinds: str) -> RunOrder:
    """A cluster that runs a kind, and an order of a JobSet of one pod."""
    cluster.operate(*kinds or ("JobSet",))
    return order(job_set(pods=1))


async def the_pod(cluster: Cluster) -> Json:
    async def look() -> Json | None:
        return next(iter(await pods_of(cluster)), None)

    return await eventually(look)


async def test_a_run_of_another_kind_is_followed_by_its_operators_words(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """A PyTorchJob of two pods: Pending, Running, Succeeded with its pods' usage; then nothing of it stays."""
    for name in ("n0", "n1"):
        await cluster.join(node(name, gpus=1, labels=A100))
    cluster.operate("PyTorchJob")
    await hub.order(RUN_KEY, order(pytorch_job()))

    async def both() -> list[Json]:
        return found if len(found := await pods_of(cluster)) == 2 else []

    for pod in await eventually(both):
        await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    running = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    assert running.pods == (f"{RUN}-master-0", f"{RUN}-worker-0")
    for pod in await both():
        await cluster.end_pod(pod, 0, began="2026-01-01T00:00:00Z")
    done = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
    assert done.exit_code == 0
    assert done.usage.gpu_seconds > 0
    await hub.withdraw(RUN_KEY)
    await hub.gone(RUN_KEY)
    assert await cluster.objects("PyTorchJob", NAMESPACE) == {}
    assert await cluster.objects("Pod", NAMESPACE) == {}


async def test_a_failure_is_told_in_the_words_of_the_pod_that_failed(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    await hub.order(RUN_KEY, await of_one_pod(cluster))
    await cluster.end_pod(await the_pod(cluster), 137, began=now_text(), reason="OOMKilled")
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert (failed.reason, failed.exit_code) == ("OOMKilled", 137)


async def test_a_run_waits_for_the_kind_that_it_needs(
    cluster: Cluster, agent: None, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a definition is missing the run is Pending with KindNotServed, and begins when it is installed."""
    monkeypatch.setattr(runs, "_WHILE_ABSENT_SECONDS", 0.2)
    monkeypatch.setattr(discovery, "_MISS_SECONDS", 0.1)
    await hub.order(RUN_KEY, order(job_set(pods=1)))
    await hub.reported(RUN_KEY, RunReport, lambda report: report.reason == "KindNotServed")
    cluster.operate("JobSet")
    await the_pod(cluster)


async def test_what_the_kinds_schema_refuses_fails_the_run_at_once(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """A manifest that is wrong is no missing kind: it is not tried again."""
    cluster.operate("JobSet")
    broken = job_set(pods=1)
    broken["spec"]["replicatedJobs"] = []
    await hub.order(RUN_KEY, order(broken))
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert "spec.replicatedJobs" in failed.message


async def test_a_kind_that_is_withdrawn_under_a_run_fails_it(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Deleting a definition deletes its objects: the run is reported as WorkloadDeleted once its pods are gone."""
    await hub.order(RUN_KEY, await of_one_pod(cluster))
    await the_pod(cluster)
    await hub.reported(RUN_KEY, RunReport)
    await cluster.delete("JobSet", RUN, namespace=NAMESPACE)
    cluster.withdraw("JobSet")
    cluster.cut()
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "WorkloadDeleted"
    assert await pods_of(cluster) == []


async def test_a_foreign_object_of_the_runs_name_is_left_alone(cluster: Cluster, agent: None, hub: HubSide) -> None:
    wanted = await of_one_pod(cluster)
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    foreign = job_set(RUN, suspend=True) | {"metadata": {"name": RUN, "namespace": NAMESPACE}}
    await cluster.create(foreign)
    before = (await cluster.objects("JobSet", NAMESPACE))[RUN]["spec"]
    await hub.order(RUN_KEY, wanted)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert "not of this run" in failed.message
    await hub.withdraw(RUN_KEY)
    await hub.gone(RUN_KEY)
    assert (await cluster.objects("JobSet", NAMESPACE))[RUN]["spec"] == before


async def test_a_newer_epoch_replaces_the_older_object(cluster: Cluster, agent: None, hub: HubSide) -> None:
    await hub.order(RUN_KEY, await of_one_pod(cluster))
    old = await the_pod(cluster)
    await hub.order(RUN_KEY, order(job_set(pods=1), epoch=2))

    async def replaced() -> bool:
        return [pod["metadata"]["uid"] for pod in await pods_of(cluster)] not in ([], [old["metadata"]["uid"]])

    await eventually(replaced)
    found = (await cluster.objects("JobSet", NAMESPACE))[RUN]
    assert found["metadata"]["annotations"]["atoll.dev/epoch"] == "2"


async def test_pods_that_were_orphaned_by_hand_end_with_their_run(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """`kubectl delete --cascade=orphan` leaves pods that nobody owns: they carry the run's label, and are ended."""
    await hub.order(RUN_KEY, await of_one_pod(cluster))
    pod = await the_pod(cluster)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    await cluster.edit("Pod", pod["metadata"]["name"], {"metadata": {"ownerReferences": None}}, namespace=NAMESPACE)
    await cluster.delete("JobSet", RUN, namespace=NAMESPACE)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "WorkloadDeleted"
    assert await pods_of(cluster) == []


@pytest.mark.parametrize("fault", ["throttle_next", "fail_next", "expire_next_watches"])
async def test_an_api_server_in_bad_times_delays_a_run_and_no_more(
    cluster: Cluster, agent: None, hub: HubSide, fault: str
) -> None:
    wanted = await of_one_pod(cluster)
    setattr(cluster.faults, fault, 3)
    await hub.order(RUN_KEY, wanted)
    await cluster.end_pod(await the_pod(cluster), 0, began=now_text())
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")


async def test_a_limit_that_the_kind_has_no_field_for_is_kept_by_the_agent(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """A LeaderWorkerSet never ends by itself: when its time is over it is removed, and that is its success."""
    cluster.operate("LeaderWorkerSet")
    spec = {"replicas": 1, "leaderWorkerTemplate": {"size": 1, "workerTemplate": template(RUN)}}
    kind: Json = {"apiVersion": "leaderworkerset.x-k8s.io/v1", "kind": "LeaderWorkerSet", "spec": spec}
    limit = {"annotations": {"atoll.dev/time-limit-seconds": "1"}}
    await hub.order(RUN_KEY, order(kind | limit))
    pod = await the_pod(cluster)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
    done = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
    assert done.reason == "TimeLimit"
    assert await cluster.objects("LeaderWorkerSet", NAMESPACE) == {}


def test_a_fuse_has_a_name_of_its_own_for_every_run_however_long() -> None:
    """A Job's name is a label of its pods, so that it has 63 characters at most."""
    names = [f"{'long' * 20}-{number}" for number in range(3)] + ["short-1"]
    fuses = {fuse_ref("lab", name).name for name in names}
    assert len(fuses) == len(names)
    assert max(map(len, fuses)) <= 63
    manifest = fuse("lab", "short-1", epoch=2, seconds=9)
    assert manifest["spec"]["parallelism"] == 0


async def leased(cluster: Cluster, **fields: Any) -> RunOrder:
    cluster.operate("JobSet")
    return order(job_set(pods=1), lease_seconds=LEASE_SECONDS, **fields)


async def test_a_leased_run_goes_on_while_its_agent_lives(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Its fuse is made longer and longer; the workload belongs to it, but not as to its controller."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, await leased(cluster))
        await the_pod(cluster)
        burning = fuse_ref(NAMESPACE, RUN).name

        async def prolonged() -> bool:
            found = (await cluster.objects("Job", NAMESPACE)).get(burning)
            return found is not None and found["spec"]["activeDeadlineSeconds"] > LEASE_SECONDS

        await eventually(prolonged)
        owners = (await cluster.objects("JobSet", NAMESPACE))[RUN]["metadata"]["ownerReferences"]
        assert [(owner["name"], owner.get("controller")) for owner in owners] == [(burning, None)]
        await hub.withdraw(RUN_KEY)
        await hub.gone(RUN_KEY)
        assert await cluster.objects("Job", NAMESPACE) == {}


async def test_a_leased_run_is_ended_by_the_cluster_itself_when_its_agent_is_dead(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Nobody prolongs the fuse: the JobSet and its pod go. The next agent reports LeaseEnded and begins nothing."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, await leased(cluster))
        pod = await the_pod(cluster)
        await cluster.set_pod(pod, "Running", state={"running": {"startedAt": now_text()}})
        await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")

    async def ended() -> bool:
        return not await cluster.objects("JobSet", NAMESPACE) and not await cluster.objects("Pod", NAMESPACE)

    await eventually(ended, within_seconds=30)
    async with running_agent(settings):
        failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
        assert failed.reason == "LeaseEnded"
    assert await cluster.objects("JobSet", NAMESPACE) == {}


async def test_a_leased_run_that_has_finished_stays_with_its_pods_and_their_logs(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Its fuse burns no longer: else the end of the lease would remove what people want to look at."""
    await hub.order(RUN_KEY, await leased(cluster))
    await cluster.end_pod(await the_pod(cluster), 0, began=now_text())
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Succeeded")
    burning = (await cluster.objects("Job", NAMESPACE))[fuse_ref(NAMESPACE, RUN).name]
    assert "activeDeadlineSeconds" not in burning["spec"]
    assert RUN in await cluster.objects("JobSet", NAMESPACE)


def knows_engines(report: InventoryReport) -> bool:
    return report.inventory.workload_kinds is not None and bool(report.inventory.batch_engines)


async def test_the_inventory_names_the_kinds_and_engines_of_the_cluster(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Jobs always, a JobSet where its definition is; no Deployment, which is no work. YuniKorn is known by its pod."""
    cluster.operate("JobSet")
    await cluster.join(node("n1"))
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "yunikorn"}})
    labels = {"app": "yunikorn", "component": "yunikorn-scheduler"}
    spec = {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}
    metadata = {"name": "yunikorn-scheduler-0", "namespace": "yunikorn", "labels": labels}
    await cluster.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    async with running_agent(settings):
        report = await hub.reported("inventory", InventoryReport, knows_engines)
        beat = await hub.reported("heartbeat", Heartbeat)
    assert report.agent_started_at == beat.started_at
    kinds = {(each.api_version, each.kind) for each in report.inventory.workload_kinds or ()}
    assert {("batch/v1", "Job"), ("v1", "Pod"), ("jobset.x-k8s.io/v1alpha2", "JobSet")} <= kinds
    assert "Deployment" not in {kind for _, kind in kinds}
    assert [(engine.engine, engine.is_running) for engine in report.inventory.batch_engines] == [("YuniKorn", True)]
