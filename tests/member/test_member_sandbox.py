"""The agent in a whole simulated cluster: a scheduler that places, a kubelet that runs processes, a Cilium agent."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.messages import InventoryReport, LogsRequest, MeshReport, RunOrder, RunReport
from atoll.federation.bus.subjects import rpc_subject
from atoll.federation.errors import Internal
from atoll.sandbox.cilium.links import Links
from member.harness import CLUSTER, HubSide
from member.sandbox_world import SPECS, sandbox_world


@pytest.fixture
async def agent_of_sandbox(nats_server: Any, tmp_path: Path) -> AsyncIterator[Links]:
    """A whole simulated cluster with an agent in it; gives the mesh, whose links may be cut."""
    async with sandbox_world(nats_server.url, tmp_path) as world:
        yield world.links


def order(script: str, *, gpus: int = 1, **fields: Any) -> RunOrder:
    container = {
        "name": "main",
        "image": "any",
        "command": ["sh", "-c", script],
        "resources": {"requests": {"cpu": "1"}, "limits": {"nvidia.com/gpu": str(gpus)}},
        **fields,
    }
    metadata = {
        "name": "picks-1",
        "namespace": "lab",
        "labels": {"atoll.dev/run": "picks-1"},
        "annotations": {"atoll.dev/epoch": "1"},
    }
    spec = {"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
    return RunOrder(namespace="lab", run="picks-1", job="picks", epoch=1, manifests=(namespace, job))


async def logs(hub: HubSide, **wishes: Any) -> bytes:
    request = LogsRequest(namespace="lab", run="picks-1", **wishes).encode()
    chunks = hub.bus.request_many(rpc_subject(CLUSTER, "logs"), request, timeout_seconds=20)
    return b"".join([chunk async for chunk in chunks])


async def test_a_pod_that_does_not_end_by_itself_is_killed_when_the_grace_is_over_and_that_can_be_made_sooner(
    agent_of_sandbox: Links, hub: HubSide
) -> None:
    """It ignores SIGTERM and asks for ten minutes; cancelled with five of them, and then at once."""
    given = order("trap '' TERM; echo deaf; while :; do sleep 0.1; done")
    template = given.manifests[1]["spec"]["template"]
    template["metadata"] = {"labels": {"atoll.dev/run": "picks-1"}}
    template["spec"]["terminationGracePeriodSeconds"] = 600
    await hub.order("run/lab/picks-1", given)
    running = await hub.reported("run/lab/picks-1", RunReport, lambda report: report.phase == "Running")
    assert running.exit_code is None
    cancelled = given.model_copy(update={"cancelled": True})
    await hub.order("run/lab/picks-1", cancelled.model_copy(update={"grace_seconds": 300.0}))
    await hub.order("run/lab/picks-1", cancelled.model_copy(update={"grace_seconds": 0.0}))
    await hub.reported("run/lab/picks-1", RunReport, lambda report: report.phase == "Cancelled")


async def test_a_job_runs_as_a_process_and_its_log_is_followed_from_before_its_start(
    agent_of_sandbox: Links, hub: HubSide
) -> None:
    """Following waits for the pod, streams to the end, and the run's exit code is the process's own."""
    await hub.reported("inventory", InventoryReport)
    await hub.order("run/lab/picks-1", order("echo one; sleep 1; echo two; exit 4"))
    assert await logs(hub, follow=True) == b"one\ntwo\n"
    failed = await hub.reported("run/lab/picks-1", RunReport, lambda report: report.phase == "Failed")
    assert failed.exit_code == 4
    assert failed.usage.gpu_seconds >= 1
    assert await logs(hub, tail_lines=1) == b"two\n"


async def test_the_log_of_a_run_that_does_not_exist_is_refused(agent_of_sandbox: Links, hub: HubSide) -> None:
    """Without following, a run that has no pod has no log, and the error says so."""
    await hub.reported("inventory", InventoryReport)
    with pytest.raises(Internal, match="no pod that has started"):
        await logs(hub)


async def test_a_run_that_no_node_can_hold_says_why(agent_of_sandbox: Links, hub: HubSide) -> None:
    """The scheduler's own words stand in the report."""
    await hub.order("run/lab/picks-1", order("true", gpus=1000))
    pending = await hub.reported("run/lab/picks-1", RunReport, lambda report: report.reason == "Unschedulable")
    assert pending.phase == "Pending"
    assert "nvidia.com/gpu" in pending.message


async def test_a_running_jobs_gpus_are_not_free(agent_of_sandbox: Links, hub: HubSide) -> None:
    """The inventory counts the run, and has its GPU back when it ends."""
    before = await hub.reported("inventory", InventoryReport, lambda report: report.inventory.free_gpus)
    free = sum(gpu.count for gpu in before.inventory.free_gpus)
    await hub.order("run/lab/picks-1", order("sleep 2"))
    during = await hub.reported(
        "inventory", InventoryReport, lambda report: report.inventory.counted_runs == ("lab/picks-1",)
    )
    assert sum(gpu.count for gpu in during.inventory.free_gpus) == free - 1
    assert during.inventory.cni == "cilium"
    assert during.inventory.cni_version == SPECS[CLUSTER].cilium_version
    await hub.reported(
        "inventory", InventoryReport, lambda report: sum(gpu.count for gpu in report.inventory.free_gpus) == free
    )


async def test_the_mesh_is_reported_link_by_link_and_a_cut_link_keeps_its_last_proof(
    agent_of_sandbox: Links, hub: HubSide
) -> None:
    """All peers are ready; a link that is cut says why, counts its failure and is proven as of before."""
    others = sorted(set(SPECS) - {CLUSTER})
    whole = await hub.reported("mesh", MeshReport, lambda report: len(report.links) == len(others))
    assert [link.peer for link in whole.links] == others
    assert all(link.is_ready and link.last_proven_at for link in whole.links)
    agent_of_sandbox.set_up(CLUSTER, others[0], is_up=False)
    cut = await hub.reported("mesh", MeshReport, lambda report: not report.links[0].is_ready)
    assert cut.links[0].failures == 1
    assert cut.links[0].reason
    assert cut.links[0].last_proven_at is not None
    assert cut.links[0].last_proven_at < cut.at


async def test_a_field_that_the_cluster_does_not_know_fails_the_run_at_once(
    agent_of_sandbox: Links, hub: HubSide
) -> None:
    """A misspelt field must not be dropped: nothing runs, and the report names it in the API server's words."""
    await hub.order("run/lab/picks-1", order("true", comand=["true"]))
    failed = await hub.reported("run/lab/picks-1", RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "InvalidManifest"
    assert 'unknown field "spec.template.spec.containers[0].comand"' in failed.message
    assert failed.pods == ()
