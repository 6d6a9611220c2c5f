"""The table of tokens: what a hub knows of them, how soon, and what guessing costs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.access.grant import GRANT_EXTRA, Grant
from atoll.hub.access.identity import Refused
from atoll.hub.access.token_table import ACCESS_PREFIX, ACCESS_STREAM, Guesses, Tokens
from atoll.hub.access.tokens import Draft, parse_token
from atoll.kubeapi.errors import Unavailable
from atoll.kubeapi.http.access import User
from hub.support import eventually

NOW = datetime(2026, 11, 22, tzinfo=UTC)
UNKNOWN = f"atoll_{'0' * 12}_{'0' * 64}"


class Clock:
    """Wall-clock time that a test moves."""

    now = NOW

    def __call__(self) -> datetime:
        return self.now


def draft(user: str = "alice", *, days: int = 1, grant: Grant | None = None) -> Draft:
    return Draft(user, ("labs",), grant, "", NOW + timedelta(days=days))


def reason(found: User | Refused) -> str:
    return found.reason if isinstance(found, Refused) else f"accepted {found.name}"


@contextlib.asynccontextmanager
async def following(bus: Bus, clock: Clock | None = None) -> AsyncIterator[Tokens]:
    """A hub's tokens, kept up to date during the context."""
    tokens = await Tokens.open(bus, clock=clock or Clock())
    task = asyncio.create_task(tokens.run())
    try:
        await tokens.synced.wait()
        yield tokens
    finally:
        task.cancel()
        await asyncio.wait({task})


async def requests_of_store(bus: Bus) -> int:
    """Count what the stream's API has answered on this server so far."""
    answer = await bus.api("INFO")
    return int(answer["api"]["total"])


async def test_a_token_carries_its_own_grant(bus: Bus) -> None:
    grant = Grant("Submitter", ("seismology",), ("lab",))
    async with following(bus) as tokens:
        _, token = await tokens.issue(draft(grant=grant), created_by="root")
        found = await tokens.authenticate(token)
        assert isinstance(found, User)
        assert (found.name, found.groups) == ("alice", ("labs",))
        assert Grant.parse(found.extra[GRANT_EXTRA][0]) == grant


async def test_a_token_ends_at_the_instant_that_was_said(bus: Bus) -> None:
    clock = Clock()
    async with following(bus, clock) as tokens:
        _, token = await tokens.issue(draft(days=1), created_by="root")
        clock.now = NOW + timedelta(days=1) - timedelta(microseconds=1)
        assert reason(await tokens.authenticate(token)) == "accepted alice"
        clock.now = NOW + timedelta(days=1)
        assert reason(await tokens.authenticate(token)) == "Expired"


async def test_a_hub_that_has_not_heard_of_a_token_asks_before_it_refuses(bus: Bus) -> None:
    """The second hub's follower never runs after its first look."""
    async with following(bus) as issuing:
        deaf = await Tokens.open(bus, clock=Clock())
        deaf.synced.set()
        _, token = await issuing.issue(draft(), created_by="root")
        assert reason(await deaf.authenticate(token)) == "accepted alice"
        await issuing.revoke(parse_token(token).id)  # type: ignore[union-attr]
        assert reason(await deaf.authenticate(token)) == "UnknownOrRevoked"


async def test_a_revoked_token_does_not_come_back_from_a_follower_that_is_behind(bus: Bus) -> None:
    async with following(bus) as other:
        behind = await Tokens.open(bus, clock=Clock())
        behind.synced.set()
        issued = [await other.issue(draft(f"u{number}"), created_by="root") for number in range(20)]
        for record, _ in issued:
            assert await behind.revoke(record.id)
        task = asyncio.create_task(behind.run())  # now it reads what was there before and after
        found = [reason(await behind.authenticate(token)) for _, token in issued for _ in range(3)]
        assert set(found) == {"UnknownOrRevoked"}

        async def is_empty() -> bool:
            return not behind.all() and not other.all()

        await eventually(is_empty)
        task.cancel()
        await asyncio.wait({task})


