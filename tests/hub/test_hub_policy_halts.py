"""What halts a rollout beside clusters that fail, what a commit does to what runs, and how both are told."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.inventory_messages import WorkloadsReport
from atoll.federation.bus.messages import PolicyReport
from atoll.federation.resources import ClusterPolicyStatus
from atoll.federation.resources.labelsets import ClusterWorkloads, LabelSet
from atoll.federation.resources.policyset_proof import PolicyTraffic
from atoll.federation.resources.policyset_rollout import RolloutSpec, RolloutStatus
from atoll.hub.controllers.policy_rollout import Candidate, Place, next_step
from atoll.policies.compile import Target, compile_for
from atoll.policies.manifest import parse_file
from atoll.policies.trials.fleet import Fleet
from atoll.policies.trials.live_trial import run_live
from atoll.policies.trials.parties import namespaces_of
from atoll.policies.trials.scenario import parse_scenarios
from hub.support import API, HubClient, Member, eventually, joined, manifest, now, running_hub
from hub.test_hub_policysets import SET, Repository, condition, hold, ordered, policyset, rollout

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
OLD, NEW = "a" * 40, "b" * 40
CANARY = {"name": "canary", "clusters": {"matchLabels": {"wave": "canary"}}, "wait": "10m"}
LABELS = {"can": {"wave": "canary"}, "far": {}}
BEGAN = RolloutStatus(commit=NEW, good=OLD, phase="Waiting", wave_began_at=NOW, wave_held_at=NOW)


def place(name: str, before: float | None, after: float | None, *, commit: str = NEW, silent: bool = False) -> Place:
    traffic = PolicyTraffic(drops_per_second=after, drops_per_second_before=before, nodes=3)
    row = ClusterPolicyStatus(cluster=name, commit=commit, phase="Applied", traffic=traffic)
    return Place(name, LABELS[name], None if silent else NOW - timedelta(days=1), row)


def stepped(can: Place, far: Place, **rules: Any) -> RolloutStatus:
    spec = RolloutSpec.model_validate({"waves": [CANARY], "haltWhen": rules})
    return next_step(spec, BEGAN, Candidate(NEW), [can, far], now=NOW + timedelta(minutes=1)).status


FAR = place("far", 0.0, 900.0, commit=OLD)
DROPS: dict[str, tuple[Place, dict[str, Any], bool]] = {
    "they rose by more than may be": (place("can", 0.5, 40.25), {}, True),
    "they rose by less": (place("can", 0.5, 10.4), {}, False),
    "they fell": (place("can", 400.0, 3.0), {}, False),
    "nobody measured before": (place("can", None, 400.0), {}, False),
    "not measured for long enough since": (place("can", 0.0, None), {}, False),
    "they rose with the commit before": (place("can", 0.0, 400.0, commit=OLD), {}, False),
    "the cluster is silent": (place("can", 0.0, 400.0, silent=True), {}, False),
    "nobody looks": (place("can", 0.0, 400.0), {"dropsPerSecond": None}, False),
    "less may be": (place("can", 0.0, 4.0), {"dropsPerSecond": 3}, True),
}


@pytest.mark.parametrize("what", DROPS)
def test_drops_that_rise_where_a_commit_is_take_it_back_with_the_numbers(what: str) -> None:
    """Only of clusters that hold the commit, and only against what was measured before it."""
    can, rules, is_taken_back = DROPS[what]
    status = stepped(can, FAR, **rules)
    assert (status.phase == "RolledBack", status.reason) == (is_taken_back, "DropRateRose" if is_taken_back else None)
    if what == "they rose by more than may be":
        assert status.message.endswith("wave canary: can: policies drop 40.25 packets a second, 0.5 before the commit")


def test_a_policy_test_that_fails_for_what_runs_keeps_a_commit_from_the_first_wave() -> None:
    """Nobody is given it; without waves nothing halts, as before."""
    spec = RolloutSpec.model_validate({"waves": [CANARY]})
    places = [place("can", None, None, commit=OLD), place("far", None, None, commit=OLD)]
    complete = RolloutStatus(commit=OLD, good=OLD)
    found = next_step(spec, complete, Candidate(NEW, failures=("t.yaml:9: a -> b 443/TCP is denied",)), places, now=NOW)
    assert (found.status.phase, found.status.reason, set(found.commits.values())) == (
        "RolledBack",
        "PolicyTestFailed",
        {OLD},
    )
    assert "for what runs now, t.yaml:9: a -> b 443/TCP is denied" in found.status.message
    free = next_step(RolloutSpec(), complete, Candidate(NEW, failures=("x",)), places, now=NOW)
    assert set(free.commits.values()) == {NEW}


POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: lab}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: portal, TIER}}}], ports: [{port: 443}]}]
"""
TEST = """apiVersion: atoll.dev/v1alpha1
kind: PolicyTest
metadata: {name: web}
workloads:
  web: {namespace: lab, labels: {app: web}}
  portal: {namespace: lab, labels: {app: portal, tier: front}}
flows: [{from: portal, to: web, port: 443, expect: Allow, why: users come in here}]
"""
WIDE, NARROW, STRICT = (POLICY.replace("TIER", tier) for tier in ("", "tier: front", "tier: front, zone: a"))
RUNNING = (
    LabelSet(namespace="lab", labels={"app": "web"}, pods=3),
    LabelSet(namespace="lab", labels={"app": "portal", "tier": "front", "version": "7"}, pods=2),
)


