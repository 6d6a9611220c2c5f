"""The hub's storage over JetStream keeps the contract of storages, and survives its server's death."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from atoll.federation.bus import tombstones
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import STATE_STREAM
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
    with pytest.raises(RequestTooLarge, match=r"atoll.dev/jobs/lab/a has \d+ bytes; at most"):
        await storage.write("atoll.dev/jobs/lab/a", b"x" * (LARGEST_OBJECT_BYTES + 1), expected=0)
    assert await storage.revision() == 0


async def test_the_largest_object_is_stored_shown_and_replaced_under_its_guard(bus: Bus) -> None:
    """What a real API server takes, in several messages; a loser's write leaves no trace."""
    storage, key = await JetStreamStorage.open(bus), "core/configmaps/lab/a"
    large, larger = b"a" * LARGEST_OBJECT_BYTES, b"b" * LARGEST_OBJECT_BYTES
    async with following(storage) as seen:
        await seen.until_synced()
        first = await storage.write(key, large, expected=0)
        second = await storage.write(key, larger, expected=first)
        with pytest.raises(RevisionConflict):
            await storage.write(key, large, expected=first)
        gone = await storage.write(key, None, expected=second)
        await storage.write(key, large, expected=0)
        await seen.until_revision(gone + 1)
        assert [change.value for change in seen.changes if change.revision >= second] == [larger, None, large]


@pytest.mark.faults
async def test_what_was_deleted_stays_so_when_its_mark_ends(bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream keeps older values of each key: none of them comes back a day after the deletion."""
    monkeypatch.setattr(tombstones, "_TTL_SECONDS", 1)
    storage, key = await JetStreamStorage.open(bus), "core/configmaps/lab/a"
    revision = await storage.write(key, b"1", expected=0)
    await storage.write(key, None, expected=await storage.write(key, b"2", expected=revision))
    async with asyncio.timeout(10):
        while (await bus.api(f"STREAM.INFO.{STATE_STREAM}"))["state"]["messages"]:
            await asyncio.sleep(0.1)
    async with following(storage) as fresh:
        await fresh.until_synced()
        assert fresh.state == {}
    assert await storage.write(key, b"3", expected=0)
