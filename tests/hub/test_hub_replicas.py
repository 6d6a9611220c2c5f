"""Two hubs on one NATS are one API server: a client may move between them in the middle of a watch, and one may die."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from atoll.federation.bus.connection import Bus
from hub.processes import HubProcess
from hub.support import API, HubClient, eventually, job_spec, joined, manifest, path_of, running_hub

DATASETS = f"{API}/namespaces/default/datasets"
Json = dict[str, Any]


def version_of(obj: Json) -> int:
    return int(obj["metadata"]["resourceVersion"])


@dataclass
class Writer:
    """Writes datasets through one hub after the other, and remembers every write that was acknowledged."""

    urls: list[str]
    name: str
    acknowledged: dict[int, tuple[str, Json | None]] = field(default_factory=dict)
    unknown: set[str] = field(default_factory=set)
    """Names of which a write was sent whose answer never came: it may have happened or not."""

    async def run(self, rounds: int) -> None:
        async with contextlib.AsyncExitStack() as stack:
            clients = [httpx.AsyncClient(base_url=url, timeout=20, verify=False) for url in self.urls]
            for client in clients:
                await stack.enter_async_context(client)
            for number in range(rounds):
                name = f"{self.name}-{number % 4}"
                try:
                    await self._write(clients[number % len(clients)], name, number)
                except httpx.TransportError:
                    self.unknown.add(name)
                await asyncio.sleep(0.005)

    async def _write(self, http: httpx.AsyncClient, name: str, number: int) -> None:
        body = manifest("Dataset", name, {"storageClass": f"class-{number}"}, "default")
        answer = await http.post(DATASETS, json=body)
        if answer.status_code == 201:
            self._remember(answer.json())
            return
        assert answer.status_code == 409, answer.text
        if number % 3 == 0:
            gone = await http.delete(f"{DATASETS}/{name}")
            assert gone.status_code == 200, gone.text
            return
        merge = {"content-type": "application/merge-patch+json"}
        patch = json.dumps({"spec": {"storageClass": f"class-{number}"}})
        patched = await http.patch(f"{DATASETS}/{name}", content=patch, headers=merge)
        assert patched.status_code == 200, patched.text
        self._remember(patched.json())

    def _remember(self, obj: Json) -> None:
        self.acknowledged[version_of(obj)] = (obj["metadata"]["name"], obj["spec"])


@dataclass
class Wanderer:
    """Watches, and moves to the next hub after every few events, or when the hub goes away."""

    urls: list[str]
    version: int
    events: list[Json] = field(default_factory=list)
    moves: int = 0

    async def run(self) -> None:
        for url in itertools.cycle(self.urls):
            with contextlib.suppress(httpx.TransportError):
                await self._stay(url, events=3)
            self.moves += 1
            await asyncio.sleep(0.01)

    async def _stay(self, url: str, *, events: int) -> None:
        query = {"watch": "true", "resourceVersion": str(self.version), "timeoutSeconds": "1"}
        async with (
            httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http,
            http.stream("GET", DATASETS, params=query) as got,
        ):
            async for line in got.aiter_lines():
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                self.events.append(event)
                self.version = version_of(event["object"])
                events -= 1
                if not events:
                    return

    @property
    def state(self) -> dict[str, Json]:
        """What the events add up to."""
        state: dict[str, Json] = {}
        for event in self.events:
            name = event["object"]["metadata"]["name"]
            assert (event["type"] == "ADDED") is (name not in state), f"{event['type']} {name}"
            if event["type"] == "DELETED":
                del state[name]
            else:
                state[name] = event["object"]
        return state


@contextlib.asynccontextmanager
async def wandering(urls: list[str], version: int) -> AsyncIterator[Wanderer]:
    wanderer = Wanderer(urls, version)
    task = asyncio.create_task(wanderer.run())
    yield wanderer
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def listed(url: str) -> tuple[int, dict[str, Json]]:
    async with httpx.AsyncClient(base_url=url, timeout=20, verify=False) as http:
        answer = (await http.get(DATASETS)).json()
    return version_of(answer), {item["metadata"]["name"]: item for item in answer["items"]}


def check_each_change_was_seen_once(wanderer: Wanderer, writers: list[Writer]) -> None:
    versions = [version_of(event["object"]) for event in wanderer.events]
    assert versions == sorted(set(versions)), "a change was seen twice, or out of order"
    seen = {version_of(event["object"]): event["object"] for event in wanderer.events if event["type"] != "DELETED"}
    for writer in writers:
        for version, (name, spec) in writer.acknowledged.items():
            assert version in seen, f"the write of {name} at {version} was not seen"
            assert (seen[version]["metadata"]["name"], seen[version]["spec"]) == (name, spec)


async def test_a_watch_that_moves_between_hubs_sees_each_change_exactly_once(nats_server: Any, tmp_path: Path) -> None:
    async with (
        running_hub(nats_server.url, tmp_path / "a") as one,
        running_hub(nats_server.url, tmp_path / "b") as other,
    ):
        urls = [one.url, other.url]
        begin, _ = await listed(one.url)
        writers = [Writer(urls, "x"), Writer(urls[::-1], "y"), Writer([other.url], "z")]
        async with wandering(urls, begin) as wanderer:
            await asyncio.gather(*(writer.run(24) for writer in writers))
            _, (final, state) = await asyncio.gather(asyncio.sleep(0), listed(other.url))
            await eventually(lambda: _is(wanderer.state == state))
        check_each_change_was_seen_once(wanderer, writers)
        assert wanderer.moves > 10
        assert (await listed(one.url)) == (final, state)


async def _is(value: bool) -> bool:
    return value


@pytest.fixture
def pair(nats_server: Any, tmp_path: Path) -> Iterator[tuple[HubProcess, HubProcess]]:
    """Two hubs in processes of their own; the first one leads."""
    hubs = HubProcess(nats_server.url, tmp_path / "first"), HubProcess(nats_server.url, tmp_path / "second")
    for hub in hubs:
        hub.start()
    yield hubs
    for hub in hubs:
        hub.kill9()


@pytest.mark.faults
async def test_a_hub_that_is_killed_under_load_takes_no_acknowledged_write_with_it(
    pair: tuple[HubProcess, HubProcess],
) -> None:
    doomed, survivor = pair
    urls = [doomed.url, survivor.url]
    begin, _ = await listed(survivor.url)
    writers = [Writer(urls, name) for name in "abcd"]
    async with wandering(urls, begin) as wanderer:
        load = asyncio.gather(*(writer.run(40) for writer in writers))
        await eventually(lambda: _is(len(wanderer.events) > 20))
        doomed.kill9()
        await load
        _, state = await listed(survivor.url)
        await eventually(lambda: _is(wanderer.state == state))
        check_each_change_was_seen_once(wanderer, writers)
    assert any(writer.unknown for writer in writers), "the load ended before the hub was killed"
    await asyncio.to_thread(doomed.start)
    assert await listed(doomed.url) == await listed(survivor.url)


@pytest.mark.faults
async def test_a_hub_that_is_new_says_that_it_does_not_know_the_history_and_a_list_heals(
    pair: tuple[HubProcess, HubProcess],
) -> None:
    first, second = pair
    begin, _ = await listed(first.url)
    await Writer([second.url], "a").run(8)
    first.kill9()
    await asyncio.to_thread(first.start)
    async with httpx.AsyncClient(base_url=first.url, timeout=20) as http:
        query = {"watch": "true", "resourceVersion": str(begin), "timeoutSeconds": "5"}
        refused = json.loads((await http.get(DATASETS, params=query)).text.splitlines()[0])
    assert (refused["type"], refused["object"]["code"], refused["object"]["reason"]) == ("ERROR", 410, "Expired")
    version, state = await listed(first.url)
    async with wandering([first.url, second.url], version) as wanderer:
        writer = Writer([second.url, first.url], "b")
        await writer.run(8)
        await eventually(lambda: _is(len(wanderer.events) >= len(writer.acknowledged)))
        check_each_change_was_seen_once(wanderer, [writer])
    assert set(state) <= set((await listed(second.url))[1])


@pytest.mark.faults
async def test_jobs_written_through_both_hubs_run_once_while_the_leader_is_killed_and_comes_back(
    pair: tuple[HubProcess, HubProcess], bus: Bus
) -> None:
    async with joined(bus, "onprem") as member, contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(httpx.AsyncClient(base_url=hub.url, timeout=20)) for hub in pair]
        one, other = (HubClient(None, str(http.base_url), http) for http in clients)  # type: ignore[arg-type]
        await one.apply(manifest("Queue", "lab"), manifest("Cluster", "onprem"))
        await other.phase(f"{API}/clusters/onprem", "Ready")
        leader, heir = sorted(pair, key=lambda hub: not hub.leads)
        assert (leader.leads, heir.leads) == (True, False)
        jobs = [manifest("Job", f"j{number}", job_spec(), "default") for number in range(6)]
        await one.apply(*jobs[:2])
        await other.apply(*jobs[2:4])
        leader.kill9()
        left = other if leader is pair[0] else one
        await left.apply(*jobs[4:])
        for job in jobs:
            await left.phase(path_of(job), "Succeeded")
        assert heir.leads
        await asyncio.to_thread(leader.start)
        heir.kill9()
        last = manifest("Job", "last", job_spec(), "default")
        back = one if leader is pair[0] else other
        await back.apply(last)
        await back.phase(path_of(last), "Succeeded")
        assert sorted(member.starts) == [*(f"j{number}-1-e1" for number in range(6)), "last-1-e1"]
