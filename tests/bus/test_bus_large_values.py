"""Values above 512 KiB on a real nats-server whose messages hold 1 MiB: whole or not at all, whoever dies."""

import asyncio
import contextlib
import itertools
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from following import Seen, following
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secured import CAPABILITIES, SecuredServer

from atoll.federation.bus import parts
from atoll.federation.bus.batches import GroupedWrites
from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.parts import LARGEST_VALUE_BYTES, PART_BYTES, part_of
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    desired_prefix,
    observed_prefix,
)
from atoll.federation.bus.table import Table, Write
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput

KEY = "cluster/a/open/inventory"


def value_of(name: object, size: int = 3 * PART_BYTES) -> bytes:
    """Give a value that says which it is at its begin and its end, so that a mix of two would show."""
    stamp = f"{name};".encode()
    return stamp + b"." * (size - 2 * len(stamp)) + stamp


@pytest.fixture
def table(bus: Bus) -> Table:
    """All reports, as the hub has them."""
    return bus.table(OBSERVED_STREAM, OBSERVED_PREFIX)


async def stored_parts(bus: Bus, stream: str = OBSERVED_STREAM) -> set[str]:
    """Name the sets of parts that the server holds."""
    info = await bus.api(f"STREAM.INFO.{stream}", {"subjects_filter": ">"})
    return {part[1] for subject in info["state"].get("subjects") or {} if (part := part_of(subject))}


async def until_one_set(bus: Bus) -> None:
    async with asyncio.timeout(10):
        while len(await stored_parts(bus)) != 1:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("size", [PART_BYTES, PART_BYTES + 1, 2 * PART_BYTES, LARGEST_VALUE_BYTES])
async def test_a_large_value_is_read_and_followed_as_it_was_put(bus: Bus, table: Table, size: int) -> None:
    value = value_of("a", size)
    async with following(table) as live:
        revision = await table.put(KEY, value, expected=0)
        await live.until(lambda: bool(live.changes))
        assert live.changes == [Change(KEY, value, revision)]
    assert await table.get(KEY) == Change(KEY, value, revision)
    async with following(table) as later:
        assert later.items[:-1] == [Change(KEY, value, revision)]
    assert bool(await stored_parts(bus)) == (size > PART_BYTES)


async def test_a_value_that_is_too_large_is_refused_by_name_and_nothing_is_stored(table: Table) -> None:
    with pytest.raises(InvalidInput, match=rf"{KEY} has \d+ bytes; at most {LARGEST_VALUE_BYTES}"):
        await table.put(KEY, bytes(LARGEST_VALUE_BYTES + 1))
    assert await table.last_revision() == 0


async def test_guards_hold_for_large_values_and_the_loser_leaves_nothing(bus: Bus, table: Table) -> None:
    first = await table.put(KEY, value_of(1), expected=0)
    for wrong in (0, first + 100):
        with pytest.raises(Conflict) as conflict:
            await table.put(KEY, value_of("wrong"), expected=wrong)
        assert conflict.value.current == first
    assert len(await stored_parts(bus)) == 1
    gone = await table.delete(KEY, expected=first)
    with pytest.raises(Conflict):
        await table.put(KEY, value_of("stale"), expected=first)
    again = await table.put(KEY, value_of(2), expected=0)
    assert again > gone > first
    assert await table.get(KEY) == Change(KEY, value_of(2), again)


async def test_the_parts_of_values_that_were_replaced_or_deleted_are_removed(bus: Bus, table: Table) -> None:
    async with following(table):
        for number in range(3):
            await table.put(KEY, value_of(number))
        await until_one_set(bus)
        await table.put(f"{KEY}/x", value_of("x"))
        await table.put(KEY, b"small")
        await until_one_set(bus)
    async with following(table) as later:
        assert later.levels == {KEY: b"small", f"{KEY}/x": value_of("x")}


