"""What the hub acknowledged survives it and its NATS server, and work in the members goes on meanwhile."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.errors import Unavailable
from hub.support import API, HubClient, Member, eventually, job_spec, joined, manifest, path_of, running_hub
from nats_servers import NatsServer

LAB = "seismology"
JOB = manifest("Job", "long", job_spec(), LAB)

SERVE = """
import asyncio, sys
from pathlib import Path
from atoll.hub.main import run
from atoll.hub.settings import HubSettings
url, folder, port = sys.argv[1:]
settings = HubSettings(
    nats_url=url, state_dir=Path(folder), port=int(port), lease_seconds=1.5, insecure_http=True, no_auth=True
)
asyncio.run(run(settings))
"""


async def _prepare(hub: HubClient) -> None:
    await hub.apply(manifest("Namespace", LAB), manifest("Queue", "lab"), manifest("Cluster", "onprem"))
    await hub.phase(f"{API}/clusters/onprem", "Ready")


@contextlib.asynccontextmanager
async def held_run(hub: HubClient, member: Member) -> AsyncIterator[None]:
    """A job whose run goes on until the test ends it."""
    member.holds_runs = True
    await hub.apply(JOB)
    await hub.phase(path_of(JOB), "Running")
    yield


async def test_a_hub_that_restarts_goes_on_where_it_was_and_starts_nothing_twice(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    async with joined(bus, "onprem") as member:
        async with running_hub(nats_server.url, tmp_path) as hub:
            await _prepare(hub)
            async with held_run(hub, member):
                before = (await hub.get(path_of(JOB)))["metadata"]["uid"]
        await member.tell(member.applied[f"run/{LAB}/long-1"], "Succeeded")  # while no hub runs
        async with running_hub(nats_server.url, tmp_path) as hub:
            await hub.phase(path_of(JOB), "Succeeded")
            assert (await hub.get(path_of(JOB)))["metadata"]["uid"] == before
        assert member.starts == ["long-1-e1"]


async def test_a_hub_that_starts_before_nats_can_store_anything_waits_for_it_as_long_as_it_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without_streams = NatsServer.launch(tmp_path / "nats", with_streams=False)
    with pytest.raises(Unavailable, match="is not there after 0 s"):
        async with running_hub(without_streams.url, tmp_path / "hub", nats_wait_seconds=0.0):
            pass
    starting = asyncio.ensure_future(_is_ready(without_streams.url, tmp_path / "hub"))
    assert await eventually(lambda: _said(capsys, "waits for NATS"))
    without_streams.with_streams = True
    await asyncio.to_thread(without_streams.restart)
    assert await starting
    without_streams.kill9()


async def _is_ready(nats_url: str, folder: Path) -> bool:
    async with running_hub(nats_url, folder) as hub:
        return (await hub.http.get("/readyz")).status_code == 200


async def _said(capsys: pytest.CaptureFixture[str], text: str) -> bool:
    return text in capsys.readouterr().out


@pytest.mark.faults
async def test_a_killed_nats_server_stops_no_work_and_loses_nothing(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    async with joined(bus, "onprem") as member, running_hub(nats_server.url, tmp_path) as hub:
        await _prepare(hub)
        async with held_run(hub, member):
            await asyncio.to_thread(nats_server.restart)

            async def is_ready() -> bool:
                return (await hub.http.get("/readyz")).status_code == 200

            assert await eventually(is_ready)
            member.holds_runs = False
            second = manifest("Job", "second", job_spec(), LAB)
            await hub.apply(second)
            await hub.phase(path_of(second), "Succeeded")
            await member.tell(member.applied[f"run/{LAB}/long-1"], "Succeeded")
            await hub.phase(path_of(JOB), "Succeeded")
        assert sorted(member.starts) == ["long-1-e1", "second-1-e1"]


@pytest.mark.faults
async def test_a_killed_hub_is_back_in_seconds_with_all_it_had_acknowledged(
    bus: Bus, nats_server: Any, tmp_path: Path, unused_tcp_port: int
) -> None:
    async def start() -> asyncio.subprocess.Process:
        arguments = (sys.executable, "-c", SERVE, nats_server.url, str(tmp_path / "hub"), str(unused_tcp_port))
        return await asyncio.create_subprocess_exec(*arguments)

    async with (
        joined(bus, "onprem") as member,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{unused_tcp_port}") as http,
    ):
        hub = HubClient(None, str(http.base_url), http)  # type: ignore[arg-type]

        async def is_ready() -> bool:
            try:
                return (await http.get("/readyz")).status_code == 200
            except httpx.TransportError:
                return False

        process = await start()
        try:
            await eventually(is_ready)
            await _prepare(hub)
            async with held_run(hub, member):
                process.send_signal(signal.SIGKILL)
                await process.wait()
                process = await start()
                await eventually(is_ready, seconds=30)
                await member.tell(member.applied[f"run/{LAB}/long-1"], "Succeeded")
                await hub.phase(path_of(JOB), "Succeeded")
            assert member.starts == ["long-1-e1"]
        finally:
            process.kill()
            await process.wait()


async def test_two_hubs_serve_the_same_objects_and_only_one_places_work(
    bus: Bus, nats_server: Any, tmp_path: Path
) -> None:
    async with (
        joined(bus, "onprem") as member,
        running_hub(nats_server.url, tmp_path / "a") as one,
        running_hub(nats_server.url, tmp_path / "b") as other,
    ):
        await _prepare(one)
        job = manifest("Job", "j", job_spec(), LAB)
        await other.apply(job)
        await one.phase(path_of(job), "Succeeded")
        await other.phase(path_of(job), "Succeeded")
        assert member.starts == ["j-1-e1"]
        leaders = [client for client in (one, other) if client.hub.lease.is_held]
        assert len(leaders) == 1


async def test_the_other_hub_takes_over_when_the_leading_one_ends(bus: Bus, nats_server: Any, tmp_path: Path) -> None:
    async with joined(bus, "onprem") as member, running_hub(nats_server.url, tmp_path / "b") as heir:
        async with running_hub(nats_server.url, tmp_path / "a") as first:
            await _prepare(first)
        job = manifest("Job", "j", job_spec(), LAB)
        await heir.apply(job)
        await heir.phase(path_of(job), "Succeeded")
        assert member.starts == ["j-1-e1"]


async def test_a_port_in_use_is_one_clear_line(nats_server: Any, tmp_path: Path) -> None:
    from atoll.federation.errors import Conflict

    async with running_hub(nats_server.url, tmp_path / "a") as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(Conflict, match=f"port {port} of 127.0.0.1 is in use"):
            async with running_hub(nats_server.url, tmp_path / "b", port=port):
                raise AssertionError("a second hub started on the same port")
