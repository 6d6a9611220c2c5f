"""How many placement decisions a second: the numpy kernel beside a plain Python loop, on the same clusters and jobs.

    python benchmarks/placement/kernel.py [--clusters 1000] [--decisions 1000] [--seed 1] [-o json]

Both choose from the same random federation (meshed, with four sorts of GPU nodes, partly in use) for the same jobs, and
must select the same cluster for every job; otherwise the benchmark fails. Building the table is timed apart: the
scheduler builds it once per cycle. `recorded` is the whole decision with verdicts, notes and advice, as it is stored.
"""

import argparse
import json
import os
import platform
import random
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from math import inf

import numpy as np

from atoll.federation.capacity import ResourceVector, Shape, room
from atoll.federation.mesh import Uplink
from atoll.federation.placement import (
    Case,
    ClusterTable,
    ClusterView,
    Demand,
    InputDemand,
    Links,
    PodDemand,
    StorageView,
    choose,
    decide,
    relative_speed,
)
from atoll.federation.resources import LabelSelector, MeshLink
from atoll.federation.resources.cluster import Costs

NOW = datetime(2026, 11, 22, tzinfo=UTC)
GIB = 2**30
PRODUCTS = ("NVIDIA-A100-SXM4-40GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4", None)
# Plain Python needs milliseconds per decision: a part of the jobs gives its rate, and checks as many selections.
NAIVE_PART = 10


def make_views(random_: random.Random, count: int) -> list[ClusterView]:
    """Make clusters of five node shapes each; every tenth holds data and is linked with all."""
    names = [f"c{number:04}" for number in range(count)]
    holders = names[::10]
    return [_view(random_, name, holders if name not in holders else names) for name in names]


def _view(random_: random.Random, name: str, peers: Sequence[str]) -> ClusterView:
    links = {
        peer: MeshLink.model_construct(
            peer=peer, is_connected=True, is_ready=random_.random() < 0.9, reason="", last_proven_at=NOW
        )
        for peer in peers
        if peer != name
    }
    return ClusterView(
        name,
        phase="Ready" if random_.random() < 0.95 else "Unreachable",
        is_cordoned=random_.random() < 0.05,
        labels={"region": random_.choice(("eu", "us"))},
        residency=(random_.choice(("eu", "us")),),
        shapes=tuple(_shape(random_) for _ in range(5)),
        storage=StorageView("csi", random_.choice((10**11, 10**13))),
        costs=Costs(gpu_hour=random_.uniform(0.5, 4), cpu_hour=0.04, egress_gib=random_.choice((0, 0.09))),
        uplink=Uplink(random_.choice((10**8, 10**9, 10**10)), random_.uniform(0, 0.1)),
        links=links,
    )


def _shape(random_: random.Random) -> Shape:
    product = random_.choice(PRODUCTS)
    whole = ResourceVector(64_000, 256 * GIB, 8 if product else 0)
    free = ResourceVector(random_.randrange(64_000), random_.randrange(256 * GIB), random_.randint(0, whole.gpus))
    return Shape(random_.randint(1, 20), free, whole, product, 40 * GIB if product else 0)


def make_demands(random_: random.Random, views: Sequence[ClusterView], count: int) -> list[Demand]:
    """Make jobs of one to sixteen pods, most with GPUs, two in three with an input that up to three clusters hold."""
    holders = [view.name for view in views[::10]]
    return [_demand(random_, number, holders) for number in range(count)]


def _demand(random_: random.Random, number: int, holders: Sequence[str]) -> Demand:
    gpus = random_.choice((0, 1, 2, 8))
    replicas = tuple(sorted(random_.sample(holders, min(3, len(holders)))))
    inputs = (InputDemand("lab", "waves", 1, random_.randrange(10**11), replicas),) if random_.random() < 0.67 else ()
    return Demand(
        job=f"lab/job-{number}",
        pod=PodDemand(
            ResourceVector(random_.choice((1000, 4000, 16_000)), random_.choice((1, 8, 64)) * GIB, gpus),
            gpu_models=random_.choice(((), ("A100",), ("H100", "A100"))) if gpus else (),
        ),
        count=random_.choice((1, 1, 4, 16)),
        inputs=inputs,
        clusters=random_.choice((LabelSelector(), LabelSelector(match_labels={"region": "eu"}))),
        residency=random_.choice(((), ("eu",))),
        duration_seconds=random_.uniform(60, 7200),
        duration_source="expectedDuration",
        seconds_per_currency=60.0,
    )


# --- the plain loop: the same rules, one cluster at a time


def naive_totals(demand: Demand, table: ClusterTable) -> list[float]:
    """Give the total of every cluster, infinite where it is not feasible."""
    return [_naive_total(demand, table, view) for view in table.views]


