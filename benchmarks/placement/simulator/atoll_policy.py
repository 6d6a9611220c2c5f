"""Atoll as a policy: the world as the hub's objects, and the hub's own scheduling cycle on them.

Owns the translation, and how long the cycles took. It must decide nothing: what a cycle places is placed. What it would
tell those that wait is left out: nobody asks here.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from benchmarks.placement.simulator.engine import Story, World
from benchmarks.placement.simulator.members import Member
from benchmarks.placement.simulator.openb import Size
from benchmarks.placement.simulator.scenario import Data, Site, Task

from atoll.federation.capacity import ResourceVector, Shape, group_shapes
from atoll.federation.estimates import Estimates, Moving, Traffic
from atoll.federation.resources import (
    Cluster,
    Dataset,
    Inventory,
    Job,
    JobStatus,
    MeshLink,
    NodeShape,
    Queue,
    Run,
)
from atoll.federation.resources.cluster import StorageClassInfo
from atoll.hub.scheduler.cycle import Memory, run_cycle
from atoll.hub.scheduler.snapshot import Snapshot

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
# Links are always proven: later than any scenario lasts.
_PROVEN = BEGIN + timedelta(days=3650)
_NAMESPACE = "trace"
_STORAGE = StorageClassInfo(name="csi", provisioner="p", is_default=True)


@dataclass
class Atoll:
    """Asks the hub's cycle. What cycles remember of each other is kept from one to the next."""

    name: str = "atoll"
    cycles: int = 0
    decisions: int = 0
    seconds: float = 0.0
    _memory: Memory = field(default_factory=Memory)
    _jobs: dict[str, Job] = field(default_factory=dict)
    _runs: dict[str, Run] = field(default_factory=dict)
    _clusters: dict[str, tuple[object, Cluster]] = field(default_factory=dict)
    _datasets: dict[str, tuple[object, Dataset]] = field(default_factory=dict)
    _queues: dict[str, Queue] = field(default_factory=dict)

    def place(self, world: World) -> list[tuple[Task, str]]:
        """Run one cycle."""
        snapshot = self._snapshot(world)
        began = time.perf_counter()
        placements = tuple(run_cycle(snapshot, self._memory).placements())
        self.seconds += time.perf_counter() - began
        self.cycles += 1
        self.decisions += len(world.waiting)
        for placement in placements:
            self._runs[placement.job.metadata.name] = placement.run
        return [(world.waiting[each.job.metadata.name], each.run.spec.cluster) for each in placements]

    def _snapshot(self, world: World) -> Snapshot:
        if not self._queues:
            self._queues = {name: _queue(name, weight) for name, weight in world.scenario.weights.items()}
        for name in [name for name in self._jobs if world.stories[name].ended_at is not None]:
            del self._jobs[name]
            self._runs.pop(name)
        for task in world.waiting.values():
            if task.name not in self._jobs:
                self._jobs[task.name] = _job(task)
        for name, run in self._runs.items():
            self._follow(world.stories[name], run)
        return Snapshot(
            taken_at=_at(world.now),
            jobs={job.key: job for job in self._jobs.values()},
            runs=tuple(self._runs[name] for name in sorted(self._runs)),
            clusters=tuple(self._cluster(member, world) for _, member in sorted(world.members.items())),
            queues=self._queues,
            estimates=Estimates(traffic=Traffic(moving=_moving(world))),
            datasets={(_NAMESPACE, name): self._dataset(data, world) for name, data in world.scenario.data.items()},
        )

    def _follow(self, story: Story, run: Run) -> None:
        """Let a run and its job say what became of the task."""
        phase = "Staging" if story.started_at is None else "Running"
        if run.status.phase == phase:
            return
        started_at = None if story.started_at is None else _at(story.started_at)
        status = run.status.model_copy(update={"phase": phase, "started_at": started_at})
        name = story.task.name
        self._runs[name] = _revised(run.model_copy(update={"status": status}))
        placed = JobStatus(phase="Placed" if started_at is None else "Running", attempts=1)
        self._jobs[name] = _revised(self._jobs[name].model_copy(update={"status": placed}))

    def _cluster(self, member: Member, world: World) -> Cluster:
        name, known = member.site.name, self._clusters.get(member.site.name)
        if known is None or known[0] != member.changes:
            cluster = _cluster(member, [each for each in world.members if each != name])
            known = self._clusters[name] = (member.changes, cluster)
        return known[1]

    def _dataset(self, data: Data, world: World) -> Dataset:
        holders, known = world.replicas[data.name], self._datasets.get(data.name)
        if known is None or known[0] != len(holders):
            known = self._datasets[data.name] = (len(holders), _dataset(data, holders))
        return known[1]


