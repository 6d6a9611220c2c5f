"""Clusters in a running hub: sleep by a schedule, and room that jobs see sooner than people."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.inventory_messages import EventsReport
from atoll.federation.bus.messages import InventoryReport
from atoll.federation.resources import Inventory
from atoll.federation.resources.inventory import OwnedEvent
from hub.support import (
    API,
    HubClient,
    Member,
    eventually,
    inventory,
    job_spec,
    joined,
    manifest,
    now,
    path_of,
    running_hub,
)

LAB, PATH = "seismology", f"{API}/clusters/onprem"


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    """A hub that waits 1.5 s for heartbeats."""
    async with running_hub(nats_server.url, tmp_path, heartbeat_timeout_seconds=1.5) as client:
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
        yield client


@contextlib.asynccontextmanager
async def ready(hub: HubClient, bus: Bus, nodes: Inventory | None = None, **spec: Any) -> AsyncIterator[Member]:
    async with joined(bus, "onprem", nodes=nodes) as member:
        await hub.apply(manifest("Cluster", "onprem", spec))
        await hub.phase(PATH, "Ready")
        yield member


async def phases(hub: HubClient) -> dict[str, float]:
    """Read the clusters by phase out of the hub's metrics."""
    text = (await hub.http.get("/metrics")).text
    lines = [line.split() for line in text.splitlines() if line.startswith("atoll_hub_clusters{")]
    return {name.split('"')[1]: float(value) for name, value in lines if float(value)}


async def told(hub: HubClient, *reasons: str) -> dict[str, str]:
    """Wait for events about clusters; give their types by reason."""

    async def check() -> dict[str, str] | None:
        items = (await hub.get("/api/v1/namespaces/default/events"))["items"]
        found = {event["reason"]: event["type"] for event in items}
        return found if set(reasons) <= found.keys() else None

    found = await eventually(check)
    assert found is not None
    return found


def awake_in(hours: int) -> dict[str, Any]:
    """Make a schedule that is awake for one minute a day, in so many hours from now."""
    starts = now() + timedelta(hours=hours)
    ends = starts + timedelta(minutes=1)
    return {"awake": [{"from": f"{starts:%H:%M}", "until": f"{ends:%H:%M}"}]}


async def test_a_cluster_sleeps_by_its_schedule_and_is_missed_as_soon_as_the_schedule_is_gone(
    hub: HubClient, bus: Bus
) -> None:
    async with ready(hub, bus, schedule=awake_in(12)):
        assert await phases(hub) == {"Ready": 1}
    status = await hub.phase(PATH, "Asleep")
    assert (status["reason"], "lostSince" in status) == ("Scheduled", False)
    assert status["message"].startswith("asleep by its schedule until ")
    assert status["wakesAt"] > status["lastProvenAt"]
    assert await phases(hub) == {"Asleep": 1}
    job = manifest("Job", "waits", job_spec(), LAB)
    await hub.apply(job)

    async def explained() -> bool:
        return "1 ClusterAsleep" in (await hub.status(path_of(job))).get("message", "")

    assert await eventually(explained)
    merge = {"content-type": "application/merge-patch+json"}
    await hub.http.patch(PATH, json={"spec": {"schedule": None}}, headers=merge)
    status = await hub.phase(PATH, "Unreachable")
    assert status["lostSince"] == status["lastProvenAt"]
    assert "wakesAt" not in status
    async with joined(bus, "onprem"):
        await hub.phase(PATH, "Ready")
        types = await told(hub, "ClusterReady", "ClusterAsleep", "ClusterUnreachable")
    assert (types["ClusterReady"], types["ClusterAsleep"], types["ClusterUnreachable"]) == (
        "Normal",
        "Normal",
        "Warning",
    )


async def test_a_schedule_with_a_wrong_field_is_refused_and_changes_nothing(hub: HubClient, bus: Bus) -> None:
    async with ready(hub, bus):
        wrong = {"timeZone": "Mars/Base", "awake": [{"from": "7", "until": "19:00"}]}
        merge = {"content-type": "application/merge-patch+json"}
        answer = await hub.http.patch(PATH, json={"spec": {"schedule": wrong}}, headers=merge)
        assert answer.status_code == 422
        fields = [cause["field"] for cause in answer.json()["details"]["causes"]]
        assert fields == ["spec.schedule.timeZone", "spec.schedule.awake[0].from"]
        assert "schedule" not in (await hub.get(PATH))["spec"]


async def test_jobs_see_room_within_a_second_and_people_see_the_last_of_many_changes_some_seconds_later(
    hub: HubClient, bus: Bus
) -> None:
    async with ready(hub, bus, nodes=inventory().model_copy(update={"shapes": (), "free_gpus": ()})) as member:
        job = manifest("Job", "quick", job_spec(gpu={"count": 1}), LAB)
        await hub.apply(job)
        await member.report("inventory", InventoryReport(inventory=inventory(), at=now()))
        async with asyncio.timeout(1):
            await hub.phase(path_of(job), "Placed", "Starting", "Running", "Committing", "Succeeded")
        assert (await hub.status(PATH))["inventory"]["freeGpus"] == []
        seen: set[str] = set()
        for number in range(60):
            changed = inventory().model_copy(update={"nodes": 100 + number})
            await member.report("inventory", InventoryReport(inventory=changed, at=now()))
            seen.add((await hub.get(PATH))["metadata"]["resourceVersion"])

        async def is_newest() -> bool:
            return bool((await hub.status(PATH))["inventory"]["nodes"] == 159)

        assert len(seen) <= 5, "dates are written as time goes by, and room once"
        assert await eventually(is_newest)


async def test_warnings_of_a_cluster_are_shown_as_they_come_and_stay_when_it_falls_silent(
    hub: HubClient, bus: Bus
) -> None:
    async with joined(bus, "onprem") as member:
        event = OwnedEvent(owner="run/lab/a-1", kind="Pod", name="a-1-x", reason="BackOff", message="m", last_at=now())
        await member.report("events", EventsReport(events=(event,), at=now()))
        await hub.apply(manifest("Cluster", "onprem"))

        async def shown() -> list[dict[str, Any]]:
            return list((await hub.status(PATH)).get("warnings", []))

        (warning,) = await eventually(shown)
        assert (warning["name"], warning["reason"]) == ("a-1-x", "BackOff")
    await hub.phase(PATH, "Unreachable")
    assert await shown() == [warning]
