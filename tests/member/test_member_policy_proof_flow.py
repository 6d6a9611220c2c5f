"""Proof of policies in a whole simulated cluster: its agents asked by commands, its operator, and an agent of ours."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.inventory.labelsets import chunk_of
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.inventory_messages import WorkloadsReport
from atoll.federation.bus.messages import InventoryReport, MeshReport, PolicyReport
from atoll.kubeapi.errors import AlreadyExists
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from atoll.policies.manifest import parse_file
from atoll.policies.stamp import stamp
from atoll.sandbox.cilium import commands, objects
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cilium.traffic import Connection
from atoll.sandbox.cluster import simulated
from atoll.sandbox.kinds.catalog import CILIUM_POLICY, NAMESPACE, NETWORK_POLICY, POD
from atoll.sandbox.kubelet.kubelet import STAND_IN
from atoll.sandbox.serving import listen, serving
from atoll.sandbox.spec import DEFAULT_CLUSTERS
from member.harness import CLUSTER, HubSide, running_agent
from member.orders import POLICY_KEY, policy_order
from member.sandbox_world import kubeconfig_of
from member.world import Json, eventually

SPECS = {spec.name: spec for spec in DEFAULT_CLUSTERS}
NODES = [node.name for node in SPECS[CLUSTER].nodes]
PEER = "lab-k3s"
OPEN = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: open, namespace: seismology}
spec: {endpointSelector: {}, ingress: [{fromEndpoints: [{matchLabels: {app: web}}]}]}
"""
CLOSED = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed, namespace: seismology}
spec: {podSelector: {}, policyTypes: [Egress]}
"""
MESH = """
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: mesh, namespace: seismology}
spec:
  endpointSelector: {}
  ingress: [{fromEndpoints: [{matchLabels: {app: web, io.cilium.k8s.policy.cluster: lab-k3s}}]}]
"""
CLOSED_TO_ALL = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: closed-to-all, namespace: seismology}
spec: {podSelector: {matchLabels: {app: shut}}, policyTypes: [Ingress]}
"""
HOSTS = """
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: hosts}
spec: {nodeSelector: {}, ingress: [{fromEntities: [cluster]}]}
"""


def now() -> datetime:
    return datetime.now(UTC)


def compiled(*texts: str, commit: str = "c1") -> list[Json]:
    """What a hub would order of some files."""
    manifests = [manifest for text in texts for manifest in parse_file(text, "p.yaml").manifests]
    return [dict(manifest.body) for manifest in stamp(manifests, "baseline", commit)]


async def put_pod(store: Store, name: str, node: str, **labels: str) -> None:
    """A pod that runs, of which there is no process."""
    with contextlib.suppress(AlreadyExists):
        await store.create(NAMESPACE, {"metadata": {"name": "seismology"}})
    metadata = {"name": name, "namespace": "seismology", "labels": labels, "annotations": {STAND_IN: "true"}}
    pod = {"metadata": metadata, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}]}}
    created = await store.create(POD, pod)
    await store.update(POD, {**created, "status": {"phase": "Running", "podIP": "10.2.0.9"}}, subresource="status")


