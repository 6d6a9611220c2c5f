"""Grouped writes on a real nats-server: who shares a commit, who fails alone, and what kill -9 leaves of it."""

import asyncio
import base64
import random
import socket
import subprocess
from collections import Counter, deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atoll.federation.bus.batches import SMALLEST_BATCH, GroupedWrites, _Waiting, next_group
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import STATE_PREFIX, STATE_STREAM
from atoll.federation.bus.table import Table, Write
from atoll.federation.errors import AtollError, Conflict, InvalidInput, Unavailable
from atoll.local.nats import find_server

MANY = 3 * SMALLEST_BATCH


@dataclass
class Stored:
    """One message as the server has it."""

    key: str
    value: bytes
    batch: str


class Ledger:
    """A table whose every message is kept, so that a test can look at each revision that was acknowledged."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self.table = bus.table(STATE_STREAM, STATE_PREFIX)
        self.writes = GroupedWrites(bus, self.table)

    @classmethod
    async def open(cls, bus: Bus) -> "Ledger":
        await bus.ensure_table(STATE_STREAM, STATE_PREFIX, history=100_000, is_hubs_own=True)
        return cls(bus)

    async def at(self, revision: int) -> Stored:
        answer = await self.bus.api(f"STREAM.MSG.GET.{STATE_STREAM}", {"seq": revision})
        message = answer["message"]
        head = base64.b64decode(message.get("hdrs", "")).decode()
        batch = next((line[15:] for line in head.splitlines() if line.startswith("Nats-Batch-Id: ")), "")
        key = message["subject"].removeprefix(f"{STATE_PREFIX}.").replace(".", "/")
        return Stored(key, base64.b64decode(message.get("data", "")), batch)

    async def all(self) -> dict[int, Stored]:
        return {number: await self.at(number) for number in range(1, await self.table.last_revision() + 1)}

    async def together(self, *writes: Write) -> list[int | BaseException]:
        return await asyncio.gather(*(self.writes.write(write) for write in writes), return_exceptions=True)


@pytest.fixture
async def ledger(bus: Bus) -> AsyncIterator[Ledger]:
    yield await Ledger.open(bus)


def creates(count: int, prefix: str = "k") -> list[Write]:
    return [Write(f"{prefix}/{number}", b"%d" % number, 0) for number in range(count)]


async def test_writes_of_one_moment_share_a_commit_and_each_hears_its_own_revision(ledger: Ledger) -> None:
    writes = creates(MANY)
    revisions = await ledger.together(*writes)
    stored = [await ledger.at(revision) for revision in revisions]
    assert [(one.key, one.value) for one in stored] == [(write.key, write.value) for write in writes]
    assert len({one.batch for one in stored}) == 1, "all of them came in one batch"
    assert stored[0].batch


async def test_a_write_that_comes_alone_is_a_plain_message(ledger: Ledger) -> None:
    revision = await ledger.writes.write(Write("k/1", b"1", 0))
    assert await ledger.at(revision) == Stored("k/1", b"1", "")


async def test_revisions_are_right_while_another_connection_writes_between(ledger: Ledger, nats_server: Any) -> None:
    other = await Bus.connect(nats_server.url, name="other")
    table, expected = other.table(STATE_STREAM, STATE_PREFIX), {}

    async def note(write: Write, revision: int) -> None:
        expected[revision] = (write.key, write.value)

    async def grouped(number: int) -> None:
        for write in creates(10, f"g{number}"):
            await note(write, await ledger.writes.write(write))

    async def plain(number: int) -> None:
        for write in creates(20, f"p{number}"):
            await note(write, await table.write(write))

    await asyncio.gather(*(grouped(number) for number in range(MANY)), *(plain(number) for number in range(4)))
    stored = await ledger.all()
    assert {number: (one.key, one.value) for number, one in stored.items()} == expected
    assert {bool(one.batch) for one in stored.values()} == {True, False}
    await other.close()


async def test_only_the_writes_whose_expectation_fails_are_refused(ledger: Ledger) -> None:
    there = await ledger.table.put("k/3", b"there")
    results = await ledger.together(*creates(MANY), Write("k/new", b"x", 7))
    refused = {number: result.current for number, result in enumerate(results) if isinstance(result, Conflict)}
    assert refused == {3: there, MANY: 0}
    assert sum(isinstance(result, int) for result in results) == MANY - 1
    assert (await ledger.table.get("k/3")).value == b"there"
    assert await ledger.table.get("k/new") is None


async def test_deleted_keys_are_created_again_among_others(ledger: Ledger) -> None:
    first = await ledger.together(*creates(MANY))
    gone = await ledger.together(*(Write(f"k/{n}", None, revision) for n, revision in enumerate(first) if n % 2))
    assert all(isinstance(revision, int) for revision in gone)
    again = await ledger.together(*creates(MANY))
    assert [isinstance(result, int) for result in again] == [bool(number % 2) for number in range(MANY)]


async def test_of_two_writes_of_one_key_in_one_moment_the_first_wins(ledger: Ledger) -> None:
    results = await ledger.together(*creates(MANY), *creates(MANY))
    assert [type(result) for result in results] == [int] * MANY + [Conflict] * MANY
    assert [error.current for error in results[MANY:]] == results[:MANY]


async def test_blind_writes_of_one_key_end_with_the_last_one_asked_for(ledger: Ledger) -> None:
    revisions = await ledger.together(*(Write("k/one", b"%d" % number) for number in range(MANY)))
    assert revisions == sorted(revisions)
    assert (await ledger.table.get("k/one")).value == b"%d" % (MANY - 1)


async def test_a_writer_that_is_cancelled_disturbs_nobody(ledger: Ledger) -> None:
    tasks = [asyncio.create_task(ledger.writes.write(write)) for write in creates(MANY)]
    late = [asyncio.create_task(ledger.writes.write(write)) for write in creates(MANY, "late")]
    await asyncio.sleep(0)
    tasks[2].cancel()
    late[0].cancel()
    results = await asyncio.gather(*tasks, *late, return_exceptions=True)
    assert [number for number, result in enumerate(results) if not isinstance(result, int)] == [2, MANY]
    stored = await ledger.all()
    for number, result in enumerate(results):
        if isinstance(result, int):
            assert stored[result].key == (f"k/{number}" if number < MANY else f"late/{number - MANY}")


async def test_many_large_writes_go_in_bounded_batches(ledger: Ledger) -> None:
    values = [Write(f"big/{number}", b"%d" % number * 200_000, 0) for number in range(40)]
    revisions = await ledger.together(*values)
    sizes = Counter()
    for revision, write in zip(revisions, values, strict=True):
        stored = await ledger.at(revision)
        assert stored.value == write.value
        sizes[stored.batch] += len(stored.value)
    assert len(sizes) > 1
    assert max(sizes.values()) < 5_000_000


async def test_a_stream_made_before_there_were_batches_takes_them_after_an_upgrade(bus: Bus) -> None:
    config = {"name": "OLD", "subjects": ["old.>"], "storage": "file", "max_msgs_per_subject": 1, "discard": "new"}
    await bus.api("STREAM.CREATE.OLD", config)
    table = bus.table("OLD", "old")
    kept = await table.put("a", b"1")
    await bus.ensure_table("OLD", "old", history=16, is_hubs_own=True)
    writes = GroupedWrites(bus, table)
    revisions = await asyncio.gather(*(writes.write(write) for write in creates(MANY)))
    assert revisions == list(range(kept + 1, kept + 1 + MANY))
    assert (await table.get("a")).value == b"1"


async def test_writes_are_stored_one_by_one_where_the_server_refuses_batches(bus: Bus) -> None:
    await bus.api("STREAM.CREATE.PLAIN", {"name": "PLAIN", "subjects": ["plain.>"], "storage": "file"})
    table = bus.table("PLAIN", "plain")
    writes = GroupedWrites(bus, table)
    revisions = await asyncio.gather(*(writes.write(write) for write in creates(MANY)))
    assert sorted(revisions) == list(range(1, MANY + 1))


async def test_a_server_that_is_too_old_is_named() -> None:
    """A server without JetStream lets a client answer in its place, as one would that does not know `allow_atomic`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([find_server(), "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.DEVNULL)
    bus = await Bus.connect(f"nats://127.0.0.1:{port}", name="hub")

    async def old(request: Any) -> None:
        asked = orjson.loads(request.data)
        await request.respond(orjson.dumps({"config": {name: asked[name] for name in ("name", "subjects", "storage")}}))

    await bus.client.subscribe("$JS.API.STREAM.CREATE.TOO_OLD", cb=old)
    with pytest.raises(InvalidInput, match=r"nats-server 2\.\d+ cannot write stream TOO_OLD in batches"):
        await bus.ensure_table("TOO_OLD", "old", is_hubs_own=True)
    await bus.close()
    process.kill()
    process.wait()


KEYS = st.sampled_from("abcdefghijkl")


@given(st.lists(st.tuples(KEYS, st.integers(0, 2_000_000), st.booleans()), max_size=600))
def test_groups_hold_each_key_once_in_order_and_lose_nobody(asked: list[tuple[str, int, bool]]) -> None:
    loop = asyncio.new_event_loop()
    queue = deque(_Waiting(Write(key, bytes(size), number), loop.create_future()) for number, (key, size, _) in
                  enumerate(asked))  # fmt: skip
    for waiting, (_, _, left) in zip(tuple(queue), asked, strict=True):
        if left:
            waiting.done.cancel()
    groups = []
    while group := next_group(queue):
        groups.append([waiting.write for waiting in group])
    loop.close()
    for group in groups:
        assert len({write.key for write in group}) == len(group)
        assert sum(len(write.value) for write in group[:-1]) < 4 * 1024 * 1024
    order = [write for group in groups for write in group]
    for key in {write.key for write in order}:
        mine = [write.expected for write in order if write.key == key]
        assert mine == [number for number, (name, _, left) in enumerate(asked) if name == key and not left]
    assert not queue


ROUNDS = st.lists(st.lists(st.tuples(st.integers(0, 25), st.sampled_from(("right", "wrong", "delete"))), min_size=1,
                           max_size=40), min_size=1, max_size=4)  # fmt: skip
_streams = iter(range(1_000_000))


# One server does for all examples: each takes a stream of its own.
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds=ROUNDS)
def test_concurrent_writes_end_as_if_each_had_come_alone_in_the_order_asked(
    nats_server: Any, rounds: list[list[tuple[int, str]]]
) -> None:
    asyncio.run(_play(nats_server.url, rounds))


async def _play(url: str, rounds: list[list[tuple[int, str]]]) -> None:
    """Rounds of writes that are asked for at once. `right` expects what the rounds before left there."""
    bus = await Bus.connect(url, name="model")
    stream = f"M{next(_streams)}"
    await bus.ensure_table(stream, stream.lower(), is_hubs_own=True)
    table = bus.table(stream, stream.lower())
    writes = GroupedWrites(bus, table)
    revisions: dict[str, int] = {}
    values: dict[str, bytes] = {}
    for round_ in rounds:
        asked = [_asked(f"k{number}", sort, revisions) for number, sort in round_]
        results = await asyncio.gather(*(writes.write(write) for write in asked), return_exceptions=True)
        before = dict(revisions)
        for write, result in zip(asked, results, strict=True):
            if write.expected == revisions.get(write.key, 0):
                assert isinstance(result, int)
                assert result > max(before.values(), default=0)
                revisions[write.key] = result if write.value is not None else 0
                values[write.key] = write.value or b""
            else:
                assert isinstance(result, Conflict), f"{write} against {revisions.get(write.key)}"
    for key, revision in revisions.items():
        found = await table.get(key)
        assert (found.revision, found.value) == (revision, values[key]) if revision else found is None
    await bus.close()


def _asked(key: str, sort: str, revisions: dict[str, int]) -> Write:
    known = revisions.get(key, 0)
    if sort == "wrong":
        return Write(key, b"wrong", known + 100_000)
    return Write(key, None if sort == "delete" and known else b"right", known)


@dataclass
class Outcomes:
    """What writers were told while the server died again and again."""

    stored: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    refused: list[tuple[Write, int]] = field(default_factory=list)
    unknown: int = 0


async def _write_on(writes: GroupedWrites, known: dict[str, int], outcomes: Outcomes, name: str) -> None:
    """Write to shared keys for ever, mostly with the newest revision that anybody here heard of."""
    chance = random.Random(name)
    for number in range(1_000_000):
        key, value = f"k/{chance.randrange(60)}", f"{name}-{number}".encode()
        write = Write(key, value, known.get(key, 0))
        try:
            revision = await writes.write(write)
        except Conflict as conflict:
            outcomes.refused.append((write, conflict.current))
            known[key] = max(known.get(key, 0), conflict.current)
        except Unavailable:
            outcomes.unknown += 1
        else:
            assert revision not in outcomes.stored, "two writes were told one revision"
            outcomes.stored[revision] = (key, value)
            known[key] = max(known.get(key, 0), revision)
        await asyncio.sleep(chance.random() * 0.01)


@pytest.mark.faults
async def test_after_kills_amid_batches_what_was_acknowledged_is_there_and_what_was_refused_is_not(
    ledger: Ledger, nats_server: Any
) -> None:
    other = await Bus.connect(nats_server.url, name="other-hub")
    outcomes, known = Outcomes(), {}
    both = (ledger.writes, GroupedWrites(other, other.table(STATE_STREAM, STATE_PREFIX)))
    writers = [
        asyncio.create_task(_write_on(writes, known, outcomes, f"{hub}.{number}"))
        for hub, writes in enumerate(both)
        for number in range(30)
    ]
    for _ in range(4):
        reached = len(outcomes.stored) + 300
        async with asyncio.timeout(30):
            while len(outcomes.stored) < reached:
                await asyncio.sleep(0.01)
        await asyncio.to_thread(nats_server.restart)
    await asyncio.sleep(0.5)
    for writer in writers:
        writer.cancel()
    await asyncio.gather(*writers, return_exceptions=True)
    await _until_reachable(ledger.table)
    stored = await ledger.all()
    assert any(one.batch for one in stored.values())
    for revision, (key, value) in outcomes.stored.items():
        assert (stored[revision].key, stored[revision].value) == (key, value)
    values = {one.value for one in stored.values()}
    assert outcomes.refused
    for write, current in outcomes.refused:
        assert write.value not in values, "a write that was refused is stored"
        assert current != write.expected
        assert current == 0 or stored[current].key == write.key
    await other.close()


async def _until_reachable(table: Table) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await table.last_revision()
                return
            except AtollError:
                await asyncio.sleep(0.1)


@pytest.mark.faults
async def test_writers_hear_of_a_lost_answer_soon_after_the_server_is_back(ledger: Ledger, nats_server: Any) -> None:
    async with asyncio.timeout(9):  # one lost answer alone would be waited for 10 s
        await ledger.together(*creates(MANY))
        nats_server.kill9()
        lost = asyncio.create_task(ledger.together(*creates(MANY, "lost")))
        await asyncio.to_thread(nats_server.start)
        await lost
        while not all(
            isinstance(one, int) for one in await ledger.together(*(Write(f"k/{n}", b"x") for n in range(9)))
        ):
            await asyncio.sleep(0.1)
