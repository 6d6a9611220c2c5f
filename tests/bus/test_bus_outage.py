"""With NATS away a call fails soon, and what failed before it was sent never happens."""

import asyncio
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.outage import AWAY_SECONDS, NotSent
from atoll.federation.bus.subjects import OBSERVED_PREFIX, OBSERVED_STREAM
from atoll.federation.errors import Unavailable
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.errors import Unavailable as ApiUnavailable

pytestmark = pytest.mark.faults

# Soon, on a busy machine too; a call that waits until NATS is back would never end here.
MOST_SECONDS = AWAY_SECONDS + 15


async def test_a_write_while_nats_is_away_fails_soon_and_does_not_happen_later(bus: Bus, nats_server: Any) -> None:
    table = bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)
    await table.put("a", b"before")
    nats_server.kill9()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(table.put("a", b"under way or not"), MOST_SECONDS)
    with pytest.raises(NotSent):
        await asyncio.wait_for(table.put("b", b"never"), MOST_SECONDS)
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
    with pytest.raises(ApiUnavailable) as away:
        await asyncio.wait_for(storage.write("core/configmaps/lab/x", b"{}", expected=0), MOST_SECONDS)
    assert away.value.retry_after_seconds


async def test_calls_to_a_closed_bus_fail_at_once(bus: Bus) -> None:
    table = bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)
    await bus.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(table.put("a", b"1"), MOST_SECONDS)


async def _until_lost(bus: Bus) -> None:
    async with asyncio.timeout(5):
        while bus.is_connected:
            await asyncio.sleep(0.01)


async def _until_back(bus: Bus) -> None:
    async with asyncio.timeout(10):
        while not bus.is_connected:
            await asyncio.sleep(0.01)