@dataclass
class World:
    """A meshed cluster of two nodes with a pod on each, and how its agent is started."""

    store: Store
    cilium: CiliumAgent
    far: Store
    settings: MemberSettings


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Looks follow each other at once: here nobody else asks this Cilium anything."""
    monkeypatch.setattr("atoll.edge.member.proof.pulse.SHORTEST_POLL_SECONDS", 0.2)
    monkeypatch.setattr("atoll.edge.member.proof.pulse._RESTING_SECONDS", 0.2)
    monkeypatch.setattr("atoll.edge.member.proof.sources._VERDICTS_SECONDS", 0.2)
    monkeypatch.setattr("atoll.edge.member.proof.pulse._BREATH_SECONDS", 0.05)
    monkeypatch.setattr("atoll.edge.member.beside._BREATH_SECONDS", 0.05)
    monkeypatch.setattr("atoll.edge.member.proof.standing.SETTLE", timedelta(seconds=0.3))
    monkeypatch.setattr("atoll.edge.member.mesh.pulse.SHORTEST_POLL_SECONDS", 0.5)
    return iter(())


@pytest.fixture
async def world(nats_server: Any, tmp_path: Path) -> AsyncIterator[World]:
    """The cluster, with another of the mesh beside it."""
    links, agents = Links(tuple(SPECS), now), {}
    async with contextlib.AsyncExitStack() as stack:
        stores = {}
        for name in (CLUSTER, PEER):
            cluster = await stack.enter_async_context(
                simulated(SPECS[name], tmp_path / name, clock=now, isolation="rewrite", reason="a test")
            )
            agents[name] = CiliumAgent(SPECS[name], SPECS, links, cluster.store, agents=agents)
            stores[name] = cluster.store
            if name == CLUSTER:
                commands.play(cluster.kubelet.stand_ins, agents[name])
                listener = listen(0)
                await stack.enter_async_context(serving(cluster.app, listener))
                ca = objects.new_authority(now())
                await objects.connect(cluster.store, SPECS[name], SPECS.values(), ca=ca, now=now())
        for index, node in enumerate(NODES):
            await put_pod(stores[CLUSTER], f"web-{index}", node, app="web")
        for name in ("shut", "stranger"):
            await put_pod(stores[CLUSTER], name, NODES[0], app=name)
        settings = MemberSettings(
            cluster=CLUSTER,
            enrolment=EnrolmentSettings(nats_server.url),
            state_dir=tmp_path / "agent",
            kubeconfig=kubeconfig_of(tmp_path, listener.getsockname()[1]),
            cilium_exec=True,
            heartbeat_seconds=0.5,
        )
        yield World(stores[CLUSTER], agents[CLUSTER], stores[PEER], settings)


async def on_rung(hub: HubSide, rung: str | None, *, commit: str = "c1", reason: str = "") -> PolicyReport:
    """Wait until the set is reported to be on a rung."""

    def is_it(report: PolicyReport) -> bool:
        proof = report.proof
        return report.commit == commit and proof is not None and proof.rung == rung and reason in proof.reason

    return await hub.reported(POLICY_KEY, PolicyReport, is_it, within_seconds=30)


async def test_what_is_applied_becomes_realized_on_every_node_and_what_has_no_peers_abroad_resolved(
    world: World, hub: HubSide
) -> None:
    """An allow is shown by its filters, a mere closing by the revision of a node that holds it."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN, CLOSED)))
        proof = (await on_rung(hub, "Resolved")).proof
    assert proof is not None
    assert (proof.realized_nodes, proof.nodes, proof.reason, proof.objects) == (2, 2, "", ())
    assert (proof.observed_objects, proof.hubble) == (0, "")
    times = proof.proven_at
    assert times.realized is not None and times.applied is not None
    assert times.realized <= times.applied


async def test_a_node_that_is_stuck_is_named_with_its_endpoint_until_it_moves_on(world: World, hub: HubSide) -> None:
    """1 of 2, with the endpoint that has not followed; the time of the last proof is of the commit before."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN)))
        await on_rung(hub, "Resolved")
        await world.cilium.policies.stick([NODES[1]])
        wider = compiled(OPEN.replace("app: web", "app: wide"), commit="c2")
        await hub.order(POLICY_KEY, policy_order(*wider, commit="c2"))
        stuck = (await on_rung(hub, "Valid", commit="c2", reason="web-1")).proof
        assert stuck is not None
        assert (stuck.realized_nodes, stuck.nodes, stuck.proven_at.realized) == (1, 2, None)
        assert stuck.reason.startswith(
            f"CiliumNetworkPolicy seismology/open: realized on 1 of 2 nodes; {NODES[1]}: seismology/web-1"
        )
        assert [(each.name, each.rung, each.realized_nodes) for each in stuck.objects] == [("open", "Valid", 1)]
        await world.cilium.policies.stick([])
        await on_rung(hub, "Resolved", commit="c2")


async def test_peers_in_another_cluster_are_resolved_when_a_pod_of_it_is_known(world: World, hub: HubSide) -> None:
    """Until then the set is realized, and says which cluster has nobody that the policy means."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(MESH)))
        lonely = (await on_rung(hub, "Realized")).proof
        assert lonely is not None and f"no endpoint of {PEER}" in lonely.reason
        await put_pod(world.far, "web-9", SPECS[PEER].nodes[0].name, app="web")
        await on_rung(hub, "Resolved")


