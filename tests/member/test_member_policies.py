"""Policy sets: held, healed, pruned and reported, on a simulated and on a real API server, with a real NATS."""

from dataclasses import replace
from typing import Any

import pytest

from atoll.edge.member.records import PolicyRecord, Records
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.shelf import Shelf
from atoll.federation.bus.messages import PolicyReport
from member.harness import HubSide, on_any_cluster, running_agent
from member.orders import ALLOW, CILIUM, DENY, NAMESPACE, POLICY_KEY, policies, policy_order
from member.world import Cluster, Json, eventually


async def held(hub: HubSide, cluster: Cluster, *manifests: Json, commit: str = "c1") -> None:
    """Order manifests and wait until they are reported as applied."""
    await hub.order(POLICY_KEY, policy_order(*manifests, commit=commit))
    await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied" and report.commit == commit)


@on_any_cluster
async def test_policies_are_applied_with_their_namespace_and_counted(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """All objects of an order stand in the cluster, labelled, in a namespace that did not exist before."""
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, CILIUM))
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Applied")
    assert (report.objects, report.drift_healed, report.commit) == (3, 0, "c1")
    found = await policies(cluster)
    assert found.keys() == {"deny", "allow-web"}
    assert found["deny"]["metadata"]["labels"]["atoll.dev/policyset"] == "baseline"
    assert "mesh" in await cluster.objects("CiliumNetworkPolicy", NAMESPACE)


EDITS: dict[str, tuple[Json, str]] = {
    "a rule is added": ({"spec": {"ingress": [{}]}}, "spec.ingress"),
    "a section is added": ({"spec": {"egress": [{}], "policyTypes": ["Ingress", "Egress"]}}, "spec.egress"),
    "the selector is narrowed": ({"spec": {"podSelector": {"matchLabels": {"app": "x"}}}}, "spec.podSelector"),
    "our label is taken off": ({"metadata": {"labels": {"atoll.dev/policyset": None}}}, "metadata.labels"),
}


@pytest.mark.parametrize("what", EDITS)
@on_any_cluster
async def test_an_edit_by_hand_is_put_back_and_named(cluster: Cluster, agent: None, hub: HubSide, what: str) -> None:
    """The object says again what the order says, and the report names path and field manager."""
    patch, path = EDITS[what]
    await held(hub, cluster, DENY)
    before = (await policies(cluster))["deny"]
    await cluster.edit("NetworkPolicy", "deny", patch, namespace=NAMESPACE, manager="kubectl-edit")
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed >= 1)
    after = (await policies(cluster))["deny"]
    assert after["spec"] == before["spec"]
    assert after["metadata"]["labels"] == before["metadata"]["labels"]
    assert report.phase == "Applied"
    assert report.drift_healed == 1
    drift = report.drifts[0]
    assert (drift.kind, drift.namespace, drift.name, drift.healed) == ("NetworkPolicy", NAMESPACE, "deny", True)
    assert any(found.startswith(path) for found in drift.paths), drift.paths
    assert drift.managers in ((), ("kubectl-edit",))


@on_any_cluster
async def test_the_field_manager_of_an_edit_is_named(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Whoever changed a rule stands in the report by the name under which the API server knows it."""
    await held(hub, cluster, ALLOW)
    patch = {"spec": {"ingress": [{"ports": [{"port": 22}]}]}}
    await cluster.edit("NetworkPolicy", "allow-web", patch, namespace=NAMESPACE, manager="mallory")
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1)
    assert report.drifts[0].managers == ("mallory",)


@on_any_cluster
async def test_a_policy_deleted_by_hand_comes_back(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Deletion is drift too: the object is made again and the report says so."""
    await held(hub, cluster, DENY)
    await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1)
    assert "deny" in await policies(cluster)
    assert report.drifts[0].name == "deny"


@on_any_cluster
async def test_an_edit_while_the_agent_was_away_is_put_back_when_it_returns(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """What changed between two lives of the agent is found and named as drift, and counted on."""
    async with running_agent(settings):
        await held(hub, cluster, DENY)
    await cluster.edit("NetworkPolicy", "deny", {"spec": {"ingress": [{}]}}, namespace=NAMESPACE, manager="night-shift")
    async with running_agent(settings):
        report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1)
    assert report.drifts[0].managers == ("night-shift",)
    assert not (await policies(cluster))["deny"]["spec"].get("ingress")


