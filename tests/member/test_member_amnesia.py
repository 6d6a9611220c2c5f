"""An API server that comes back without anything it held: what was ordered is there again within seconds.

Its resourceVersions begin again at small numbers and every uid differs: a wiped etcd, or a simulated cluster that died.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from atoll.edge.member.informer import Informer
from atoll.edge.member.kube import Kube, WatchEvent
from atoll.edge.member.objects import Kind, Object
from atoll.federation.bus.messages import (
    Heartbeat,
    InventoryReport,
    PolicyReport,
    RunReport,
    ServiceOrder,
    ServiceReport,
)
from atoll.federation.resources.run import DISPLACED_REASONS
from member.harness import HubSide
from member.orders import ALLOW, CILIUM, DENY, NAMESPACE, POLICY_KEY, RUN_KEY, policies, policy_order, run_order
from member.world import Cluster, eventually, node

pytestmark = pytest.mark.faults


def is_applied(report: PolicyReport) -> bool:
    return report.phase == "Applied" and report.objects == 3


async def is_held(cluster: Cluster) -> bool:
    """Whether all three objects of the order stand in the cluster."""
    return len(await policies(cluster)) == 2 and "mesh" in await cluster.objects("CiliumNetworkPolicy", NAMESPACE)


async def make_history(cluster: Cluster, changes: int) -> None:
    """Let the cluster's resourceVersion grow."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "busy"}})
    for number in range(changes):
        await cluster.edit("Namespace", "busy", {"metadata": {"annotations": {"n": str(number)}}})


@contextlib.asynccontextmanager
async def judged(cluster: Cluster, hub: HubSide) -> AsyncIterator[list[str]]:
    """Compare report and cluster for the time of a block, often; give the claims that were not true."""
    lies: list[str] = []

    async def judge() -> None:
        while True:
            report = await hub.report(POLICY_KEY, PolicyReport)
            if report and report.phase == "Applied" and not await is_held(cluster):
                lies.append(f"{report!r} while the cluster has only {sorted(await policies(cluster))}")
            await asyncio.sleep(0.02)

    task = asyncio.create_task(judge())
    try:
        yield lies
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("changes", [0, 300], ids=["same versions", "versions of the future"])
async def test_policies_are_back_and_never_claimed_before(
    cluster: Cluster, agent: None, hub: HubSide, changes: int
) -> None:
    """G4: all objects are made anew, namespace included; until then the report says that nothing is known."""
    await make_history(cluster, changes)
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, CILIUM))
    await hub.reported(POLICY_KEY, PolicyReport, is_applied)
    await cluster.stop()
    lost = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Failed")
    assert "cannot be reached" in lost.message
    async with judged(cluster, hub) as lies:
        await cluster.start_empty()
        await eventually(lambda: is_held(cluster), within_seconds=30)
        healed = await hub.reported(POLICY_KEY, PolicyReport, is_applied)
    assert lies == []
    assert healed.drift_healed == 3


async def test_policies_are_back_after_an_outage_that_outgrew_every_backoff(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """However long the server was away, its return is noticed."""
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, CILIUM))
    await hub.reported(POLICY_KEY, PolicyReport, is_applied)
    await cluster.stop()
    await asyncio.sleep(9)
    await cluster.start_empty()
    await eventually(lambda: is_held(cluster), within_seconds=30)
    await hub.reported(POLICY_KEY, PolicyReport, is_applied)


async def test_policies_are_back_when_the_server_was_replaced_in_an_instant(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """No request was ever refused: the broken watches alone make the agent look again."""
    await make_history(cluster, 300)
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, CILIUM))
    await hub.reported(POLICY_KEY, PolicyReport, is_applied)
    await cluster.stop()
    await cluster.start_empty()
    await eventually(lambda: is_held(cluster), within_seconds=30)
    await hub.reported(POLICY_KEY, PolicyReport, lambda report: is_applied(report) and report.drift_healed == 3)