async def test_a_cilium_that_answers_no_more_costs_the_rung_and_leaves_its_time(
    world: World, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be asked is not claimed anew, and the age of the last proof goes on growing."""
    monkeypatch.setattr("atoll.edge.member.proof.pulse._SHORTEST_TRUST_SECONDS", 1.0)
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN)))
        await on_rung(hub, "Resolved")
        ended = Patch("merge", {"status": {"phase": "Failed"}})
        await world.store.patch(POD, "kube-system", "cilium-1", ended, subresource="status")
        lost = (await on_rung(hub, "Valid", reason=f"not asked since: {NODES[1]}")).proof
        assert lost is not None and lost.proven_at.realized is not None and lost.proven_at.applied is not None
        assert (lost.realized_nodes, lost.nodes) == (1, 2)
        assert lost.proven_at.realized < lost.proven_at.applied


async def test_an_agent_that_is_started_again_proves_again(world: World, hub: HubSide) -> None:
    """Nothing of an earlier life is claimed; the same objects are asked for and found."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN, CLOSED)))
        first = (await on_rung(hub, "Resolved")).proof
    began = now()
    async with running_agent(world.settings):

        def is_new(report: PolicyReport) -> bool:
            proof = report.proof
            return proof is not None and proof.rung == "Resolved" and (proof.proven_at.realized or began) > began

        await hub.reported(POLICY_KEY, PolicyReport, is_new, within_seconds=30)
    assert first is not None


async def test_what_cilium_refuses_is_applied_and_no_more(world: World, hub: HubSide) -> None:
    """The operator's own words stand in the reason, of an object that the API server took."""
    broken = compiled(OPEN)
    broken[0]["spec"]["ingress"] = [{"fromCIDR": ["10.0.0.0/8"], "fromEntities": ["world"]}]
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*broken))
        refused = (await on_rung(hub, "Applied", reason="Cilium refuses it")).proof
    assert refused is not None and refused.objects[0].rung == "Applied"
    policy = await world.store.get(CILIUM_POLICY, "seismology", "open")
    assert policy["status"]["conditions"][0]["status"] == "False"


async def test_a_change_by_hand_that_is_put_back_is_proven_again_and_no_content_label_is_drift(
    world: World, hub: HubSide
) -> None:
    """The label by which content is proven is part of what is ordered, so taking it off is drift like any other."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN)))
        settled = await on_rung(hub, "Resolved")
        assert settled.drift_healed == 0
        patch = Patch("merge", {"spec": {"labels": None}})
        await world.store.patch(CILIUM_POLICY, "seismology", "open", patch, field_manager="night-shift")
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.drift_healed == 1)
        await on_rung(hub, "Resolved")
    assert (await world.store.get(CILIUM_POLICY, "seismology", "open"))["spec"]["labels"]


async def test_a_policy_beside_the_set_that_opens_what_it_closes_is_named_with_who_wrote_it(
    world: World, hub: HubSide
) -> None:
    """It is left alone, and reported until it is gone; one that only closes more is nobody's business."""
    shut: Json = {
        "metadata": {"name": "shut", "namespace": "seismology"},
        "spec": {"podSelector": {}, "policyTypes": ["Egress"]},
    }
    wide: Json = {
        "metadata": {"name": "wide", "namespace": "seismology"},
        "spec": {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Egress"], "egress": [{}]},
    }
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(CLOSED)))
        for policy in (shut, wide):
            await world.store.create(NETWORK_POLICY, policy, field_manager="night-shift")
        report = await hub.reported(POLICY_KEY, PolicyReport, lambda report: report.widened_by, within_seconds=30)
        assert report.widened_by == (
            "NetworkPolicy seismology/wide (night-shift): egress that seismology/closed closes",
        )
        assert report.drift_healed == 0
        await world.store.delete(NETWORK_POLICY, "seismology", "wide")
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: not report.widened_by, within_seconds=30)
    assert (await world.store.get(NETWORK_POLICY, "seismology", "shut"))["spec"] == shut["spec"]


