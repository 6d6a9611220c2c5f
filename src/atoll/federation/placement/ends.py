"""When clusters may have room at the earliest, all of them at once: a bound below what waiting.py works out for one.

It counts a cluster's free and freed amounts as if its nodes were one: no cluster has room sooner than that. What a
cycle puts on clusters, and what is claimed of them, only makes it later. It must not say that there is room.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement.demand import Pods
from atoll.federation.placement.shapes import Floats, Ints
from atoll.federation.placement.views import ClusterView

# Amounts are summed as floats: exact up to 2**53, which is 8 PiB of memory; beyond that a bound may be a little late.
_Rows = list[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Ends:
    """The expected ends of all runs, cluster by cluster, each with what is free by then: rows of CPU, memory, GPUs.

    The rows of the cluster at a position are those from `bounds[position]`; the first is what is free now.
    """

    bounds: Ints
    seconds: Floats
    free: Floats

    @classmethod
    def of(cls, views: Sequence[ClusterView]) -> "Ends":
        """Lay out the ends of the runs that clusters hold."""
        rows: _Rows = []
        bounds = [0]
        for view in views:
            rows += _rows(view)
            bounds.append(len(rows))
        laid = np.array(rows, np.float64).reshape(-1, 4)
        free = np.cumsum(laid[:, 1:], axis=0)
        starts = np.array(bounds[:-1], np.int64)
        before = np.concatenate((np.zeros((1, 3)), free))[starts]
        return cls(starts, laid[:, 0], free - np.repeat(before, np.diff(bounds), axis=0))

    def earliest(self, pods: Pods) -> Floats:
        """Give per cluster the seconds before which it cannot have room for all pods; infinite if it never can."""
        if not len(self.bounds):
            return np.empty(0)
        need = _amounts(sum((pod.resources * count for pod, count in pods), ResourceVector()))
        when = np.where((self.free >= np.array(need)).all(axis=1), self.seconds, np.inf)
        return np.asarray(np.minimum.reduceat(when, self.bounds))


def _rows(view: ClusterView) -> _Rows:
    now = sum((shape.free * shape.nodes for shape in view.shapes), ResourceVector())
    runs = sorted(view.occupations, key=lambda run: run.ends_in_seconds)
    return [(0.0, *_amounts(now)), *((max(0.0, run.ends_in_seconds), *_amounts(run.resources)) for run in runs)]


def _amounts(vector: ResourceVector) -> tuple[float, float, float]:
    return (vector.millicores, vector.memory_bytes, vector.gpus)