async def test_large_values_are_written_among_grouped_ones(bus: Bus) -> None:
    await bus.ensure_table("STATE", "state", is_hubs_own=True)
    table = bus.table("STATE", "state")
    grouped = GroupedWrites(bus, table)
    values = {f"k/{n}": value_of(n, 2 * PART_BYTES if n % 9 == 0 else 300) for n in range(30)}
    revisions = await asyncio.gather(*(grouped.write(Write(key, value, 0)) for key, value in values.items()))
    for (key, value), revision in zip(values.items(), revisions, strict=True):
        assert await table.get(key) == Change(key, value, revision)


# More than both writers together write: the other one cannot make a wrong guard right.
WRONG_BY = 1_000_000
ACTIONS = st.tuples(
    st.sampled_from(["put", "put large", "put large", "delete"]),
    st.sampled_from("ab"),
    st.sampled_from([0, 0, 0, WRONG_BY]),
)
_streams = itertools.count()


# One server does for all examples: each takes a stream of its own.
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ACTIONS, min_size=1, max_size=6), st.lists(ACTIONS, min_size=1, max_size=6))
def test_two_writers_and_three_readers_agree_on_one_history(
    shared_nats_server: Any, one: list[tuple[str, str, int]], other: list[tuple[str, str, int]]
) -> None:
    """Whole values only, in the order of their revisions, none that was refused, and all ends the same."""
    asyncio.run(_play(shared_nats_server.url, one, other))


async def _play(url: str, *scripts: list[tuple[str, str, int]]) -> None:
    buses = [await Bus.connect(url, name=f"writer-{number}") for number in range(2)]
    stream = f"L{next(_streams)}"
    await buses[0].ensure_table(stream, stream.lower())
    tables = [bus.table(stream, stream.lower()) for bus in buses]
    history: dict[int, Change] = {}
    async with following(tables[0]) as live, following(buses[1].own_table(stream, stream.lower())) as own:
        await asyncio.gather(*(_act(name, *pair, history) for name, *pair in zip("xy", tables, scripts, strict=True)))
        newest = await tables[0].last_revision()
        done = await tables[1].put("done", b"1")
        for seen in (live, own):
            await seen.until(lambda seen=seen: "done" in seen.levels)
    async with following(tables[1]) as late:
        pass
    expected = {change.key: change.value for _, change in sorted(history.items()) if change.value is not None}
    for revision in sorted(history):
        if history[revision].value is None:
            later = [r for r in history if r > revision and history[r].key == history[revision].key]
            expected = expected if later else {k: v for k, v in expected.items() if k != history[revision].key}
    history[done] = Change("done", b"1", done)
    for seen in (live, own, late):
        _agrees(seen, history)
        assert seen.levels == {**expected, "done": b"1"}
    assert newest <= done
    for bus in buses:
        await bus.close()


async def _act(name: str, table: Table, script: list[tuple[str, str, int]], history: dict[int, Change]) -> None:
    for number, (what, key, wrong_by) in enumerate(script):
        found = await table.get(key)
        expected = (found.revision if found else 0) + wrong_by
        size = PART_BYTES + 1000 if what == "put large" else 100
        value = None if what == "delete" else value_of(f"{name}{number}", size)
        if value is None and found is None:
            continue
        with contextlib.suppress(Conflict):
            revision = await table.write(Write(key, value, expected))
            assert not wrong_by, "a wrong guard held"
            history[revision] = Change(key, value, revision)


def _agrees(seen: Seen, history: dict[int, Change]) -> None:
    revisions = [change.revision for change in seen.changes]
    assert revisions == sorted(set(revisions)), "shown twice or out of order"
    for change in seen.changes:
        assert history[change.revision] == change


WRITER = """
import asyncio, sys
from atoll.federation.bus.connection import Bus
from test_bus_large_values import KEY, value_of
async def main():
    bus = await Bus.connect(sys.argv[1], name="writer")
    table = bus.table("OBSERVED", "observed")
    for number in range(10_000):
        await table.put(KEY, value_of(number, 3_000_000))
        print(number, flush=True)
asyncio.run(main())
"""


