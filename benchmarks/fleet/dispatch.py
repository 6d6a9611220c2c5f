"""From submitting a Job until its workload stands in a member, unsuspended: how many a second, how soon, at what cost.

    python benchmarks/fleet/dispatch.py [--rates 50 100] [--jobs 2000] [--seconds 20] [--repeats 3] [-o json]

One hub and its nats-server with accounts, as `atoll up` runs them, and three members: real agents, each with an API
server in memory. Jobs are sent over HTTPS by an administrator, one request each, as every client does. Measured: at
steady rates, the time from sending a Job until its member has it; and with all Jobs sent as fast as the hub takes them,
how many reach their members in a second. Both count CPU seconds of each program per Job, and the requests that agents
send to their API servers.

Beside it, in the same run, the same Jobs are put into one member's API server directly: what it costs without Atoll.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import platform
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import httpx
import orjson
from hub_and_nats import Federation, Process, federation
from seen import CLUSTERS, Clusters
from stored import VERSION

_MEMBERS = ("one", "two", "three")
_NAMESPACE, _QUEUE = "bench", "bench"
_JOBS = f"/apis/{VERSION}/namespaces/{_NAMESPACE}/jobs"
_SENDERS = 16
_WAIT_SECONDS = 180.0
_HERE = Path(__file__).parent
Result = dict[str, float]


def job(name: str) -> dict[str, Any]:
    """Give the manifest of a small Job, as `atoll job run` makes it."""
    container = {
        "name": "main",
        "image": "busybox:1.37",
        "command": ["true"],
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
    }
    spec = {
        "queue": _QUEUE,
        "expectedDuration": "5s",
        "workload": {"spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}}},
    }
    return {"apiVersion": VERSION, "kind": "Job", "metadata": {"name": name, "namespace": _NAMESPACE}, "spec": spec}


@dataclass
class Member:
    """One member: its API server and its agent."""

    name: str
    server: asyncio.subprocess.Process
    dispatched: dict[str, float] = field(default_factory=dict)
    requests: int = 0
    port: int = 0
    agent: Process | None = None
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self) -> None:
        """Take in what the API server says, for ever."""
        assert self.server.stdout is not None
        while line := await self.server.stdout.readline():
            said = orjson.loads(line)
            if said.get("event") == "dispatched":
                self.dispatched.setdefault(said["job"].rpartition("-")[0], said["at"])
            elif said.get("event") == "requests":
                self.requests = said["count"]
            else:
                self.port = said["port"]
            self._changed.set()
        raise SystemExit(f"the API server of member {self.name} has ended")

    async def until(self, holds: Callable[[Member], bool]) -> None:
        """Wait until something holds of what was said."""
        async with asyncio.timeout(_WAIT_SECONDS):
            while not holds(self):
                self._changed.clear()
                await self._changed.wait()

    async def count_requests(self) -> int:
        """Ask how many requests clients have sent so far."""
        assert self.server.stdin is not None
        self.requests = -1
        self.server.stdin.write(b"\n")
        await self.server.stdin.drain()
        await self.until(lambda member: member.requests >= 0)
        return self.requests

    @property
    def url(self) -> str:
        """Where its API server is."""
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Stack:
    """The hub with its members."""

    made: Federation
    members: Sequence[Member]
    http: httpx.AsyncClient

    async def spent(self) -> Result:
        """Give the CPU seconds of each program, and the requests to all API servers, so far."""
        agents = [member.agent.usage() for member in self.members if member.agent is not None]
        return {
            "hub": self.made.hub.usage().cpu_seconds,
            "nats": self.made.nats.usage().cpu_seconds,
            "agent": sum(usage.cpu_seconds for usage in agents),
            "requests": float(sum([await member.count_requests() for member in self.members])),
        }

    def dispatched(self) -> dict[str, float]:
        """Give when each Job came to its member."""
        return {name: at for member in self.members for name, at in member.dispatched.items()}

    async def submit(self, name: str) -> float:
        """Send a Job; give the moment before. A refusal ends the benchmark, and says why."""
        at = time.monotonic()
        answer = await self.http.post(_JOBS, json=job(name))
        if answer.is_error:
            raise SystemExit(f"Job {name} was answered {answer.status_code}: {answer.text}\n{self.made.hub_log()}")
        return at

    async def until_over(self, names: Sequence[str]) -> None:
        """Wait until the hub knows of the end of all of some Jobs."""
        async with asyncio.timeout(_WAIT_SECONDS):
            left = set(names)
            while left:
                listed = (await self.http.get(_JOBS)).raise_for_status().json()["items"]
                left -= {each["metadata"]["name"] for each in listed if _phase(each) == "Succeeded"}
                await asyncio.sleep(0.5)


def _phase(listed: Mapping[str, Any]) -> str:
    return str((listed.get("status") or {}).get("phase", ""))


@contextlib.asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    """Run all of it for the time of a block."""
    async with contextlib.AsyncExitStack() as blocks:
        made = blocks.enter_context(federation())
        await made.start_nats()
        await made.start_hub()
        http = await blocks.enter_async_context(made.admin())
        tasks = await blocks.enter_async_context(asyncio.TaskGroup())
        await _prepare(http)
        members = [await _member(made, http, name, blocks) for name in _MEMBERS]
        clusters = Clusters(http)
        following = [tasks.create_task(member.listen()) for member in members]
        for member in members:
            await member.until(lambda each: each.port > 0)
            await _enrol(made, http, member, blocks)
        following.append(tasks.create_task(clusters.run()))
        await clusters.until(_MEMBERS, lambda sight: sight.phase == "Ready", seconds=_WAIT_SECONDS)
        yield Stack(made, members, http)
        for task in following:
            task.cancel()


async def _prepare(http: httpx.AsyncClient) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": _NAMESPACE}}
    (await http.post("/api/v1/namespaces", json=namespace)).raise_for_status()
    queue = {"apiVersion": VERSION, "kind": "Queue", "metadata": {"name": _QUEUE}}
    (await http.post(f"/apis/{VERSION}/queues", json=queue)).raise_for_status()


async def _member(made: Federation, http: httpx.AsyncClient, name: str, blocks: contextlib.AsyncExitStack) -> Member:
    """Start an API server."""
    pipe = asyncio.subprocess.PIPE
    with (made.home / f"{name}.log").open("ab") as errors:
        server = await asyncio.create_subprocess_exec(
            sys.executable, _HERE / "dispatch_member.py", stdin=pipe, stdout=pipe, stderr=errors
        )
    blocks.callback(server.kill)
    cluster = {"apiVersion": VERSION, "kind": "Cluster", "metadata": {"name": name}}
    (await http.post(CLUSTERS, json=cluster)).raise_for_status()
    return Member(name, server)


async def _enrol(made: Federation, http: httpx.AsyncClient, member: Member, blocks: contextlib.AsyncExitStack) -> None:
    """Start the agent of an API server, as `atoll cluster join` has it started."""
    folder = made.members / member.name
    folder.mkdir()
    answer = await http.post("/access/enrolments", json={"kind": "cluster", "name": member.name})
    (folder / "token").write_text(answer.raise_for_status().json()["token"])
    user = {"clusters": [{"name": "c", "cluster": {"server": member.url}}], "users": [{"name": "u", "user": {}}]}
    contexts = {"contexts": [{"name": "m", "context": {"cluster": "c", "user": "u"}}], "current-context": "m"}
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **user, **contexts}))
    command = (
        sys.executable, "-m", "atoll.cli", "agent", "--cluster", member.name, "--hub", made.hub_url,
        "--hub-ca", made.ca, "--enrolment-token-file", folder / "token", "--state-dir", folder / "state",
        "--kubeconfig", kubeconfig,
    )  # fmt: skip
    member.agent = Process(command, made.home / f"agent-{member.name}.log")
    member.agent.start()
    blocks.callback(member.agent.kill)


async def steady(running: Stack, rate: float, seconds: float) -> Result:
    """Send Jobs at a steady rate, on time whatever became of those before."""
    names = [f"at-{rate:g}-{time.monotonic_ns()}-{number}" for number in range(round(rate * seconds))]
    before, began = await running.spent(), time.monotonic()
    sent: dict[str, float] = {}

    async def send(name: str, due: float) -> None:
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        sent[name] = due
        await running.submit(name)

    await asyncio.gather(*(send(name, began + number / rate) for number, name in enumerate(names)))
    await running.until_over(names)
    came = running.dispatched()
    waits = sorted(came[name] - sent[name] for name in names)
    cuts = quantiles(waits, n=100)
    return {
        "p50_seconds": round(median(waits), 3),
        "p99_seconds": round(cuts[98], 3),
        **_per_job(before, await running.spent(), len(names)),
    }


async def at_once(running: Stack, count: int) -> Result:
    """Send Jobs as fast as the hub takes them, by as many connections as a few busy clients have."""
    names = [f"all-{time.monotonic_ns()}-{number}" for number in range(count)]
    before, began, waiting = await running.spent(), time.monotonic(), iter(names)

    async def work() -> None:
        for name in waiting:
            await running.submit(name)

    await asyncio.gather(*(work() for _ in range(_SENDERS)))
    accepted = time.monotonic() - began
    await running.until_over(names)
    came = running.dispatched()
    dispatched = max(came[name] for name in names) - began
    return {
        "accepted_per_second": round(count / accepted, 1),
        "dispatched_per_second": round(count / dispatched, 1),
        **_per_job(before, await running.spent(), count),
    }


def _per_job(before: Result, after: Result, jobs: int) -> Result:
    """Give what each Job took of CPU and of requests."""
    spent = {name: after[name] - before[name] for name in before}
    cpu = {f"{name}_cpu_ms_per_job": round(1000 * spent[name] / jobs, 2) for name in ("hub", "nats", "agent")}
    return {**cpu, "api_requests_per_job": round(spent["requests"] / jobs, 2)}


async def directly(running: Stack, count: int) -> Result:
    """Put the same workloads into one member's API server without Atoll, by as many connections."""
    url, numbers = f"{running.members[0].url}/apis/batch/v1/namespaces/default/jobs", iter(range(count))
    began = time.monotonic()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:

        async def work() -> None:
            for number in numbers:
                spec = job("")["spec"]["workload"]["spec"]
                metadata = {"name": f"direct-{time.monotonic_ns()}-{number}"}
                body = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec}
                (await http.post(url, json=body)).raise_for_status()

        await asyncio.gather(*(work() for _ in range(_SENDERS)))
    return {"created_per_second": round(count / (time.monotonic() - began), 1)}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run all measures, each so often; give the medians."""
    async with stack() as running:
        await at_once(running, 50)  # connections, caches, the first of everything
        measures: dict[str, Callable[[], Awaitable[Result]]] = {
            "all at once": lambda: at_once(running, options.jobs),
            **{f"{rate:g}/s": lambda rate=rate: steady(running, rate, options.seconds) for rate in options.rates},
            "without Atoll": lambda: directly(running, options.jobs),
        }
        return {name: await _repeated(name, each, options.repeats) for name, each in measures.items()}


async def _repeated(name: str, measuring: Callable[[], Awaitable[Result]], repeats: int) -> Result:
    found = []
    for _ in range(repeats):
        found.append(await measuring())
        print(f"{time.strftime('%H:%M:%S')} {name}: {found[-1]}", file=sys.stderr, flush=True)
    return {key: round(median(each[key] for each in found), 3) for key in found[0]}


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rates", type=float, nargs="*", default=[20, 50, 100], help="Jobs a second.")
    parser.add_argument("--seconds", type=float, default=20.0, help="How long each rate is kept.")
    parser.add_argument("--jobs", type=int, default=2000, help="Jobs that are sent all at once.")
    parser.add_argument("--repeats", type=int, default=3, help="Medians of so many are told.")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    result: Mapping[str, Any] = asyncio.run(measure(options))
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}
    if options.output == "json":
        print(json.dumps({**result, "machine": machine}))
        return
    for name, figures in {**result, "machine": machine}.items():
        for figure, value in figures.items():
            print(f"{f'{name}: {figure}':48}  {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
