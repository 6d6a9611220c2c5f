"""Whose turn it is: waiting jobs, one after another, by the shares of their queues as these grow. Pure.

At every level of the tree the next is, first, the queue that is still within its guarantee; then the one with the
smallest weighted dominant share; then by name. Within a queue jobs keep the order in which they are given. Jobs of a
queue that has queues below it stand beside those, with weight 1 and no guarantee.

Only the line of the queue that had its turn changes, and only that is put in order again: the logarithm of the
siblings a job, so ten thousand jobs in hundreds of queues are ordered in a fraction of a second.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Generic, TypeVar

from atoll.federation.queueing.amounts import Vector
from atoll.federation.queueing.shares import NOTHING, Measure, Past
from atoll.federation.queueing.tree import QueueTree

Item = TypeVar("Item")
_Key = tuple[bool, float, str]


@dataclass
class _Seat(Generic[Item]):
    """A queue in the order: its own jobs, or the seats below it. `grant` None: the top, or the own jobs of a parent."""

    name: str
    queue: str | None
    weight: int
    used: list[int]
    past: Past
    jobs: deque[tuple[Item, Vector]] = field(default_factory=deque)
    below: list[tuple[_Key, "_Seat[Item]"]] = field(default_factory=list)

    @property
    def head(self) -> Vector:
        """What the job asks for whose turn it is here."""
        return self.below[0][1].head if self.below else self.jobs[0][1]

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits here any more."""
        return not self.below and not self.jobs


@dataclass(frozen=True)
class Turns(Generic[Item]):
    """Gives waiting jobs turn by turn. What the tree holds is read before each turn: tell it what has started.

    Args:
        tree: the queues and what they hold.
        measure: the capacity that shares are of.
        past: what queues held on average until now.
        waiting: by queue, the jobs with what they ask for, in the order of that queue.
    """

    tree: QueueTree
    measure: Measure
    past: Mapping[str, Past]
    waiting: Mapping[str, Sequence[tuple[Item, Vector]]]

    def __iter__(self) -> Iterator[Item]:
        """Go on until every job had its turn."""
        top = self._seated()
        while not top.is_empty:
            path = [top]
            while path[-1].below:
                path.append(path[-1].below[0][1])
            yield path[-1].jobs.popleft()[0]
            for above, seat in zip(reversed(path[:-1]), reversed(path), strict=False):
                if seat.is_empty:
                    heappop(above.below)
                else:
                    heapreplace(above.below, (self._key(seat), seat))

    def _seated(self) -> _Seat[Item]:
        """Seat every queue in whose line somebody waits, and put all in order from below."""
        children: dict[str | None, list[str]] = {}
        for name in sorted(self._concerned()):
            children.setdefault(self.tree.parent(name), []).append(name)
        seats = [self._seat(name, children) for name in children.get(None, ())]
        return self._parent(_Seat("", None, 1, [], NOTHING), seats)

    def _concerned(self) -> set[str]:
        """Name the queues in which somebody waits, and those above them."""
        found: set[str] = set()
        for queue, jobs in self.waiting.items():
            name: str | None = queue if jobs else None
            while name is not None and name not in found:
                found.add(name)
                name = self.tree.parent(name)
        return found

    def _seat(self, name: str, children: Mapping[str | None, list[str]]) -> _Seat[Item]:
        tree, jobs = self.tree, deque(self.waiting.get(name, ()))
        grant = tree.grants[name]
        seat: _Seat[Item] = _Seat(name, name, grant.weight, tree.used[name], self.past.get(name, NOTHING))
        seats = [self._seat(child, children) for child in children.get(name, ())]
        if not seats:
            seat.jobs = jobs
            return seat
        if jobs:
            seats.append(_Seat("", None, 1, tree.direct[name], NOTHING, jobs))
        return self._parent(seat, seats)

    def _parent(self, seat: _Seat[Item], seats: list[_Seat[Item]]) -> _Seat[Item]:
        seat.below = [(self._key(each), each) for each in seats]
        heapify(seat.below)
        return seat

    def _key(self, seat: _Seat[Item]) -> _Key:
        return (not self._is_owed(seat), self.measure.share(seat.used, seat.past) / seat.weight, seat.name)

    def _is_owed(self, seat: _Seat[Item]) -> bool:
        """Tell whether the next job here is within the guarantee of this queue, or of the one below whose turn it is.

        What is owed below is owed above: else a sibling that borrows would use up what a small queue was promised.
        """
        if seat.queue is not None and self.tree.grants[seat.queue].guarantees(seat.used, seat.head):
            return True
        return bool(seat.below) and not seat.below[0][0][0]
