"""A hub whose clusters fall silent or are drained, with members in memory: where each job's lossPolicy takes it."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import RunOrder
from hub.support import API, HubClient, Member, eventually, job_spec, joined, manifest, path_of, running_hub

LAB = "seismology"
MERGE = {"Content-Type": "application/merge-patch+json"}


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path, heartbeat_timeout_seconds=1.5) as client:
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
        yield client


@contextlib.asynccontextmanager
async def heard(hub: HubClient, bus: Bus, name: str) -> AsyncIterator[Member]:
    """A cluster that is Ready and leaves its runs running."""
    async with joined(bus, name) as member:
        member.holds_runs = True
        if (await hub.http.get(f"{API}/clusters/{name}")).status_code == 404:
            await hub.apply(manifest("Cluster", name))
        await hub.phase(f"{API}/clusters/{name}", "Ready")
        yield member


async def started(hub: HubClient, policy: str, **changes: Any) -> dict[str, Any]:
    job = manifest("Job", "picks", job_spec(lossPolicy=policy, **changes), LAB)
    await hub.apply(job)
    await hub.phase(path_of(job), "Running")
    return job


def run_status(hub: HubClient, epoch: int) -> Callable[[], Awaitable[dict[str, Any]]]:
    async def read() -> dict[str, Any]:
        answer = await hub.http.get(f"{API}/namespaces/{LAB}/runs/picks-{epoch}")
        return dict(answer.json().get("status", {})) if answer.status_code == 200 else {}

    return read


async def reached(read: Callable[[], Awaitable[dict[str, Any]]], phase: str, reason: str = "") -> None:
    async def check() -> bool:
        status = await read()
        return status.get("phase") == phase and reason in ("", status.get("reason"))

    await eventually(check)


def order(member: Member, epoch: int) -> RunOrder | None:
    value = member.orders.get(f"run/{LAB}/picks-{epoch}")
    return RunOrder.decode(value) if value is not None else None


async def test_a_doubled_job_runs_elsewhere_and_what_was_lost_is_stopped_when_it_is_heard_and_commits_nothing(
    hub: HubClient, bus: Bus
) -> None:
    outputs = [{"dataset": "picks", "mountPath": "/out"}]
    async with contextlib.AsyncExitStack() as stack:
        async with heard(hub, bus, "first"):
            job = await started(hub, "Duplicate", outputs=outputs)
            second = await stack.enter_async_context(heard(hub, bus, "second"))
        await reached(run_status(hub, 2), "Running")
        await reached(run_status(hub, 1), "Failed", "StaleEpoch")
        again = await stack.enter_async_context(heard(hub, bus, "first"))
        old = order(again, 1)
        assert old is not None
        assert old.cancelled
        await again.tell(old, "Succeeded")
        newer = order(second, 2)
        assert newer is not None
        await second.tell(newer, "Succeeded")
        await hub.phase(path_of(job), "Succeeded")
        assert [key for key in again.orders if key.startswith("commit/")] == []


async def test_a_job_that_waits_stays_where_it_is_however_long_its_cluster_is_silent(hub: HubClient, bus: Bus) -> None:
    async with heard(hub, bus, "second"):
        await hub.http.patch(f"{API}/clusters/second", json={"spec": {"unschedulable": True}}, headers=MERGE)
        async with heard(hub, bus, "first"):
            job = await started(hub, "Wait")
            await hub.http.patch(f"{API}/clusters/second", json={"spec": {"unschedulable": False}}, headers=MERGE)
        await hub.phase(f"{API}/clusters/first", "Unreachable")
        async with heard(hub, bus, "first") as again:
            status = await hub.status(path_of(job))
            assert (status["phase"], status["cluster"], status["attempts"]) == ("Running", "first", 1)
            kept = order(again, 1)
            assert kept is not None
            assert (kept.cancelled, kept.lease_seconds) == (False, None)


@pytest.mark.parametrize(("policy", "evict"), [("Failover", "ByPolicy"), ("Wait", "All")])
async def test_a_drained_run_is_stopped_before_the_next_attempt_begins(
    hub: HubClient, bus: Bus, policy: str, evict: str
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(heard(hub, bus, "first"))
        job = await started(hub, policy)
        second = await stack.enter_async_context(heard(hub, bus, "second"))
        drain = {"spec": {"draining": True, "evict": evict}}
        await hub.http.patch(f"{API}/clusters/first", json=drain, headers=MERGE)
        await reached(run_status(hub, 1), "Failed", "Drained")
        await reached(run_status(hub, 2), "Running")
        stopped = order(first, 1)
        assert stopped is not None
        assert stopped.cancelled
        assert second.starts == ["picks-2-e2"]
        status = await hub.status(path_of(job))
        assert (status["phase"], status["cluster"]) == ("Running", "second")


async def test_a_drained_run_that_may_be_doubled_goes_on_until_another_runs(hub: HubClient, bus: Bus) -> None:
    async with contextlib.AsyncExitStack() as stack:
        first = await stack.enter_async_context(heard(hub, bus, "first"))
        job = await started(hub, "Duplicate")
        await hub.http.patch(f"{API}/clusters/first", json={"spec": {"draining": True}}, headers=MERGE)
        await hub.phase(path_of(job), "Pending")
        kept = order(first, 1)
        assert kept is not None
        assert not kept.cancelled
        await stack.enter_async_context(heard(hub, bus, "second"))
        await reached(run_status(hub, 1), "Failed", "StaleEpoch")
        await reached(run_status(hub, 2), "Running")


async def test_a_drain_that_is_called_off_brings_a_doubled_job_back(hub: HubClient, bus: Bus) -> None:
    async with heard(hub, bus, "first"):
        job = await started(hub, "Duplicate")
        await hub.http.patch(f"{API}/clusters/first", json={"spec": {"draining": True}}, headers=MERGE)
        await hub.phase(path_of(job), "Pending")
        await hub.http.patch(f"{API}/clusters/first", json={"spec": {"draining": False}}, headers=MERGE)
        status = await hub.phase(path_of(job), "Running")
        assert (status["cluster"], status["attempts"]) == ("first", 1)


async def test_a_silent_cluster_shows_in_its_jobs_their_events_and_their_logs_until_it_is_heard(
    hub: HubClient, bus: Bus
) -> None:
    async def status() -> dict[str, Any]:
        return dict((await hub.http.get(path_of(job))).json()["status"])

    async with heard(hub, bus, "first"):
        job = await started(hub, "Wait")
    await reached(status, "Running", "ClusterSilent")
    assert "cluster first is not heard since" in (await status())["message"]

    async def is_told_once() -> bool:
        told = (await hub.http.get(f"/api/v1/namespaces/{LAB}/events")).json()["items"]
        return [event["count"] for event in told if event["reason"] == "ClusterSilent"] == [1]

    await eventually(is_told_once)
    answer = await hub.http.get(f"{path_of(job)}/log")
    assert answer.status_code == 503
    assert "cluster first has not been heard for" in answer.json()["message"]
    assert "rpc" not in answer.text
    async with heard(hub, bus, "first"):

        async def is_followed_again() -> bool:
            return (await status())["reason"] != "ClusterSilent"

        await eventually(is_followed_again)
