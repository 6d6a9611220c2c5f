"""Clusters that run pods: a pod is bound to a node by a rule like kube-scheduler's, and stays there.

Owns what is free on which node. Which cluster a task goes to is a policy's matter; here it only finds a node, or waits
in its cluster until one has room.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks.placement.simulator.openb import Size, TraceNode
from benchmarks.placement.simulator.scenario import Site, Task


@dataclass
class Node:
    """One node, and what is free on it."""

    of: TraceNode
    free: Size


@dataclass
class Member:
    """One cluster. Pods of `unbound` tasks are there, but no node has room for them yet."""

    site: Site
    nodes: list[Node] = field(default_factory=list)
    bound: dict[str, tuple[Task, Node]] = field(default_factory=dict)
    unbound: list[Task] = field(default_factory=list)
    changes: int = 0

    def __post_init__(self) -> None:
        """Begin with empty nodes."""
        self.nodes = [Node(node, node.size) for node in self.site.nodes]

    def suits(self, task: Task) -> bool:
        """Tell whether its GPUs are of a wanted model."""
        return not task.size.gpus or not task.models or self.site.model in task.models

    def is_capable(self, task: Task) -> bool:
        """Tell whether a node could hold the task if it were empty."""
        return self.suits(task) and any(node.of.size.holds(task.size) for node in self.nodes)

    def has_room(self, task: Task) -> bool:
        """Tell whether a node has room for the task now."""
        return self.suits(task) and any(node.free.holds(task.size) for node in self.nodes)

    def add(self, task: Task) -> bool:
        """Take a task; tell whether a node had room for it."""
        if self._bind(task):
            return True
        self.unbound.append(task)
        return False

    def remove(self, task: Task) -> list[Task]:
        """End a task; give those that could be bound in its place, the longest waiting first."""
        _, node = self.bound.pop(task.name)
        node.free = node.free + task.size
        self.changes += 1
        found = [waiting for waiting in self.unbound if self._bind(waiting)]
        self.unbound = [waiting for waiting in self.unbound if waiting.name not in self.bound]
        return found

    def emptiest(self, task: Task, free: Sequence[Size]) -> int | None:
        """Find the node that a task would be bound to, if that much were free on each; None: no node has room.

        The rule is kube-scheduler's default, NodeResourcesFit with LeastAllocated of CPU and memory.
        """
        fitting = [at for at, each in enumerate(free) if each.holds(task.size)]
        return max(fitting, key=lambda at: _emptiness(free[at], self.nodes[at].of.size), default=None)

    def _bind(self, task: Task) -> bool:
        at = self.emptiest(task, [node.free for node in self.nodes])
        if at is None:
            return False
        node = self.nodes[at]
        node.free = node.free - task.size
        self.bound[task.name] = (task, node)
        self.changes += 1
        return True


def _emptiness(free: Size, whole: Size) -> float:
    return free.millicores / whole.millicores + free.memory_bytes / whole.memory_bytes
