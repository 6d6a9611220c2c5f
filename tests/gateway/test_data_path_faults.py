"""G3: a reading that the broker acknowledged is in its file exactly once and in order, whatever is killed."""

import asyncio
import hashlib
import os
import random
from typing import Any

import pytest
from datapath import (
    DATASET,
    DataPath,
    Instruments,
    Mosquitto,
    Process,
    Server,
    connected,
    dataset_report,
    gateway_report,
    in_thread,
    order_streams,
    passing_on_commits,
    publish,
    stream_order,
    until,
)

from atoll.edge.sink.verify import verify
from atoll.federation.bus.connection import Bus

pytestmark = pytest.mark.faults
# More on demand: ATOLL_FAULT_SEEDS="2 3 4" pytest tests/gateway/test_data_path_faults.py
SEEDS = [int(seed) for seed in os.environ.get("ATOLL_FAULT_SEEDS", "1").split()]
TOPICS = [f"lab/i{number}/data" for number in range(5)]


async def wreak(victims: list[Process], chooser: random.Random, done: asyncio.Event) -> int:
    """Kill (-9) one process after another and start it again, until told that it is enough."""
    kills = 0
    while not done.is_set():
        await asyncio.sleep(chooser.uniform(0.3, 1.0))
        victim = chooser.choice(victims)
        await in_thread(victim.end)
        await asyncio.sleep(chooser.uniform(0.0, 0.4))
        await in_thread(victim.start)
        kills += 1
    return kills


async def publish_under_faults(
    path: DataPath, victims: list[Process], seed: int, *, per_topic: int = 400
) -> Instruments:
    """Let the instruments publish while the victims die, then end the run."""
    instruments = Instruments(path.broker_port, TOPICS, per_topic=per_topic, pause_seconds=0.005)
    done = asyncio.Event()
    wreaking = asyncio.create_task(wreak(victims, random.Random(seed), done))
    await in_thread(instruments.publish_all)
    done.set()
    kills = await wreaking
    print(f"seed {seed}: {kills} kills")
    assert kills
    await in_thread(lambda: publish(path.broker_port, "lab/end", b"end"))
    return instruments


async def assert_exactly_once(path: DataPath, bus: Bus, instruments: Instruments) -> None:
    """Files, ledger, report and gateway must all tell the same: everything, once, in order."""

    async def complete() -> Any:
        report = await dataset_report(bus)
        return report if report and report.complete else None

    report = await until(complete, 45)
    folder = path.root / DATASET / "v1"
    for topic, payloads in instruments.sent.items():
        content = (folder / topic.replace("/", ".")).read_bytes()
        assert content.splitlines(keepends=True) == payloads, f"{topic} differs"
    assert (report.ledger.received, report.ledger.gaps, report.ledger.duplicates) == (instruments.total, 0, 0)
    hashes = {source.source: source.sha256 for source in report.ledger.sources}
    assert hashes == {t: hashlib.sha256(b"".join(sent)).hexdigest() for t, sent in instruments.sent.items()}
    proof = verify(path.root, DATASET, 1)
    assert proof.problems == ()
    assert proof.manifest_sha256 == report.manifest_sha256

    async def trimmed() -> Any:
        gateway = await gateway_report(bus)
        counts = gateway.ledger[0] if gateway and gateway.ledger else None
        return counts and gateway.outbox_readings == 0 and counts.received == counts.committed == instruments.total

    await until(trimmed)


@pytest.mark.mosquitto
@pytest.mark.parametrize("seed", SEEDS)
async def test_gateway_sink_and_nats_are_killed_behind_a_mosquitto(
    mosquitto_path: tuple[DataPath, Mosquitto], bus: Bus, seed: int
) -> None:
    path, _ = mosquitto_path
    await order_streams(bus, stream_order())
    path.start()
    await connected(bus)
    victims = [path.gateway, path.sink, Server(path.nats)]
    instruments = await publish_under_faults(path, victims, seed)
    await assert_exactly_once(path, bus, instruments)


@pytest.mark.mosquitto
async def test_mosquitto_restarts_while_readings_come(mosquitto_path: tuple[DataPath, Mosquitto], bus: Bus) -> None:
    """A restarted broker sends again what was not acknowledged, and its publisher too; equal readings are one."""
    path, mosquitto = mosquitto_path
    await order_streams(bus, stream_order(distinct=True))
    path.start()
    await connected(bus)
    instruments = Instruments(path.broker_port, TOPICS, per_topic=300, pause_seconds=0.01)

    async def restart() -> None:
        for _ in range(2):
            await asyncio.sleep(0.8)
            await in_thread(lambda: mosquitto.end(15))  # terminated, so that it saves: killed, it forgets
            await in_thread(mosquitto.start)

    await asyncio.gather(in_thread(instruments.publish_all), restart())
    await in_thread(lambda: publish(path.broker_port, "lab/end", b"end"))
    await assert_exactly_once(path, bus, instruments)


@pytest.mark.parametrize("seed", SEEDS)
async def test_nats_is_the_broker_too_and_everything_is_killed(nats_path: DataPath, seed: int) -> None:
    """Killing the one server takes broker, log and tables away at once."""
    path = nats_path
    bus = await Bus.connect(path.nats.url, name="test")
    await asyncio.gather(*(bus.ensure_table(name.upper(), name) for name in ("state", "desired", "observed")))
    await order_streams(bus, stream_order(distinct=True))
    path.start()
    async with passing_on_commits(path.nats.url):
        await connected(bus)
        # As a broker it takes one message at a time to each client, so as much takes three times as long.
        victims: list[Process] = [path.gateway, path.sink, Server(path.nats)]
        instruments = await publish_under_faults(path, victims, seed, per_topic=150)
        await assert_exactly_once(path, bus, instruments)
    await bus.close()
