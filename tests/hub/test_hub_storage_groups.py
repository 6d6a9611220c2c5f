"""Two hubs' stores on one nats-server that is killed: grouped writes keep their word, and watches go on in seconds."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.existing import ExistingObjects
from atoll.hub.kinds import build_registry
from atoll.hub.store.jetstream import JetStreamStorage
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.storage import RevisionConflict
from atoll.kubeapi.store import Store, WatchEvent
from kubeapi.storage_contract import following

SECONDS_TO_HEAL = 5.0


@dataclass
class Replica:
    """The store of one hub."""

    bus: Bus
    storage: JetStreamStorage
    store: Store

    @classmethod
    @contextlib.asynccontextmanager
    async def running(cls, url: str, name: str) -> AsyncIterator["Replica"]:
        bus = await Bus.connect(url, name=name)
        storage = await JetStreamStorage.open(bus)
        existing = ExistingObjects()
        store = existing.store = Store(build_registry(existing), storage)
        await store.start()
        yield cls(bus, storage, store)
        await store.close()
        await bus.close()

    async def create(self, name: str) -> None:
        rt = self.store.registry.by_kind("", "Namespace")
        assert rt is not None
        await self.store.create(rt, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def watch(self) -> AsyncIterator[WatchEvent]:
        rt = self.store.registry.by_kind("", "Namespace")
        assert rt is not None
        return self.store.watch(rt)


async def _create_in_the_end(replica: Replica, name: str) -> None:
    while True:
        try:
            return await replica.create(name)
        except Unavailable:
            await asyncio.sleep(0.05)


@pytest.mark.faults
async def test_a_watch_shows_what_another_hub_wrote_within_seconds_of_a_killed_servers_return(
    nats_server: Any,
) -> None:
    """nats-py's own watch was silent for 18 s after the same."""
    async with Replica.running(nats_server.url, "one") as one, Replica.running(nats_server.url, "other") as other:
        await one.create("before")
        events = one.watch()
        assert (await anext(events)).object["metadata"]["name"] == "before"
        for round_ in range(3):
            nats_server.kill9()
            await asyncio.to_thread(nats_server.start)
            await _create_in_the_end(other, f"after-{round_}")
            event = await asyncio.wait_for(anext(events), SECONDS_TO_HEAL)
            assert event.object["metadata"]["name"] == f"after-{round_}"


@dataclass
class _Writer:
    """Creates, changes and deletes one key of its own, and remembers what it was told of it."""

    storage: JetStreamStorage
    key: str
    revision: int = 0
    stands: tuple[bytes | None, ...] = (None,)  # what the key may hold: more than one after a lost answer
    told: dict[int, bytes] = field(default_factory=dict)
    lost: int = 0

    async def run(self, stop: asyncio.Event) -> None:
        chance = random.Random(self.key)
        number = 0
        while not stop.is_set():
            number += 1
            is_deletion = self.revision > 0 and chance.random() < 0.2
            await self._write(None if is_deletion else f"{self.key}-{number}".encode())
            await asyncio.sleep(chance.random() * 0.005)

    async def _write(self, value: bytes | None) -> None:
        try:
            revision = await self.storage.write(self.key, value, expected=self.revision)
        except Unavailable:
            self.stands = (*self.stands, value)
            self.lost += 1
        except RevisionConflict as conflict:
            assert len(self.stands) > 1, f"{self.key}: a conflict, and nobody else writes this key"
            assert conflict.current is not None
            assert conflict.current != self.revision
            self.revision = conflict.current
        else:
            self.stands = (value,)
            self.revision = 0 if value is None else revision
            if value is not None:
                self.told[revision] = value


@pytest.mark.faults
async def test_every_acknowledged_write_is_there_after_kills_and_followers_saw_them_in_order(
    nats_server: Any,
) -> None:
    async with Replica.running(nats_server.url, "one") as one, Replica.running(nats_server.url, "other") as other:
        writers = [_Writer((one, other)[number % 2].storage, f"core/events/lab/{number}") for number in range(60)]
        stop = asyncio.Event()
        async with following(other.storage) as seen, asyncio.TaskGroup() as group:
            await seen.until_synced()
            for writer in writers:
                group.create_task(writer.run(stop))
            for _ in range(3):
                reached = len(seen.changes) + 400
                async with asyncio.timeout(30):
                    while len(seen.changes) < reached:
                        await asyncio.sleep(0.01)
                await asyncio.to_thread(nats_server.restart)
            await asyncio.sleep(1)
            stop.set()
            await _create_in_the_end(one, "the-end")
            await seen.until_revision(await one.storage.revision())
        async with following(one.storage) as fresh:
            await fresh.until_synced()
        assert sum(writer.lost for writer in writers) < sum(len(writer.told) for writer in writers)
        shown = {change.revision: (change.key, change.value) for change in seen.changes}
        for writer in writers:
            assert fresh.state.get(writer.key) in writer.stands
            assert seen.state.get(writer.key) == fresh.state.get(writer.key)
            for revision, value in writer.told.items():
                assert shown.get(revision, (writer.key, value)) == (writer.key, value)
        revisions = [change.revision for change in seen.changes]
        assert revisions == sorted(set(revisions)), "a change was shown twice or out of order"
