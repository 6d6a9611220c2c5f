"""A hub with a member in memory: who has to make room is stopped before the job that gets it begins."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import RunOrder
from hub.support import API, HubClient, Member, eventually, job_spec, joined, manifest, path_of, running_hub

LAB = "seismology"
ORDER = f"run/{LAB}/low-1"


@pytest.fixture
async def hub(bus: Bus, nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path) as client:
        rules = {"preemption": {"withinQueue": "LowerPriority"}, "maxRunningJobs": 1}
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab", rules), manifest("Cluster", "onprem"))
        yield client


async def is_told_to_go(member: Member) -> bool:
    order = member.orders.get(ORDER)
    return order is not None and RunOrder.decode(order).cancelled


async def has_reason(hub: HubClient, path: str, reason: str) -> bool:
    status = await hub.status(path)
    return (status["phase"], status["reason"]) == ("Pending", reason)


async def has_event(hub: HubClient, name: str, reason: str) -> bool:
    found = (await hub.http.get(f"/api/v1/namespaces/{LAB}/events")).json()["items"]
    return any((each["involvedObject"]["name"], each["reason"]) == (name, reason) for each in found)


async def test_a_run_that_makes_room_is_stopped_before_the_other_begins_and_its_job_comes_back(
    hub: HubClient, bus: Bus
) -> None:
    async with joined(bus, "onprem") as member:
        member.holds_runs = member.stops_late = True
        await hub.phase(f"{API}/clusters/onprem", "Ready")
        low, urgent = (
            manifest("Job", name, job_spec(priority=priority, expectedDuration="1h"), LAB)
            for name, priority in (("low", 0), ("urgent", 9))
        )
        await hub.apply(low)
        await hub.phase(path_of(low), "Running")
        await hub.apply(urgent)
        await eventually(lambda: is_told_to_go(member))
        await eventually(lambda: has_reason(hub, path_of(urgent), "Preempting"))
        assert member.starts == ["low-1-e1"]
        await member.tell(RunOrder.decode(member.orders[ORDER]), "Cancelled")
        await hub.phase(path_of(urgent), "Running")
        assert member.starts == ["low-1-e1", "urgent-1-e1"]
        stopped = (await hub.http.get(f"{API}/namespaces/{LAB}/runs/low-1")).json()
        assert (stopped["status"]["phase"], stopped["status"]["reason"]) == ("Failed", "Preempted")
        assert stopped["spec"]["preempted"]["by"] == f"{LAB}/urgent"
        await eventually(lambda: has_event(hub, "low-1", "Preempted"))
        await eventually(lambda: has_event(hub, "urgent", "Preempting"))
        status = await hub.status(path_of(low))
        assert (status["phase"], status["attempts"]) == ("Pending", 1)
