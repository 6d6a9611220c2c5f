"""A cluster leaves: the agent removes what Atoll put there and only that, again after a crash, and says what stays."""

from datetime import UTC, datetime
from typing import Any

from atoll.edge.member.kube import Kube
from atoll.edge.member.namespaces import MADE, MADE_LABEL
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.farewell import FarewellOrder, FarewellReport
from atoll.federation.bus.messages import PolicyReport, RunReport, ServiceOrder, ServiceReport
from atoll.federation.resources import DATASET_CLAIM, ObjectMeta
from atoll.federation.resources import Cluster as ClusterKind
from atoll.hub.controllers.manifests import DataService, compile_service
from member.harness import CLUSTER, HubSide, running_agent
from member.orders import DENY, NAMESPACE, POLICY_KEY, RUN, RUN_KEY, policy_order, run_order
from member.world import Cluster, Json, eventually

KEY, SERVICE_KEY = "farewell/cluster", "service/weather"


def farewell(ident: str = "u1", *, delete_data: bool = False) -> FarewellOrder:
    return FarewellOrder(id=ident, delete_data=delete_data, at=datetime.now(UTC))


def service_order() -> ServiceOrder:
    member = ClusterKind(metadata=ObjectMeta(name=CLUSTER))
    service = DataService(("atoll",), "atoll:test", "nats://x")
    return ServiceOrder(namespace="weather", manifests=compile_service(member, "weather", service))


async def put_everything(hub: HubSide) -> None:
    """A run, a policy set and a data service."""
    await hub.order(RUN_KEY, run_order())
    await hub.order(POLICY_KEY, policy_order(DENY))
    await hub.order(SERVICE_KEY, service_order())
    await hub.reported(RUN_KEY, RunReport)
    await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied")
    await hub.reported(SERVICE_KEY, ServiceReport, lambda report: "replicas" in report.message)


async def withdraw_everything(hub: HubSide) -> None:
    for key in (RUN_KEY, POLICY_KEY, SERVICE_KEY):
        await hub.withdraw(key)


async def done(hub: HubSide, ident: str = "u1") -> FarewellReport:
    return await hub.reported(KEY, FarewellReport, lambda report: report.is_done and report.id == ident)


async def let_go(cluster: Cluster) -> None:
    """Do what the volume controller does with a claim that no pod uses any more."""

    async def is_going() -> Any:
        return (
            "deletionTimestamp"
            in (await cluster.objects("PersistentVolumeClaim", "weather"))[DATASET_CLAIM]["metadata"]
        )

    await eventually(is_going)
    free = {"metadata": {"finalizers": None}}
    await cluster.edit("PersistentVolumeClaim", DATASET_CLAIM, free, namespace="weather")


def config_map(namespace: str) -> Json:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "somebodys", "namespace": namespace}}


