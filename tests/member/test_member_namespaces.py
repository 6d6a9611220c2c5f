"""Namespaces that runs need: made at the pod security level of the hub's, and nobody else's is changed."""

from datetime import UTC, datetime

from atoll.edge.member.kube import Kube
from atoll.edge.member.namespaces import Known
from atoll.edge.member.ordered import refs_of
from atoll.edge.member.run_status import Spent
from atoll.edge.member.workload import Workloads
from atoll.federation.bus.messages import RunOrder
from atoll.federation.workloads import LEVEL_LABEL
from member.harness import on_any_cluster
from member.orders import NAMESPACE, run_order
from member.world import Cluster, Json

MADE = "atoll.dev/made-by"


def namespace(level: str) -> Json:
    """As an order has it; without a level it is of a hub from before."""
    labels = {"labels": {LEVEL_LABEL: level}} if level else {}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, **labels}}


def order(run: str, level: str) -> RunOrder:
    plain = run_order(run=run)
    return plain.model_copy(update={"manifests": (namespace(level), *plain.manifests[1:])})


async def labels(cluster: Cluster) -> dict[str, str]:
    found = (await cluster.objects("Namespace"))[NAMESPACE]["metadata"].get("labels") or {}
    return {key: value for key, value in found.items() if key in (MADE, LEVEL_LABEL)}


@on_any_cluster
async def test_a_namespace_of_ours_has_the_level_of_the_run_that_begins(cluster: Cluster, kube: Kube) -> None:
    """Made with it; changed with the hub's; and given one where an older agent or a policy made it without."""
    known = Known(kube)
    for level in ("baseline", "privileged", "restricted"):
        await known.have(namespace(level), begins=True)
        assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: level}
    await cluster.edit("Namespace", NAMESPACE, {"metadata": {"labels": {LEVEL_LABEL: None}}})
    await Known(kube).have(namespace("baseline"), begins=True)
    assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: "baseline"}


@on_any_cluster
async def test_a_namespace_that_was_there_is_not_touched(cluster: Cluster, kube: Kube) -> None:
    """It has no level, and gets none."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    before = (await cluster.objects("Namespace"))[NAMESPACE]
    await Known(kube).have(namespace("restricted"), begins=True)
    assert (await cluster.objects("Namespace"))[NAMESPACE] == before


@on_any_cluster
async def test_a_level_that_somebody_set_in_the_cluster_stays(cluster: Cluster, kube: Kube) -> None:
    """As they do by kubectl: stricter or looser than the hub's, it is their cluster."""
    known = Known(kube)
    await known.have(namespace("baseline"), begins=True)
    await cluster.edit("Namespace", NAMESPACE, {"metadata": {"labels": {LEVEL_LABEL: "restricted"}}})
    for again in (known, Known(kube)):
        await again.have(namespace("privileged"), begins=True)
        assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: "restricted"}


@on_any_cluster
async def test_an_order_of_a_hub_from_before_says_no_level_and_changes_none(cluster: Cluster, kube: Kube) -> None:
    await Known(kube).have(namespace("restricted"), begins=True)
    await Known(kube).have(namespace(""), begins=True)
    assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: "restricted"}


@on_any_cluster
async def test_a_run_that_stands_already_does_not_bring_its_old_level_back(cluster: Cluster, kube: Kube) -> None:
    """Its order is read again when the agent starts, long after the hub's level was changed for newer runs."""
    old, new = order("old", "privileged"), order("new", "restricted")
    for each in (old, new):
        await workloads(kube).apply(each, standing=None)
    restarted = workloads(kube)
    await restarted.apply(old, standing=frozenset(refs_of(old)))
    assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: "restricted"}
    await restarted.apply(order("next", "baseline"), standing=None)
    assert await labels(cluster) == {MADE: "atoll", LEVEL_LABEL: "baseline"}


def workloads(kube: Kube) -> Workloads:
    return Workloads(kube, lambda: datetime.now(UTC), ended=lambda _: Spent())
