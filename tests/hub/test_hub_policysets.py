"""A Git folder becomes orders per cluster, and stays in force whatever happens to Git."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import DriftRecord, PolicyOrder, PolicyReport
from atoll.policies.remotes.reach import Reach
from git_repository import begin, commit
from hub.support import API, HubClient, Member, eventually, joined, manifest, now, running_hub

SET = f"{API}/policysets/base"
POLICY = """apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: NAME, namespace: seismology}
spec:
  podSelector: {}
  policyTypes: [Ingress]
"""


class Repository:
    """A Git repository on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        begin(path)

    def commit(self, **files: str) -> str:
        for name, text in files.items():
            (self.path / f"{name}.yaml").write_text(text)
        return commit(self.path)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "policies")


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path, member: Member) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(manifest("Cluster", "onprem"))
        await client.phase(f"{API}/clusters/onprem", "Ready")
        yield client


def policyset(repository: Repository) -> dict[str, Any]:
    return manifest("PolicySet", "base", {"source": {"repository": str(repository.path), "interval": "1s"}})


async def ordered(member: Member, commit: str) -> PolicyOrder:
    """Wait until the member is ordered to hold a commit."""

    async def check() -> PolicyOrder | None:
        value = member.orders.get("policyset/base")
        order = PolicyOrder.decode(value) if value else None
        return order if order is not None and order.commit == commit else None

    found = await eventually(check)
    assert found is not None
    return found


async def condition(hub: HubClient, kind: str, status: str) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        conditions = (await hub.status(SET)).get("conditions", ())
        return next((c for c in conditions if (c["type"], c["status"]) == (kind, status)), None)

    found = await eventually(check)
    assert found is not None
    return found


async def test_commits_are_followed_and_what_agents_hold_is_shown(
    hub: HubClient, member: Member, repository: Repository
) -> None:
    first = repository.commit(one=POLICY.replace("NAME", "one"))
    await hub.apply(policyset(repository))
    order = await ordered(member, first)
    assert [(m["kind"], m["metadata"]["name"]) for m in order.manifests] == [("NetworkPolicy", "one")]
    assert order.manifests[0]["metadata"]["labels"]["atoll.dev/policyset"] == "base"
    second = repository.commit(two=POLICY.replace("NAME", "two"))
    order = await ordered(member, second)
    assert [m["metadata"]["name"] for m in order.manifests] == ["one", "two"]
    drift = DriftRecord(
        kind="NetworkPolicy", namespace="seismology", name="one", paths=("spec",), at=now(), healed=True
    )
    held = PolicyReport(
        name="base", commit=second, phase="Applied", objects=2, drift_healed=1, drifts=(drift,), at=now()
    )
    await member.report("policyset/base", held)
    await condition(hub, "Ready", "True")
    row = (await hub.status(SET))["clusters"][0]
    assert (row["phase"], row["commit"], row["driftHealed"]) == ("Applied", second, 1)

    async def is_told() -> bool:
        events = await hub.get("/api/v1/namespaces/default/events")
        return "DriftHealed" in {event["reason"] for event in events["items"]}

    assert await eventually(is_told)


async def test_a_broken_commit_is_not_rolled_out_and_the_last_good_one_stays(
    hub: HubClient, member: Member, repository: Repository
) -> None:
    good = repository.commit(one=POLICY.replace("NAME", "one"))
    await hub.apply(policyset(repository))
    await ordered(member, good)
    repository.commit(two=POLICY.replace("policyTypes", "policyTypos"))
    said = await condition(hub, "SourceReady", "False")
    assert said["reason"] == "InvalidPolicies"
    assert "two.yaml" in said["message"]
    assert PolicyOrder.decode(member.orders["policyset/base"]).commit == good
    assert (await hub.status(SET))["commit"] == good


async def test_a_repository_that_has_gone_changes_nothing_in_force_even_after_a_restart(
    bus: Bus, nats_server: Any, tmp_path: Path, repository: Repository
) -> None:
    commit = repository.commit(one=POLICY.replace("NAME", "one"))
    async with joined(bus, "onprem") as member:
        async with running_hub(nats_server.url, tmp_path) as hub:
            await hub.apply(manifest("Cluster", "onprem"), policyset(repository))
            await ordered(member, commit)
            repository.path.rename(tmp_path / "moved")
            assert (await condition(hub, "SourceReady", "False"))["reason"] == "SourceUnreadable"
            ready = await condition(hub, "Ready", "False")
            assert ready["reason"] == "SourceUnreadable"
            assert "is no Git repository" in ready["message"]
            assert f"commit {commit[:12]} stays in force" in ready["message"]
        async with running_hub(nats_server.url, tmp_path) as hub:
            await condition(hub, "SourceReady", "False")
            assert (await hub.status(SET))["commit"] == commit
            assert PolicyOrder.decode(member.orders["policyset/base"]).commit == commit
            (tmp_path / "moved").rename(repository.path)
            await condition(hub, "SourceReady", "True")


