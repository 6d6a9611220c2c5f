"""When capacity will be free: the expected ends of the runs on a cluster, given back one after the other."""

from itertools import groupby
from math import inf

from atoll.federation.capacity import fits, give
from atoll.federation.placement.demand import PodDemand
from atoll.federation.placement.views import ClusterView, Occupation


def _end(occupation: Occupation) -> float:
    return occupation.ends_in_seconds


def seconds_until_free(pod: PodDemand, count: int, view: ClusterView) -> float:
    """Estimate when all pods could start at once; infinite if that is not known.

    Which node a run is on is not known, so this is an estimate; work that Atoll did not place has no known end.
    """
    shapes = view.shapes
    if fits(pod.resources, shapes, count, suits=pod.suits):
        return 0.0
    ordered = sorted(view.occupations, key=lambda occupation: (occupation.ends_in_seconds, occupation.run))
    for ends_in_seconds, ending in groupby(ordered, key=_end):
        for run in ending:
            shapes, _ = give(run.pod.resources, shapes, run.count, suits=run.pod.suits)
        if fits(pod.resources, shapes, count, suits=pod.suits):
            return max(0.0, ends_in_seconds)
    return inf
