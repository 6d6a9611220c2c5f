"""The line of one queue: its groups, merged by the order of their next jobs. Consumed by one cycle."""

from collections.abc import Iterable
from heapq import heapify, heappop, heapreplace

from atoll.federation.queueing import Vector
from atoll.hub.scheduler.book import Group
from atoll.hub.scheduler.demands import Asked

_Place = tuple[int, float, str]


class QueueLine:
    """Who waits in a queue: highest priority first, then the longest waiting, then by name.

    A group whose jobs cannot start is closed, and none of them has a turn any more: that costs one step, not one a job.
    """

    def __init__(self, waiting: Iterable[tuple[Group, Asked]]) -> None:
        """Let the groups of a queue wait."""
        self._heap = [(_place(group, 0), 0, group, asked) for group, asked in waiting]
        heapify(self._heap)

    @property
    def is_empty(self) -> bool:
        """Whether nobody waits any more."""
        return not self._heap

    @property
    def head(self) -> Vector:
        """What is asked for by the job whose turn it would be."""
        return self._heap[0][3].vector

    @property
    def first(self) -> tuple[str, Group, Asked]:
        """The job whose turn it would be: its key, its group, and what it asks for."""
        place, _, group, asked = self._heap[0]
        return place[2], group, asked

    def advance(self) -> None:
        """Let the first job go: it has started."""
        _, index, group, asked = self._heap[0]
        if index + 1 < len(group.members):
            heapreplace(self._heap, (_place(group, index + 1), index + 1, group, asked))
        else:
            heappop(self._heap)

    def close(self) -> int:
        """Give no more turns to the group of the first job; tell how many of its jobs have started."""
        return heappop(self._heap)[1]


def _place(group: Group, index: int) -> _Place:
    since, key = group.members[index]
    return (-group.ask.priority, since, key)
