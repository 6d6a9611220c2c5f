"""Node shapes of all clusters as numpy columns, cluster by cluster."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from atoll.federation.capacity import ResourceVector, Shape
from atoll.federation.placement.demand import PodDemand
from atoll.federation.placement.speeds import relative_speed

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_NOTHING = ResourceVector()
# More than any cluster has; a report of more would overflow a column, and must not stop the cycle for everybody.
_MOST = 2**62
_MOST_NODES = 2**26
_NO_ROWS, _NO_AMOUNTS = np.empty(0, np.int64), np.empty((3, 0), np.int64)


@dataclass(frozen=True)
class ShapeColumns:
    """One row per node shape; the rows of cluster i are bounds[i] to bounds[i + 1].

    `free` and `whole` have one line per resource (millicores, bytes, GPUs). Shapes that differ only in amounts are of
    one sort: `sorts` keeps one of each, and `sort_of` says which, so that names and labels are compared once per sort.
    """

    bounds: Ints
    nodes: Ints
    free: Ints
    whole: Ints
    sort_of: Ints
    sorts: tuple[Shape, ...]
    sort_speeds: Floats

    @classmethod
    def of(cls, clusters: Sequence[Sequence[Shape]], blocks: "Blocks | None" = None) -> "ShapeColumns":
        """Lay out the shapes of clusters in their order; `blocks` remembers those that did not change."""
        laid = (blocks or Blocks()).of(clusters)
        codes: dict[Shape, int] = {}
        sort_of = [block.codes(codes) for block in laid]
        return cls(
            bounds=np.concatenate(([0], np.cumsum([len(block.nodes) for block in laid], dtype=np.int64))),
            nodes=np.concatenate([_NO_ROWS, *(block.nodes for block in laid)]),
            free=np.concatenate([_NO_AMOUNTS, *(block.free for block in laid)], axis=1),
            whole=np.concatenate([_NO_AMOUNTS, *(block.whole for block in laid)], axis=1),
            sort_of=np.concatenate([_NO_ROWS, *sort_of]),
            sorts=tuple(codes),
            sort_speeds=_speeds(codes),
        )

    def with_shapes(self, position: int, shapes: Sequence[Shape]) -> "ShapeColumns":
        """Replace the rows of one cluster; the cost does not depend on how many nodes there are elsewhere."""
        new, codes = Block.of(shapes), {sort: code for code, sort in enumerate(self.sorts)}
        sort_of = new.codes(codes)
        start, end = self.bounds[position], self.bounds[position + 1]
        bounds = self.bounds.copy()
        bounds[position + 1 :] += len(shapes) - (end - start)

        def spliced(old: Ints, rows: Ints) -> Ints:
            return np.concatenate((old[..., :start], rows, old[..., end:]), axis=-1)

        return ShapeColumns(
            bounds=bounds,
            nodes=spliced(self.nodes, new.nodes),
            free=spliced(self.free, new.free),
            whole=spliced(self.whole, new.whole),
            sort_of=spliced(self.sort_of, sort_of),
            sorts=tuple(codes),
            sort_speeds=_speeds(codes),
        )

    def total(self, values: Ints | Bools) -> Ints:
        """Sum a value per row into one per cluster; a cluster without rows has 0."""
        running = np.empty(len(values) + 1, np.int64)
        running[0] = 0
        np.cumsum(values, out=running[1:])
        at_bounds = running[self.bounds]
        return np.asarray(at_bounds[1:] - at_bounds[:-1])

    def any(self, holds: Bools) -> Bools:
        """Tell per cluster whether something holds for any of its rows."""
        return np.asarray(self.total(holds) > 0)

    def lowest(self, values: Floats) -> Floats:
        """Take the lowest value of each cluster's rows; infinite where it has none."""
        result = np.full(len(self.bounds) - 1, np.inf)
        has_rows = np.diff(self.bounds) > 0
        if has_rows.any():
            result[has_rows] = np.minimum.reduceat(values, self.bounds[:-1][has_rows])
        return result

    def holding(self, pod: ResourceVector, amounts: Ints) -> Bools:
        """Tell which rows have nodes that hold one pod, of their free or whole amounts."""
        result = np.ones(len(self.nodes), np.bool_)
        for line, need in enumerate((pod.millicores, pod.memory_bytes, pod.gpus)):
            if need > 0:
                result &= amounts[line] >= need
        return result

    def pods(self, pod: ResourceVector, amounts: Ints, at_most: int, among: Bools) -> Ints:
        """Count per row how many pods one of its nodes holds, of its free or whole amounts; 0 outside `among`."""
        holding = among & self.holding(pod, amounts)
        if at_most == 1:
            return holding.astype(np.int64)
        rows = np.flatnonzero(holding)
        each = np.full(len(rows), at_most, np.int64)
        for line, need in enumerate((pod.millicores, pod.memory_bytes, pod.gpus)):
            if need > 0:
                np.minimum(each, amounts[line, rows] // need, out=each)
        result = np.zeros(len(self.nodes), np.int64)
        result[rows] = each
        return result

    def of_sorts(self, holds: Sequence[bool]) -> Bools:
        """Spread an answer per sort over the rows."""
        return np.asarray(np.array(holds, np.bool_)[self.sort_of])

    def speeds(self) -> Floats:
        """Give the relative GPU speed of each row; 1.0 where it is not known."""
        return np.asarray(self.sort_speeds[self.sort_of])


@dataclass(frozen=True)
class Suitable:
    """Which rows are of the right sort for a pod, step by step, so that a refusal can name the step."""

    model: Bools
    memory: Bools
    labels: Bools

    @classmethod
    def of(cls, pod: PodDemand, columns: ShapeColumns) -> "Suitable":
        """Compare a pod with every sort of node, not with every shape."""
        model = [pod.suits_model(sort) for sort in columns.sorts]
        memory = [fits and pod.suits_memory(sort) for fits, sort in zip(model, columns.sorts, strict=True)]
        labels = [fits and pod.suits_labels(sort) for fits, sort in zip(memory, columns.sorts, strict=True)]
        return cls(columns.of_sorts(model), columns.of_sorts(memory), columns.of_sorts(labels))


@dataclass(frozen=True)
class Block:
    """The rows of one cluster; `sort_of` counts within its own `sorts`."""

    nodes: Ints
    free: Ints
    whole: Ints
    sort_of: Ints
    sorts: tuple[Shape, ...]

    @classmethod
    def of(cls, shapes: Sequence[Shape]) -> "Block":
        """Lay out the shapes of one cluster."""
        names: dict[tuple[object, ...], int] = {}
        sorts: list[Shape] = []
        sort_of = []
        for shape in shapes:
            name = (shape.gpu_model, shape.gpu_memory_bytes, shape.labels)
            if name not in names:
                names[name] = len(sorts)
                sorts.append(Shape(0, _NOTHING, _NOTHING, shape.gpu_model, shape.gpu_memory_bytes, shape.labels))
            sort_of.append(names[name])
        return cls(
            nodes=np.array([min(shape.nodes, _MOST_NODES) for shape in shapes], np.int64),
            free=_amounts([shape.free for shape in shapes]),
            whole=_amounts([shape.allocatable for shape in shapes]),
            sort_of=np.array(sort_of, np.int64),
            sorts=tuple(sorts),
        )

    def codes(self, codes: dict[Shape, int]) -> Ints:
        """Name the sorts of the rows by numbers that all clusters share; new ones are added."""
        shared = np.array([codes.setdefault(sort, len(codes)) for sort in self.sorts], np.int64)
        return np.asarray(shared[self.sort_of])


class Blocks:
    """Remembers the rows of clusters that did not change: laying out a thousand anew takes longer than all the rest."""

    def __init__(self) -> None:
        """Know no cluster."""
        self._known: dict[int, tuple[Sequence[Shape], Block]] = {}

    def of(self, clusters: Sequence[Sequence[Shape]]) -> list[Block]:
        """Lay out clusters; the very same shapes were laid out before."""
        known, self._known = self._known, {}
        for shapes in clusters:
            if id(shapes) not in self._known:
                self._known[id(shapes)] = known.get(id(shapes)) or (shapes, Block.of(shapes))
        return [self._known[id(shapes)][1] for shapes in clusters]


def _speeds(sorts: Iterable[Shape]) -> Floats:
    speeds = (relative_speed(sort.gpu_model) if sort.gpu_model else None for sort in sorts)
    return np.array([speed or 1.0 for speed in speeds], np.float64)


def _amounts(vectors: Sequence[ResourceVector]) -> Ints:
    amounts = [(vector.millicores, vector.memory_bytes, vector.gpus) for vector in vectors]
    return np.array([[min(amount, _MOST) for amount in row] for row in amounts], np.int64).reshape(-1, 3).T
