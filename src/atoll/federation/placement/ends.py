"""When clusters may have room at the earliest, all of them at once: a bound below what waiting.py works out for one.

It counts what is freed on a cluster as if it became free where most is free already, and all that is free as if the
nodes were one: no cluster has room sooner than that. What a cycle puts on clusters, and what is claimed of them, only
makes it later. It must not say that there is room.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from atoll.federation.capacity import ResourceVector
from atoll.federation.placement.demand import Pods
from atoll.federation.placement.shapes import Floats, Ints, ShapeColumns
from atoll.federation.placement.views import ClusterView, columns_of


@dataclass(frozen=True)
class Ends:
    """The expected ends of all runs, cluster by cluster, each with what is free by then: lines of CPU, memory, GPUs.

    The columns of the cluster at a position are those from `bounds[position]`; the first is what is free now. `free` is
    of all nodes together, `most` what one node may have at most.
    """

    bounds: Ints
    seconds: Floats
    free: Ints
    most: Ints

    @classmethod
    def of(cls, views: Sequence[ClusterView], shapes: ShapeColumns) -> "Ends":
        """Lay out the ends of the runs that clusters hold; `shapes` are the clusters' nodes."""
        laid = [columns_of(view.occupations) for view in views]
        counts = np.array([len(each.ends_in_seconds) for each in laid], np.int64)
        where = np.repeat(np.arange(len(views)), counts)
        ends = np.maximum(np.concatenate([np.empty(0), *(each.ends_in_seconds for each in laid)]), 0.0)
        amounts = np.concatenate([np.empty((0, 3), np.int64), *(each.amounts for each in laid)])
        order = np.lexsort((ends, where))
        starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts + 1)))[:-1]
        seconds = np.zeros(len(where) + len(views))
        freed = np.zeros((len(where) + len(views), 3), np.int64)
        runs = np.arange(len(where)) + where + 1  # before each stands the first of its cluster, and of those before
        seconds[runs], freed[runs] = ends[order], amounts[order]
        freed = np.cumsum(freed, axis=0)
        freed -= np.repeat(freed[starts], counts + 1, axis=0)
        now, most = _free_now(shapes)
        columns = np.repeat(np.arange(len(views)), counts + 1)
        return cls(starts, seconds, (freed + now[columns]).T.copy(), (freed + most[columns]).T.copy())

    def earliest(self, pods: Pods) -> Floats:
        """Give per cluster the seconds before which it cannot have room for all pods; infinite if it never can."""
        if not len(self.bounds):
            return np.empty(0)
        is_enough = np.ones(len(self.seconds), np.bool_)
        whole = sum((pod.resources * count for pod, count in pods), ResourceVector())
        for lines, asked in ((self.free, whole), *((self.most, pod.resources) for pod, count in pods if count)):
            for line, need in zip(lines, (asked.millicores, asked.memory_bytes, asked.gpus), strict=True):
                if need > 0:
                    is_enough &= line >= need
        return np.asarray(np.minimum.reduceat(np.where(is_enough, self.seconds, np.inf), self.bounds))


def _free_now(shapes: ShapeColumns) -> tuple[Ints, Ints]:
    """Give what each cluster has free on all its nodes, and of each resource what one node has at most."""
    total, most = (np.zeros((len(shapes.bounds) - 1, 3), np.int64) for _ in range(2))
    has_rows = np.diff(shapes.bounds) > 0
    if has_rows.any():
        starts = shapes.bounds[:-1][has_rows]
        total[has_rows] = np.add.reduceat(shapes.free * shapes.nodes, starts, axis=1).T
        most[has_rows] = np.maximum.reduceat(shapes.free, starts, axis=1).T
    return total, most
