"""The gateway as a process: without a hub, with a full outbox, with a hub that forgot, with a broken disk."""

import asyncio
import contextlib
import random
import shutil
import sqlite3
from collections.abc import Callable
from typing import Any

import pytest
from datapath import (
    DATASET,
    GATEWAY,
    DataPath,
    Instruments,
    Mosquitto,
    connected,
    dataset_report,
    edge_process,
    gateway_report,
    in_thread,
    order_streams,
    publish,
    stream_order,
    until,
)

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import GatewayReport
from atoll.federation.bus.subjects import DESIRED_STREAM, desired_prefix, lab_stream

pytestmark = pytest.mark.mosquitto
Path_ = tuple[DataPath, Mosquitto]


@pytest.fixture
async def path(mosquitto_path: Path_, bus: Bus) -> DataPath:
    """A data path whose gateway is connected and follows one Stream; its sink does not run."""
    await order_streams(bus, stream_order())
    mosquitto_path[0].gateway.start()
    await connected(bus)
    return mosquitto_path[0]


async def reported(bus: Bus, question: Callable[[GatewayReport], bool], seconds: float = 30) -> GatewayReport:
    """Wait until the gateway reports what is asked for."""

    async def asked() -> Any:
        report = await gateway_report(bus)
        return report if report and question(report) else None

    found: GatewayReport = await until(asked, seconds)
    return found


def lines(path: DataPath, topic: str = "lab/a/data") -> list[bytes]:
    return (path.root / DATASET / "v1" / topic.replace("/", ".")).read_bytes().splitlines()


async def send(path: DataPath, *payloads: bytes) -> None:
    await in_thread(lambda: publish(path.broker_port, "lab/a/data", *payloads))


async def in_file(path: DataPath, bus: Bus, count: int) -> Any:
    async def there() -> Any:
        report = await dataset_report(bus)
        return report if report and report.ledger.received == count else None

    return await until(there)


async def test_readings_are_taken_in_without_a_hub_and_arrive_when_it_is_back(path: DataPath, bus: Bus) -> None:
    path.nats.kill9()
    path.gateway.end()
    path.gateway.start()
    await send(path, b"1\n", b"2\n")

    async def stored() -> bool:
        with contextlib.closing(sqlite3.connect(path.home / "gateway" / "outbox.db")) as db:
            return bool(db.execute("SELECT count(*) FROM envelopes").fetchone()[0])

    await until(stored)
    path.gateway.end()
    path.gateway.start()
    await send(path, b"3\n")
    path.nats.start()
    path.sink.start()
    report = await in_file(path, bus, 3)
    assert lines(path) == [b"1", b"2", b"3"]
    assert (report.ledger.gaps, report.ledger.duplicates) == (0, 0)


async def test_a_full_outbox_holds_the_broker_back_until_a_sink_makes_room(path: DataPath, bus: Bus) -> None:
    await order_streams(bus, stream_order(), outbox_bytes=20_000)
    await asyncio.sleep(1)
    noise = random.Random(1)
    payloads = [b"%04d%s\n" % (number, noise.randbytes(497).hex().encode()) for number in range(60)]
    for start in range(0, 60, 5):
        await send(path, *payloads[start : start + 5])
    report = await reported(bus, lambda report: "at most 20000 bytes" in report.reason)
    assert report.outbox_bytes <= 20_000
    path.sink.start()
    await in_file(path, bus, 60)
    assert lines(path) == [payload.rstrip() for payload in payloads]
    await reported(bus, lambda report: report.reason == "" and report.outbox_readings == 0)


async def test_a_stream_that_refuses_keeps_its_readings_with_the_broker_and_stops_no_other(
    path: DataPath, bus: Bus
) -> None:
    other = stream_order(topics=("other/+",), dataset="other", end_of_run=None).model_copy(update={"name": "other"})
    await order_streams(bus, stream_order(buffer={"bytes": 100_000}), other)
    await reported(bus, lambda report: len(report.ledger) == 2)
    noise = random.Random(1)
    payloads = [b"%04d%s\n" % (number, noise.randbytes(2000).hex().encode()) for number in range(200)]
    for start in range(0, 200, 20):
        await send(path, *payloads[start : start + 20])
    report = await reported(bus, lambda report: any("buffer of 100000 bytes" in row.problem for row in report.ledger))
    assert [problem.reason for problem in report.problems] == ["BufferFull"]
    await in_thread(lambda: publish(path.broker_port, "other/x", b"1"))
    await reported(bus, lambda report: any(row.stream == "ns/other" and row.received == 1 for row in report.ledger))
    path.sink.start()
    await in_file(path, bus, 200)
    assert lines(path) == [payload.rstrip() for payload in payloads]
    await reported(bus, lambda report: report.reason == "" and report.outbox_readings == 0)


async def test_a_hub_log_that_was_lost_is_said_so_and_nothing_is_missing(path: DataPath, bus: Bus) -> None:
    path.sink.start()
    await send(path, b"1\n", b"2\n")
    await reported(bus, lambda report: bool(report.ledger) and report.ledger[0].committed == 2)
    path.sink.end()
    await send(path, b"3\n")
    await reported(bus, lambda report: report.ledger[0].forwarded == 3)
    path.gateway.end()
    await bus.api(f"STREAM.DELETE.{lab_stream(GATEWAY)}")
    await order_streams(bus, stream_order())
    path.gateway.start()
    report = await reported(bus, lambda report: "has lost" in report.reason)
    assert "sinks have them in files" in report.reason
    path.sink.start()
    await send(path, b"4\n")
    found = await in_file(path, bus, 4)
    assert lines(path) == [b"1", b"2", b"3", b"4"]
    assert (found.ledger.gaps, found.ledger.duplicates) == (0, 0)


