"""The hub's storage over JetStream keeps the contract of storages, and survives its server's death."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.store.jetstream import LARGEST_OBJECT_BYTES, JetStreamStorage
from atoll.kubeapi.errors import RequestTooLarge
from atoll.kubeapi.storage import RevisionConflict, Storage
from kubeapi.storage_contract import StorageContract, following


class TestJetStreamStorage(StorageContract):
    """The contract, on a real nats-server."""

    @pytest.fixture
    async def storage(self, bus: Bus) -> AsyncIterator[Storage]:
        """An empty storage."""
        yield await JetStreamStorage.open(bus)


async def test_two_hubs_see_each_others_writes_and_only_one_of_two_writers_wins(bus: Bus, nats_server: Any) -> None:
    other_bus = await Bus.connect(nats_server.url, name="other-hub")
    one, other = await JetStreamStorage.open(bus), await JetStreamStorage.open(other_bus)
    async with following(other) as seen:
        await seen.until_synced()
        first = await one.write("atoll.dev/jobs/lab/a", b"1", expected=0)
        await seen.until_revision(first)
        assert seen.state == {"atoll.dev/jobs/lab/a": b"1"}
        second = await other.write("atoll.dev/jobs/lab/a", b"2", expected=first)
        with pytest.raises(RevisionConflict):
            await one.write("atoll.dev/jobs/lab/a", b"3", expected=first)
        await seen.until_revision(second)
        assert seen.state == {"atoll.dev/jobs/lab/a": b"2"}
    await other_bus.close()


@pytest.mark.faults
async def test_what_was_written_is_there_after_the_server_was_killed_and_followers_go_on(
    bus: Bus, nats_server: Any
) -> None:
    storage = await JetStreamStorage.open(bus)
    async with following(storage) as seen:
        await seen.until_synced()
        revisions = {key: await storage.write(f"core/events/lab/{key}", b"1", expected=0) for key in "abc"}
        await storage.write("core/events/lab/b", None, expected=revisions["b"])
        await asyncio.to_thread(nats_server.restart)
        last = await storage.write("core/events/lab/d", b"1", expected=0)
        await seen.until_revision(last)
        assert seen.state == {f"core/events/lab/{key}": b"1" for key in "acd"}
        changes = [change.revision for change in seen.changes]
        assert changes == sorted(set(changes)), "a change was shown twice or out of order"
    async with following(storage) as fresh:
        await fresh.until_synced()
        assert fresh.state == {f"core/events/lab/{key}": b"1" for key in "acd"}


async def test_an_object_that_is_too_large_is_refused_and_nothing_is_stored(bus: Bus) -> None:
    storage = await JetStreamStorage.open(bus)
    with pytest.raises(RequestTooLarge):
        await storage.write("atoll.dev/jobs/lab/a", b"x" * (LARGEST_OBJECT_BYTES + 1), expected=0)
    assert await storage.revision() == 0