async def test_a_repository_where_git_may_not_go_is_told_with_the_setting_that_allows_it(
    nats_server: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = {"repository": "https://ada:secret@127.0.0.1:1/policies.git", "interval": "1s"}
    async with running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("PolicySet", "base", {"source": source}))
        said = await condition(hub, "SourceReady", "False")
        assert said["reason"] == "AddressRefused"
        assert said["message"] == (
            "source.repository https://127.0.0.1:1/policies.git leads to 127.0.0.1, a loopback address, "
            "where the hub's Git does not go; if policies are kept there, start the hub with --git-allow 127.0.0.1"
        )
    async with running_hub(nats_server.url, tmp_path, git_reach=Reach.parse(["127.0.0.1"], [])) as hub:

        async def has_tried() -> bool:
            conditions = (await hub.status(SET)).get("conditions", ())
            return "SourceUnreadable" in {each["reason"] for each in conditions if each["type"] == "SourceReady"}

        assert await eventually(has_tried)
    written = capfd.readouterr().out
    assert "could not be read" in written and "secret" not in written


async def test_a_deleted_set_and_a_cluster_that_is_no_longer_meant_lose_their_order(
    hub: HubClient, member: Member, repository: Repository
) -> None:
    commit = repository.commit(one=POLICY.replace("NAME", "one"))
    await hub.apply(policyset(repository))
    await ordered(member, commit)
    merge = {"Content-Type": "application/merge-patch+json"}
    targets = {"spec": {"targets": {"clusters": {"matchLabels": {"tier": "edge"}}}}}

    async def is_withdrawn() -> bool:
        return "policyset/base" not in member.orders

    await hub.http.patch(SET, json=targets, headers=merge)
    assert await eventually(is_withdrawn)
    await hub.http.patch(f"{API}/clusters/onprem", json={"metadata": {"labels": {"tier": "edge"}}}, headers=merge)
    await ordered(member, commit)
    await hub.http.delete(SET)
    assert await eventually(is_withdrawn)


async def test_a_commit_goes_by_waves_waits_for_a_person_is_pinned_back_and_outlives_the_hub(
    nats_server: Any, tmp_path: Path, bus: Bus, member: Member, repository: Repository
) -> None:
    waves = [
        {"name": "canary", "clusters": {"matchLabels": {"wave": "canary"}}},
        {"name": "rest", "approval": True},
    ]
    spec = policyset(repository)["spec"] | {"rollout": {"waves": waves}}
    first = repository.commit(one=POLICY.replace("NAME", "one"))
    canary = manifest("Cluster", "cloud")
    canary["metadata"]["labels"] = {"wave": "canary"}
    async with joined(bus, "cloud") as cloud, running_hub(nats_server.url, tmp_path) as hub:
        await hub.apply(manifest("Cluster", "onprem"), canary)
        for name in ("onprem", "cloud"):
            await hub.phase(f"{API}/clusters/{name}", "Ready")
        await hub.apply(manifest("PolicySet", "base", spec))
        await hold(cloud, first)
        await rollout(hub, "AwaitingApproval")
        assert "policyset/base" not in member.orders
        await approve(hub, first)
        await hold(member, first)
        await rollout(hub, "Complete")
        second = repository.commit(two=POLICY.replace("NAME", "two"))
        await hold(cloud, second)
        await rollout(hub, "AwaitingApproval")  # what was approved is the first commit, not this one
    async with joined(bus, "cloud") as cloud, running_hub(nats_server.url, tmp_path) as hub:
        assert (await rollout(hub, "AwaitingApproval"))["commit"] == second
        assert PolicyOrder.decode(member.orders["policyset/base"]).commit == first
        await hub.http.patch(SET, json={"spec": {"pinnedCommit": first}}, headers=MERGE)
        await hold(cloud, first)
        await hold(member, first)
        await rollout(hub, "Complete")


MERGE = {"Content-Type": "application/merge-patch+json"}


async def hold(member: Member, commit: str) -> None:
    """Wait until a member is ordered a commit, and say that it holds it."""
    order = await ordered(member, commit)
    report = PolicyReport(name="base", commit=commit, phase="Applied", objects=len(order.manifests), at=now())
    await member.report("policyset/base", report)


async def approve(hub: HubClient, commit: str) -> None:
    change = {"metadata": {"annotations": {"atoll.dev/approved-commit": commit}}}
    await hub.http.patch(SET, json=change, headers=MERGE)


async def rollout(hub: HubClient, phase: str) -> dict[str, Any]:
    async def check() -> dict[str, Any] | None:
        found = (await hub.status(SET)).get("rollout") or {}
        return found if found.get("phase") == phase else None

    found = await eventually(check)
    assert found is not None
    return found
