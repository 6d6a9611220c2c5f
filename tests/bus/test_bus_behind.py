"""A replica of NATS that is behind: what it lacks is not gone, and what it has may be old. Real servers.

One server whose store is put back to an earlier copy says what a replica says that has not caught up yet; the same
messages written again are its catching up.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from following import Seen, following

from atoll.edge.member.desired import RUNS, Orders
from atoll.edge.member.shelf import Shelf
from atoll.federation.bus import follower
from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import StoreMark
from atoll.federation.bus.subjects import DESIRED_STREAM, desired_prefix
from atoll.federation.bus.table import Table
from nats_servers import NatsServer

PREFIX = desired_prefix("cluster", "c")


def own(bus: Bus) -> Table:
    return bus.own_table(DESIRED_STREAM, PREFIX)


class Replica:
    """A server that can be as it was before."""

    def __init__(self, server: NatsServer, copy: Path) -> None:
        self._server, self._copy, self._store = server, copy, server.home / "store"

    def remember(self) -> None:
        self._server.kill9()
        shutil.copytree(self._store, self._copy)
        self._server.start()

    def fall_back(self) -> None:
        self._server.kill9()
        shutil.rmtree(self._store)
        shutil.copytree(self._copy, self._store)
        self._server.start()


@pytest.fixture
def replica(nats_server: NatsServer, tmp_path: Path) -> Replica:
    return Replica(nats_server, tmp_path / "copy")


@pytest.fixture
async def hub(nats_server: NatsServer, bus: Bus) -> AsyncIterator[Table]:
    """The hub's side of the orders; it has written one, and the store's mark."""
    connection = await Bus.connect(nats_server.url, name="hub")
    table = connection.table(DESIRED_STREAM, PREFIX)
    await table.put("store", StoreMark(identity="one").encode())
    await table.put("run/ns/a", b"first")
    yield table
    await connection.close()


async def _go_on(hub: Table) -> None:
    """What was ordered after the copy was made; again, it gets the same revisions."""
    await hub.put("run/ns/a", b"second")
    await hub.put("run/ns/b", b"1")
    await hub.put("run/ns/gone", b"1")
    await hub.delete("run/ns/gone")


NOW = {"run/ns/a": b"second", "run/ns/b": b"1"}


def _runs(seen: Seen) -> dict[str, bytes]:
    return {key: value for key, value in seen.levels.items() if key != "store"}


async def test_nothing_is_heard_of_a_replica_that_is_behind_until_it_has_caught_up(
    hub: Table, bus: Bus, replica: Replica
) -> None:
    await asyncio.to_thread(replica.remember)
    await _go_on(hub)
    async with following(own(bus)) as seen:
        assert _runs(seen) == NOW
        heard = len(seen.items)
        await asyncio.to_thread(replica.fall_back)
        assert (await hub.get("run/ns/a")) == Change("run/ns/a", b"first", 2), "it is behind"
        await asyncio.sleep(2)  # in which the follower has asked several times
        assert seen.items[heard:] == []
        await _go_on(hub)
        await seen.until(lambda: len(seen.synced) == 2)
        assert _runs(seen) == NOW
        assert {each.value for each in seen.changes[-3:]} <= {b"second", b"1", StoreMark(identity="one").encode()}
        assert not seen.synced[-1].has_gone_back


async def test_a_store_that_was_put_back_for_good_is_believed_after_a_while_and_says_so(
    hub: Table, bus: Bus, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "CATCH_UP_SECONDS", 1.5)
    await asyncio.to_thread(replica.remember)
    await _go_on(hub)
    async with following(own(bus)) as seen:
        await asyncio.to_thread(replica.fall_back)
        await seen.until(lambda: len(seen.synced) == 2)
        assert seen.synced[-1].keys == {"store", "run/ns/a"}
        assert seen.synced[-1].has_gone_back
        await hub.put("run/ns/c", b"1")
        await seen.until(lambda: "run/ns/c" in seen.levels)


async def test_words_that_have_expired_do_not_make_a_store_an_older_one(
    hub: Table, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The newest that a member heard was a tombstone; a day later nothing of its part is as new as that."""
    monkeypatch.setattr(follower, "CATCH_UP_SECONDS", 1.5)
    await hub.put("run/ns/gone", b"1")
    revision = await hub.delete("run/ns/gone")
    await bus.api(f"STREAM.PURGE.{DESIRED_STREAM}", {"filter": f"{PREFIX}.run.ns.gone"})
    async with following(own(bus), known=revision) as seen:
        assert not seen.synced[0].has_gone_back
        assert seen.levels.keys() == {"store", "run/ns/a"}


async def test_a_restarted_agent_keeps_its_orders_when_a_replica_that_is_behind_answers(
    hub: Table, bus: Bus, replica: Replica, tmp_path: Path
) -> None:
    """Neither is an order taken away that the replica has not heard of yet, nor carried out that was taken back."""

    def load() -> Orders:
        return Orders(Shelf(tmp_path / "orders"), Shelf(tmp_path / "meta"))

    async def follow(orders: Orders, until: asyncio.Event) -> None:
        task = asyncio.create_task(orders.follow(own(bus)))
        try:
            async with asyncio.timeout(30):
                await until.wait()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    await asyncio.to_thread(replica.remember)
    before, has_ended = load(), asyncio.Event()
    before.on_change(RUNS, lambda key: has_ended.set() if key == "ns/gone" and not before.has(RUNS, key) else None)
    following = asyncio.create_task(follow(before, has_ended))
    await before.has_synced.wait()
    await _go_on(hub)
    await following
    await asyncio.to_thread(replica.fall_back)
    after, told = load(), list[str]()
    assert sorted(after.keys(RUNS)) == ["ns/a", "ns/b"]
    after.on_change(RUNS, told.append)
    told.clear()
    following = asyncio.create_task(follow(after, after.has_synced))
    await asyncio.sleep(1.5)
    await _go_on(hub)
    await following
    assert told == []
    assert after.get(RUNS, "ns/a") == b"second"
    assert sorted(after.keys(RUNS)) == ["ns/a", "ns/b"]
