"""How soon a new policy is in force everywhere: from `git commit` to the last of seven clusters, and at whose cost.

    python -m benchmarks.policy.reach [--cilium 2500] [--kubernetes 3800] [--clusters 7] [--rounds 3] [-o json]

Hub and nats-server are real processes as `atoll up` runs them; the agents are the real agent's policy part on clusters
kept in memory. A set of 6,300 policies in as many files is rolled out; then a policy is committed, again and again:
while all is quiet, then in the very moment when a hub is ready that was stopped or killed before. Times are of this
machine's wall clock, on which the agents of all clusters share its cores; CPU seconds are beside them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import orjson
import yaml
from benchmarks.fleet.hub_and_nats import Federation, Usage, federation
from benchmarks.policy.engine import policy
from benchmarks.policy.policy_agents import NEW

_CLUSTERS = "/apis/atoll.dev/v1alpha1/clusters"
_SETS = "/apis/atoll.dev/v1alpha1/policysets"
_WAIT_SECONDS = 900.0
_AGENTS = "benchmarks.policy.policy_agents"


class Repository:
    """A Git repository with one policy in each file."""

    def __init__(self, folder: Path) -> None:
        """Begin with nothing."""
        self.folder = folder
        folder.mkdir()
        self._git("init", "--quiet", "--initial-branch=main")

    def fill(self, cilium: int, kubernetes: int) -> None:
        """Commit so many policies of each sort; `policy` makes Cilium's of odd numbers."""
        chooser = random.Random(1)
        numbers = [*range(1, 2 * cilium, 2), *range(0, 2 * kubernetes, 2)]
        for number in numbers:
            folder = self.folder / f"team-{number % 50}"
            folder.mkdir(exist_ok=True)
            (folder / f"p{number}.yaml").write_text(yaml.dump(policy(number, chooser), Dumper=yaml.CSafeDumper))
        self._commit()

    def add(self, name: str) -> None:
        """Commit one more."""
        body = policy(1, random.Random(name))
        body["metadata"]["name"] = name
        (self.folder / f"{name}.yaml").write_text(yaml.dump(body, Dumper=yaml.CSafeDumper))
        self._commit()

    def _commit(self) -> None:
        self._git("add", "--all")
        self._git("commit", "--quiet", "--no-gpg-sign", "-m", "policies")

    def _git(self, *arguments: str) -> None:
        names = {
            f"GIT_{role}_{what}": "bench@example.org" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        clean = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        subprocess.run(["git", *arguments], cwd=self.folder, env={**os.environ, **names, **clean}, check=True)


class Agents:
    """The process of all agents, and what it says."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Listen to a process that was started."""
        self.process = process
        self.applied_at: dict[tuple[str, str], float] = {}
        self.held: dict[str, int] = {}
        self._news = asyncio.Condition()

    async def listen(self) -> None:
        """Take in what it says, for ever."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            said = orjson.loads(line)
            async with self._news:
                if said["event"] == "applied":
                    self.applied_at.setdefault((said["name"], said["object"]), said["at"])
                elif said["event"] == "holds":
                    self.held[said["name"]] = said["objects"]
                self._news.notify_all()
        raise RuntimeError("the process of the agents has ended")

    async def join(self, http: httpx.AsyncClient, name: str) -> None:
        """Let a cluster come in, as `atoll cluster join` does."""
        cluster = {"apiVersion": "atoll.dev/v1alpha1", "kind": "Cluster", "metadata": {"name": name}}
        (await http.post(_CLUSTERS, json=cluster)).raise_for_status()
        answer = await http.post("/access/enrolments", json={"kind": "cluster", "name": name})
        assert self.process.stdin is not None
        token = answer.raise_for_status().json()["token"]
        self.process.stdin.write(orjson.dumps({"join": name, "token": token}) + b"\n")

    async def until_held(self, clusters: int, objects: int) -> None:
        """Wait until every cluster holds so many objects."""
        async with asyncio.timeout(_WAIT_SECONDS), self._news:
            await self._news.wait_for(lambda: list(self.held.values()) == [objects] * clusters)

    async def until_applied(self, name: str, clusters: int) -> list[float]:
        """Wait until every cluster has an object; give when each had it."""

        def times() -> list[float]:
            return [at for (_, applied), at in self.applied_at.items() if applied == name]

        async with asyncio.timeout(_WAIT_SECONDS), self._news:
            await self._news.wait_for(lambda: len(times()) == clusters)
        return times()


class Measured:
    """One federation with its set rolled out."""

    def __init__(self, made: Federation, agents: Agents, repository: Repository, options: argparse.Namespace) -> None:
        """Measure a federation whose clusters are joined."""
        self._made, self._agents, self._repository, self._options = made, agents, repository, options
        self._objects = options.cilium + options.kubernetes
        self._count = 0

    async def first(self) -> dict[str, float]:
        """Roll the set out for the first time."""
        spec = {
            "source": {"repository": str(self._repository.folder), "revision": "main", "interval": "1s"},
            "targets": {"clusters": {}},
        }
        body = {"apiVersion": "atoll.dev/v1alpha1", "kind": "PolicySet", "metadata": {"name": "all"}, "spec": spec}
        began, before = time.monotonic(), self._usage()
        async with self._made.admin() as http:
            (await http.post(_SETS, json=body)).raise_for_status()
        await self._agents.until_held(self._options.clusters, self._objects)
        return {"seconds": time.monotonic() - began, **self._spent(before)}

    async def again(self, before_it: Callable[[], None] | None) -> dict[str, float]:
        """Commit one more policy; before it the hub may be ended in some way, and is begun again."""
        await self._quiet()
        self._count += 1
        name = f"{NEW}{self._count}"
        if before_it is not None:
            before_it()
            await self._made.start_hub()
        before, began = self._usage(), time.monotonic()
        self._repository.add(name)
        times = await self._agents.until_applied(name, self._options.clusters)
        spent = self._spent(before)
        self._objects += 1
        await self._agents.until_held(self._options.clusters, self._objects)
        settled = time.monotonic() - began
        return {"first": min(times) - began, "last": max(times) - began, "reported": settled, **spent}

    async def _quiet(self) -> None:
        """Wait until the hub does nothing but look at Git."""
        while True:
            before = self._made.hub.usage().cpu_seconds
            await asyncio.sleep(2)
            if self._made.hub.usage().cpu_seconds - before < 0.5:
                return

    async def rest(self) -> dict[str, float]:
        """Do nothing for a while: what holding the set costs."""
        await self._quiet()
        before, began = self._usage(), time.monotonic()
        await asyncio.sleep(10)
        passed = time.monotonic() - began
        spent = {name: value / passed for name, value in self._spent(before).items()}
        return {**spent, "hub_rss_mb": self._made.hub.usage().rss_mb}

    def _usage(self) -> dict[str, float]:
        return {
            "hub_cpu": self._made.hub.usage().cpu_seconds,
            "nats_cpu": self._made.nats.usage().cpu_seconds,
            "agents_cpu": Usage.of(self._agents.process.pid).cpu_seconds,
        }

    def _spent(self, before: dict[str, float]) -> dict[str, float]:
        return {name: now - before[name] for name, now in self._usage().items()}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure everything once."""
    with federation() as made:
        repository = Repository(made.home / "policies")
        repository.fill(options.cilium, options.kubernetes)
        await made.start_nats()
        await made.start_hub()
        agents = Agents(await _start(made))
        listening = asyncio.create_task(agents.listen())
        try:
            async with made.admin() as http:
                for number in range(options.clusters):
                    await agents.join(http, f"c-{number}")
            measured = Measured(made, agents, repository, options)
            result: dict[str, Any] = {"first": _told("first", await measured.first())}
            result["rest"] = _told("rest", await measured.rest())
            ways = {"running": None, "restarted": made.hub.stop, "killed": made.hub.kill}
            for name, way in ways.items():
                rounds = [_told(name, await measured.again(way)) for _ in range(options.rounds)]
                result[name] = {key: median(one[key] for one in rounds) for key in rounds[0]}
                result[name]["longest"] = max(one["last"] for one in rounds)
            return result
        finally:
            listening.cancel()
            agents.process.kill()
            await agents.process.wait()


async def _start(made: Federation) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    with (made.home / "agents.log").open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", _AGENTS, made.hub_url, made.ca, made.members, stdin=pipe, stdout=pipe, stderr=errors
        )
    assert process.stdout is not None
    await process.stdout.readline()  # it is ready
    return process


def _told(name: str, result: dict[str, float]) -> dict[str, float]:
    """Say each result when it is there."""
    rounded = {key: round(value, 2) for key, value in result.items()}
    print(f"{time.strftime('%H:%M:%S')} {name}: {rounded}", file=sys.stderr, flush=True)
    return rounded


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cilium", type=int, default=2500)
    parser.add_argument("--kubernetes", type=int, default=3800)
    parser.add_argument("--clusters", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that hub and nats-server end, too
    found = asyncio.run(measure(given))
    if given.output == "json":
        print(json.dumps({**vars(given), **found}))
    else:
        for part, values in found.items():
            print(part, *(f"{name} {value:g}" for name, value in values.items()), sep="  ")
