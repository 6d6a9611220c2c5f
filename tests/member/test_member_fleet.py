"""The agent and its inventory's parts on the bus: what is told, how soon, how often, and what is kept back."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from atoll.edge.member import informer as informer_module
from atoll.edge.member.inventory import view
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.changes import Change
from atoll.federation.bus.inventory_messages import (
    DevicesReport,
    EventsReport,
    NetworkReport,
    NodesReport,
    QueuesReport,
    StorageReport,
)
from atoll.federation.bus.messages import InventoryReport
from atoll.federation.bus.subjects import OBSERVED_STREAM, observed_prefix
from atoll.kubeapi.resource import ResourceType
from member.harness import CLUSTER, HubSide, on_any_cluster, running_agent
from member.nodes import pod
from member.orders import NAMESPACE, RUN, RUN_KEY, run_order
from member.test_member_devices import claim, gpu, slice_of
from member.test_member_reports import CLUSTER_QUEUE, FAST
from member.world import Cluster, Json, node, now_text


def served(api_version: str, kind: str, *, namespaced: bool = False) -> ResourceType:
    group, _, version = api_version.partition("/")
    return ResourceType(group, version, kind, f"{kind.lower()}s", kind.lower(), namespaced=namespaced)


SLICES = served("resource.k8s.io/v1beta1", "ResourceSlice")
CLAIMS = served("resource.k8s.io/v1beta1", "ResourceClaim", namespaced=True)
QUEUES = served("kueue.x-k8s.io/v1beta1", "ClusterQueue")


@dataclass
class Listener:
    """Every report that arrives under one key."""

    key: str
    reports: list[bytes] = field(default_factory=list)


@contextlib.asynccontextmanager
async def listening(hub: HubSide, key: str) -> AsyncIterator[Listener]:
    """Hear all reports of a key for the time of a block."""
    listener = Listener(key)

    async def follow() -> None:
        async for item in hub.bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER)).follow():
            if isinstance(item, Change) and item.key == key and item.value is not None:
                listener.reports.append(item.value)

    task = asyncio.create_task(follow())
    try:
        yield listener
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def peopled(cluster: Cluster) -> Cluster:
    """A cluster with a node and the namespaces of the tests."""
    for name in ("ns", NAMESPACE):
        await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    await cluster.join(node("n1", gpus=4))
    return cluster


@on_any_cluster
async def test_nodes_storage_and_network_are_told_each_in_its_part(
    peopled: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Groups with what is free, classes with their capacity, networks; next to the summary."""
    await peopled.create({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **FAST})
    capacity = {"metadata": {"name": "c", "namespace": "ns"}, "storageClassName": "fast", "capacity": "10Gi"}
    await peopled.create(
        {"apiVersion": "storage.k8s.io/v1", "kind": "CSIStorageCapacity", "nodeTopology": {}, **capacity}
    )
    await peopled.create({"apiVersion": "v1", "kind": "Pod", **pod("n1", gpus=1)})
    async with running_agent(settings):
        told = await hub.reported("inventory/nodes", NodesReport, lambda report: report.groups)
        assert told.groups[0].states == {"Ready": 1}
        assert told.groups[0].free == ((1, 7000, 31 * 2**30, 109, 3),)
        storage = await hub.reported("inventory/storage", StorageReport, lambda report: report.classes)
        fast = next(entry for entry in storage.classes if entry.name == "fast")
        assert [segment.free_bytes for segment in fast.segments] == [10 * 2**30]
        assert (await hub.reported("inventory/network", NetworkReport)).cilium_nodes == 0
        summary = (await hub.reported("inventory", InventoryReport)).inventory
        assert summary.node_states == {"Ready": 1}
        assert [(device.resource, device.count, device.free) for device in summary.devices] == [
            ("nvidia.com/gpu", 4, 3)
        ]