async def test_all_that_atoll_put_there_goes_but_for_datasets_and_the_namespaces_they_are_in(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """While an order stands nothing is removed; the empty namespace that Atoll made goes, with rights that allow it."""
    await put_everything(hub)
    await hub.order(KEY, farewell())
    waiting = await hub.reported(KEY, FarewellReport)
    assert set(waiting.waiting_for) == {
        f"run {NAMESPACE}/{RUN}",
        "policy set baseline",
        "data service of namespace weather",
    }
    assert RUN in await cluster.objects("Job", NAMESPACE)
    await withdraw_everything(hub)
    report = await done(hub)
    assert [left.what for left in report.kept] == ["PersistentVolumeClaim weather/atoll-datasets", "Namespace weather"]
    assert "atoll-datasets is in it" in report.kept[1].why
    assert await cluster.objects("Job") == {}
    assert await cluster.objects("NetworkPolicy") == {}
    assert await cluster.objects("Deployment") == {}
    assert NAMESPACE not in report.model_dump_json(include={"kept"})
    going = await cluster.objects("Namespace")
    assert NAMESPACE not in going or "deletionTimestamp" in going[NAMESPACE]["metadata"]


async def test_datasets_go_only_if_the_order_says_so(cluster: Cluster, agent: None, hub: HubSide) -> None:
    await put_everything(hub)
    await withdraw_everything(hub)
    await hub.order(KEY, farewell(delete_data=True))
    await let_go(cluster)
    report = await done(hub)
    assert report.kept == ()
    assert await cluster.objects("PersistentVolumeClaim") == {}


async def test_what_is_somebody_else_s_stays(lab: Cluster, agent: None, hub: HubSide) -> None:
    """A namespace that was there before, one with something else in it, and a copy of ours that Atoll never applied."""
    await lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    await put_everything(hub)
    copy = DENY | {"metadata": {"name": "copy", "namespace": "lab", "labels": {"atoll.dev/policyset": "baseline"}}}
    await lab.create(copy)
    await lab.create(config_map("weather"))
    await withdraw_everything(hub)
    await hub.order(KEY, farewell(delete_data=True))
    await let_go(lab)
    report = await done(hub)
    (left,) = report.kept
    assert (left.what, left.why) == ("Namespace weather", "ConfigMap weather/somebodys is in it")
    assert set(await lab.objects("NetworkPolicy", "lab")) == {"copy"}
    assert NAMESPACE in await lab.objects("Namespace")


async def test_an_agent_that_dies_in_the_middle_goes_on_when_it_is_back(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """The claim hangs on a pod that still uses it; the agent is started anew, and the claim is let go only then."""
    async with running_agent(settings):
        await put_everything(hub)
        await withdraw_everything(hub)
        await hub.order(KEY, farewell(delete_data=True))
        await hub.reported(KEY, FarewellReport, lambda report: any("atoll-datasets" in w for w in report.waiting_for))
    async with running_agent(settings):
        await let_go(cluster)
        assert (await done(hub)).kept == ()


async def test_an_agent_without_its_disk_finds_what_it_left_behind(
    cluster: Cluster, settings: MemberSettings, hub: HubSide, tmp_path: Any
) -> None:
    """The orders end while no agent is there, and its records are lost: the labels on what it applied are not."""
    async with running_agent(settings):
        await put_everything(hub)
    await withdraw_everything(hub)
    fresh = MemberSettings(
        cluster=CLUSTER,
        enrolment=settings.enrolment,
        state_dir=tmp_path / "fresh",
        kubeconfig=settings.kubeconfig,
        heartbeat_seconds=0.5,
    )
    await hub.withdraw_reports()
    await hub.order(KEY, farewell())
    async with running_agent(fresh):
        report = await done(hub)
    assert {"Job seismology/picks-1", "NetworkPolicy seismology/deny", "Deployment weather/atoll-data"} <= set(
        report.removed
    )
    assert await cluster.objects("Job") == {}


async def test_a_cluster_that_joins_again_is_worked_for_as_before(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """The order of the leave ends with it; a second leave is answered anew."""
    await hub.order(KEY, farewell("first"))
    await done(hub, "first")
    await hub.withdraw(KEY)
    await hub.gone(KEY)
    await put_everything(hub)
    await withdraw_everything(hub)
    await hub.order(KEY, farewell("second"))
    assert (await done(hub, "second")).kept != ()


async def test_only_a_namespace_that_was_missing_is_marked_as_ours(
    lab: Cluster, kube: Kube, agent: None, hub: HubSide
) -> None:
    await lab.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "weather"}})
    await put_everything(hub)
    namespaces = await lab.objects("Namespace")
    assert namespaces[NAMESPACE]["metadata"]["labels"][MADE_LABEL] == MADE
    assert MADE_LABEL not in namespaces["weather"]["metadata"].get("labels", {})
    assert not any(entry["manager"] == "atoll" for entry in namespaces["weather"]["metadata"].get("managedFields", ()))
