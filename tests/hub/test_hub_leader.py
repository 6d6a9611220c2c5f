"""At most one hub leads, a dead leader is followed soon, and a leader that lost its lease stops."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.leader import Lease, lead
from atoll.hub.lease_thread import LeaseBeside, lease_beside

SECONDS = 1.0


class Work:
    """What a leader does: here, say so."""

    def __init__(self, leaders: list[str], name: str) -> None:
        self.leaders, self.name = leaders, name
        self.started = asyncio.Event()

    async def run(self) -> None:
        assert not self.leaders, f"{self.name} leads beside {self.leaders}"
        self.leaders.append(self.name)
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.leaders.remove(self.name)
            self.started.clear()


async def test_one_of_three_leads_and_another_takes_over_when_it_ends(bus: Bus) -> None:
    leaders: list[str] = []
    works = {name: Work(leaders, name) for name in "abc"}
    leases = {name: await Lease.open(bus, seconds=SECONDS) for name in "abc"}
    tasks = {name: asyncio.create_task(lead(leases[name], works[name].run)) for name in "abc"}
    tokens = []
    for _ in range(3):
        async with asyncio.timeout(10):
            while not leaders:
                await asyncio.sleep(0.01)
        first = leaders[0]
        tokens.append(leases[first].token)
        tasks.pop(first).cancel()
        async with asyncio.timeout(10):
            while leaders == [first]:
                await asyncio.sleep(0.01)
    assert tokens == sorted(set(tokens)), "every leader has a larger token"


async def test_a_leader_that_was_killed_is_followed_after_its_lease(bus: Bus) -> None:
    dead = await Lease.open(bus, seconds=SECONDS)
    await dead.acquire()
    began = time.monotonic()
    heir = await Lease.open(bus, seconds=SECONDS)
    await heir.acquire()
    waited = time.monotonic() - began
    assert SECONDS <= waited < SECONDS * 2.5
    assert not dead.is_held
    assert heir.token > dead.token


async def test_the_lease_of_the_dead_runs_out_while_its_heir_loads_objects(bus: Bus) -> None:
    dead = await Lease.open(bus, seconds=SECONDS)
    await dead.acquire()
    heir = await Lease.open(bus, seconds=SECONDS)
    await asyncio.sleep(SECONDS)  # this is the loading
    async with asyncio.timeout(SECONDS / 2):
        await heir.acquire()


async def test_a_lease_that_was_renewed_while_an_heir_loaded_objects_stands(bus: Bus) -> None:
    alive = await Lease.open(bus, seconds=SECONDS)
    await alive.acquire()
    heir = await Lease.open(bus, seconds=SECONDS)
    holding = asyncio.create_task(alive.hold())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(SECONDS * 2):
            await heir.acquire()
    assert alive.is_held
    holding.cancel()


@pytest.mark.faults
async def test_a_leader_that_cannot_renew_stops_within_its_lease_and_leads_again_later(
    bus: Bus, nats_server: Any
) -> None:
    leaders: list[str] = []
    work = Work(leaders, "only")
    task = asyncio.create_task(lead(await Lease.open(bus, seconds=SECONDS), work.run))
    await asyncio.wait_for(work.started.wait(), 5)
    nats_server.kill9()
    async with asyncio.timeout(SECONDS * 2):
        while leaders:
            await asyncio.sleep(0.01)
    await asyncio.to_thread(nats_server.start)
    await asyncio.wait_for(work.started.wait(), 20)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def test_work_that_fails_is_not_hidden(bus: Bus) -> None:
    async def broken() -> None:
        raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        await asyncio.wait_for(lead(await Lease.open(bus, seconds=SECONDS), broken), 5)


@contextlib.asynccontextmanager
async def beside(url: str, *, stuck_seconds: float = 30.0) -> AsyncIterator[LeaseBeside]:
    connect = partial(Bus.connect, url, name="lease")
    async with lease_beside(connect, seconds=SECONDS, stuck_seconds=stuck_seconds) as lease:
        yield lease


def stand_still(seconds: float) -> None:
    time.sleep(seconds)  # this is the point: nothing else of this event loop runs meanwhile


async def test_a_leader_whose_event_loop_is_busy_for_longer_than_its_lease_leads_on(bus: Bus, nats_server: Any) -> None:
    leaders: list[str] = []
    work = Work(leaders, "busy")
    async with beside(nats_server.url) as lease:
        task = asyncio.create_task(lead(lease, work.run))
        await asyncio.wait_for(work.started.wait(), 5)
        token = lease.token
        stand_still(SECONDS * 2)
        rival = await Lease.open(bus, seconds=SECONDS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(SECONDS * 1.5):
                await rival.acquire()
        assert leaders == ["busy"]
        assert lease.token == token, "it has led all the time"
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        async with asyncio.timeout(SECONDS / 2):
            await rival.acquire()  # it was given up at the end


async def test_a_leader_whose_event_loop_is_stuck_is_followed(bus: Bus, nats_server: Any) -> None:
    async with beside(nats_server.url, stuck_seconds=SECONDS / 2) as lease:
        await lease.acquire()
        holding = asyncio.create_task(lease.hold())
        await asyncio.sleep(0)
        rival = asyncio.to_thread(asyncio.run, _take_over(nats_server.url))
        taking = asyncio.ensure_future(rival)
        await asyncio.sleep(0)
        stand_still(SECONDS * 3)
        async with asyncio.timeout(SECONDS * 3):
            assert await taking > lease.token
            await holding


async def _take_over(url: str) -> int:
    bus = await Bus.connect(url, name="rival")
    try:
        rival = await Lease.open(bus, seconds=SECONDS)
        await rival.acquire()
        return rival.token
    finally:
        await bus.close()