async def test_a_driver_and_kueue_that_are_installed_later_are_noticed(
    peopled: Cluster, settings: MemberSettings, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is not served is left out and looked for; when it comes, its devices and quotas are told."""
    monkeypatch.setattr(view, "LOOK_AGAIN_SECONDS", 0.3)
    async with running_agent(settings):
        assert (await hub.reported("inventory/devices", DevicesReport)).pools == ()
        assert (await hub.reported("inventory/queues", QueuesReport)).queues == ()
        peopled.serve(SLICES, CLAIMS, QUEUES)
        version = {"apiVersion": "resource.k8s.io/v1beta1"}
        offered = slice_of("n1", gpu("gpu-0"), gpu("gpu-1"))
        await peopled.create(version | {"kind": "ResourceSlice", "metadata": {"name": "s"}, **offered})
        taken = claim("gpu-0", pool="n1")
        await peopled.create(version | {"kind": "ResourceClaim", "metadata": {"name": "c", "namespace": "ns"}, **taken})
        await peopled.create({"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "ClusterQueue", **CLUSTER_QUEUE})
        devices = await hub.reported(
            "inventory/devices", DevicesReport, lambda report: report.pools and report.pools[0].free == 1
        )
        assert devices.pools[0].devices == 2
        queues = await hub.reported("inventory/queues", QueuesReport, lambda report: report.queues)
        assert queues.queues[0].pending == 7


def warning(name: str, about: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about["namespace"]},
        "involvedObject": {"apiVersion": "v1", **about},
        "reason": "FailedScheduling",
        "message": "0/1 nodes are available",
        "type": "Warning",
        "firstTimestamp": now_text(),
        "lastTimestamp": now_text(),
    }


@on_any_cluster
async def test_what_the_cluster_says_about_a_run_is_told_and_what_it_says_of_others_is_not(
    peopled: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Warnings only; the event of a pod of ours comes with the run that it is about."""
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order())
        await peopled.create(warning("foreign", {"kind": "Pod", "namespace": "ns", "name": "p"}))
        normal = warning("normal", {"kind": "Pod", "namespace": NAMESPACE, "name": f"{RUN}-aaaaa"})
        await peopled.create(normal | {"type": "Normal"})
        await hub.reported("events", EventsReport)
        await asyncio.sleep(0.3)  # the order is on disk
        await peopled.create(warning("ours", {"kind": "Pod", "namespace": NAMESPACE, "name": f"{RUN}-x7k2p"}))
        told = await hub.reported("events", EventsReport, lambda report: report.events)
        assert [(event.owner, event.name) for event in told.events] == [(RUN_KEY, f"{RUN}-x7k2p")]


async def test_a_burst_of_changes_is_told_once_a_second_and_its_end_soon(
    peopled: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Thirty pods in two seconds make a handful of reports, and the last one is right."""
    async with running_agent(settings):
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.nodes == 1)
        async with listening(hub, "inventory") as listener:
            await asyncio.sleep(1.2)
            before = len(listener.reports)
            for number in range(30):
                item = pod("n1", cpu="10m")
                item["metadata"]["name"] = f"p{number}"
                await peopled.create({"apiVersion": "v1", "kind": "Pod", **item})
                await asyncio.sleep(0.06)
            await hub.reported(
                "inventory",
                InventoryReport,
                lambda report: report.inventory.shapes[0].free_millicores == 8000 - 300,
                within_seconds=30,
            )
            assert 1 <= len(listener.reports) - before <= 15


async def test_what_says_nothing_new_is_not_told(peopled: Cluster, settings: MemberSettings, hub: HubSide) -> None:
    """A kubelet's heartbeat and a label that nobody weighs change the node, not the inventory."""
    async with running_agent(settings):
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.version)
        await asyncio.sleep(1.2)
        async with listening(hub, "inventory") as summary, listening(hub, "inventory/nodes") as nodes:
            await asyncio.sleep(0.5)
            before = (len(summary.reports), len(nodes.reports))
            for number in range(5):
                status: Any = node("n1", gpus=4)["status"]
                status["conditions"][0]["lastHeartbeatTime"] = f"2026-11-22T12:00:0{number}Z"
                await peopled.set_status("Node", "n1", status)
                await peopled.edit("Node", "n1", {"metadata": {"labels": {"example.dev/seen": str(number)}}})
                await asyncio.sleep(0.3)
            await asyncio.sleep(1.0)
            assert (len(summary.reports), len(nodes.reports)) == before


async def test_a_kind_that_cannot_be_followed_is_named_until_it_can(
    peopled: Cluster, settings: MemberSettings, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest of the inventory goes on; nobody takes what stems from that kind for fresh."""
    monkeypatch.setattr(informer_module, "REFUSED_RETRY_SECONDS", 0.5)
    async with running_agent(settings):
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.stale_kinds == ())
        peopled.faults.forbidden.add("/apis/storage.k8s.io/v1/storageclasses")
        peopled.cut()
        await hub.reported("inventory", InventoryReport, lambda report: "StorageClass" in report.inventory.stale_kinds)
        await peopled.join(node("n2"))
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.nodes == 2)
        peopled.faults.forbidden.clear()
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.stale_kinds == ())
