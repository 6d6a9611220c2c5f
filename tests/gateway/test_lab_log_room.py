"""A log that is smaller than what passes through it: hub, gateway, sink and NATS as they run, and nothing is lost."""

import asyncio
import base64
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
from datapath import (
    CLUSTER,
    DATASET,
    GATEWAY,
    NAMESPACE,
    STREAM,
    DataPath,
    Instruments,
    Server,
    connected,
    dataset_report,
    gateway_report,
    in_thread,
    publish,
    stream_order,
    until,
)

from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.subjects import lab_stream
from hub.support import HubClient, manifest, running_hub

LOG_BYTES = 150_000
TOPICS = ["lab/a/data", "lab/b/data"]


@dataclass
class Waveforms(Instruments):
    """Readings of 1.3 KB, numbered from `begin`."""

    begin: int = 0

    def payload(self, topic: str, number: int) -> bytes:
        noise = random.Random(f"{topic} {number}").randbytes(960)
        return f"{topic} {self.begin + number:06d} ".encode() + base64.b64encode(noise) + b"\n"


@pytest.fixture
async def bus(nats_mqtt_server: Any) -> AsyncIterator[Bus]:
    connection = await Bus.connect(nats_mqtt_server.url, name="test")
    yield connection
    await connection.close()


@pytest.fixture
async def hub(nats_path: DataPath, bus: Bus) -> AsyncIterator[HubClient]:
    async with running_hub(nats_path.nats.url, nats_path.home, lab_log_bytes=LOG_BYTES) as client:
        spec = stream_order(distinct=True).spec.wire()
        await client.apply(
            manifest("Namespace", NAMESPACE),
            manifest("Cluster", CLUSTER),
            manifest("Gateway", GATEWAY),
            manifest("Stream", STREAM, spec, NAMESPACE),
        )
        yield client


async def settled(bus: Bus, readings: int) -> int:
    """Wait until this many readings are in files and the log has been trimmed; give the log's last sequence."""

    async def is_settled() -> Any:
        report = await gateway_report(bus)
        extent = await LogTrimmer(bus, lab_stream(GATEWAY)).extent()
        is_in_files = report and report.ledger and report.ledger[0].committed == readings
        return is_in_files and extent.bytes <= LOG_BYTES / 2 and extent.last_sequence

    return int(await until(is_settled, 45))


@pytest.mark.faults
async def test_many_times_a_logs_size_passes_through_it_exactly_once_with_a_kill_of_nats_on_the_way(
    nats_path: DataPath, hub: HubClient, bus: Bus
) -> None:
    nats_path.start()
    await connected(bus)
    sent: dict[str, list[bytes]] = {topic: [] for topic in TOPICS}
    total, last = 0, 0
    for part in range(3):
        instruments = Waveforms(nats_path.broker_port, TOPICS, per_topic=100, begin=100 * part)
        await in_thread(instruments.publish_all)
        for topic, payloads in instruments.sent.items():
            sent[topic] += payloads
        total += instruments.total
        reached = await settled(bus, total)
        assert reached > last, "the gateway went on after the kill"
        last = reached
        if part < 2:
            server = Server(nats_path.nats)
            await in_thread(server.end)
            await in_thread(server.start)
            await connected(bus)
    assert sum(len(payload) for payloads in sent.values() for payload in payloads) > 5 * LOG_BYTES
    await in_thread(lambda: publish(nats_path.broker_port, "lab/end", b"end"))
    await assert_in_files(nats_path, bus, sent)


async def assert_in_files(path: DataPath, bus: Bus, sent: dict[str, list[bytes]]) -> None:
    async def complete() -> Any:
        report = await dataset_report(bus)
        return report if report and report.complete else None

    report = await until(complete)
    total = sum(map(len, sent.values()))
    assert (report.ledger.received, report.ledger.gaps, report.ledger.duplicates) == (total, 0, 0)
    for topic, payloads in sent.items():
        content = (path.root / DATASET / "v1" / topic.replace("/", ".")).read_bytes()
        assert content == b"".join(payloads), f"{topic} differs"
    assert (await asyncio.to_thread(verify, path.root, DATASET, 1)).problems == ()
