"""How many pods the nodes of some shapes have room for, and what the shapes are once pods have come or gone.

Owns the counting. Which nodes suit a pod is the caller's to say; on which node a pod lands is its cluster's own matter.
"""

from collections.abc import Callable, Iterable

from atoll.federation.capacity.shapes import Shape, group_shapes
from atoll.federation.capacity.vectors import ResourceVector

Suits = Callable[[Shape], bool]


def any_shape(_shape: Shape) -> bool:
    """Accept every shape: for work that may run on any node."""
    return True


def room(pod: ResourceVector, shapes: Iterable[Shape], *, at_most: int, suits: Suits = any_shape) -> int:
    """Count how many equal pods could start at once on the nodes that suit them, never more than `at_most`."""
    total = 0
    for shape in shapes:
        if total < at_most and suits(shape):
            total += shape.nodes * shape.free.times(pod, at_most)
    return min(total, at_most)


def fits(pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape) -> bool:
    """Tell whether `count` equal pods could all start at once on the nodes that suit them. Exact, for equal pods."""
    return room(pod, shapes, at_most=count, suits=suits) >= count


def take(
    pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape
) -> tuple[tuple[Shape, ...], int]:
    """Put up to `count` pods on nodes that suit them, the fullest that still have room first.

    Returns:
        The shapes as they are then, and how many pods found no place.
    """

    def holds(shape: Shape) -> int:
        return shape.free.times(pod, count) if suits(shape) else 0

    return _move(pod, sorted(shapes, key=lambda shape: _order(shape.free)), count, holds)


def give(
    pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape
) -> tuple[tuple[Shape, ...], int]:
    """Take up to `count` pods off nodes that suit them and have that much in use, the emptiest nodes first.

    Which node a pod was on is not known here: this is an estimate of the shapes after the pods have ended.

    Returns:
        The shapes as they are then, and how many pods were on no node that could have held them.
    """

    def holds(shape: Shape) -> int:
        return _in_use(shape).times(pod, count) if suits(shape) else 0

    return _move(pod * -1, sorted(shapes, key=lambda shape: _order(_in_use(shape))), count, holds)


def _in_use(shape: Shape) -> ResourceVector:
    return shape.allocatable - shape.free


def _order(amount: ResourceVector) -> tuple[int, int, int]:
    return (amount.gpus, amount.millicores, amount.memory_bytes)


def _move(
    pod: ResourceVector, shapes: Iterable[Shape], count: int, holds: Callable[[Shape], int]
) -> tuple[tuple[Shape, ...], int]:
    """Subtract `count` pods from the shapes in turn, from each node as many as it holds."""
    result: list[Shape] = []
    for shape in shapes:
        per_node = min(holds(shape), count) if count else 0
        if not per_node:
            result.append(shape)
            continue
        full = min(shape.nodes, count // per_node)
        last = count - full * per_node if full < shape.nodes else 0
        count -= full * per_node + last
        groups = ((full, per_node), (min(last, 1), last), (shape.nodes - full - min(last, 1), 0))
        result += (_with_pods(shape, nodes, pod * pods if pods else None) for nodes, pods in groups if nodes)
    return group_shapes(result), count


def _with_pods(shape: Shape, nodes: int, taken: ResourceVector | None) -> Shape:
    free = shape.free if taken is None else shape.free - taken
    return Shape(nodes, free, shape.allocatable, shape.gpu_model, shape.gpu_memory_bytes, shape.labels)
