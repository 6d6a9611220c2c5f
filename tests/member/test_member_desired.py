"""Desired state: what ends an order and what never may; on a real NATS and as a table of verdicts."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atoll.edge.member.desired import POLICYSETS, RUNS, Orders, Store, judge
from atoll.edge.member.shelf import Shelf, lock
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.messages import StoreMark
from atoll.federation.bus.subjects import DESIRED_PREFIX, DESIRED_STREAM, desired_prefix
from atoll.federation.bus.table import Table
from atoll.federation.errors import Conflict
from member.world import eventually

OLD, NEW = "2026-11-01", "2026-11-22"

GONE_BACK = "the store was restored from an old copy"
# narrative: (held, listed, known store, store of the snapshot) → (ended, retained)
VERDICTS: dict[str, tuple[set[str], set[str], Store, Store, set[str], tuple[str, ...]]] = {
    "all is as it was": ({"a"}, {"a"}, Store(OLD, 5), Store(OLD, 5), set(), ()),
    "the hub ended one while we were away": ({"a", "b"}, {"a"}, Store(OLD, 5), Store(OLD, 9), {"b"}, ()),
    "the hub ended the last one": ({"a"}, set(), Store(OLD, 5), Store(OLD, 9), {"a"}, ()),
    "the store was wiped": ({"a", "b"}, set(), Store(OLD, 5), Store(NEW, 0), set(), ("a", "b")),
    "the store was wiped and grew past us": ({"a", "b"}, {"b"}, Store(OLD, 5), Store(NEW, 900), set(), ("a",)),
    GONE_BACK: ({"a"}, set(), Store(OLD, 5), Store(OLD, 3), set(), ("a",)),
    "the newest words of the hub have expired": ({"a", "b"}, {"a"}, Store(OLD, 5), Store(OLD, 3), {"b"}, ()),
    "what was retained stays so": ({"a"}, set(), Store(NEW, 5, ("a",)), Store(NEW, 6), set(), ("a",)),
    "what was retained is ordered again": ({"a"}, {"a"}, Store(NEW, 5, ("a",)), Store(NEW, 6), set(), ()),
    "the first contact": (set(), {"a"}, Store(), Store(OLD, 5), set(), ()),
}


@pytest.mark.parametrize("narrative", VERDICTS)
def test_only_the_hubs_own_word_ends_an_order(narrative: str) -> None:
    """A missing key ends its order only in the same store, not gone back; else the order is retained."""
    held, listed, known, now, ended, retained = VERDICTS[narrative]
    verdict = judge(held, frozenset(listed), known, now, has_gone_back=narrative == GONE_BACK)
    assert verdict.ended == ended
    assert verdict.store.retained == retained


KEYS = st.sets(st.sampled_from(["run/a", "run/b", "policyset/p", "service/s"]))
STORES = st.builds(Store, st.sampled_from([OLD, NEW]), st.integers(0, 9), KEYS.map(lambda keys: tuple(sorted(keys))))


@given(held=KEYS, listed=KEYS, known=STORES, now=STORES, has_gone_back=st.booleans())
def test_whatever_a_snapshot_says_no_order_is_lost_without_reason(
    held: set[str], listed: set[str], known: Store, now: Store, has_gone_back: bool
) -> None:
    """What is held and not listed is ended, by the same store that has not gone back, or else it is retained."""
    verdict = judge(held, frozenset(listed), known, now, has_gone_back=has_gone_back)
    assert verdict.ended | set(verdict.store.retained) == held - listed
    assert not verdict.ended & set(verdict.store.retained)
    if verdict.ended:
        assert known.identity == now.identity
        assert not has_gone_back
        assert not verdict.ended & set(known.retained)


def load(folder: Path) -> Orders:
    return Orders(Shelf(folder / "orders"), Shelf(folder / "store"))


def table(bus: Bus) -> Table:
    return bus.own_table(DESIRED_STREAM, desired_prefix("cluster", "c"))


@contextlib.asynccontextmanager
async def following(orders: Orders, bus: Bus) -> AsyncIterator[None]:
    task = asyncio.create_task(orders.follow(table(bus)))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def holds(orders: Orders, *expected: str) -> None:
    async def look() -> bool:
        found = [*(f"run/{key}" for key in orders.keys(RUNS)), *(f"policyset/{key}" for key in orders.keys(POLICYSETS))]
        return sorted(found) == sorted(expected)

    await eventually(look)


async def test_orders_are_taken_in_kept_on_disk_and_ended(bus: Bus, tmp_path: Path) -> None:
    """Orders survive the agent; those deleted meanwhile end at the next snapshot; the sink's are not ours."""
    orders = load(tmp_path)
    heard: list[str] = []
    orders.on_change(RUNS, heard.append)
    await table(bus).put("run/ns/a.1", b"1")
    await table(bus).put("commit/ns/d", b"for the sink")
    async with following(orders, bus):
        await holds(orders, "run/ns/a.1")
        await table(bus).put("run/ns/b", b"1")
        await holds(orders, "run/ns/a.1", "run/ns/b")
        await table(bus).delete("run/ns/b")
        await holds(orders, "run/ns/a.1")
    assert heard == ["ns/a.1", "ns/b", "ns/b"]
    await table(bus).delete("run/ns/a.1")
    reborn = load(tmp_path)
    assert reborn.get(RUNS, "ns/a.1") == b"1"
    async with following(reborn, bus):
        await holds(reborn)
    assert list(load(tmp_path).keys(RUNS)) == []


