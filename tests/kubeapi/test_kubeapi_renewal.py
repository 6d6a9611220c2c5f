"""A watch ends for who may no longer see what it shows, and goes on for everybody else."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from atoll.kubeapi.http.renewal import RENEW_SECONDS
from atoll.kubeapi.storage import MemoryStorage
from atoll.kubeapi.store import Store
from kubeapi.access_world import World, running
from kubeapi.kinds import CONFIG_MAP, config_map, make_registry

MAPS = "/api/v1/namespaces/default/configmaps"


class Clock:
    """Shows the time that it is set to."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


def _revoke_token(world: World) -> None:
    del world.users.known["b"]


def _take_right(world: World) -> None:
    world.users.granted["bob"].clear()


def _change_nothing(_world: World) -> None:
    """Leave bob his rights."""


CHANGES = {"by its token": (_revoke_token, 401), "by its rules": (_take_right, 403)}


async def _events(world: World, seen: asyncio.Queue[str | None], **headers: str) -> None:
    async with world.http("b", **headers) as http, http.stream("GET", f"{MAPS}?watch=1") as stream:
        async for line in stream.aiter_lines():
            seen.put_nowait(json.loads(line)["object"]["metadata"]["name"])
    seen.put_nowait(None)


@pytest.fixture
async def clock() -> Clock:
    return Clock()


@pytest.fixture
async def timed_store(clock: Clock) -> AsyncIterator[Store]:
    """A store whose clock stands still."""
    store = Store(make_registry(), MemoryStorage(), clock=clock)
    await store.start()
    yield store
    await store.close()


async def _watched(
    store: Store, world: World, clock: Clock, *, change: Callable[[World], None], seconds: float
) -> list[str | None]:
    """Return what bob's watch shows of two objects, between which something is changed and time goes by."""
    seen: asyncio.Queue[str | None] = asyncio.Queue()
    watch = asyncio.create_task(_events(world, seen))
    async with asyncio.timeout(20):
        await store.create(CONFIG_MAP, config_map("before"))
        shown = [await seen.get()]
        change(world)
        clock.now += timedelta(seconds=seconds)
        await store.create(CONFIG_MAP, config_map("after"))
        shown.append(await seen.get())
    watch.cancel()
    return shown


@pytest.mark.parametrize("case", CHANGES)
async def test_a_watch_ends_soon_after_its_reader_lost_the_right_to_it(
    timed_store: Store, clock: Clock, tmp_path: Path, case: str
) -> None:
    change, code = CHANGES[case]
    async with running(timed_store, tmp_path) as world:
        shown = await _watched(timed_store, world, clock, change=change, seconds=RENEW_SECONDS + 1)
        async with world.http("b") as http:
            assert (await http.get(f"{MAPS}?watch=1")).status_code == code
    assert shown == ["before", None]


async def test_a_watch_goes_on_while_its_reader_may_read(timed_store: Store, clock: Clock, tmp_path: Path) -> None:
    async with running(timed_store, tmp_path) as world:
        shown = await _watched(timed_store, world, clock, change=_change_nothing, seconds=3 * RENEW_SECONDS)
        assert shown == ["before", "after"]
        assert [action.verb for action in world.users.asked] == ["watch", "watch"]
