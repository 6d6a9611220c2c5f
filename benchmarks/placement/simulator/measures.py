"""What is told of a policy: waits, bytes, makespan, allocation, fragmentation, fairness.

Owns the definitions, each beside its source, and the looking at a world every so often.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from benchmarks.placement.simulator.engine import World
from benchmarks.placement.simulator.openb import Size
from benchmarks.placement.simulator.scenario import Scenario, Task

# So many kinds of tasks stand for all in the measure of fragmentation; the trace's common ones are fewer.
_KINDS = 40


@dataclass
class Saturation:
    """Looks at a federation while GPU tasks wait: how many GPUs run work, and how many are of no use to anybody.

    Fragmentation is FGD's (Weng et al., "Beware of Fragmentation", USENIX ATC 2023): the free GPUs of a node count as
    fragments for a task that the node cannot hold, weighted by how common such tasks are; here as a part of all GPUs.
    """

    kinds: Sequence[tuple[Task, float]]
    allocated: list[float] = field(default_factory=list)
    fragmented: list[float] = field(default_factory=list)

    @classmethod
    def of(cls, scenario: Scenario) -> "Saturation":
        """Take the common kinds of GPU tasks of a scenario, with how often each comes."""
        like: dict[tuple[Size, tuple[str, ...]], Task] = {}
        counts: Counter[tuple[Size, tuple[str, ...]]] = Counter()
        for task in scenario.tasks:
            if task.size.gpus:
                kind = (task.size, tuple(sorted(task.models)))
                like.setdefault(kind, task)
                counts[kind] += 1
        common = counts.most_common(_KINDS)
        return cls([(like[kind], count / sum(count for _, count in common)) for kind, count in common])

    def look(self, world: World) -> None:
        """Look, if GPU tasks wait in the hub."""
        if not any(task.size.gpus for task in world.waiting.values()):
            return
        whole = world.scenario.capacity.gpus
        running = sum(
            task.size.gpus
            for member in world.members.values()
            for task, _ in member.bound.values()
            if world.stories[task.name].started_at is not None
        )
        self.allocated.append(running / whole)
        self.fragmented.append(self._fragments(world) / whole)

    def _fragments(self, world: World) -> float:
        return sum(
            node.free.gpus * part
            for member in world.members.values()
            for node in member.nodes
            if node.free.gpus
            for task, part in self.kinds
            if not (member.suits(task) and node.free.holds(task.size))
        )


@dataclass
class Fairness:
    """Looks at queues while two of them or more wait: how far what they hold is from their weights.

    The error is the part of what they hold together, as dominant shares (Ghodsi et al., NSDI 2011), that is with
    another queue than it should be with: 0 is fair, 1 is as unfair as can be.
    """

    errors: list[float] = field(default_factory=list)

    def look(self, world: World) -> None:
        """Look, if two queues or more have somebody waiting."""
        weights = world.scenario.weights
        backlogged = sorted({task.queue for task in world.waiting.values()})
        shares = dominant_shares(world, backlogged)
        if len(backlogged) > 1 and sum(shares.values()) > 0:
            self.errors.append(fairness_error(shares, {queue: weights[queue] for queue in backlogged}))


def dominant_shares(world: World, queues: Sequence[str]) -> dict[str, float]:
    """Give the largest part of any resource that each queue holds."""
    held = {queue: Size(0, 0, 0) for queue in queues}
    for member in world.members.values():
        for task, _ in member.bound.values():
            if task.queue in held:
                held[task.queue] = held[task.queue] + task.size
    whole = world.scenario.capacity
    return {
        queue: max(size.millicores / whole.millicores, size.memory_bytes / whole.memory_bytes, size.gpus / whole.gpus)
        for queue, size in held.items()
    }


def fairness_error(shares: Mapping[str, float], weights: Mapping[str, int]) -> float:
    """Compare what queues hold with their weights: half the sum of the differences of the parts."""
    held, weighed = sum(shares.values()), sum(weights.values())
    return sum(abs(shares[queue] / held - weights[queue] / weighed) for queue in shares) / 2


def measured(world: World, saturation: Saturation, fairness: Fairness) -> dict[str, float | int | None]:
    """Sum a finished world up; None where it was never full, or no two queues waited."""
    waits = sorted(story.wait_seconds for story in world.stories.values())
    return {
        "tasks": len(waits),
        "wait_mean_seconds": round(fmean(waits), 1),
        "wait_p50_seconds": round(percentile(waits, 0.5), 1),
        "wait_p99_seconds": round(percentile(waits, 0.99), 1),
        "moved_gib": round(world.transfers.moved_bytes / 2**30, 1),
        "makespan_seconds": round(max(story.ended_at or 0.0 for story in world.stories.values()), 1),
        "gpus_allocated": _mean(saturation.allocated),
        "gpus_fragmented": _mean(saturation.fragmented),
        "fairness_error": _mean(fairness.errors),
    }


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 4) if values else None


def percentile(ordered: Sequence[float], part: float) -> float:
    """Give the smallest value that so large a part does not exceed (nearest rank)."""
    return ordered[max(0, -(-int(len(ordered) * part * 1000) // 1000) - 1)] if ordered else 0.0
