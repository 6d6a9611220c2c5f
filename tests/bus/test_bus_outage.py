"""With NATS away a call fails soon, and what failed before it was sent never happens."""

import asyncio
import time
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.outage import AWAY_SECONDS, NotSent
from atoll.federation.bus.subjects import OBSERVED_PREFIX, OBSERVED_STREAM
from atoll.federation.errors import Unavailable
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.errors import Unavailable as ApiUnavailable

pytestmark = pytest.mark.faults


async def test_a_write_while_nats_is_away_fails_soon_and_does_not_happen_later(bus: Bus, nats_server: Any) -> None:
    table = bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)
    await table.put("a", b"before")
    nats_server.kill9()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await table.put("a", b"under way or not")
    assert time.monotonic() - began < AWAY_SECONDS + 2
    again = time.monotonic()
    with pytest.raises(NotSent):
        await table.put("b", b"never")
    assert time.monotonic() - again < AWAY_SECONDS - 0.5, "it is known by now that NATS is away"
    await asyncio.to_thread(nats_server.start)
    await _until_back(bus)
    assert await table.get("b") is None


async def test_a_write_waits_for_a_server_that_is_only_restarted(bus: Bus, nats_server: Any) -> None:
    table = bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)
    nats_server.kill9()
    await _until_lost(bus)
    writing = asyncio.create_task(table.put("a", b"1"))
    await asyncio.to_thread(nats_server.start)
    assert await writing == 1


async def test_the_hub_says_soon_that_its_store_is_away_and_when_to_ask_again(bus: Bus, nats_server: Any) -> None:
    storage = await JetStreamStorage.open(bus)
    nats_server.kill9()
    began = time.monotonic()
    with pytest.raises(ApiUnavailable) as away:
        await storage.write("core/configmaps/lab/x", b"{}", expected=0)
    assert time.monotonic() - began < AWAY_SECONDS + 2
    assert away.value.retry_after_seconds


async def test_calls_to_a_closed_bus_fail_at_once(bus: Bus) -> None:
    table = bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)
    await bus.close()
    began = time.monotonic()
    with pytest.raises(Unavailable):
        await table.put("a", b"1")
    assert time.monotonic() - began < 1


async def _until_lost(bus: Bus) -> None:
    async with asyncio.timeout(5):
        while bus.is_connected:
            await asyncio.sleep(0.01)


async def _until_back(bus: Bus) -> None:
    async with asyncio.timeout(10):
        while not bus.is_connected:
            await asyncio.sleep(0.01)
