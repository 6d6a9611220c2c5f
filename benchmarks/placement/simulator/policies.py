"""The rules that Atoll is compared with. Each sees the true state of every node, and never too late.

All take tasks in the order in which they came, and none lets a task that finds no room hold up those behind it
(Kueue's BestEffortFIFO). A rule only chooses among the clusters where a task could be bound now; `data-bound` alone
chooses among all, and waits there.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random

from benchmarks.placement.simulator.engine import World
from benchmarks.placement.simulator.members import Member
from benchmarks.placement.simulator.openb import Size
from benchmarks.placement.simulator.scenario import Task, total

Choose = Callable[[Task, Sequence[str], World], str | None]


@dataclass
class Greedy:
    """A policy that chooses for one task after another, beside those that it has just placed."""

    name: str
    choose: Choose

    def place(self, world: World) -> list[tuple[Task, str]]:
        """Place whoever finds room."""
        placed: list[tuple[Task, str]] = []
        rooms = {name: _Room(member) for name, member in world.members.items()}
        for task in _hopeful(world, rooms):
            cluster = self.choose(task, [name for name, room in rooms.items() if room.holds(task)], world)
            if cluster is not None and rooms[cluster].take(task):
                placed.append((task, cluster))
        return placed


def _hopeful(world: World, rooms: dict[str, "_Room"]) -> Iterator[Task]:
    """Give waiting tasks, without those like one for which no cluster had room a moment ago."""
    hopeless: set[tuple[Size, tuple[str, ...]]] = set()
    for task in tuple(world.waiting.values()):
        kind = (task.size, task.models)
        if kind in hopeless:
            continue
        if any(room.holds(task) for room in rooms.values()):
            yield task
        else:
            hopeless.add(kind)


@dataclass
class _Room:
    """What is free on a cluster's nodes beside what was placed in this turn; it fills nodes as the cluster does."""

    member: Member
    free: list[Size] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.free = [node.free for node in self.member.nodes]

    def holds(self, task: Task) -> bool:
        return self.member.suits(task) and any(free.holds(task.size) for free in self.free)

    def take(self, task: Task) -> bool:
        at = self.member.emptiest(task, self.free) if self.member.suits(task) else None
        if at is not None:
            self.free[at] = self.free[at] - task.size
        return at is not None


def in_order(_task: Task, having_room: Sequence[str], _world: World) -> str | None:
    """Choose the first that admits, as MultiKueue does where all clusters answer at once."""
    return having_room[0] if having_room else None


def least_loaded(task: Task, having_room: Sequence[str], world: World) -> str | None:
    """Choose the cluster with the smallest part in use: of its GPUs, or of its CPUs for a task without."""
    return min(having_room, key=lambda name: _part_in_use(world.members[name], bool(task.size.gpus)), default=None)


def _part_in_use(member: Member, is_gpus: bool) -> float:
    whole, free = total(node.of.size for node in member.nodes), total(node.free for node in member.nodes)
    return 1 - (free.gpus / whole.gpus if is_gpus else free.millicores / whole.millicores)


def most_local(task: Task, having_room: Sequence[str], world: World) -> str | None:
    """Choose the cluster that holds most of the inputs, the least loaded of equal ones."""
    least = min((world.missing_bytes(task, name) for name in having_room), default=0)
    return least_loaded(task, [name for name in having_room if world.missing_bytes(task, name) == least], world)


def at_its_data(task: Task, having_room: Sequence[str], world: World) -> str | None:
    """Choose the cluster that holds most of the inputs, whether it has room or not: else the task waits for it."""
    capable = [name for name, member in world.members.items() if member.is_capable(task)]
    least = min(world.missing_bytes(task, name) for name in capable)
    best = [name for name in capable if world.missing_bytes(task, name) == least]
    return least_loaded(task, [name for name in best if name in having_room], world)


def baselines(seed: int) -> list[Greedy]:
    """Give all of them."""
    chance = Random(seed)
    return [
        Greedy("random", lambda _task, having_room, _world: chance.choice(having_room) if having_room else None),
        Greedy("least-loaded", least_loaded),
        Greedy("first-to-admit", in_order),
        Greedy("locality", most_local),
        Greedy("data-bound", at_its_data),
    ]
