"""The printed roles are exactly what the agent uses: it does all its work behind them, and none of them is idle."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.commands import Commands
from atoll.edge.member.data_credentials import DataCredentials
from atoll.edge.member.kept_logs import KeptLogs
from atoll.edge.member.kube import Kube
from atoll.edge.member.last_words import LastWords
from atoll.edge.member.logs import Logs
from atoll.edge.member.objects import Kind, ObjectRef
from atoll.edge.member.run_pods import RunPods
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.usage import UsageNow
from atoll.federation.bus.admission import CREDENTIALS_SECRET, Admission, DataRequest
from atoll.federation.bus.command_messages import ExecRequest
from atoll.federation.bus.credentials import new_key, sign_user
from atoll.federation.bus.datasets import result
from atoll.federation.bus.farewell import FarewellOrder, FarewellReport
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.messages import (
    InventoryReport,
    LogsRequest,
    MeshReport,
    PolicyReport,
    RunReport,
    ServiceOrder,
    ServiceReport,
)
from atoll.federation.bus.permissions import EVERYTHING
from atoll.federation.bus.usage_messages import TopReport, TopRequest
from atoll.federation.resources import DATASET_CLAIM, ObjectMeta
from atoll.federation.resources import Cluster as ClusterKind
from atoll.federation.workloads import ADAPTERS, can_suspend, with_suspend
from atoll.hub.controllers.manifests import DataService, compile_service
from atoll.installation.manifests import manifests
from atoll.installation.plan import Hub, Installation
from atoll.kubeapi.http.access import Access
from atoll.kubeapi.resource import ResourceType
from member.harness import CLUSTER, HubSide, running_agent
from member.mesh_world import MESHED, authority, certified, config, kube_system, secret, service
from member.orders import ALLOW, CILIUM, DENY, NAMESPACE, POLICY_KEY, RUN, RUN_KEY, policy_order, run_order
from member.rbac import Rbac, granted
from member.workloads import order, template
from member.world import Cluster, Json, eventually, node

ROLES = [
    manifest
    for manifest in manifests(Installation(CLUSTER, Hub("https://hub:8700"), "atoll:test", job_exec=True))
    if manifest["kind"] in ("ClusterRole", "Role")
]
# What this test does not make the agent do, and why the right is there nevertheless.
NOT_SHOWN = {
    ("", "networking.k8s.io", "networkpolicies", "update"): "an object that others have added a rule to",
    ("", "policy.networking.k8s.io", "clusternetworkpolicies", "update"): "the same",
    ("", "cilium.io", "ciliumclusterwidenetworkpolicies", "update"): "the same",
    ("", "cilium.io", "ciliumcidrgroups", "update"): "the same",
}


# Of a kind in two versions one will do: rights know no versions.
OPERATED = tuple(
    {
        (adapter.api_version.rpartition("/")[0], adapter.plural): adapter
        for adapter in ADAPTERS.values()
        if adapter.api_version not in ("v1", "batch/v1")
    }.values()
)


def served(api_version: str, kind: str, plural: str) -> ResourceType:
    group, _, version = api_version.rpartition("/")
    return ResourceType(group, version, kind, plural, kind.lower(), namespaced=False)


@dataclass
class Guarded:
    cluster: Cluster
    rbac: Rbac


@pytest.fixture
async def guarded(tmp_path: Path) -> AsyncIterator[Guarded]:
    """A cluster that lets its one caller do what the printed roles say."""
    cluster = Cluster(tmp_path)
    cluster.serve(
        served("resource.k8s.io/v1", "ResourceSlice", "resourceslices"),
        served("resource.k8s.io/v1", "ResourceClaim", "resourceclaims"),
        served("resource.k8s.io/v1", "DeviceClass", "deviceclasses"),
        served("metrics.k8s.io/v1beta1", "PodMetrics", "pods"),
        served("kueue.x-k8s.io/v1beta1", "ResourceFlavor", "resourceflavors"),
        served("kueue.x-k8s.io/v1beta1", "ClusterQueue", "clusterqueues"),
        served("kueue.x-k8s.io/v1beta1", "LocalQueue", "localqueues"),
        served("scheduling.volcano.sh/v1beta1", "Queue", "queues"),
        *(replace(served(each.api_version, each.kind, each.plural), namespaced=True) for each in OPERATED),
    )
    rbac = Rbac(cluster.store, ROLES)
    cluster.access = Access(authorizer=rbac)
    await cluster.start()
    try:
        yield Guarded(cluster, rbac)
    finally:
        await cluster.stop()


@pytest.fixture
def settings(guarded: Guarded, nats_server: Any, tmp_path: Path) -> MemberSettings:
    return MemberSettings(
        cluster=CLUSTER,
        enrolment=EnrolmentSettings(nats_server.url),
        state_dir=tmp_path / "agent",
        kubeconfig=guarded.cluster.kubeconfig,
        heartbeat_seconds=0.3,
    )


class Desk:
    """Vouches for the key of a data service, as the hub does."""

    async def request(self, subject: str, payload: bytes, *, timeout_seconds: float) -> bytes:
        user = DataRequest.decode(payload).public_key
        jwt = sign_user(new_key("account"), user, name="data", permissions=EVERYTHING)
        return result(Admission(nats_url="nats://x", jwt=jwt, token="t", service_token="r").encode())


async def people(cluster: Cluster) -> None:
    """Everything that an inventory and a mesh report are made of."""
    await cluster.create(kube_system())
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    await cluster.join(node())
    ca = authority()
    for manifest in (
        config(MESHED),
        secret("cilium-clustermesh", {}),
        certified(ca),
        service("db", **{"global": "true"}),
    ):
        await cluster.create(manifest)


async def carry_policies(hub: HubSide, cluster: Cluster) -> None:
    metadata = {"name": "offices"}
    group = {
        "apiVersion": "cilium.io/v2",
        "kind": "CiliumCIDRGroup",
        "metadata": metadata,
        "spec": {"externalCIDRs": []},
    }
    wide = {"apiVersion": "cilium.io/v2", "kind": "CiliumClusterwideNetworkPolicy", "metadata": {"name": "wide"}}
    tier = {
        "apiVersion": "policy.networking.k8s.io/v1alpha2",
        "kind": "ClusterNetworkPolicy",
        "metadata": {"name": "tiered"},
        "spec": {"tier": "Admin", "priority": 5, "subject": {"namespaces": {}}},
    }
    selected: Json = {"spec": {"endpointSelector": {}, "ingress": [{}]}}
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, CILIUM, wide | selected, group, tier))
    await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied" and report.objects == 6)
    await cluster.edit("CiliumNetworkPolicy", "mesh", {"spec": {"egress": [{}]}}, namespace=NAMESPACE)
    await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed)


async def carry_kinds(hub: HubSide, cluster: Cluster) -> list[str]:
    """Have a workload of every adapted kind made and followed; give the keys of their runs."""
    kinds: list[tuple[str, str, Json]] = [(each.api_version, each.kind, {}) for each in OPERATED]
    kinds.append(("v1", "Pod", template("kind")["spec"]))
    keys = []
    for number, (api_version, kind, spec) in enumerate(kinds):
        workload: Json = {"apiVersion": api_version, "kind": kind, "spec": spec}
        run = f"kind-{number}"
        if can_suspend(workload) and not spec:  # what is suspended is let go by others, and may say nothing of pods
            workload = with_suspend(workload, True)
        keys.append(f"run/{NAMESPACE}/{run}")
        # With a lease it is applied beside its fuse; without one, it would be made by a request that needs less.
        await hub.order(keys[-1], order(workload, run=run).model_copy(update={"lease_seconds": 600.0}))
    array: Json = {"completionMode": "Indexed", "completions": 2, "backoffLimitPerIndex": 0}
    keys.append(f"run/{NAMESPACE}/array-1")
    await hub.order(keys[-1], run_order(run="array-1", **array).model_copy(update={"tasks": "1"}))
    kinds.append(("batch/v1", "Job", array))
    for key in keys:
        await hub.reported(key, RunReport)

        async def exists(run: str = key.rpartition("/")[2], kind: str = kinds[keys.index(key)][1]) -> bool:
            return run in await cluster.objects(kind, NAMESPACE)

        if kinds[keys.index(key)][1] != "Job":  # Volcano's: of two kinds with one name the helper sees the first
            await eventually(exists)
    return keys


class AnyRun:
    """Tells of every run the same."""

    def selector(self, namespace: str, run: str) -> str:
        return f"atoll.dev/run={run}"

    def is_over(self, namespace: str, run: str, *, has_begun: bool) -> bool:
        return has_begun


async def carry_run(hub: HubSide, cluster: Cluster, kube: Kube, folder: Path) -> None:
    await hub.order(RUN_KEY, run_order())
    pod = await cluster.pod_of(RUN, NAMESPACE)
    await cluster.set_pod(pod, "Running", state={"running": {"startedAt": "2026-11-22T10:00:00Z"}})
    await hub.reported(RUN_KEY, RunReport, lambda report: report.phase == "Running")
    request = LogsRequest(namespace=NAMESPACE, run=RUN).encode()
    pods, kept = RunPods(kube, AnyRun()), KeptLogs(folder)
    logs = Logs(kube, pods, AnyRun(), kept=kept, words=LastWords(kube, pods, kept))
    with pytest.raises(Exception, match=RUN):  # this cluster has no kubelet: no log is behind the right
        [chunk async for chunk in logs.serve(request)]
    (report,) = [chunk async for chunk in UsageNow(kube, pods).serve(TopRequest(namespace=NAMESPACE, run=RUN).encode())]
    assert len(TopReport.decode(report).pods) == 1
    wanted = ExecRequest(namespace=NAMESPACE, run=RUN, command=("true",), session="0" * 32)
    with pytest.raises(Exception, match="HTTP status"):  # nor anything that runs commands
        [frame async for frame in Commands(kube, pods, is_allowed=True).serve(wanted.encode())]


async def carry_service(hub: HubSide, cluster: Cluster, kube: Kube) -> DataCredentials:
    member = ClusterKind(metadata=ObjectMeta(name=CLUSTER))
    given = compile_service(member, "weather", DataService(("atoll",), "atoll:test", "nats://x"))
    await hub.order("service/weather", ServiceOrder(namespace="weather", manifests=given))
    await hub.reported("service/weather", ServiceReport, lambda report: "replicas" in report.message)
    credentials = DataCredentials(kube, CLUSTER)
    credentials.connect(Desk(), Membership("nats://x"))  # type: ignore[arg-type]  # as much of a bus as is used
    await credentials.ensure("weather")
    assert await credentials.ensure("weather") > 0
    return credentials


async def test_the_agent_does_all_its_work_with_the_printed_rights_and_needs_each_of_them(
    guarded: Guarded, settings: MemberSettings, hub: HubSide, tmp_path: Path
) -> None:
    """Inventory, mesh, policies with drift, a run, a data service, the farewell: none is refused, no right is idle."""
    cluster = guarded.cluster
    await people(cluster)
    kube = await Kube.connect(cluster.kubeconfig)
    async with running_agent(settings):
        await hub.reported("inventory", InventoryReport, lambda report: report.inventory.nodes == 1)
        await hub.reported("mesh", MeshReport, lambda report: report.facts and not report.facts.problems)
        await carry_policies(hub, cluster)
        await carry_run(hub, cluster, kube, tmp_path / "logs")
        of_kinds = await carry_kinds(hub, cluster)
        await carry_service(hub, cluster, kube)
        for key in (RUN_KEY, *of_kinds, POLICY_KEY, "service/weather"):
            await hub.withdraw(key)
            await hub.gone(key)
        secret_ref = ObjectRef(Kind("v1", "Secret"), "weather", CREDENTIALS_SECRET)
        await kube.delete(secret_ref)
        farewell = FarewellOrder(id="u", delete_data=True, at=datetime.now(UTC))
        await hub.order("farewell/cluster", farewell)
        await hub.reported("farewell/cluster", FarewellReport, lambda report: report.waiting_for)
        await cluster.edit(  # as the controller does when no pod uses the claim any more
            "PersistentVolumeClaim", DATASET_CLAIM, {"metadata": {"finalizers": None}}, namespace="weather"
        )
        report = await hub.reported("farewell/cluster", FarewellReport, lambda report: report.is_done)
    await kube.close()
    assert {left.what for left in report.kept} == {f"Namespace {NAMESPACE}", "Namespace weather"}
    refused = [what for what in guarded.rbac.refused if not _is_look_for_content(what)]
    assert refused == []
    assert granted(ROLES) - guarded.rbac.used == set(NOT_SHOWN)


def _is_look_for_content(request: str) -> bool:
    """Whether somebody else's things are in a namespace, the agent asks and is not told: then the namespace stays."""
    return request.startswith("list ") and "/namespaces/" in request


async def test_a_right_that_is_missing_is_noticed(guarded: Guarded, settings: MemberSettings, hub: HubSide) -> None:
    """The guard of the other test: without the right to jobs, a run is refused and recorded."""
    roles = [role | {"rules": [rule for rule in role["rules"] if "jobs" not in rule["resources"]]} for role in ROLES]
    guarded.rbac.roles = roles
    await people(guarded.cluster)
    async with running_agent(settings):
        await hub.order(RUN_KEY, run_order())
        report = await hub.reported(RUN_KEY, RunReport, lambda report: report.phase in ("Pending", "Failed"))
    assert "forbidden" in report.message
    assert any("jobs" in what for what in guarded.rbac.refused)
