"""A log that three servers keep: acknowledged when two have it, once and in order while any one of them is killed."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from log_traffic import read_all, write_all
from nats_cluster import ClusterNode, launch_cluster

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import lab_stream
from atoll.federation.errors import AtollError
from hub.support import eventually, manifest, running_hub


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[list[ClusterNode]]:
    nodes = await asyncio.to_thread(launch_cluster, tmp_path)
    yield nodes
    for node in nodes:
        node.kill9()


async def _make_log(bus: Bus) -> None:
    """Make the log as soon as the servers have found each other."""
    bus.replicas = 3
    async with asyncio.timeout(60):
        while True:
            try:
                await bus.request("$JS.API.INFO", b"", timeout_seconds=0.5)
                await bus.ensure_log("LAB_a", "lab.a", max_bytes=50_000_000)
                return
            except AtollError:
                await asyncio.sleep(0.1)


@pytest.mark.faults
async def test_a_log_of_three_servers_keeps_every_entry_once_and_in_order_over_the_death_of_its_leader(
    cluster: list[ClusterNode],
) -> None:
    total = 400
    bus = await Bus.connect(",".join(node.url for node in cluster), name="test", wait_seconds=30)
    await _make_log(bus)
    info = await bus.api("STREAM.INFO.LAB_a")
    assert info["config"]["num_replicas"] == 3
    writing = asyncio.create_task(write_all(bus, total, window=32, deadline_seconds=30, pause_seconds=0.001))
    async with asyncio.timeout(30):
        while (await bus.api("STREAM.INFO.LAB_a"))["state"]["last_seq"] < 100:
            await asyncio.sleep(0.05)
    leader = next(node for node in cluster if node.name == info["cluster"]["leader"])
    await asyncio.to_thread(leader.restart)
    async with asyncio.timeout(80):
        await writing
        got = await read_all(bus, total)
    assert got == [b"%d" % number for number in range(1, total + 1)]
    await bus.close()


async def test_a_hub_that_is_told_so_keeps_every_stream_on_three_servers(
    cluster: list[ClusterNode], tmp_path: Path
) -> None:
    url = ",".join(node.url for node in cluster)
    bus = await Bus.connect(url, name="test", wait_seconds=30)
    await _make_log(bus)  # the servers have found each other
    async with running_hub(url, tmp_path / "hub", nats_replicas=3) as client:
        await client.apply(manifest("Gateway", "lab"))

        async def has_log() -> bool:
            return lab_stream("lab") in (await bus.api("STREAM.NAMES"))["streams"]

        assert await eventually(has_log)
        streams = (await bus.api("STREAM.LIST"))["streams"]
        assert {each["config"]["name"]: each["config"]["num_replicas"] for each in streams} == {
            each["config"]["name"]: 3 for each in streams
        }
    await bus.close()
