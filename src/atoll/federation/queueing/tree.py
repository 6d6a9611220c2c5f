"""The tree of queues with what each holds. Owns the sums along a line; whoever starts or ends work tells it so.

A queue holds what the queues below it hold. A parent that is missing, or a queue that is below itself, ends its line:
jobs go on, and limits hold as far as the line goes.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from heapq import nsmallest
from itertools import chain

from atoll.federation.queueing.amounts import Axes, Vector
from atoll.federation.resources import Queue

# How many of those who hold a resource are named: more nobody reads, and they are stored with every job that waits.
_MOST_NAMED = 3


@dataclass(frozen=True)
class Grant:
    """What one queue was given, laid out by axes. None: nothing is said of that resource."""

    guaranteed: tuple[int | None, ...]
    limit: tuple[int | None, ...]
    max_running: int | None
    lowest: int | None
    highest: int | None
    weight: int

    @classmethod
    def of(cls, queue: Queue, axes: Axes) -> "Grant":
        """Read a Queue's spec."""
        spec = queue.spec
        return cls(
            guaranteed=axes.pick(spec.quota.guaranteed.amounts()),
            limit=axes.pick(spec.limits),
            max_running=spec.max_running_jobs,
            lowest=spec.priorities.lowest,
            highest=spec.priorities.highest,
            weight=spec.weight,
        )

    @cached_property
    def is_guaranteed(self) -> bool:
        """Whether anything is guaranteed at all."""
        return any(sure is not None for sure in self.guaranteed)

    def guarantees(self, used: Iterable[int], more: Vector) -> bool:
        """Tell whether what is asked for is within the guarantee: of all that is asked for and guaranteed at all."""
        if not self.is_guaranteed:
            return False
        rows = zip(self.guaranteed, used, more, strict=True)
        within = [have + ask <= sure for sure, have, ask in rows if sure is not None and ask]
        return bool(within) and all(within)


@dataclass(frozen=True)
class Holder:
    """Work that holds something: whose it is, and how much."""

    job: str
    queue: str
    vector: Vector


@dataclass
class QueueTree:
    """Queues by name: their grants, their lines (each with itself first), and what they hold."""

    axes: Axes
    grants: Mapping[str, Grant]
    lines: Mapping[str, tuple[str, ...]]
    used: dict[str, list[int]]
    direct: dict[str, list[int]]
    running: Counter[str] = field(default_factory=Counter)
    _counted: dict[tuple[str, str, Vector], int] = field(default_factory=dict)
    _summed: Callable[[], Iterable[Holder]] = tuple
    _named: dict[tuple[str, str], tuple[Holder, ...]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, queues: Mapping[str, Queue], axes: Axes | None = None) -> "QueueTree":
        """Make the tree of these queues, holding nothing yet."""
        axes = Axes.of(queues.values()) if axes is None else axes
        names = sorted(queues)
        return cls(
            axes=axes,
            grants={name: Grant.of(queues[name], axes) for name in names},
            lines={name: lineage(name, queues) for name in names},
            used={name: axes.zero() for name in names},
            direct={name: axes.zero() for name in names},
        )

    def hold(self, job: str, queue: str, vector: Vector) -> None:
        """Count work that has started, in its queue and in all above it."""
        self._add(queue, vector, 1)
        self._counted[job, queue, vector] = self._counted.get((job, queue, vector), 0) + 1
        if self._named:
            self._named.clear()

    def hold_sums(self, sums: Mapping[str, tuple[Vector, int]], holders: Callable[[], Iterable[Holder]]) -> None:
        """Count what was summed up already: by queue, what is held and by how many; `holders` tells whose it is."""
        for queue, (vector, count) in sums.items():
            self._add(queue, vector, count)
        self._summed = holders
        self._named.clear()

    @property
    def holders(self) -> Iterator[Holder]:
        """Give everybody who holds something."""
        own = (Holder(*each) for each, count in self._counted.items() for _ in range(count))
        return chain(self._summed(), own)

    def release(self, job: str, queue: str, vector: Vector) -> None:
        """Count that work which was held has ended."""
        count = self._counted.pop((job, queue, vector))
        if count > 1:
            self._counted[job, queue, vector] = count - 1
        self._add(queue, tuple(-value for value in vector), -1)
        self._named.clear()

    def _add(self, queue: str, vector: Vector, count: int) -> None:
        for name in self.lines.get(queue, ()):
            _add(self.used[name], vector)
            self.running[name] += count
        if queue in self.direct:
            _add(self.direct[queue], vector)

    def largest_holders(self, queue: str, path: str) -> tuple[Holder, ...]:
        """Name the work in a queue, or below it, that holds most of a resource, the largest first."""
        known = self._named.get((queue, path))
        if known is None:
            at = self.axes.paths.index(path) if path in self.axes.paths else None
            within = [each for each in self.holders if queue in self.lines.get(each.queue, ()) and amount(each, at)]
            known = tuple(nsmallest(_MOST_NAMED, within, key=lambda each: (-amount(each, at), each.job)))
            self._named[queue, path] = known
        return known

    def parent(self, queue: str) -> str | None:
        """Name the queue above; None at the top, and for one that is below itself."""
        line = self.lines[queue]
        above = line[1] if len(line) > 1 else None
        return None if above is None or queue in self.lines[above] else above


def lineage(queue: str, queues: Mapping[str, Queue]) -> tuple[str, ...]:
    """Name a queue and those above it, the nearest first; a parent that is missing or below itself ends the line."""
    line: list[str] = []
    name: str | None = queue
    while name is not None and name in queues and name not in line:
        line.append(name)
        name = queues[name].spec.parent
    return tuple(line)


def amount(holder: Holder, at: int | None) -> int:
    """Tell how much of one component somebody holds; without a component, that it is one job."""
    return 1 if at is None else holder.vector[at]


def _add(total: list[int], vector: Vector) -> None:
    for at, value in enumerate(vector):
        total[at] += value
