"""Orders to members: written once, guarded, taken back when their object goes, and never at the price of files."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import GatewayOrder, GatewayReport
from atoll.federation.bus.messages import Heartbeat
from atoll.federation.bus.subjects import DESIRED_STREAM, OBSERVED_STREAM, desired_prefix, observed_prefix
from atoll.federation.errors import Conflict
from atoll.federation.resources import Queue, StreamLedger
from atoll.hub.members import Desired, Observed
from atoll.hub.members import Path as MemberPath
from hub.support import API, HubClient, Member, eventually, manifest, now, path_of, running_hub

LAB = "seismology"
STREAM = manifest(
    "Stream", "anmo", {"gateway": "lab-a", "topics": ["seis/#"], "dataset": "anmo.{date}", "home": "onprem"}, LAB
)


@contextlib.asynccontextmanager
async def copy(bus: Bus, kind: type[Desired] | type[Observed]) -> AsyncIterator[Any]:
    """A copy of a table that is kept up to date during the context."""
    table = kind.on(bus, clock=now)
    task = asyncio.create_task(table.run())
    await asyncio.wait_for(table.synced.wait(), 10)
    yield table
    task.cancel()
    await asyncio.wait({task})


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path, member: Member) -> AsyncIterator[HubClient]:
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(
            manifest("Namespace", LAB),
            manifest("Queue", "lab"),
            manifest("Gateway", "lab-a"),
            manifest("Cluster", "onprem"),
        )
        await client.phase(f"{API}/clusters/onprem", "Ready")
        yield client


def beat(seconds: int) -> Heartbeat:
    return Heartbeat(started_at=now(), message=str(seconds), at=now())


async def test_an_order_is_written_once_and_a_deposed_leaders_order_is_refused(bus: Bus) -> None:
    path = MemberPath("cluster", "onprem", "policyset/base")
    async with copy(bus, Desired) as leader, copy(bus, Desired) as deposed:
        order = beat(1)
        assert await leader.put(path, order)
        assert not await leader.put(path, order), "an order that stands already is not written again"
        # The deposed leader decides in the moment before it hears of the new order: no await lies between.
        writing = asyncio.gather(leader.put(path, beat(2)), deposed.put(path, beat(3)), return_exceptions=True)
        results = await writing
        assert [type(result) for result in results].count(Conflict) == 1, "of two writers at once, one is refused"
        winner = leader if results[0] is True else deposed
        assert await winner.remove(path)
        assert not await winner.remove(path)


async def test_reports_that_were_there_before_carry_no_time_of_arrival_and_live_ones_do(bus: Bus) -> None:
    table = bus.table(OBSERVED_STREAM, observed_prefix("cluster", "onprem"))
    path = MemberPath("cluster", "onprem", "heartbeat")
    await table.put("heartbeat", beat(1).encode())
    async with copy(bus, Observed) as observed:
        assert observed.held(path).received_at is None
        await table.put("heartbeat", beat(2).encode())

        async def is_live() -> bool:
            return observed.held(path).received_at is not None

        assert await eventually(is_live)
        assert observed.read(Heartbeat, path).message == "2"
        await table.put("heartbeat", b"nonsense")

        async def is_unreadable() -> bool:
            return observed.read(Heartbeat, path) is None

        assert await eventually(is_unreadable)


async def test_a_stream_is_ordered_at_its_gateway_and_its_home_and_taken_back_with_it(
    hub: HubClient, bus: Bus, member: Member
) -> None:
    await hub.apply(STREAM)
    gateway = bus.table(DESIRED_STREAM, desired_prefix("gateway", "lab-a"))

    async def streams() -> list[str]:
        held = await gateway.get("streams")
        return [item.name for item in GatewayOrder.decode(held.value).streams] if held and held.value else []

    async def is_ordered() -> bool:
        return await streams() == ["anmo"] and {f"stream/{LAB}/anmo", f"service/{LAB}"} <= member.orders.keys()

    assert await eventually(is_ordered)
    assert (await bus.api("STREAM.INFO.LAB_lab-a"))["config"]["discard"] == "new", "its readings have a place"
    reports = bus.table(OBSERVED_STREAM, observed_prefix("gateway", "lab-a"))
    row = StreamLedger(stream=f"{LAB}/anmo", received=9, forwarded=8, committed=7)
    await reports.put("heartbeat", GatewayReport(broker_connected=True, ledger=(row,), at=now()).encode())
    await hub.phase(f"{API}/gateways/lab-a", "Ready")

    async def is_counted() -> bool:
        status = await hub.status(path_of(STREAM))
        return (status.get("received"), status.get("committed")) == (9, 7)

    assert await eventually(is_counted)
    await hub.http.delete(path_of(STREAM))

    async def is_withdrawn() -> bool:
        return (
            not await streams() and f"stream/{LAB}/anmo" not in member.orders and f"service/{LAB}" not in member.orders
        )

    assert await eventually(is_withdrawn)


async def test_a_data_service_stays_while_files_are_known_there(hub: HubClient, member: Member) -> None:
    await hub.apply(STREAM)
    await member.dataset(LAB, "anmo.1")
    path = f"{API}/namespaces/{LAB}/datasets/anmo.1"

    async def exists() -> bool:
        return (await hub.http.get(path)).status_code == 200 and f"service/{LAB}" in member.orders

    assert await eventually(exists)
    await hub.http.delete(path_of(STREAM))
    await hub.http.delete(path)

    async def is_back() -> bool:
        answer = await hub.http.get(path)
        return answer.status_code == 200 and f"stream/{LAB}/anmo" not in member.orders

    assert await eventually(is_back), "a dataset is what is on the volumes: its object comes back"
    assert f"service/{LAB}" in member.orders


async def test_a_declared_dataset_gets_its_home_from_the_first_files(hub: HubClient, member: Member) -> None:
    declared = manifest("Dataset", "picks.1", {}, LAB)
    await hub.apply(declared)
    assert "home" not in (await hub.get(path_of(declared)))["spec"]
    await member.dataset(LAB, "picks.1")

    async def has_home() -> bool:
        found = await hub.get(path_of(declared))
        return found["spec"].get("home") == "onprem" and found["metadata"]["labels"] == {"atoll.dev/home": "onprem"}

    assert await eventually(has_home)


async def test_a_deleted_cluster_is_ordered_nothing_any_more(hub: HubClient, member: Member) -> None:
    await hub.apply(STREAM)

    async def is_ordered() -> bool:
        return f"service/{LAB}" in member.orders

    assert await eventually(is_ordered)
    await hub.http.delete(path_of(STREAM))
    await hub.http.delete(f"{API}/clusters/onprem")

    async def is_empty() -> bool:
        return not member.orders.keys() - {"store"}  # the mark of the store is no order

    assert await eventually(is_empty)


async def test_equal_events_are_counted_and_old_ones_dropped(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    async with running_hub(nats_server.url, tmp_path, event_retention_seconds=2.0) as hub:
        await hub.apply(manifest("Queue", "lab"))
        queue = await hub.hub.client.get(Queue, None, "lab")
        events = hub.hub.context.events
        assert queue is not None
        for _ in range(3):
            await events.record(queue, "Tested", "the same")
        await events.record(queue, "Tested", "another")
        listed = (await hub.get("/api/v1/namespaces/default/events"))["items"]
        assert sorted((event["message"], event["count"]) for event in listed) == [("another", 1), ("the same", 3)]
        assert {event["involvedObject"]["name"] for event in listed} == {"lab"}
        assert await events.prune() == 0
        await asyncio.sleep(3.1)
        assert await events.prune() == 2
        assert (await hub.get("/api/v1/namespaces/default/events"))["items"] == []


async def test_a_log_that_nats_has_no_room_for_is_told_and_nothing_is_ordered(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    async with running_hub(nats_server.url, tmp_path, lab_log_bytes=10**17) as hub:
        await hub.apply(manifest("Gateway", "lab-a"))

        async def is_told() -> bool:
            events = (await hub.get("/api/v1/namespaces/default/events"))["items"]
            return "LogRefused" in {event["reason"] for event in events}

        assert await eventually(is_told)
        gateway = bus.table(DESIRED_STREAM, desired_prefix("gateway", "lab-a"))
        assert await gateway.get("streams") is None, "it would forward readings that have no place"
    async with running_hub(nats_server.url, tmp_path) as hub:

        async def is_cleared() -> bool:
            events = (await hub.get("/api/v1/namespaces/default/events"))["items"]
            return "LogRefused" not in {event["reason"] for event in events}

        assert await eventually(is_cleared)
        assert await gateway.get("streams") is not None


async def test_a_listener_hears_of_an_order_once(bus: Bus, member: Member) -> None:
    """What a hub writes comes back to it from NATS a moment later: that is no news. What another one writes is."""
    own, others = "run/lab/own", "run/lab/others"
    async with copy(bus, Desired) as desired, copy(bus, Desired) as other_hub:
        changes, heard = desired.changes(), list[str]()
        await anext(changes)

        async def listen() -> None:
            async for paths in changes:
                heard.extend(each.rest for each in paths)

        async def has_heard_both() -> bool:
            return {own, others} <= set(heard)

        listening = asyncio.create_task(listen())
        await desired.put(MemberPath("cluster", "onprem", own), beat(1))
        await asyncio.sleep(0)  # the listener takes what it was told by the write itself
        await other_hub.put(MemberPath("cluster", "onprem", others), beat(2))  # comes after what comes back
        await eventually(has_heard_both)
        assert heard.count(own) == 1
        listening.cancel()
        await asyncio.wait({listening})
