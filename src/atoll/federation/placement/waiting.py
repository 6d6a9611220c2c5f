"""When capacity will be free: the expected ends of the runs on a cluster, given back one after the other."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING, Any

from atoll.federation.placement.demand import Pods
from atoll.federation.placement.gangs import Shapes, given, has_room

if TYPE_CHECKING:
    from atoll.federation.placement.views import ClusterView


End = tuple[float, str, Pods]
"""In how many seconds a run ends, its name, and what it holds until then."""


def _when(end: End) -> tuple[float, str]:
    return end[:2]


def _seconds(step: tuple[Any, ...]) -> float:
    return float(step[0])


class Future:
    """A cluster's nodes after each expected end, the next one first; each is worked out once, when it is asked for.

    Which node a run is on is not known, so this is an estimate; work that Atoll did not place has no known end.
    """

    def __init__(self, shapes: Shapes, ends: Iterable[End]) -> None:
        """Begin with the nodes as they are now."""
        self._now = shapes
        self._steps: list[tuple[float, Shapes]] = []
        self._next = self._after(shapes, ends)

    def at(self, seconds: float) -> Shapes:
        """See the nodes as they are expected to be in so many seconds if nothing starts meanwhile."""
        while (not self._steps or self._steps[-1][0] <= seconds) and self._go_on():
            pass
        number = bisect_right(self._steps, seconds, key=_seconds)
        return self._steps[number - 1][1] if number else self._now

    def until_room(self, pods: Pods) -> float:
        """Estimate in how many seconds all pods could start at once; infinite if that is not known.

        Room only grows from step to step: of those that are known, few are looked at.
        """
        if not self._steps or not has_room(self._steps[-1][1], pods):
            while self._go_on():
                if has_room(self._steps[-1][1], pods):
                    return max(0.0, self._steps[-1][0])
            return inf
        number = bisect_left(self._steps, True, key=lambda step: has_room(step[1], pods))
        return max(0.0, self._steps[number][0])

    def _go_on(self) -> bool:
        """Work out the next step; False if there is none."""
        step = next(self._next, None)
        if step is not None:
            self._steps.append(step)
        return step is not None

    def _after(self, shapes: Shapes, ends: Iterable[End]) -> Iterator[tuple[float, Shapes]]:
        for seconds, ending in groupby(sorted(ends, key=_when), key=_seconds):
            for _, _, pods in ending:
                shapes = given(shapes, pods)
            yield seconds, shapes


def seconds_until_free(pods: Pods, view: "ClusterView") -> float:
    """Estimate when all pods could start at once; infinite if that is not known."""
    if has_room(view.shapes, pods):
        return 0.0
    return view.future.until_room(pods)
