"""A million jobs that wait: how long the scheduler takes from cold, and for each cycle after that.

    python benchmarks/placement/million.py [--jobs 1000000] [--clusters 1000] [--plain 200] [--cycles 7] [-o json]

1,000 clusters of 100 GPUs each, 200 queues in labs of different weights, jobs of 40 templates that differ in their
arguments: 360 groups that are alike. Cold: every job is read from its JSON, and the first cycle fills the clusters.
Steady: in each cycle 500 runs end, and 500 jobs come; runs that a cycle has stopped wait again. CPU seconds of
deciding alone: records, words and objects are not written, nothing is stored, and the clock of the world stands still.

Beside it, in the same run, the plain way: jobs as whole objects, each ordered and decided about by itself, as many of
them as `--plain` says. After each cycle the run fails if a cluster or a queue holds more than it has, if a job has two
runs, or if any is lost.
"""

import argparse
import gc
import json
import platform
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import orjson

from atoll.federation.placement import ClusterTable, Links, decide, demand_of_job, view_of_cluster
from atoll.federation.resources import Cluster, Job, Queue, Run
from atoll.hub.scheduler.cycle import Cycle, Memory, run_cycle
from atoll.hub.scheduler.snapshot import Snapshot

NOW = datetime(2026, 11, 23, tzinfo=UTC)
LABS, QUEUES_OF_A_LAB, TEMPLATES, CHANGES, GPUS_OF_A_NODE, NODES = 20, 9, 40, 500, 4, 25
MODELS = ("NVIDIA-A100-SXM4-40GB", "NVIDIA-H100-80GB-HBM3", "Tesla-T4", "NVIDIA-L40S")


def queues(clusters: int) -> dict[str, Queue]:
    """Give labs of different weights, each with its queues: some are guaranteed GPUs, all are limited.

    What they are guaranteed together is a third of all GPUs, however many clusters there are.
    """
    made, part = {}, clusters / 1000
    for lab in range(LABS):
        made[f"lab{lab}"] = {"weight": 1 + lab % 3}
        for number in range(QUEUES_OF_A_LAB):
            quota = {"guaranteed": {"gpus": round(50 * number * part)}, "limit": {"gpus": round(2000 * part)}}
            made[f"lab{lab}.{number}"] = {"parent": f"lab{lab}", "weight": 1 + number, "quota": quota}
    return {name: Queue.model_validate({"metadata": {"name": name}, "spec": spec}) for name, spec in made.items()}


def cluster(number: int, free: Mapping[int, int], counted: Sequence[str]) -> Cluster:
    """Give one cluster; `free` counts nodes by their free GPUs."""
    shapes = [
        {
            "nodes": nodes, "freeMillicores": 128_000, "freeMemoryBytes": 2**39, "freeGpus": gpus,
            "allocatableMillicores": 128_000, "allocatableMemoryBytes": 2**39, "allocatableGpus": GPUS_OF_A_NODE,
            "gpuModel": MODELS[number % len(MODELS)], "gpuMemoryBytes": 40 * 2**30,
        }
        for gpus, nodes in free.items() if nodes
    ]  # fmt: skip
    storage = [{"name": "csi", "provisioner": "p", "isDefault": True}]
    inventory = {"shapes": shapes, "storageClasses": storage, "countedRuns": counted}
    status = {"phase": "Ready", "inventory": inventory, "lastProvenAt": NOW}
    metadata = {"name": f"c{number:04}", "labels": {"region": ("eu", "us")[number % 2]}}
    return Cluster.model_validate({"metadata": metadata, "spec": {}, "status": status})


def gpus_of(template: int) -> int:
    """Tell how many GPUs a job of a template asks for."""
    return (1, 1, 1, 2, 2, 4)[template % 6]


def job_text(number: int) -> bytes:
    """Write a job as the store has it: forty templates, and arguments of its own."""
    template, queue = number % TEMPLATES, number * 7919 % (LABS * QUEUES_OF_A_LAB)
    since = (NOW - timedelta(seconds=1_000_000 - number)).isoformat().replace("+00:00", "Z")
    requests = {"cpu": str(1 + template % 8), "memory": "4Gi"}
    container = {
        "name": "main", "image": f"registry.example/work:{template}", "command": ["python", "work.py"],
        "args": ["--part", str(number)], "resources": {"requests": requests},
    }  # fmt: skip
    spec = {
        "queue": f"lab{queue % LABS}.{queue // LABS}", "priority": number % 3, "expectedDuration": f"{10 + template}m",
        "gpu": {"count": gpus_of(template), "models": [] if template % 3 else ["A100", "H100"]},
        "placement": {"clusters": {"matchLabels": {"region": "eu"} if template % 5 == 0 else {}}},
        "workload": {"spec": {"template": {"spec": {"containers": [container]}}}},
    }  # fmt: skip
    fields = {f"f:{name}": {} for name in (*spec, *container)}
    metadata = {
        "name": f"work-{number:07}", "namespace": "lab", "uid": f"00000000-0000-4000-8000-{number:012}",
        "resourceVersion": str(number + 1), "generation": 1, "creationTimestamp": since,
        "managedFields": [{"manager": "atoll", "operation": "Apply", "fieldsV1": {"f:spec": fields}}],
    }  # fmt: skip
    return orjson.dumps(
        {
            "apiVersion": "atoll.dev/v1alpha1",
            "kind": "Job",
            "metadata": metadata,
            "spec": spec,
            "status": {"phase": "Pending"},
        }
    )


