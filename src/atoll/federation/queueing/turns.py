"""Whose turn it is: waiting jobs, one after another, by the shares of their queues as these grow. Pure.

At every level of the tree the next is, first, the queue that is still within its guarantee; then the one with the
smallest weighted dominant share; then by name. Within a queue jobs keep the order of its line. Jobs of a queue that has
queues below it stand beside those, with weight 1 and no guarantee.

Only the line of the queue that had its turn changes, and only that is put in order again: the logarithm of the
siblings a turn.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from typing import Generic, Protocol, TypeVar

from atoll.federation.queueing.amounts import Vector
from atoll.federation.queueing.shares import NOTHING, Measure, Past
from atoll.federation.queueing.tree import QueueTree

_Key = tuple[bool, float, str]


class Line(Protocol):
    """Who waits in one queue."""

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits any more."""

    @property
    def head(self) -> Vector:
        """What is asked for by the one whose turn it would be."""


L = TypeVar("L", bound=Line)


@dataclass
class _Seat(Generic[L]):
    """A queue in the order: its own line, or the seats below it. `queue` None: the top, or the own jobs of a parent."""

    name: str
    queue: str | None
    weight: int
    used: list[int]
    past: Past
    line: L | None = None
    below: list[tuple[_Key, "_Seat[L]"]] = field(default_factory=list)

    @property
    def head(self) -> Vector:
        """What the job asks for whose turn it is here."""
        if self.below:
            return self.below[0][1].head
        assert self.line is not None, "a seat without seats below it is a line's"
        return self.line.head

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits here any more."""
        return not self.below and (self.line is None or self.line.is_empty)


@dataclass(frozen=True)
class Turns(Generic[L]):
    """Gives turns. What the tree holds, and the line that had its turn, are read before the next one.

    Whoever has a turn must make its line shorter: start the job at its head, or close what cannot start.

    Args:
        tree: the queues and what they hold; tell it what has started.
        measure: the capacity that shares are of.
        past: what queues held on average until now.
        lines: by queue, who waits.
    """

    tree: QueueTree
    measure: Measure
    past: Mapping[str, Past]
    lines: Mapping[str, L]

    def __iter__(self) -> Iterator[L]:
        """Give the line that has its turn, until all are empty."""
        top = self._seated()
        while not top.is_empty:
            path = [top]
            while path[-1].below:
                path.append(path[-1].below[0][1])
            line = path[-1].line
            assert line is not None, "who has a turn waits in a line"
            yield line
            for above, seat in zip(reversed(path[:-1]), reversed(path), strict=False):
                if seat.is_empty:
                    heappop(above.below)
                else:
                    heapreplace(above.below, (self._key(seat), seat))

    def _seated(self) -> _Seat[L]:
        """Seat every queue in whose line somebody waits, and put all in order from below."""
        children: dict[str | None, list[str]] = {}
        for name in sorted(self._concerned()):
            children.setdefault(self.tree.parent(name), []).append(name)
        seats = [self._seat(name, children) for name in children.get(None, ())]
        return self._parent(_Seat("", None, 1, [], NOTHING), seats)

    def _concerned(self) -> set[str]:
        """Name the queues in which somebody waits, and those above them."""
        found: set[str] = set()
        for queue, line in self.lines.items():
            name: str | None = None if line.is_empty else queue
            while name is not None and name not in found:
                found.add(name)
                name = self.tree.parent(name)
        return found

    def _seat(self, name: str, children: Mapping[str | None, list[str]]) -> _Seat[L]:
        tree, line = self.tree, self.lines.get(name)
        grant = tree.grants[name]
        seat: _Seat[L] = _Seat(name, name, grant.weight, tree.used[name], self.past.get(name, NOTHING))
        seats = [self._seat(child, children) for child in children.get(name, ())]
        if not seats:
            seat.line = line
            return seat
        if line is not None and not line.is_empty:
            seats.append(_Seat("", None, 1, tree.direct[name], NOTHING, line))
        return self._parent(seat, seats)

    def _parent(self, seat: _Seat[L], seats: list[_Seat[L]]) -> _Seat[L]:
        seat.below = [(self._key(each), each) for each in seats]
        heapify(seat.below)
        return seat

    def _key(self, seat: _Seat[L]) -> _Key:
        return (not self._is_owed(seat), self.measure.share(seat.used, seat.past) / seat.weight, seat.name)

    def _is_owed(self, seat: _Seat[L]) -> bool:
        """Tell whether the next job here is within the guarantee of this queue, or of the one below whose turn it is.

        What is owed below is owed above: else a sibling that borrows would use up what a small queue was promised.
        """
        if seat.queue is not None and self.tree.grants[seat.queue].guarantees(seat.used, seat.head):
            return True
        return bool(seat.below) and not seat.below[0][0][0]
