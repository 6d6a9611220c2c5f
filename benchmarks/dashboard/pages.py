"""Pages of the dashboard at 1,000 clusters, 100,000 jobs and 10,000 datasets, beside what `kubectl get` asks for.

    python -m benchmarks.dashboard.pages [--clusters 1000] [--jobs 100000] [--datasets 10000] [--times 9] [-o json]

CPU seconds of one core, in process: no network, no browser. What stands beside each: the whole list as a table, which
`kubectl get jobs -A` asks for (in one go, and the first 500 of it, which is how it begins).
"""

import argparse
import asyncio
import gc
import json
import random
import resource
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from benchmarks.dashboard.labs import Counts, labs
from benchmarks.dashboard.synthetic import World, federation

from atoll.hub.dashboard.data.shelves import DATASETS
from atoll.hub.dashboard.fleet.clusters import CLUSTERS
from atoll.hub.dashboard.inside import Inside, Origin
from atoll.hub.dashboard.jobs.book import JOBS

PAGES = {
    "fleet": "/dashboard/fleet",
    "fleet, one region": "/dashboard/fleet?region=apac",
    "queues": "/dashboard/queues",
    "jobs": "/dashboard/jobs",
    "jobs that run, page 3": "/dashboard/jobs?state=running&page=3",
    "jobs by a word": "/dashboard/jobs?q=j-0999",
    "one cluster": "/dashboard/clusters/apac-000",
    "data": "/dashboard/data",
    "datasets": "/dashboard/data/datasets",
    "datasets by a word": "/dashboard/data/datasets?q=d.0099",
    "one dataset": "/dashboard/data/datasets/seismology/d.00000",
    "copies": "/dashboard/data/transfers",
    "policies": "/dashboard/policies",
    "one policy set": "/dashboard/policies/set-0",
    "part: map of the fleet": "/dashboard/fleet?part=islands",
    "part: rows of jobs": "/dashboard/jobs?part=rows",
}
LISTS = {
    "kubectl get jobs -A, all": "/apis/atoll.dev/v1alpha1/jobs",
    "kubectl get jobs -A, first 500": "/apis/atoll.dev/v1alpha1/jobs?limit=500",
    "kubectl get datasets -A, all": "/apis/atoll.dev/v1alpha1/datasets",
}
FIRST = ("fleet", "queues", "jobs", "data", "datasets", "policies")
_TABLE = ((b"accept", b"application/json;as=Table;v=v1;g=meta.k8s.io"),)
Result = dict[str, dict[str, float]]


