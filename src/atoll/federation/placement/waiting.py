"""When capacity will be free: the expected ends of the runs on a cluster, given back one after the other."""

from collections.abc import Iterator
from itertools import groupby
from math import inf
from typing import TYPE_CHECKING

from atoll.federation.placement.demand import Pods
from atoll.federation.placement.gangs import Shapes, given, has_room

if TYPE_CHECKING:
    from atoll.federation.placement.views import ClusterView, Occupation


def _end(occupation: "Occupation") -> float:
    return occupation.ends_in_seconds


class Future:
    """A cluster's nodes after each expected end, the next one first; each is worked out once, when it is asked for.

    Which node a run is on is not known, so this is an estimate; work that Atoll did not place has no known end.
    """

    def __init__(self, shapes: Shapes, occupations: "tuple[Occupation, ...]") -> None:
        """Begin with the nodes as they are now."""
        self._steps: list[tuple[float, Shapes]] = []
        self._next = self._ends(shapes, occupations)

    def __iter__(self) -> Iterator[tuple[float, Shapes]]:
        """Give the seconds until something ends, and the nodes then."""
        at = 0
        while True:
            if at == len(self._steps):
                step = next(self._next, None)
                if step is None:
                    return
                self._steps.append(step)
            yield self._steps[at]
            at += 1

    def _ends(self, shapes: Shapes, occupations: "tuple[Occupation, ...]") -> Iterator[tuple[float, Shapes]]:
        ordered = sorted(occupations, key=lambda occupation: (occupation.ends_in_seconds, occupation.run))
        for ends_in_seconds, ending in groupby(ordered, key=_end):
            for run in ending:
                shapes = given(shapes, run.pods)
            yield ends_in_seconds, shapes


def seconds_until_free(pods: Pods, view: "ClusterView") -> float:
    """Estimate when all pods could start at once; infinite if that is not known."""
    if has_room(view.shapes, pods):
        return 0.0
    for ends_in_seconds, shapes in view.future:
        if has_room(shapes, pods):
            return max(0.0, ends_in_seconds)
    return inf