async def test_an_old_copy_of_the_state_folder_is_not_forwarded_from(path: DataPath, bus: Bus) -> None:
    """Its numbers would be used a second time for other readings."""
    state = path.home / "gateway"
    await send(path, b"1\n")
    await reported(bus, lambda report: bool(report.ledger) and report.ledger[0].forwarded == 1)
    path.gateway.end()
    shutil.copytree(state, path.home / "copy")
    path.gateway.start()
    await send(path, b"2\n")
    await reported(bus, lambda report: report.ledger[0].forwarded == 2)
    path.gateway.end()
    shutil.rmtree(state)
    shutil.copytree(path.home / "copy", state)
    path.gateway.start()
    report = await reported(bus, lambda report: "old copy" in report.reason)
    assert "move it away" in report.reason


async def test_a_damaged_envelope_becomes_a_gap_that_is_counted(path: DataPath, bus: Bus) -> None:
    await bus.api(f"STREAM.DELETE.{lab_stream(GATEWAY)}")
    for number in (1, 2, 3):  # one by one, so that each has an envelope of its own
        await send(path, b"%d\n" % number)
        await reported(bus, lambda report, number=number: report.outbox_readings == number)
    path.gateway.end()
    with sqlite3.connect(path.home / "gateway" / "outbox.db") as db:
        (data,) = db.execute("SELECT data FROM envelopes WHERE number = 2").fetchone()
        db.execute("UPDATE envelopes SET data = ? WHERE number = 2", (data[:-1] + b"\xff",))
    db.close()
    await order_streams(bus, stream_order())
    path.gateway.start()
    path.sink.start()
    report = await in_file(path, bus, 2)
    assert (report.ledger.gaps, lines(path)) == (1, [b"1", b"3"])


async def test_a_damaged_outbox_is_replaced_and_the_gateway_goes_on(path: DataPath, bus: Bus) -> None:
    path.sink.start()
    await send(path, b"1\n")
    await in_file(path, bus, 1)
    path.gateway.end()
    database = path.home / "gateway" / "outbox.db"
    for file in database.parent.glob("outbox.db*"):
        file.write_bytes(b"rubbish" * 1000)
    path.gateway.start()
    report = await reported(bus, lambda report: "damaged" in report.reason)
    assert "perhaps lost" in report.reason
    await send(path, b"2\n")
    report = await in_file(path, bus, 2)
    assert (report.ledger.gaps, report.ledger.duplicates) == (0, 0)


async def test_a_stream_that_is_added_later_is_subscribed_and_one_that_is_dropped_is_left(
    path: DataPath, bus: Bus
) -> None:
    path.sink.start()
    other = stream_order(topics=("other/+",), dataset="other", end_of_run=None).model_copy(update={"name": "other"})
    await order_streams(bus, other)
    await reported(bus, lambda report: [row.stream for row in report.ledger] == ["ns/other"])
    await send(path, b"nobody wants this")
    await in_thread(lambda: publish(path.broker_port, "other/x", b"1"))

    async def there() -> Any:
        return await dataset_report(bus, "other")

    assert (await until(there)).ledger.received == 1
    await reported(bus, lambda report: [(row.stream, row.received) for row in report.ledger] == [("ns/other", 1)])


async def test_a_gateway_that_does_not_know_its_streams_leaves_everything_with_the_broker(
    path: DataPath, bus: Bus
) -> None:
    """Its state folder is gone, but the broker holds readings for it; without Streams they would match none."""
    path.gateway.end()
    await send(path, b"1\n")
    shutil.rmtree(path.home / "gateway")
    desired = bus.table(DESIRED_STREAM, desired_prefix("gateway", GATEWAY))
    order = await desired.get("streams")
    assert order is not None
    assert order.value is not None
    await desired.delete("streams")
    path.gateway.start()
    await reported(bus, lambda report: "waits for the hub" in report.reason)
    await desired.put("streams", order.value)
    path.sink.start()
    await in_file(path, bus, 1)


async def test_a_second_gateway_on_the_same_folder_ends_with_one_clear_line(path: DataPath) -> None:
    second = edge_process(
        "gateway", path.home / "gateway", gateway=GATEWAY, nats_url=path.nats.url, state_dir=path.home / "gateway"
    )
    second.start()

    async def refused() -> bool:
        return "another gateway runs on" in second.output

    await until(refused)
    second.end()


async def test_a_gateway_without_a_broker_says_what_is_missing(bus: Bus, path: DataPath) -> None:
    path.gateway.end()
    alone = edge_process(
        "gateway", path.home, gateway=GATEWAY, nats_url=path.nats.url, state_dir=path.home / "alone",
        heartbeat_seconds=0.2,
    )  # fmt: skip
    alone.start()
    await reported(bus, lambda report: report.broker_needed and "spec.broker" in report.reason)
    alone.end()


async def test_many_instruments_at_once_arrive_whole(path: DataPath, bus: Bus) -> None:
    path.sink.start()
    instruments = Instruments(path.broker_port, [f"lab/i{number}/data" for number in range(20)], per_topic=50)
    await in_thread(instruments.publish_all)
    await in_file(path, bus, 1000)
    for topic, payloads in instruments.sent.items():
        assert lines(path, topic) == [payload.rstrip(b"\n") for payload in payloads]