@pytest.mark.faults
async def test_a_writer_that_is_killed_leaves_the_value_that_it_had_finished(
    bus: Bus, table: Table, nats_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees a part of a value; what the dead left is removed once it is old, and what stands is not."""
    folders = ":".join(str(Path(__file__).parents[up]) for up in (0, 1))
    values = {value_of(number, 3_000_000) for number in range(60)}
    async with following(table) as live:
        for round_ in range(2):
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITER, nats_server.url], stdout=subprocess.PIPE, env={"PYTHONPATH": folders}
            )
            assert writer.stdout
            await asyncio.to_thread(writer.stdout.readline)
            await asyncio.sleep(random.Random(round_).random() * 0.2)
            writer.kill()
            writer.communicate()
            found = await table.get(KEY)
            assert found is not None
            assert found.value in values
            await live.until(lambda at=found.revision: live.changes[-1].revision == at)
        assert all(change.value in values for change in live.changes)
    await bus.store(f"{OBSERVED_PREFIX}.{KEY.replace('/', '.')}._part_.0123456789abcdef.1", b"of one who died")
    assert len(await stored_parts(bus)) > 1
    monkeypatch.setattr(parts, "_GARBAGE_SECONDS", 0.0)
    async with following(table) as later:
        await table.put("cluster/a/open/heartbeat", b"1")
        await until_one_set(bus)
        assert later.levels[KEY] == found.value
    assert await table.get(KEY) == found


@pytest.mark.faults
async def test_large_values_survive_a_killed_server_and_followers_see_whole_ones_only(
    bus: Bus, table: Table, nats_server: Any
) -> None:
    put: list[bytes] = []

    async def write() -> None:
        for number in itertools.count():
            put.append(value_of(number))
            with contextlib.suppress(AtollError):
                await table.put(KEY, put[-1])

    async with following(table) as live, following(bus.own_table(OBSERVED_STREAM, OBSERVED_PREFIX)) as own:
        writer = asyncio.create_task(write())
        for _ in range(2):
            count = len(live.changes)
            await live.until(lambda count=count: len(live.changes) > count + 3)
            await asyncio.to_thread(nats_server.restart)
        count = len(live.changes)
        await live.until(lambda: len(live.changes) > count + 3)
        writer.cancel()
        await asyncio.gather(writer, return_exceptions=True)
        last = await table.put(KEY, b"last")
        for seen in (live, own):
            await seen.until(lambda seen=seen: seen.changes[-1].revision == last)
            assert {change.value for change in seen.changes} <= {*put, b"last"}


class Cable:
    """A link to a server that breaks when so many bytes have gone over it, and is whole again at once."""

    def __init__(self, port: int) -> None:
        self.port, self.left = port, 0
        self.carried: set[asyncio.Task[Any]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.carried.add(asyncio.create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.port)
        back = asyncio.create_task(self._pump(far_reader, writer))
        with contextlib.suppress(OSError):
            while (data := await reader.read(16_384)) and (not self.left or self.left > len(data)):
                self.left -= len(data) if self.left else 0
                far_writer.write(data)
                await far_writer.drain()
        self.left = 0
        back.cancel()
        await asyncio.gather(back, return_exceptions=True)
        for each in (writer, far_writer):
            each.transport.abort()
            with contextlib.suppress(OSError):
                await each.wait_closed()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)


@pytest.mark.faults
async def test_a_link_that_is_cut_anywhere_in_a_value_leaves_the_older_one_until_it_is_put_again(
    table: Table, nats_server: Any
) -> None:
    """At the first part, between two, shortly before the head; each time the writer tries again until it is told."""
    cable = Cable(nats_server.port)
    server = await asyncio.start_server(cable.accept, "127.0.0.1", 0)
    far = await Bus.connect(f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}", name="far")
    mine = far.own_table(OBSERVED_STREAM, OBSERVED_PREFIX)
    values = [value_of(number) for number in range(3)]
    async with following(table) as live:
        for number, value in enumerate(values):
            cable.left = number * PART_BYTES * 29 // 20 + 1_000
            tries = 0
            while tries < 20:
                tries += 1
                try:
                    await mine.put(KEY, value)
                    break
                except AtollError:
                    before = await table.get(KEY)
                    assert before is None or before.value in values[: number + 1]
            await live.until(lambda value=value: bool(live.changes) and live.changes[-1].value == value)
        assert far.reconnects >= 3
        assert {change.value for change in live.changes} <= set(values)
    await far.close()
    server.close()
    await asyncio.gather(*cable.carried)


def spoiled(value: bytes) -> dict[str, dict[str, str]]:
    head = parts.Head.of(value)
    return {
        "no parts": head.headers(),
        "not a head": {"Atoll-Parts": "nonsense"},
        "far too many parts": {"Atoll-Parts": f"{head.set_name} 999999999 999999999 {head.sha256}"},
    }


@pytest.mark.parametrize("how", spoiled(b"x"))
async def test_a_head_that_does_not_fit_its_parts_leaves_the_older_value_standing(
    bus: Bus, table: Table, how: str
) -> None:
    await table.put("cluster/b/open/inventory", b"other")
    await table.put(KEY, value_of(1))
    async with following(table) as live:
        await bus.store(f"{OBSERVED_PREFIX}.{KEY.replace('/', '.')}", b"", spoiled(value_of(2))[how])
        await table.put("cluster/b/open/heartbeat", b"after")
        await live.until(lambda: "cluster/b/open/heartbeat" in live.levels)
        assert live.levels[KEY] == value_of(1)
        with pytest.raises(Internal, match=f"{KEY} cannot be read"):
            await table.get(KEY)
        async with following(bus.own_table(OBSERVED_STREAM, OBSERVED_PREFIX)) as fresh:
            assert KEY not in fresh.levels
            assert fresh.synced[0].damaged == {KEY}
            assert KEY in fresh.synced[0].keys, "it is there, whatever it says: nothing may take it for gone"
        await table.put(KEY, value_of(3))
        await live.until(lambda: live.levels[KEY] == value_of(3))


async def test_members_write_and_read_large_values_of_their_own(tmp_path: Path) -> None:
    server = SecuredServer.launch(tmp_path / "nats")
    hub, token = await server.hub(), CAPABILITIES.agent("a")
    await hub.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
    await hub.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX)
    agent, data = await server.agent("a"), await server.data("a", "ns")
    prefixes = {
        "inventory": agent.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", token)),
        "dataset/ns/x": data.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", CAPABILITIES.data("a", "ns"))),
    }
    committed = f"{OBSERVED_PREFIX}.gateway.g.{CAPABILITIES.data('a', 'ns')}"
    prefixes["committed/ns/a"] = data.own_table(OBSERVED_STREAM, committed)
    async with following(hub.table(OBSERVED_STREAM, OBSERVED_PREFIX)) as seen:
        for key, table in prefixes.items():
            await table.put(key, value_of(key))
        await seen.until(lambda: len(seen.levels) == len(prefixes))
        assert {key.split("/", 3)[3]: value for key, value in seen.levels.items()} == {k: value_of(k) for k in prefixes}
        await agent.own_table(OBSERVED_STREAM, observed_prefix("cluster", "a", token)).put("inventory", b"small")
        async with asyncio.timeout(10):
            while len(await stored_parts(hub)) != 2:
                await asyncio.sleep(0.02)
    orders = desired_prefix("cluster", "a", token)
    await hub.table(DESIRED_STREAM, orders).put("policyset/p", value_of("order"), expected=0)
    async with following(agent.own_table(DESIRED_STREAM, orders)) as mine:
        assert mine.levels == {"policyset/p": value_of("order")}
    for bus in (agent, data, hub):
        await bus.close()
    server.kill9()