async def test_a_policy_is_observed_once_hubble_shows_a_connection_that_it_decided_about(
    world: World, hub: HubSide
) -> None:
    """An allow is named by the flow it let through, a mere closing shown by a drop at an endpoint that it selects."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN, CLOSED_TO_ALL)))
        await on_rung(hub, "Resolved")
        assert await world.cilium.connect(Connection("seismology/web-0", "seismology/web-1", 80))
        some = await hub.reported(POLICY_KEY, PolicyReport, lambda report: _seen(report) == 1, within_seconds=30)
        assert some.proof is not None and some.proof.rung == "Resolved"
        assert not await world.cilium.connect(Connection("seismology/stranger", "seismology/shut", 80))
        seen = (await on_rung(hub, "Observed")).proof
    assert seen is not None and seen.proven_at.observed is not None
    assert (seen.observed_objects, seen.hubble) == (2, "")


async def test_a_hubble_that_is_switched_off_is_told_and_takes_nothing_from_the_other_rungs(
    world: World, hub: HubSide
) -> None:
    """Not reachable is said as such, with the node, and is no reason to doubt what the agents say."""
    world.cilium.traffic.has_hubble = False
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN)))
        report = await hub.reported(POLICY_KEY, PolicyReport, _hubble, within_seconds=30)
        assert report.proof is not None and "not on 2 of 2 nodes" in report.proof.hubble
        await on_rung(hub, "Resolved")


async def test_drops_that_rise_with_a_commit_are_told_beside_what_they_were_before(
    world: World, hub: HubSide, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the counters of the datapath, over all nodes; only what policies deny counts."""
    monkeypatch.setattr("atoll.edge.member.proof.pulse.LEAST_MEASURED", timedelta(seconds=0.3))
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(OPEN)))
        await world.cilium.connect(Connection("seismology/web-0", "seismology/web-1", 80))
        await hub.reported(POLICY_KEY, PolicyReport, lambda report: _rates(report)[0] == 0.0, within_seconds=30)
        shut = compiled(OPEN.replace("app: web", "app: nobody"), commit="c2")
        await hub.order(POLICY_KEY, policy_order(*shut, commit="c2"))
        await on_rung(hub, "Resolved", commit="c2")

        async def risen() -> PolicyReport | None:
            await world.cilium.connect(Connection("seismology/web-0", "seismology/web-1", 80, times=500))
            report = await hub.report(POLICY_KEY, PolicyReport)
            return report if report is not None and (_rates(report)[0] or 0) > 50 else None

        report = await eventually(risen, within_seconds=30)
    assert _rates(report)[1] == 0.0 and report.traffic.nodes == 2


async def test_policies_for_nodes_are_proven_on_the_endpoint_that_each_node_is_to_its_agent(
    world: World, hub: HubSide
) -> None:
    """They stood at Valid for ever; now the host shows them like any other endpoint."""
    async with running_agent(world.settings):
        await hub.order(POLICY_KEY, policy_order(*compiled(HOSTS)))
        proof = (await on_rung(hub, "Resolved")).proof
    assert proof is not None and (proof.realized_nodes, proof.nodes) == (2, 2)


async def test_what_runs_and_which_policies_can_be_enforced_is_told_at_the_start(world: World, hub: HubSide) -> None:
    """Sets of labels in the chunk of their namespace, the kinds that are served, and what Cilium has switched on."""
    async with running_agent(world.settings):
        key = f"inventory/workloads/{chunk_of('seismology')}"
        running = await hub.reported(key, WorkloadsReport, lambda report: report.sets, within_seconds=30)
        inventory = await hub.reported("inventory", InventoryReport, lambda report: report.inventory.policy_kinds)
        mesh = await hub.reported("mesh", MeshReport, lambda report: report.facts, within_seconds=30)
    assert [(one.labels, one.pods) for one in running.sets if one.namespace == "seismology"] == [
        ({"app": "shut"}, 1),
        ({"app": "stranger"}, 1),
        ({"app": "web"}, 2),
    ]
    assert "seismology" in running.namespaces
    assert "CiliumClusterwideNetworkPolicy" in (inventory.inventory.policy_kinds or ())
    assert mesh.facts is not None and mesh.facts.policy_features is not None
    assert mesh.facts.policy_features.host_firewall and not mesh.facts.policy_features.node_selector_labels


def _seen(report: PolicyReport) -> int:
    return report.proof.observed_objects if report.proof is not None else 0


def _hubble(report: PolicyReport) -> str:
    return report.proof.hubble if report.proof is not None else ""


def _rates(report: PolicyReport) -> tuple[float | None, float | None]:
    traffic = report.traffic
    return (traffic.drops_per_second, traffic.drops_per_second_before) if traffic is not None else (None, None)
