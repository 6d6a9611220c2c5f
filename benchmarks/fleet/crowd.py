"""The processes of light agents, as the benchmark drives them: commands to them, and what they say they did.

Owns which process has which agent. Their CPU time is no part of what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import httpx
import orjson
from hub_and_nats import Federation, Usage
from seen import CLUSTERS

_SCRIPT = Path(__file__).with_name("light_agents.py")
_INVITATIONS_AT_ONCE = 16


class Crowd:
    """All light agents."""

    def __init__(self, processes: list[asyncio.subprocess.Process], log: Path) -> None:
        """Use processes that were started; see `crowd`."""
        self._processes, self._log = processes, log
        self.names: list[str] = []
        self.enrolled_at: dict[str, float] = {}
        self.changed_at: dict[tuple[str, int], float] = {}

    @property
    def processes(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    async def listen(self) -> None:
        """Take in what the agents say, for ever."""
        await asyncio.gather(*map(self._listen, self._processes))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            said = orjson.loads(line)
            if said["event"] == "enrolled":
                self.enrolled_at[said["name"]] = said["at"]
            elif said["event"] == "changed":
                self.changed_at[said["name"], said["gpus"]] = said["at"]
        raise RuntimeError(f"a process of light agents has ended:\n{self._log.read_text()[-3000:]}")

    async def join(self, http: httpx.AsyncClient, count: int) -> list[str]:
        """Make Clusters and invitations as `atoll cluster join` does, and let an agent come in by each at once."""
        new = [f"c-{number:04}" for number in range(len(self.names), len(self.names) + count)]
        self.names += new
        names = iter(new)

        async def work() -> None:
            for name in names:
                await self._send(name, {"join": name, "token": await _invite(http, name)})

        await asyncio.gather(*(work() for _ in range(_INVITATIONS_AT_ONCE)))
        return new

    async def change(self, names: Collection[str], *, gpus: int, pause: float = 0.0) -> None:
        """Change the capacity of clusters, with so many seconds between two of one process; does not wait for it."""
        for index in range(len(self._processes)):
            some = [name for name in names if self._index(name) == index]
            if some:
                await self._send(some[0], {"change": some, "gpus": gpus, "pause": pause})

    async def _send(self, name: str, command: dict[str, object]) -> None:
        pipe = self._processes[self._index(name)].stdin
        assert pipe is not None
        pipe.write(orjson.dumps(command) + b"\n")
        await pipe.drain()

    def _index(self, name: str) -> int:
        return int(name.removeprefix("c-")) % len(self._processes)

    def cpu_seconds(self) -> float:
        """Give the CPU time of all agents so far."""
        return sum(Usage.of(process.pid).cpu_seconds for process in self._processes)


@contextlib.asynccontextmanager
async def crowd(federation: Federation, processes: int) -> AsyncIterator[Crowd]:
    """Give processes without agents for the time of a block."""
    log = federation.home / "agents.log"
    running = [await _start(federation, index, log) for index in range(processes)]
    made = Crowd(running, log)
    try:
        async with asyncio.TaskGroup() as group:
            listening = group.create_task(made.listen())
            yield made
            listening.cancel()
    finally:
        for process in running:
            process.kill()
            await process.wait()


async def _start(federation: Federation, index: int, log: Path) -> asyncio.subprocess.Process:
    folder = federation.members / str(index)
    pipe = asyncio.subprocess.PIPE
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, _SCRIPT, federation.hub_url, federation.ca, folder, stdin=pipe, stdout=pipe, stderr=errors
        )
    assert process.stdout is not None
    await process.stdout.readline()  # it is ready
    return process


async def _invite(http: httpx.AsyncClient, name: str) -> str:
    cluster = {"apiVersion": "atoll.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}}
    (await http.post(CLUSTERS, json=cluster)).raise_for_status()
    answer = await http.post("/access/enrolments", json={"kind": "cluster", "name": name})
    return str(answer.raise_for_status().json()["token"])