def _naive_total(demand: Demand, table: ClusterTable, view: ClusterView) -> float:
    if view.phase != "Ready" or view.is_cordoned or view.storage is None:
        return inf
    if not demand.clusters.matches(dict(view.labels)):
        return inf
    if demand.residency and set(demand.residency).isdisjoint(view.residency):
        return inf
    if room(demand.pod.resources, view.shapes, at_most=demand.count, suits=demand.pod.suits) < demand.count:
        return inf
    seconds, money = _naive_staging(demand, table, view)
    if any(
        view.name not in needed.replicas and needed.bytes > (view.storage.free_bytes or 0) for needed in demand.inputs
    ):
        return inf
    run = demand.duration_seconds / _naive_speed(demand, view)
    hourly = (
        view.costs.gpu_hour * demand.gpus + view.costs.cpu_hour * demand.pod.resources.millicores * demand.count / 1000
    )
    idle = seconds / 2
    return seconds + run + idle + (money + hourly * run / 3600) * demand.seconds_per_currency


def _naive_staging(demand: Demand, table: ClusterTable, view: ClusterView) -> tuple[float, float]:
    seconds = money = 0.0
    for needed in demand.inputs:
        if view.name in needed.replicas:
            continue
        best = (inf, inf, 0.0)
        for name in needed.replicas:
            source = table.views[table.index[name]]
            if source.phase != "Ready" or not table.links.between(name, view.name).is_usable:
                continue
            rate = min(source.uplink.bytes_per_second, view.uplink.bytes_per_second)
            egress = source.costs.egress_gib / GIB
            round_trip = source.uplink.round_trip_seconds + view.uplink.round_trip_seconds
            price = 1 / rate + egress * demand.seconds_per_currency
            best = min(best, (price, round_trip + needed.bytes / rate, needed.bytes * egress))
        seconds, money = seconds + best[1], money + best[2]
    return seconds, money


def _naive_speed(demand: Demand, view: ClusterView) -> float:
    if not demand.gpus:
        return 1.0
    suitable = [
        shape for shape in view.shapes if demand.pod.suits(shape) and shape.allocatable.covers(demand.pod.resources)
    ]
    slowest = min(relative_speed(shape.gpu_model or "") or 1.0 for shape in suitable)
    return slowest / ((relative_speed(demand.pod.gpu_models[0]) if demand.pod.gpu_models else None) or 1.0)


# --- measuring


def timed(work: Callable[[], object]) -> float:
    """Measure the CPU seconds of one call: other work on the machine shall not count."""
    begin = time.process_time()
    work()
    return time.process_time() - begin


def measure(clusters: int, decisions: int, seed: int) -> dict[str, float | int | str]:
    """Run all three on one federation; the selections of loop and kernel must be the same."""
    random_ = random.Random(seed)
    views = make_views(random_, clusters)
    demands = make_demands(random_, views, decisions)
    few = demands[: max(1, decisions // NAIVE_PART)]
    links = Links.of(views, NOW)
    build_seconds = timed(lambda: ClusterTable.of(views, links))
    table = ClusterTable.of(views, links)
    totals: list[list[float]] = []
    naive_seconds = timed(lambda: totals.extend(naive_totals(demand, table) for demand in few))
    for demand in demands:  # what the table remembers of labels and links is warm, as in a long cycle
        choose(Case(demand, table))
    kernel_seconds = timed(lambda: [choose(Case(demand, table)) for demand in demands])
    recorded_seconds = timed(lambda: [decide(demand, table, decided_at=NOW) for demand in few])
    placed = _check(few, totals, table)
    return {
        "clusters": clusters,
        "node_shapes": sum(len(view.shapes) for view in views),
        "decisions": decisions,
        "seed": seed,
        "checked": len(few),
        "checked_placed": placed,
        "table_build_seconds": round(build_seconds, 4),
        "kernel_per_second": round(decisions / kernel_seconds, 1),
        "naive_per_second": round(len(few) / naive_seconds, 1),
        "recorded_per_second": round(len(few) / recorded_seconds, 1),
        "ratio": round((decisions / kernel_seconds) / (len(few) / naive_seconds), 1),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "cores": os.cpu_count() or 0,
    }


def _check(demands: Sequence[Demand], totals: Sequence[Sequence[float]], table: ClusterTable) -> int:
    """Compare selections; count the jobs that were placed."""
    placed = 0
    for demand, naive in zip(demands, totals, strict=True):
        selected = choose(Case(demand, table)).selected
        best = min(naive)
        if (selected is None) is not (best == inf):
            raise SystemExit(f"{demand.job}: loop and kernel disagree whether any cluster is feasible")
        if selected is not None:
            placed += 1
            if abs(naive[selected] - best) > 2e-3:
                raise SystemExit(f"{demand.job}: the kernel selected {naive[selected]} s, the loop {best} s")
    return placed


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--decisions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    result = measure(options.clusters, options.decisions, options.seed)
    if options.output == "json":
        print(json.dumps(result))
        return
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