async def test_two_who_revoke_the_same_token_at_once_both_get_a_true_answer(bus: Bus) -> None:
    async with following(bus) as one, following(bus) as other:
        for _ in range(10):
            record, token = await one.issue(draft(), created_by="root")
            answers = await asyncio.gather(one.revoke(record.id), other.revoke(record.id), one.revoke(record.id))
            assert Counter(answers) == {True: 1, False: 2}
            assert reason(await one.authenticate(token)) == "UnknownOrRevoked"


async def test_records_that_cannot_be_read_let_nobody_in_and_stop_nothing(bus: Bus) -> None:
    async with following(bus) as tokens:
        table = bus.table(ACCESS_STREAM, ACCESS_PREFIX)
        shown = parse_token(UNKNOWN)
        assert shown is not None
        for garbage in (b"", b"{}", b"\xff\xfe", b'{"id": 1}', b"[]"):
            await table.put(f"token/{shown.id}", garbage)
            assert reason(await tokens.authenticate(UNKNOWN)) == "UnknownOrRevoked", garbage
        record, token = await tokens.issue(draft(), created_by="root")
        unknown_role = record.model_copy(update={"grant": '{"role": "Emperor"}'})
        await table.put(f"token/{record.id}", unknown_role.encode())

        async def is_refused() -> bool:
            return reason(await tokens.authenticate(token)) == "InvalidClaim"

        await eventually(is_refused)
        _, good = await tokens.issue(draft("bob"), created_by="root")
        assert reason(await tokens.authenticate(good)) == "accepted bob"


async def test_guessing_costs_nats_a_few_questions_a_second_at_most(bus: Bus) -> None:
    async with following(bus) as tokens:
        before = await requests_of_store(bus)
        guesses = [f"atoll_{number:012x}_{'0' * 64}" for number in range(500)]
        found = [reason(await tokens.authenticate(guess)) for guess in guesses]
        same = [reason(await tokens.authenticate(UNKNOWN)) for _ in range(500)]
        assert {*found, *same} == {"UnknownOrRevoked"}
        asked = await requests_of_store(bus) - before
        assert 1 <= asked <= 3 * Guesses.LOOKUPS_PER_SECOND


def test_an_unknown_id_is_looked_up_again_after_a_while() -> None:
    now = [100.0]
    guesses = Guesses(lambda: now[0])
    assert guesses.may_look_up("a")
    guesses.was_unknown("a")
    assert not guesses.may_look_up("a")
    now[0] += Guesses.REMEMBERED_SECONDS
    assert guesses.may_look_up("a")


def test_what_was_guessed_is_remembered_in_bounded_memory() -> None:
    guesses = Guesses(lambda: 0.0)
    for number in range(20_000):
        guesses.was_unknown(str(number))
    assert not guesses.may_look_up("19999")
    assert guesses.may_look_up("0")


async def test_before_the_tokens_are_loaded_nobody_can_tell_and_the_answer_says_so(bus: Bus) -> None:
    tokens = await Tokens.open(bus, clock=Clock())
    with pytest.raises(Unavailable):
        await tokens.authenticate(UNKNOWN)
    with pytest.raises(Unavailable):
        tokens.all()
    assert reason(await tokens.authenticate("atoll_nonsense")) == "Malformed"


async def test_tokens_that_expired_long_ago_are_removed(bus: Bus) -> None:
    clock = Clock()
    async with following(bus, clock) as tokens:
        for user, days in (("old", 1), ("lately", 20), ("new", 300)):
            await tokens.issue(draft(user, days=days), created_by="root")
        clock.now = NOW + timedelta(days=40)
        await tokens.remove_expired()
        assert {record.user for record in tokens.all()} == {"lately", "new"}