def _moving(world: World) -> tuple[Moving, ...]:
    """Say what the movers would report of the copies that are under way."""
    return tuple(
        Moving(f"{_NAMESPACE}/{dataset}", 1, source, cluster, int(left))
        for (dataset, cluster), source, left in world.transfers.under_way()
    )


def _at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def _revised(resource: Job | Run) -> Job | Run:
    """Give an object its next revision: a cycle may remember what it read of one."""
    metadata = resource.metadata
    following = {"resource_version": str(int(metadata.resource_version or 0) + 1)}
    return resource.model_copy(update={"metadata": metadata.model_copy(update=following)})


def _queue(name: str, weight: int) -> Queue:
    return Queue.model_validate({"metadata": {"name": name, "resourceVersion": "1"}, "spec": {"weight": weight}})


def product(model: str) -> str:
    """Name a model so that no data sheet of it is known: the trace does not say how fast a task is elsewhere."""
    return f"openb{model}"


def _job(task: Task) -> Job:
    requests = {"cpu": f"{task.size.millicores}m", "memory": str(task.size.memory_bytes)}
    container = {"name": "main", "image": "i", "resources": {"requests": requests}}
    spec = {
        "queue": task.queue,
        "inputs": [{"dataset": name, "mountPath": f"/data/{name}"} for name in task.inputs],
        "expectedDuration": f"{task.expected_seconds}s",
        "workload": {"spec": {"template": {"spec": {"containers": [container]}}}},
    }
    if task.size.gpus:
        spec["gpu"] = {"count": task.size.gpus, "models": [product(model) for model in task.models]}
    metadata = {
        "name": task.name, "namespace": _NAMESPACE, "uid": f"uid-{task.name}", "generation": 1,
        "resourceVersion": "1", "creationTimestamp": _at(task.arrives),
    }  # fmt: skip
    return Job.model_validate({"metadata": metadata, "spec": spec})


def _dataset(data: Data, holders: Iterable[str]) -> Dataset:
    replicas = [{"cluster": name, "version": 1} for name in sorted(holders)]
    metadata = {"name": data.name, "namespace": _NAMESPACE, "resourceVersion": str(len(replicas))}
    status = {"version": 1, "complete": True, "bytes": data.bytes, "replicas": replicas}
    return Dataset.model_validate({"metadata": metadata, "spec": {}, "status": status})


def _cluster(member: Member, peers: Iterable[str]) -> Cluster:
    """Say what the agent of a cluster would report: its shapes, and the runs that are bound to nodes."""
    model = product(member.site.model)
    shapes = group_shapes(_shape(node.free, node.of.size, model) for node in member.nodes)
    inventory = Inventory(
        shapes=tuple(NodeShape.model_construct(**shape.fields()) for shape in shapes),
        counted_runs=tuple(f"{_NAMESPACE}/{name}-1" for name in sorted(member.bound)),
        storage_classes=(_STORAGE,),
    )
    links = tuple(MeshLink(peer=peer, is_connected=True, is_ready=True, last_proven_at=_PROVEN) for peer in peers)
    return _with_status(member.site, inventory, links)


def _with_status(site: Site, inventory: Inventory, links: tuple[MeshLink, ...]) -> Cluster:
    spec = {"network": {"uplinkBytesPerSecond": site.uplink}}
    cluster = Cluster.model_validate({"metadata": {"name": site.name, "labels": {"region": site.region}}, "spec": spec})
    status = {"phase": "Ready", "inventory": inventory, "links": links, "last_proven_at": _PROVEN}
    return cluster.model_copy(update={"status": cluster.status.model_copy(update=status)})


def _shape(free: Size, whole: Size, model: str) -> Shape:
    return Shape(1, _vector(free), _vector(whole), model, 16 * 2**30)


def _vector(size: Size) -> ResourceVector:
    return ResourceVector(size.millicores, size.memory_bytes, size.gpus)