def live_failures(policy: str, *running: LabelSet) -> list[str]:
    live = {name: ClusterWorkloads(sets=running) for name in ("near", "far")}
    targets = {name: Target(name, {}, "cilium", "1.19.4") for name in live}
    manifests = parse_file(policy.replace(", }", "}"), "web.yaml").manifests
    compiled = {name: compile_for(manifests, target) for name, target in targets.items()}
    fleet = Fleet((), targets, namespaces_of(live), compiled=compiled)
    return [str(one) for one in run_live(parse_scenarios(TEST, "web.policytest.yaml").scenarios, fleet, live)]


def test_a_stated_flow_is_asked_of_everything_that_runs_with_the_labels_it_states() -> None:
    """In each cluster by itself, as the test says nothing of clusters; what nobody runs cannot fail."""
    assert live_failures(NARROW, *RUNNING) == []
    assert live_failures(STRICT, *RUNNING) == [
        f"web.policytest.yaml:7: lab/portal@{name} -> lab/web@{name} 443/TCP is denied (users come in here)"
        for name in ("far", "near")
    ]
    assert live_failures(STRICT, RUNNING[0]) == []


@pytest.fixture
async def canary(bus: Bus) -> AsyncIterator[Member]:
    async with joined(bus, "can") as member:
        yield member


@pytest.fixture
async def far(bus: Bus) -> AsyncIterator[Member]:
    async with joined(bus, "far") as member:
        yield member


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path, canary: Member, far: Member) -> AsyncIterator[HubClient]:
    """A hub with a canary, in which pods run, and another cluster."""
    first = manifest("Cluster", "can")
    first["metadata"]["labels"] = {"wave": "canary"}
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(first, manifest("Cluster", "far"))
        for name in LABELS:
            await client.phase(f"{API}/clusters/{name}", "Ready")
        await canary.report("inventory/workloads/3", WorkloadsReport(namespaces={"lab": {}}, sets=RUNNING, at=now()))
        yield client


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "policies")


async def test_a_commit_is_planned_among_what_runs_halted_by_its_numbers_and_taken_back(
    hub: HubClient, canary: Member, far: Member, repository: Repository
) -> None:
    """The plan stands in the status, the reason in a condition, and the cluster is back at the commit before."""
    spec = policyset(repository)["spec"] | {"rollout": {"waves": [CANARY | {"wait": "0s"}]}}
    first = repository.commit(web=WIDE.replace(", }", "}"))
    await hub.apply(manifest("PolicySet", "base", spec))
    await hold(canary, first)
    await hold(far, first)
    shut = await repository_commit(repository, hub, web=NARROW)
    plan = await planned(hub, shut)
    assert (plan["against"], [each["cluster"] for each in plan["clusters"]]) == (first, ["can", "far"])
    assert plan["clusters"][0] | {"changed": 1, "labelSets": 2} == plan["clusters"][0]
    await ordered(canary, shut)
    risen = PolicyTraffic(drops_per_second=77.0, drops_per_second_before=1.0, nodes=2, at=now())
    await canary.report(
        "policyset/base", PolicyReport(name="base", commit=shut, phase="Applied", objects=1, traffic=risen, at=now())
    )
    failed = await condition(hub, "RolloutFailed", "True")
    assert failed["reason"] == "DropRateRose" and "77 packets a second" in failed["message"]
    await ordered(canary, first)
    assert (await rollout(hub, "RolledBack"))["refused"] == shut
    workloads = await hub.get(f"{API}/clusters/can/workloads")
    assert [each["pods"] for each in workloads["sets"]] == [3, 2]


async def repository_commit(repository: Repository, hub: HubClient, **files: str) -> str:
    """Commit once the commit before is complete everywhere that is heard."""

    async def is_complete() -> bool:
        found: dict[str, Any] = (await hub.status(SET)).get("rollout") or {}
        return bool(found.get("good"))

    assert await eventually(is_complete)
    return repository.commit(**files)


async def planned(hub: HubClient, commit: str) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        plan = (await hub.status(SET)).get("plan") or {}
        return plan if plan.get("commit") == commit else None

    found = await eventually(check)
    assert found is not None
    return found
