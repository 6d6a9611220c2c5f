"""At most one hub leads, a dead leader is followed soon, and a leader that lost its lease stops."""

import asyncio
import contextlib
import time
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from atoll.hub.leader import Lease, lead

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
    heir = await Lease.open(bus, seconds=SECONDS)
    began = time.monotonic()
    await heir.acquire()
    waited = time.monotonic() - began
    assert SECONDS <= waited < SECONDS * 2.5
    assert not dead.is_held
    assert heir.token > dead.token


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
