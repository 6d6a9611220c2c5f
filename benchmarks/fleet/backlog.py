"""A hub that starts with many Jobs that wait: its memory, when the first Job is placed, and what it does at rest.

    python benchmarks/fleet/backlog.py [--jobs 100000] [--rest-seconds 20] [--submissions 20] [-o json]

A hub and its nats-server with accounts, as `atoll up` runs them, and three clusters of light agents. Before it starts,
Jobs that no cluster has room for are stored past its API; they were told so by a real cycle. One more fits. Measured:
from the start of the hub until that one has its Run; the CPU time until nothing is left to do, and the memory then; the
CPU time at rest; and how long a Job that is submitted beside all those waits for its Run.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from typing import Any

import httpx
import stored
from crowd import crowd
from hub_and_nats import Process, Usage, federation
from measures import Measures
from seen import Clusters

_RUNS = f"/apis/{stored.VERSION}/namespaces/lab-0/runs"
_JOBS = f"/apis/{stored.VERSION}/namespaces/lab-0/jobs"
_WAIT_SECONDS, _POLL_SECONDS = 600.0, 0.05
_LOOK_SECONDS, _REST_CORES = 3.0, 0.1
_CLUSTERS, _GPUS, _TOO_MANY = 3, 32, 64
Result = dict[str, float]


async def measure(options: argparse.Namespace) -> Result:
    """Measure one hub."""
    with federation() as made:
        await made.start_nats()
        await made.start_hub()
        async with crowd(made, 1) as agents, made.admin() as http, made.admin() as looking:
            clusters = Clusters(looking)
            seeing = asyncio.create_task(clusters.run())
            try:
                measures = Measures(made, agents, clusters, http)
                await measures.joins(_CLUSTERS)
                await agents.change(agents.names, gpus=_GPUS)
                return await _with_backlog(measures, options)
            finally:
                seeing.cancel()


async def _with_backlog(measures: Measures, options: argparse.Namespace) -> Result:
    made = measures.federation
    await _fill(measures, options.jobs)
    fits = _RUNS.replace("lab-0", stored.namespace_of(options.jobs))
    began = time.monotonic()
    await made.start_hub()
    ready = time.monotonic() - began
    await _until(lambda: _has(measures, f"{fits}/fits-{options.jobs}-1"))
    placed, spent = time.monotonic() - began, made.hub.usage().cpu_seconds
    settled = await _at_rest(made.hub)
    await asyncio.sleep(options.rest_seconds)
    rest = (made.hub.usage().cpu_seconds - settled.cpu_seconds) / options.rest_seconds
    waits = [await _submitted(measures, number) for number in range(options.submissions)]
    return {
        "jobs": options.jobs, "ready_seconds": round(ready, 2), "first_placed_seconds": round(placed, 2),
        "cpu_seconds_until_placed": round(spent, 2), "cpu_seconds_until_settled": round(settled.cpu_seconds, 2),
        "rss_mb": round(settled.rss_mb), "rest_cores": round(rest, 3),
        "submit_to_run_p50_seconds": round(median(waits), 3), "submit_to_run_most_seconds": round(max(waits), 3),
        "rss_mb_at_the_end": round(made.hub.usage().rss_mb), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


async def _fill(measures: Measures, count: int) -> None:
    """Let a cycle tell one Job why it waits, and store copies of it while no hub runs."""
    made, http = measures.federation, measures.http
    for parent in stored.parents(measures.crowd.names[0]):
        await measures.create(parent)
    await measures.create(stored.job("waits", gpus=_TOO_MANY))

    async def told() -> Any:
        job = (await http.get(f"{_JOBS}/waits")).raise_for_status().json()
        status = job.get("status", {})
        return job if status.get("reason") and status.get("queuedAt") else None  # by scheduler and controller

    waits = await _until(told)
    made.hub.stop()
    bus = await made.own_bus()
    fits = {**waits, "spec": {**waits["spec"], "gpu": {"count": 1}}, "status": {"phase": "Pending"}}
    await stored.wait_in_line(bus, waits, count, fits)
    await bus.close()


async def _at_rest(hub: Process) -> Usage:
    """Wait until a hub computes next to nothing: it reconciles each Job, and its scheduler looks once at each."""
    async with asyncio.timeout(_WAIT_SECONDS):
        while True:
            before = hub.usage()
            await asyncio.sleep(_LOOK_SECONDS)
            if hub.usage().cpu_seconds - before.cpu_seconds < _REST_CORES * _LOOK_SECONDS:
                return before


async def _submitted(measures: Measures, number: int) -> float:
    """Submit a Job that fits; give the seconds until its Run is there."""
    name = f"late-{number}"
    began = time.monotonic()
    (await measures.http.post(_JOBS, json=stored.job(name))).raise_for_status()
    await _until(lambda: _has(measures, f"{_RUNS}/{name}-1"))
    return time.monotonic() - began


async def _has(measures: Measures, path: str) -> bool:
    """Tell whether an object is there; a hub that ends is told with its log."""
    measures.federation.hub.check()
    try:
        return (await measures.http.get(path)).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def _until(ask: Callable[[], Awaitable[Any]]) -> Any:
    async with asyncio.timeout(_WAIT_SECONDS):
        while not (answer := await ask()):  # noqa: ASYNC110 - what is waited for is in another process
            await asyncio.sleep(_POLL_SECONDS)
    return answer


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--rest-seconds", type=float, default=20.0)
    parser.add_argument("--submissions", type=int, default=20, help="Jobs that are submitted beside those that wait.")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that hub and nats-server end, too
    result = asyncio.run(measure(options)) | {"python": platform.python_version()}
    if options.output == "json":
        print(json.dumps(result))
        return
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
