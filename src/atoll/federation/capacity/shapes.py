"""The shapes of nodes: equal nodes counted once, so that a cluster of thousands is a handful of rows.

Owns what makes two nodes equal. Whatever is merged or rounded, no node looks larger than it is.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.capacity.gpus import GPU_PRODUCT_LABEL
from atoll.federation.capacity.vectors import ResourceVector

# Node labels that a shape keeps and that a pod's nodeSelector is checked against: those that say what a node is. Labels
# that differ from node to node (hostname) would make every node a shape of its own.
SHAPE_LABELS = frozenset(
    {
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "node.kubernetes.io/instance-type",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
        GPU_PRODUCT_LABEL,
    }
)


@dataclass(frozen=True)
class Shape:
    """`nodes` equal nodes: what each has free, what each would have free if it were empty, and which GPU it carries."""

    nodes: int
    free: ResourceVector
    allocatable: ResourceVector
    gpu_model: str | None = None
    gpu_memory_bytes: int = 0
    labels: frozenset[tuple[str, str]] = frozenset()

    # Kept by hand: functools.cached_property takes a lock (Python 3.11), which costs more than what is kept.

    @property
    def in_use(self) -> ResourceVector:
        """What is in use of each node."""
        known: ResourceVector | None = self.__dict__.get("_in_use")
        if known is None:
            known = self.__dict__["_in_use"] = self.allocatable - self.free
        return known

    @property
    def order(self) -> tuple[object, ...]:
        """Where it stands among others: a stable order in which equal ones are next to each other."""
        known: tuple[object, ...] | None = self.__dict__.get("_order")
        if known is None:
            free, whole = self.free, self.allocatable
            known = self.__dict__["_order"] = (
                self.gpu_model or "", self.gpu_memory_bytes, free.gpus, free.millicores, free.memory_bytes,
                whole.gpus, whole.millicores, whole.memory_bytes, sorted(self.labels),
            )  # fmt: skip
        return known

    def is_like(self, other: "Shape") -> bool:
        """Tell whether both are the same but for the number of nodes."""
        return self.order == other.order and self.gpu_model == other.gpu_model

    def with_free(self, nodes: int, free: ResourceVector | None = None) -> "Shape":
        """Give another number of such nodes, and let each have another amount free."""
        left = self.free if free is None else free
        return Shape(nodes, left, self.allocatable, self.gpu_model, self.gpu_memory_bytes, self.labels)

    def fields(self) -> dict[str, Any]:
        """Give the arguments of the kind's NodeShape."""
        return {
            "nodes": self.nodes,
            "free_millicores": self.free.millicores,
            "free_memory_bytes": self.free.memory_bytes,
            "free_gpus": self.free.gpus,
            "allocatable_millicores": self.allocatable.millicores,
            "allocatable_memory_bytes": self.allocatable.memory_bytes,
            "allocatable_gpus": self.allocatable.gpus,
            "gpu_model": self.gpu_model,
            "gpu_memory_bytes": self.gpu_memory_bytes,
            "labels": dict(sorted(self.labels)),
        }


def node_shape(
    allocatable: ResourceVector, used: ResourceVector, *, labels: Mapping[str, str], gpu_memory_bytes: int = 0
) -> Shape:
    """Describe one node, given what it can allocate and what the pods bound to it ask for."""
    free = (allocatable - used).at_least(ResourceVector())
    kept = frozenset((key, value) for key, value in labels.items() if key in SHAPE_LABELS)
    return Shape(1, free, allocatable, labels.get(GPU_PRODUCT_LABEL), gpu_memory_bytes, kept)


def group_shapes(shapes: Iterable[Shape]) -> tuple[Shape, ...]:
    """Merge equal shapes into one each, in a stable order. Nothing is rounded, so no node looks larger than it is."""
    rows: dict[_Row, Shape] = {}
    for shape in shapes:
        if shape.nodes > 0:
            row = _row(shape)
            same = rows.get(row)
            rows[row] = shape if same is None else same.with_free(same.nodes + shape.nodes)
    return tuple(sorted(rows.values(), key=_shape_order))


# Twelve bits are a part in two thousand, and nobody asks for capacity more exactly.
_MOST_BITS = 12


def bounded_shapes(shapes: Iterable[Shape], at_most: int) -> tuple[Shape, ...]:
    """Merge equal shapes, and if they are more than `at_most`, nearly equal ones too, as little as is needed.

    CPU and memory are rounded down to ever fewer leading bits, GPUs never: no node looks larger than it is, and the
    error is at most one part in 2^(bits-1).
    """
    rows: Counter[_Row] = Counter()
    for shape in shapes:
        rows[_row(shape)] += shape.nodes
    if len(rows) > at_most:

        def count(bits: int) -> int:
            return len({_rounded(row, bits) for row in rows})

        bits = max(1, bisect_right(range(1, _MOST_BITS + 1), at_most, key=count))
        exact, rows = rows, Counter()
        for row, nodes in exact.items():
            rows[_rounded(row, bits)] += nodes
    merged = (_shape(row, nodes) for row, nodes in rows.items() if nodes > 0)
    return tuple(sorted(merged, key=_shape_order))


# A shape but for its nodes, as a tuple: thousands are compared for each report, and tuples are compared fastest. First
# the amounts that may be rounded: free and allocatable CPU, free and allocatable memory.
_Row = tuple[int, int, int, int, tuple[int, int, str | None, int, frozenset[tuple[str, str]]]]


def _row(shape: Shape) -> _Row:
    free, whole = shape.free, shape.allocatable
    kept = (free.gpus, whole.gpus, shape.gpu_model, shape.gpu_memory_bytes, shape.labels)
    return free.millicores, whole.millicores, free.memory_bytes, whole.memory_bytes, kept


def _rounded(row: _Row, bits: int) -> _Row:
    free_cpu, whole_cpu, free_memory, whole_memory, kept = row
    return (
        round_down(free_cpu, bits),
        round_down(whole_cpu, bits),
        round_down(free_memory, bits),
        round_down(whole_memory, bits),
        kept,
    )


def _shape(row: _Row, nodes: int) -> Shape:
    free_cpu, whole_cpu, free_memory, whole_memory, (free_gpus, whole_gpus, gpu_model, gpu_memory, labels) = row
    free = ResourceVector(free_cpu, free_memory, free_gpus)
    whole = ResourceVector(whole_cpu, whole_memory, whole_gpus)
    return Shape(nodes, free, whole, gpu_model, gpu_memory, labels)


def round_down(amount: int, bits: int) -> int:
    """Keep the leading bits of an amount: two amounts that differ by less often become equal."""
    spare = amount.bit_length() - bits
    return amount >> spare << spare if spare > 0 else amount


def _shape_order(shape: Shape) -> tuple[object, ...]:
    return shape.order