async def filled(clusters: int, jobs: int, datasets: int) -> World:
    """Make a federation that the cache holds."""
    world, now, places = World(), datetime.now(UTC), []
    for made in federation(clusters, jobs, now):
        places += [made["metadata"]["name"]] if made["kind"] == "Cluster" else []
        await world.put(made)
    counts = Counts(max(1, datasets // 33), datasets, max(1, datasets // 10), max(1, clusters // 100))
    for made in labs(counts, places, now):
        await world.put(made)
    await world.start()
    return world


async def measured(work: Callable[[], Awaitable[int]], times: int) -> dict[str, float]:
    """Give the median and the most of the CPU time that something takes, and how much it sends."""
    took, size = [], 0
    for _ in range(times):
        begun = time.process_time()
        size = await work()
        took.append(1000 * (time.process_time() - begun))
    return {"ms": round(statistics.median(took), 1), "most_ms": round(max(took), 1), "kib": round(size / 1024, 1)}


async def asked(inside: Inside, path: str, origin: Origin | None = None) -> int:
    """Ask for a path and give the size of the answer."""
    answer = await inside.call("GET", path, origin=origin or Origin())
    assert answer.code == 200, (path, answer.code, answer.body[:200])
    return len(answer.body)


async def warmed(world: World) -> dict[str, float]:
    """Read all rows for the first time, as a hub does when it starts."""
    sources, found = world.dashboard.sources, {}
    gc.collect()
    before = _rss()
    for shelf in (CLUSTERS, JOBS, DATASETS):
        begun = time.process_time()
        await sources.rows(shelf)
        found[f"{shelf.model.__name__.lower()}s_ms"] = round(1000 * (time.process_time() - begun), 1)
    return {**found, "mib": round((_rss() - before) / 2**20, 1)}


async def looked_at_first(front: Inside) -> dict[str, float]:
    """Give the CPU time of each page when nobody has looked at any: what only it needs is read then."""
    found = {}
    for name in FIRST:
        begun = time.process_time()
        await asked(front, PAGES[name])
        found[name] = round(1000 * (time.process_time() - begun), 1)
    return found


async def changed(world: World, count: int, times: int) -> dict[str, float]:
    """Change some jobs, and read what changed."""
    chooser, prefix = random.Random(1), "atoll.dev/jobs/"
    entries = list(world.store.cache.bucket(prefix).entries.values())
    took = []
    for _ in range(times):
        for entry in chooser.sample(entries, count):
            job = world.store.cache.get(prefix, entry.key)
            assert job is not None
            obj = job.decode()
            obj["status"]["phase"] = chooser.choice(("Running", "Succeeded"))
            await world.put(obj)
        await asyncio.sleep(0.05)  # the cache takes it in
        begun = time.process_time()
        await world.dashboard.sources.rows(JOBS)
        took.append(1000 * (time.process_time() - begun))
    return {"ms": round(statistics.median(took), 2), "changes": count}


def _rss() -> int:
    with open("/proc/self/statm") as file:  # noqa: PTH123 - a file of the kernel
        return int(file.read().split()[1]) * resource.getpagesize()


async def told(world: World) -> dict[str, float]:
    """Give the time from a write until a page that listens is told, and the CPU time of what is drawn anew."""
    work = asyncio.create_task(world.dashboard.live.run())
    events = world.dashboard.live.events("somebody", ["jobs"], _always)
    await anext(events)
    await asyncio.sleep(0.1)  # it follows, as in a hub that runs
    front, took, drawn = Inside(world.dashboard.app), [], []
    entry = next(iter(world.store.cache.bucket("atoll.dev/jobs/").entries.values()))
    for number in range(5):
        job = entry.decode()
        job["status"]["attempts"] = number + 2
        begun = time.perf_counter()
        await world.put(job)
        await anext(events)
        took.append(1000 * (time.perf_counter() - begun))
        begun = time.process_time()
        for part in ("lanes", "rows"):
            await asked(front, f"/dashboard/jobs?part={part}")
        drawn.append(1000 * (time.process_time() - begun))
    await events.aclose()
    work.cancel()
    await asyncio.wait({work})
    return {"first_ms": round(took[0], 1), "later_ms": round(statistics.median(took[1:]), 1),
            "drawn_ms": round(statistics.median(drawn), 1)}  # fmt: skip


async def _always() -> bool:
    return True


async def run(clusters: int, jobs: int, datasets: int, *, times: int) -> dict[str, Any]:
    """Measure all of it."""
    world = await filled(clusters, jobs, datasets)
    found: dict[str, Any] = {"clusters": clusters, "jobs": jobs, "datasets": datasets}
    found["first_reading"] = await warmed(world)
    front, api = Inside(world.dashboard.app), world.dashboard.sources.inside
    found["first_look"] = await looked_at_first(front)
    pages: Result = {name: await measured(lambda path=path: asked(front, path), times) for name, path in PAGES.items()}
    table = Origin(headers=_TABLE)
    lists: Result = {
        name: await measured(lambda path=path: asked(api, path, table), max(3, times // 3))
        for name, path in LISTS.items()
    }
    found |= {"pages": pages, "lists": lists, "after_changes": await changed(world, 100, times)}
    found["told"] = await told(world)
    whole = lists["kubectl get jobs -A, all"]["ms"]
    found["jobs_to_list"] = round(pages["jobs"]["ms"] / whole, 4)
    await world.store.close()
    return found


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=100_000)
    parser.add_argument("--datasets", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=9)
    parser.add_argument("-o", "--output", choices=["text", "json"], default="text")
    options = parser.parse_args()
    found = asyncio.run(run(options.clusters, options.jobs, options.datasets, times=options.times))
    if options.output == "json":
        print(json.dumps(found, indent=2))
        return
    print(f"{found['clusters']} clusters, {found['jobs']} jobs, {found['datasets']} datasets")
    print(f"read when the hub starts: {found['first_reading']}")
    print(f"the first look at each, in ms: {found['first_look']}")
    for name, values in (found["pages"] | found["lists"]).items():
        print(f"{name:32} {values['ms']:9.1f} ms  most {values['most_ms']:9.1f} ms  {values['kib']:9.1f} KiB")
    print(f"100 changed jobs are read in {found['after_changes']['ms']} ms")
    print(f"a change is told and drawn, in ms: {found['told']}")
    print(f"the jobs page takes {found['jobs_to_list']} of the whole list")


if __name__ == "__main__":
    main()