@on_any_cluster
async def test_a_new_commit_changes_and_prunes_without_counting_drift(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """What the new order no longer holds goes, what it changes changes, and none of it is drift."""
    await held(hub, cluster, DENY, ALLOW)
    wider = {**DENY, "spec": {**DENY["spec"], "policyTypes": ["Ingress", "Egress"]}}
    await held(hub, cluster, wider, commit="c2")

    async def pruned() -> bool:
        return (await policies(cluster)).keys() == {"deny"}

    await eventually(pruned)
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.commit == "c2")
    assert report.drift_healed == 0
    assert (await policies(cluster))["deny"]["spec"]["policyTypes"] == ["Ingress", "Egress"]


@on_any_cluster
async def test_foreign_objects_are_never_pruned(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Neither a policy without our label nor a copy that kept it is touched, even when the set is withdrawn."""
    await held(hub, cluster, DENY)
    await cluster.create({**DENY, "metadata": {"name": "theirs", "namespace": NAMESPACE}})
    labels = {"atoll.dev/policyset": "baseline"}
    await cluster.create({**DENY, "metadata": {"name": "copy", "namespace": NAMESPACE, "labels": labels}})
    await hub.withdraw(POLICY_KEY)
    await hub.gone(POLICY_KEY)
    assert (await policies(cluster)).keys() == {"theirs", "copy"}


@on_any_cluster
async def test_nothing_is_pruned_while_something_could_not_be_applied(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """A commit that is refused in part leaves the older, stricter objects where they are."""
    await held(hub, cluster, DENY)
    bad = {**ALLOW, "spec": {"podSelector": {"matchLabels": 7}}}
    await hub.order(POLICY_KEY, policy_order(bad, commit="c2"))
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Failed")
    assert "allow-web" in report.message
    assert "deny" in await policies(cluster)


@on_any_cluster
async def test_a_kind_that_the_cluster_lacks_fails_with_the_reason_and_holds_the_rest(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """Policies of other kinds are in force although one kind is not served, and the report names the kind."""
    unknown = {**DENY, "apiVersion": "policy.example.org/v1", "kind": "MeshPolicy"}
    await hub.order(POLICY_KEY, policy_order(unknown, DENY))
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Failed")
    assert "does not serve policy.example.org/v1 MeshPolicy" in report.message
    assert report.objects == 1
    assert "deny" in await policies(cluster)


@on_any_cluster
async def test_an_observing_set_reports_and_changes_nothing(cluster: Cluster, agent: None, hub: HubSide) -> None:
    """Differences are reported as not healed, each with the time it was first seen; the cluster stays as it is."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    other: dict[str, Any] = {**DENY, "spec": {"podSelector": {"matchLabels": {"app": "x"}}}}
    await cluster.create(other)
    await hub.order(POLICY_KEY, policy_order(DENY, ALLOW, observe_only=True))
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Drifted")
    assert {(drift.name, drift.healed) for drift in report.drifts} == {("deny", False), ("allow-web", False)}
    found = await policies(cluster)
    assert found.keys() == {"deny"}
    assert found["deny"]["spec"]["podSelector"] == {"matchLabels": {"app": "x"}}


async def test_an_agent_that_only_observes_touches_nothing_even_when_a_set_ends(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """Whatever a set asks for: it tells what differs and why it stays, and leaves all objects to whoever made them."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    other: dict[str, Any] = {**DENY, "spec": {"podSelector": {"matchLabels": {"app": "x"}}}}
    await cluster.create(other)
    async with running_agent(replace(settings, observe_only=True)):
        await hub.order(POLICY_KEY, policy_order(DENY, ALLOW))
        report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.phase == "Drifted")
        assert "--observe-only" in report.message and not any(drift.healed for drift in report.drifts)
        await hub.withdraw(POLICY_KEY)
        await hub.gone(POLICY_KEY)
    found = await policies(cluster)
    assert {name: one["spec"]["podSelector"] for name, one in found.items()} == {"deny": {"matchLabels": {"app": "x"}}}


async def test_many_changes_by_hand_at_once_are_each_put_back_and_counted_once(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """One by one as the watch shows them, and together with the look at the whole set; none is told twice."""
    many = [{**DENY, "metadata": {"name": f"deny-{n}", "namespace": NAMESPACE}} for n in range(20)]
    await held(hub, cluster, *many)
    for number in range(20):
        if number % 2:
            await cluster.delete("NetworkPolicy", f"deny-{number}", namespace=NAMESPACE)
        else:
            await cluster.edit("NetworkPolicy", f"deny-{number}", {"spec": {"ingress": [{}]}}, namespace=NAMESPACE)
    report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed >= 20, within_seconds=30)
    assert (report.drift_healed, report.phase, report.objects) == (20, "Applied", 20)
    found = await policies(cluster)
    assert len(found) == 20 and not any(one["spec"].get("ingress") for one in found.values())


OTHER_KEY, OTHER_FIRST_KEY = "policyset/other", "policyset/aaa"


async def test_an_object_of_two_sets_stays_with_the_one_that_holds_it_and_goes_over_without_a_gap(
    cluster: Cluster, agent: None, hub: HubSide
) -> None:
    """The other says Conflict and does not write, holds the rest, and gets the very object when it is let go."""
    await held(hub, cluster, DENY)
    before = (await policies(cluster))["deny"]
    wider = {**DENY, "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}}
    other = policy_order(wider, ALLOW).model_copy(update={"name": "other"})
    await hub.order(OTHER_KEY, other)
    report = await hub.reported(OTHER_KEY, PolicyReport, lambda report: report.phase == "Failed")
    assert report.message.startswith(f"Conflict: NetworkPolicy {NAMESPACE}/deny is held by PolicySet baseline")
    assert report.objects == 1
    found = await policies(cluster)
    assert found["deny"]["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert found["allow-web"]["metadata"]["labels"]["atoll.dev/policyset"] == "other"
    await hub.withdraw(POLICY_KEY)
    await hub.reported(OTHER_KEY, PolicyReport, lambda report: report.phase == "Applied" and report.objects == 2)
    after = (await policies(cluster))["deny"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"], "it was there at every moment"
    assert after["spec"]["policyTypes"] == ["Ingress", "Egress"]


async def test_who_holds_an_object_holds_it_after_a_restart_and_the_other_never_prunes_it(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """The holder is read from disk, whichever of the two sets is looked at first."""
    other = policy_order(DENY, ALLOW).model_copy(update={"name": "aaa"})
    async with running_agent(settings):
        await held(hub, cluster, DENY)
        await hub.order(OTHER_FIRST_KEY, other)
        first = await hub.reported(OTHER_FIRST_KEY, PolicyReport, lambda report: report.phase == "Failed")
    async with running_agent(settings):
        report = await hub.reported(OTHER_FIRST_KEY, PolicyReport, lambda report: report.at > first.at)
        assert report.phase == "Failed" and "held by PolicySet baseline" in report.message
        await hub.withdraw(OTHER_FIRST_KEY)
        await hub.gone(OTHER_FIRST_KEY)
        found = await policies(cluster)
        assert found.keys() == {"deny"}
        assert found["deny"]["metadata"]["labels"]["atoll.dev/policyset"] == "baseline"


async def test_what_an_agent_of_before_had_counted_goes_on(
    cluster: Cluster, settings: MemberSettings, hub: HubSide
) -> None:
    """It kept the count in the record of the set; from then on it has a record of its own."""
    before = PolicyRecord(name="baseline", drift_healed=3)
    Records(Shelf(settings.state_dir / "policysets"), PolicyRecord).put("baseline", before)
    async with running_agent(settings):
        await held(hub, cluster, DENY)
        await cluster.delete("NetworkPolicy", "deny", namespace=NAMESPACE)
        report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 4)
    assert [drift.name for drift in report.drifts] == ["deny"]
