"""Runs through real processes: named by a start message, kept through kill -9, ended by a retained state."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from datapath import (
    NAMESPACE,
    DataPath,
    Mosquitto,
    connected,
    dataset_report,
    in_thread,
    order_streams,
    publish,
    stream_order,
    until,
)

from atoll.federation.bus.connection import Bus

pytestmark = pytest.mark.mosquitto
ORDER = stream_order(
    dataset="{topic[1]}.{run}",
    payload={"format": "JSON"},
    time={"from": "Payload", "field": "t"},
    run={"topic": "lab/+/start", "field": "scan"},
    end_of_run={"retained": "lab/+/state", "field": "state", "equals": "idle"},
)


@pytest.fixture
async def path(mosquitto_path: tuple[DataPath, Mosquitto], bus: Bus) -> AsyncIterator[DataPath]:
    """A data path with the fast receiver that follows a Stream with runs."""
    path, _ = mosquitto_path
    await order_streams(bus, ORDER)
    path.start()
    await connected(bus)
    yield path


async def say(path: DataPath, kind: str, **value: Any) -> None:
    await in_thread(lambda: publish(path.broker_port, f"lab/a/{kind}", json.dumps(value).encode() + b"\n"))


async def test_a_run_that_a_killed_gateway_was_in_goes_on_and_is_complete_at_its_end(path: DataPath, bus: Bus) -> None:
    await say(path, "start", scan="Scan 7")
    await say(path, "data", n=1, t="2026-11-22T08:00:00Z")

    async def arrived() -> Any:
        return await dataset_report(bus, "a.scan-7")

    await until(arrived)
    path.gateway.end()
    await say(path, "data", n=2, t="2026-11-22T08:00:01Z")
    await say(path, "state", state="idle")
    path.gateway.start()

    async def complete() -> Any:
        report = await dataset_report(bus, "a.scan-7")
        return report if report and report.complete else None

    report = await until(complete)
    assert (report.namespace, report.ledger.received, report.ledger.gaps) == (NAMESPACE, 2, 0)
    lines = (path.root / "a.scan-7" / "v1" / "lab.a.data").read_text().splitlines()
    assert [json.loads(line)["n"] for line in lines] == [1, 2]