GPU = {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB", "nvidia.com/gpu.memory": "40960"}


async def test_the_inventory_is_of_the_new_cluster_even_where_versions_agree(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """A node that is made anew by the same steps has the same name and resourceVersion, and yet other GPUs."""
    await cluster.join(node(gpus=4, labels=GPU))
    await hub.reported("inventory", InventoryReport, lambda report: gpus_of(report) == 4)
    before = (await cluster.objects("Node"))["n1"]["metadata"]["resourceVersion"]
    await cluster.stop()
    await cluster.start_empty()
    await cluster.join(node(gpus=2, labels=GPU))
    assert (await cluster.objects("Node"))["n1"]["metadata"]["resourceVersion"] == before
    await hub.reported("inventory", InventoryReport, lambda report: gpus_of(report) == 2, within_seconds=30)
    await hub.reported("heartbeat", Heartbeat, lambda beat: beat.api_reachable and not beat.message)


def gpus_of(report: InventoryReport) -> int:
    return sum(gpu.count for gpu in report.inventory.gpus)


async def test_a_service_is_made_anew_and_a_run_has_failed_for_good(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """What serves is restored; an epoch starts at most once (G1), so a run that is lost is the hub's to repeat."""
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}}
    await hub.order("service/lab", ServiceOrder(namespace="lab", manifests=(namespace,)))
    await hub.reported("service/lab", ServiceReport, lambda report: report.ready)
    await hub.order(RUN_KEY, run_order())
    await hub.reported(RUN_KEY, RunReport)
    await cluster.stop()
    await cluster.start_empty()
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed")
    assert failed.reason == "WorkloadDeleted"

    async def is_back() -> bool:
        return "lab" in await cluster.objects("Namespace")

    await eventually(is_back, within_seconds=30)
    assert await cluster.objects("Job") == {}


FIRST = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}


async def test_a_run_whose_cluster_was_made_anew_is_gone_with_it_and_did_not_fail(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The cluster's first namespace is younger than the run: nobody deleted it, and nothing of it can still run."""
    await cluster.create(FIRST)
    await hub.order(RUN_KEY, run_order())
    begun = (await hub.reported(RUN_KEY, RunReport)).at
    await cluster.stop()

    async def is_later() -> bool:  # a creationTimestamp has whole seconds
        return datetime.now(UTC).replace(microsecond=0) > begun

    await eventually(is_later)
    await cluster.start_empty(FIRST)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed", within_seconds=30)
    assert failed.reason == "ClusterGone"
    assert "the cluster is a new one since the run began" in failed.message
    assert failed.reason in DISPLACED_REASONS
    assert await cluster.objects("Job") == {}


async def test_a_workload_that_somebody_deleted_in_its_old_cluster_is_a_failure(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The cluster is older than the run."""
    await cluster.create(FIRST)
    await hub.order(RUN_KEY, run_order())
    await hub.reported(RUN_KEY, RunReport)
    (name,) = await cluster.objects("Job", NAMESPACE)
    await cluster.delete("Job", name, namespace=NAMESPACE)
    failed = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Failed", within_seconds=30)
    assert failed.reason == "WorkloadDeleted"


class Rewound:
    """An API server whose first watch goes on in another history than the list before it."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self.list = kube.list
        self.watches = 0

    async def watch(self, kind: Kind, *selection: object, resource_version: str) -> AsyncIterator[WatchEvent]:
        self.watches += 1
        if self.watches == 1:
            bookmark = {"kind": kind.kind, "metadata": {"resourceVersion": "1"}}
            yield WatchEvent("BOOKMARK", bookmark)
            await asyncio.Event().wait()
        async for event in self._kube.watch(kind, resource_version=resource_version):
            yield event


async def test_a_watch_whose_versions_go_back_is_not_believed(cluster: Cluster, kube: Kube) -> None:
    """A real server takes a version of the future in silence; its first bookmark tells, and the kind is listed anew."""
    await make_history(cluster, 5)
    rewound = Rewound(kube)
    informer = Informer(rewound, Kind("v1", "Namespace"), project=_name_of)
    task = asyncio.create_task(informer.run())
    try:

        async def is_watching_again() -> bool:
            return rewound.watches == 2

        await eventually(is_watching_again)
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "late"}})
        await eventually(lambda: _holds(informer, {"busy", "late"}))
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _name_of(obj: Object) -> str:
    return str(obj["metadata"]["name"])


async def _holds(informer: Informer[str], names: set[str]) -> bool:
    return set(informer.items.values()) == names