async def test_a_wiped_store_ends_nothing_until_it_speaks_of_the_order_again(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    """NATS loses its disk: healthy work goes on, is named as retained, and ends when the hub deletes it by name."""
    orders = load(tmp_path)
    await table(bus).put("store", StoreMark(identity=OLD).encode())
    await table(bus).put("run/ns/a", b"1")
    await table(bus).put("policyset/p", b"1")
    async with following(orders, bus):
        await holds(orders, "run/ns/a", "policyset/p")
        nats_server.kill9()
        shutil.rmtree(nats_server.home / "store")
        nats_server.restart()
        await _make_tables(bus)

        async def noticed() -> bool:
            return orders.store.retained == ("policyset/p", "run/ns/a")

        await eventually(noticed, within_seconds=60)
        await holds(orders, "run/ns/a", "policyset/p")
        await table(bus).put("policyset/p", b"2")
        await table(bus).delete("run/ns/a")
        await holds(orders, "policyset/p")
        assert orders.store.retained == ()
    assert load(tmp_path).store.retained == ()


DAMAGED_NOTES = [b"", b"{", b"[]", b"null", b'{"identity": "x"}', b'{"identity":1,"revision":"x"}', bytes(40)]


@pytest.mark.parametrize("content", DAMAGED_NOTES)
def test_a_damaged_note_of_the_store_is_forgotten_and_the_orders_hold(tmp_path: Path, content: bytes) -> None:
    """A disk gave other bytes than were written: an agent that ended by it would end at each start."""
    Shelf(tmp_path / "orders").put("run/ns/a", b"1")
    Shelf(tmp_path / "store").put("store", content)
    orders = load(tmp_path)
    assert orders.store == Store()
    assert orders.get(RUNS, "ns/a") == b"1"


async def _make_tables(bus: Bus) -> None:
    async def made() -> bool:
        with contextlib.suppress(Exception):
            await bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
            return True
        return False

    await eventually(made, within_seconds=60)


def test_a_damaged_entry_is_set_aside(tmp_path: Path) -> None:
    """One file that a broken disk changed costs that entry only."""
    shelf = Shelf(tmp_path / "s")
    shelf.put("run/a", b"1")
    shelf.put("run/b", b"2")
    first = sorted((tmp_path / "s").iterdir())[0]
    first.write_bytes(b"garbage")
    assert len(shelf.load()) == 1
    assert len(Shelf(tmp_path / "s").load()) == 1


def test_two_agents_cannot_share_a_state_folder(tmp_path: Path) -> None:
    """The second is refused with the folder's name."""
    with lock(tmp_path), pytest.raises(Conflict, match=str(tmp_path)), lock(tmp_path):
        pass
    with lock(tmp_path):
        pass