@lru_cache(maxsize=1_000)
def _parsed(key: str) -> Job:
    return Job.model_validate(orjson.loads(job_text(int(key.rpartition("-")[2]))))


class Shelf(Mapping[str, Job]):
    """Looks up single jobs, as the hub's store does: each is parsed when it is asked for."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __getitem__(self, key: str) -> Job:
        return _parsed(key)

    def __iter__(self) -> Iterator[str]:
        raise SystemExit("a cycle went through all jobs")

    def __len__(self) -> int:
        return self.count


@dataclass
class World:
    """The federation, what runs there, and how many jobs have come."""

    clusters: int
    named: dict[str, Queue]
    arrived: int = 0
    ended: int = 0
    running: dict[str, Run] = field(default_factory=dict)
    free: list[list[int]] = field(default_factory=list)
    nodes: dict[str, tuple[int, int, int, str]] = field(default_factory=dict)
    seen: dict[int, Cluster] = field(default_factory=dict)
    counted: list[dict[str, None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [[GPUS_OF_A_NODE] * NODES for _ in range(self.clusters)]
        self.counted = [{} for _ in range(self.clusters)]
        for number in range(self.clusters):
            self._report(number)

    def snapshot(self) -> Snapshot:
        """See everything but the jobs, of which the book was told."""
        clusters = tuple(self.seen[number] for number in range(self.clusters))
        return Snapshot(NOW, Shelf(self.arrived), tuple(self.running.values()), clusters, self.named, {}, is_fed=True)

    def come(self, memory: Memory, count: int) -> float:
        """Let jobs come; give the seconds that the book took for them."""
        seconds = 0.0
        for begin in range(self.arrived, self.arrived + count, 10_000):
            numbers = range(begin, min(begin + 10_000, self.arrived + count))
            texts = [(f"lab/work-{number:07}", job_text(number)) for number in numbers]
            began = time.process_time()
            for key, text in texts:
                memory.book.put(key, orjson.loads(text))
            seconds += time.process_time() - began
        self.arrived += count
        return seconds

    def go_on(self, memory: Memory, cycle: Cycle) -> float:
        """Do as a cycle has decided: runs leave, others start, agents report that. Give the seconds of the book."""
        victims = [victim.run.key for eviction in cycle.evictions for victim in eviction.victims]
        touched, started = self._free(victims), list[Run]()
        for chosen in cycle.chosen:
            gpus, position = chosen.asked.demand.gpus, chosen.position
            free = self.free[position]
            node = min((at for at in range(NODES) if free[at] >= gpus), key=lambda at: free[at])
            free[node] -= gpus
            epoch, seconds = memory.book.epoch(chosen.key), chosen.asked.demand.duration_seconds
            run = _run(chosen.key.rpartition("/")[2], f"c{position:04}", epoch, seconds)
            self.running[run.key], self.nodes[run.key] = run, (position, node, gpus, chosen.ask.queue)
            self.counted[position][run.key] = None
            started.append(run)
            touched.add(position)
        for position in touched:
            self._report(position)
        changes = [(key.rpartition("-")[0], "Pending") for key in victims]
        changes += [(chosen.key, "Running") for chosen in cycle.chosen]
        return _tell(memory, changes, started=started, gone=victims)

    def end(self, memory: Memory, count: int) -> float:
        """Let the oldest runs end; give the seconds of the book."""
        ended = list(self.running)[:count]
        self.ended += len(ended)
        for position in self._free(ended):
            self._report(position)
        return _tell(memory, [(key.rpartition("-")[0], "Succeeded") for key in ended], gone=ended)

    def _free(self, runs: Sequence[str]) -> set[int]:
        """Take runs off their nodes; give the clusters on which they were."""
        touched = set()
        for key in runs:
            position, node, gpus, _ = self.nodes.pop(key)
            self.free[position][node] += gpus
            del self.running[key], self.counted[position][key]
            touched.add(position)
        return touched

    def check(self, memory: Memory) -> None:
        """Fail if a cluster or a queue holds more than it has, or if any job is lost or counted twice."""
        held, taken = Counter[str](), Counter[int]()
        for position, _, gpus, queue in self.nodes.values():
            held[queue] += gpus
            taken[position] += gpus
        lost = self.arrived - self.ended - memory.book.size
        over = [name for name, gpus in held.items() if gpus > (self.named[name].spec.quota.limit.gpus or 0)]
        full = [at for at, gpus in taken.items() if gpus + sum(self.free[at]) != NODES * GPUS_OF_A_NODE]
        twice = len(self.running) - len({run.spec.job for run in self.running.values()})
        if over or full or twice or lost:
            raise SystemExit(f"over their limits: {over}; overcommitted: {full}; run twice: {twice}; lost: {lost}")

    def _report(self, number: int) -> None:
        counts = {gpus: self.free[number].count(gpus) for gpus in range(GPUS_OF_A_NODE + 1)}
        self.seen[number] = cluster(number, counts, tuple(self.counted[number]))


def _tell(
    memory: Memory, changes: Sequence[tuple[str, str]], *, started: Sequence[Run] = (), gone: Sequence[str] = ()
) -> float:
    """Tell the book of jobs in other phases, and of their runs; give the seconds that it took for them."""
    objects = [(key, _as(key, phase, memory.book.epoch(key))) for key, phase in changes]
    began = time.process_time()
    for key, obj in objects:
        memory.book.put(key, obj)
    for key in gone:
        memory.book.put_run(key, None)
    for run in started:
        memory.book.put_run(run.key, run)
    return time.process_time() - began


def _as(key: str, phase: str, attempts: int) -> dict[str, object]:
    obj = orjson.loads(job_text(int(key.rpartition("-")[2])))
    return {**obj, "status": {"phase": phase, "attempts": attempts}}


def _run(job: str, where: str, epoch: int, seconds: float) -> Run:
    record = {"clusters": [{"cluster": where, "terms": {"runSeconds": seconds, "stagingSeconds": 0.0}}]}
    return Run.model_validate(
        {
            "metadata": {"name": f"{job}-{epoch}", "namespace": "lab"},
            "spec": {"job": job, "cluster": where, "epoch": epoch, "decision": record},
            "status": {"phase": "Running", "startedAt": NOW},
        }
    )


def plain_seconds(world: World, count: int) -> float:
    """Order jobs as whole objects, and decide about each by itself; give the seconds of one."""
    jobs = [Shelf(count)[f"lab/work-{number:07}"] for number in range(count)]
    views = [view_of_cluster(each) for each in world.snapshot().clusters]
    table = ClusterTable.of(views, Links.of(views, NOW))
    began = time.process_time()
    for job in sorted(jobs, key=lambda job: (-job.spec.priority, job.metadata.creation_timestamp, job.key)):
        decide(demand_of_job(job, world.named[job.spec.queue], {}), table, decided_at=NOW)
    return (time.process_time() - began) / count


def timed(world: World, memory: Memory) -> tuple[Cycle, float]:
    """Run one cycle."""
    snapshot = world.snapshot()
    began = time.process_time()
    cycle = run_cycle(snapshot, memory)
    return cycle, time.process_time() - began


def measure(jobs: int, clusters: int, *, plain: int, cycles: int) -> dict[str, float | int | str]:
    """Fill a book, then go on."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # as the hub does
    world, memory = World(clusters, queues(clusters)), Memory()
    each_plainly = plain_seconds(world, plain)
    read_seconds = world.come(memory, jobs)
    cycle, first_seconds = timed(world, memory)
    first, steady, started, stopped = len(cycle.chosen), [], [], []
    world.go_on(memory, cycle)
    for _ in range(cycles):
        world.check(memory)
        fed = world.end(memory, CHANGES) + world.come(memory, CHANGES)
        cycle, seconds = timed(world, memory)
        steady.append(fed + seconds)
        started.append(len(cycle.chosen))
        stopped.append(sum(len(each.victims) for each in cycle.evictions))
        world.go_on(memory, cycle)
    world.check(memory)
    waiting = sum(len(group.members) for group in memory.book.groups.values())
    typical = sorted(steady[1:])[len(steady[1:]) // 2]
    return {
        "jobs": jobs, "clusters": clusters, "gpus": clusters * NODES * GPUS_OF_A_NODE, "queues": len(world.named),
        "groups": len(memory.book.groups), "runs": len(world.running), "waiting": waiting,
        "read_seconds": round(read_seconds, 2), "first_cycle_seconds": round(first_seconds, 2),
        "cold_seconds": round(read_seconds + first_seconds, 2), "placed_first": first,
        "placed_per_second": round(first / first_seconds), "decided_cold_per_second": round(jobs / first_seconds),
        "steady_seconds": round(typical, 3), "steady_worst_seconds": round(max(steady[1:]), 3),
        "placed_steady": sum(started) // len(started), "stopped_steady": sum(stopped) // len(stopped),
        "decided_steady_per_second": round(waiting / typical),
        "plain_per_second": round(1 / each_plainly),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, "python": platform.python_version(),
    }  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--clusters", type=int, default=1000)
    parser.add_argument("--plain", type=int, default=200)
    parser.add_argument("--cycles", type=int, default=7, help="the first after filling does not count")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    options = parser.parse_args(arguments)
    result = measure(options.jobs, options.clusters, plain=options.plain, cycles=options.cycles)
    if options.output == "json":
        print(json.dumps(result))
        return
    width = max(map(len, result))
    for name, value in result.items():
        print(f"{name:{width}}  {value}")


if __name__ == "__main__":
    main(sys.argv[1:])
