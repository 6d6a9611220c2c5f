"""Tables on a real nats-server: compare-and-set, snapshots, live changes, and what a killed server does to them."""

import asyncio
import contextlib

import pytest

from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import DESIRED_STREAM, desired_prefix, to_key, to_tokens
from atoll.federation.bus.table import Table
from atoll.federation.errors import Conflict, Unavailable


@pytest.fixture
def table(bus: Bus) -> Table:
    """The desired state of one cluster."""
    return bus.table(DESIRED_STREAM, desired_prefix("cluster", "onprem-gpu"))


class Follower:
    """Follows a table in the background and keeps the levels that a consumer would keep."""

    def __init__(self, table: Table, under: str = "") -> None:
        self.levels: dict[str, bytes] = {}
        self.items: list[Change | Synced] = []
        self._task = asyncio.create_task(self._run(table, under))

    async def _run(self, table: Table, under: str) -> None:
        async for item in table.follow(under):
            self.items.append(item)
            if isinstance(item, Synced):
                continue
            if item.value is None:
                self.levels.pop(item.key, None)
            else:
                self.levels[item.key] = item.value

    @property
    def is_synced(self) -> bool:
        return any(isinstance(item, Synced) for item in self.items)

    async def until(self, condition, seconds: float = 15) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.01)

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task


async def test_a_key_with_dots_comes_back_as_it_was_put(table: Table) -> None:
    await table.put("run/seismology/picks.2026-11-22", b"x")
    assert await table.get("run/seismology/picks.2026-11-22") == Change("run/seismology/picks.2026-11-22", b"x", 1)


async def test_create_refuses_a_key_that_exists_and_tells_its_revision(table: Table) -> None:
    revision = await table.put("a/b", b"1", expected=0)
    with pytest.raises(Conflict) as conflict:
        await table.put("a/b", b"2", expected=0)
    assert conflict.value.current == revision


async def test_a_stale_update_is_refused_and_changes_nothing(table: Table) -> None:
    first = await table.put("a/b", b"1", expected=0)
    second = await table.put("a/b", b"2", expected=first)
    with pytest.raises(Conflict):
        await table.put("a/b", b"3", expected=first)
    assert await table.get("a/b") == Change("a/b", b"2", second)


async def test_a_deleted_key_can_be_created_again(table: Table) -> None:
    first = await table.put("a/b", b"1", expected=0)
    await table.delete("a/b", expected=first)
    assert await table.get("a/b") is None
    await table.put("a/b", b"2", expected=0)
    assert (await table.get("a/b")) is not None


async def test_one_of_many_concurrent_creates_wins(table: Table) -> None:
    results = await asyncio.gather(
        *(table.put("a/b", b"%d" % number, expected=0) for number in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, int) for result in results) == 1


async def test_an_empty_table_is_synced_at_once(table: Table) -> None:
    follower = Follower(table)
    await follower.until(lambda: follower.is_synced)
    await follower.close()
    assert follower.levels == {}


async def test_a_follower_gets_the_snapshot_then_changes_and_only_below_its_key(table: Table) -> None:
    await table.put("run/a", b"1")
    await table.put("run/b", b"1")
    await table.delete("run/b")
    await table.put("policyset/p", b"1")
    follower = Follower(table, "run")
    await follower.until(lambda: follower.is_synced)
    assert follower.levels == {"run/a": b"1"}
    await table.put("run/c", b"2")
    await table.delete("run/a")
    await follower.until(lambda: follower.levels == {"run/c": b"2"})
    await follower.close()


async def test_a_follower_sees_what_another_connection_wrote_while_the_server_was_killed(nats_server, table) -> None:
    await table.put("run/a", b"1")
    follower = Follower(table)
    await follower.until(lambda: follower.is_synced)
    nats_server.kill9()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(_impatient(table), 15)
    nats_server.start()
    other = await Bus.connect(nats_server.url, name="other")
    await other.table(DESIRED_STREAM, desired_prefix("cluster", "onprem-gpu")).put("run/b", b"2")
    await follower.until(lambda: follower.levels == {"run/a": b"1", "run/b": b"2"})
    await follower.close()
    await other.close()


async def _impatient(table: Table) -> None:
    await table.put("run/lost", b"0")


async def test_a_wiped_server_leads_to_a_new_snapshot(nats_server, table) -> None:
    import shutil

    await table.put("run/a", b"1")
    await table.put("run/b", b"1")
    follower = Follower(table)
    await follower.until(lambda: follower.is_synced)
    nats_server.kill9()
    shutil.rmtree(nats_server.home / "store")
    nats_server.start()
    again = await Bus.connect(nats_server.url, name="again")
    await again.ensure_table(DESIRED_STREAM, "desired")
    await again.table(DESIRED_STREAM, desired_prefix("cluster", "onprem-gpu")).put("run/c", b"3")
    await follower.until(lambda: len([item for item in follower.items if isinstance(item, Synced)]) >= 2)
    last = max(index for index, item in enumerate(follower.items) if isinstance(item, Synced))
    assert [item.key for item in follower.items[last - 1 :] if isinstance(item, Change)] == ["run/c"]
    await follower.close()
    await again.close()


def test_keys_and_tokens_are_each_other_reversed() -> None:
    """The mapping is total on Kubernetes names, which never hold an underscore."""
    for key in ("run/ns/a.b-c", "heartbeat", "dataset/seismology/anmo.2026-11-22"):
        assert to_key(to_tokens(key)) == key


@pytest.mark.parametrize("is_own", [False, True], ids=["a shared table", "one's own part"])
async def test_a_key_that_goes_while_the_snapshot_is_given_is_told_to_be_gone(bus: Bus, is_own: bool) -> None:
    """It was given already: whoever is not told would keep it for ever."""
    writer = bus.table(DESIRED_STREAM, "desired.cluster.x")
    for number in range(40):  # more than NATS sends before the first of them is read
        await writer.put(f"k{number}", bytes(250_000))
    await writer.put("gone", b"1")
    await writer.delete("gone")
    reader = bus.own_table(DESIRED_STREAM, "desired.cluster.x") if is_own else writer
    levels: dict[str, bytes] = {}
    is_synced = False
    async with asyncio.timeout(30), contextlib.aclosing(reader.follow()) as items:
        async for item in items:
            if isinstance(item, Synced):
                assert not is_own or item.keys == levels.keys()
                is_synced = True
            elif item.value is None:
                assert item.key != "gone", "what was gone before is not told"
                del levels[item.key]
            else:
                levels[item.key] = item.value
                if item.key == "k0":
                    await writer.delete("k0")
            if is_synced and "k0" not in levels:
                break
    assert levels.keys() == {f"k{number}" for number in range(1, 40)}
