"""How many pods the nodes of some shapes have room for, and what the shapes are once pods have come or gone.

Owns the counting. Which nodes suit a pod is the caller's to say; on which node a pod lands is its cluster's own matter.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable

from atoll.federation.capacity.shapes import Shape
from atoll.federation.capacity.vectors import ResourceVector

Suits = Callable[[Shape], bool]


def any_shape(_shape: Shape) -> bool:
    """Accept every shape: for work that may run on any node."""
    return True


def room(pod: ResourceVector, shapes: Iterable[Shape], *, at_most: int, suits: Suits = any_shape) -> int:
    """Count how many equal pods could start at once on the nodes that suit them, never more than `at_most`."""
    total, gpus = 0, pod.gpus
    for shape in shapes:
        if shape.free.gpus < gpus:
            continue
        each = shape.free.times(pod, at_most)
        if each and suits(shape):
            total += shape.nodes * each
            if total >= at_most:
                break
    return min(total, at_most)


def fits(pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape) -> bool:
    """Tell whether `count` equal pods could all start at once on the nodes that suit them. Exact, for equal pods."""
    if count == 1:
        return any(shape.free.covers(pod) and suits(shape) for shape in shapes)
    return room(pod, shapes, at_most=count, suits=suits) >= count


def take(
    pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape
) -> tuple[tuple[Shape, ...], int]:
    """Put up to `count` pods on nodes that suit them, the fullest that still have room first.

    `shapes` are merged and in order, as `group_shapes` gives them, and so is the result.

    Returns:
        The shapes as they are then, and how many pods found no place.
    """

    nodes = tuple(shapes)
    if count == 1:
        return _take_one(pod, nodes, suits)
    holding = [
        (_order(shape.free), at, each)
        for at, shape in enumerate(nodes)
        if shape.free.gpus >= pod.gpus and (each := shape.free.times(pod, count)) and suits(shape)
    ]
    return _move(pod, nodes, count, holding)


def _take_one(pod: ResourceVector, shapes: tuple[Shape, ...], suits: Suits) -> tuple[tuple[Shape, ...], int]:
    """Put one pod on a node, as most jobs of most cycles need it."""
    place, full = -1, None
    for at, shape in enumerate(shapes):
        if full is not None and shape.free.gpus > full.free.gpus:
            continue
        if shape.free.covers(pod) and suits(shape) and (full is None or _order(shape.free) < _order(full.free)):
            place, full = at, shape
    if full is None:
        return shapes, 1
    result = list(shapes)
    if full.nodes > 1:
        result[place] = full.with_free(full.nodes - 1)
    else:
        del result[place]
    _insert(result, full.with_free(1, full.free - pod))
    return tuple(result), 0


def give(
    pod: ResourceVector, shapes: Iterable[Shape], count: int, *, suits: Suits = any_shape
) -> tuple[tuple[Shape, ...], int]:
    """Take up to `count` pods off nodes that suit them and have that much in use, the emptiest nodes first.

    Which node a pod was on is not known here: this is an estimate of the shapes after the pods have ended.

    Returns:
        The shapes as they are then, and how many pods were on no node that could have held them.
    """

    nodes = tuple(shapes)
    holding = [
        (_order(shape.in_use), at, each)
        for at, shape in enumerate(nodes)
        if shape.in_use.gpus >= pod.gpus and (each := shape.in_use.times(pod, count)) and suits(shape)
    ]
    return _move(pod * -1, nodes, count, holding)


def _order(amount: ResourceVector) -> tuple[int, int, int]:
    return (amount.gpus, amount.millicores, amount.memory_bytes)


_Holding = tuple[tuple[int, int, int], int, int]
"""In which order it is, the place of a shape, and how many of the pods one of its nodes holds."""


def _move(
    pod: ResourceVector, shapes: tuple[Shape, ...], count: int, holding: list[_Holding]
) -> tuple[tuple[Shape, ...], int]:
    """Subtract `count` pods from the shapes in turn, from each node as many as it holds."""
    holding.sort()
    moved: list[Shape] = []
    touched: list[int] = []
    for _, at, each in holding:
        if not count:
            break
        shape, per_node = shapes[at], min(each, count)
        full = min(shape.nodes, count // per_node)
        last = count - full * per_node if full < shape.nodes else 0
        count -= full * per_node + last
        touched.append(at)
        if full:
            moved.append(shape.with_free(full, shape.free - (pod if per_node == 1 else pod * per_node)))
        if last:
            moved.append(shape.with_free(1, shape.free - pod * last))
        if rest := shape.nodes - full - (1 if last else 0):
            moved.append(shape.with_free(rest))
    return _merged(shapes, touched, moved), count


def _merged(shapes: tuple[Shape, ...], touched: list[int], moved: Iterable[Shape]) -> tuple[Shape, ...]:
    """Put shapes in the places of others, where they belong in the order; equal ones become one."""
    if not touched:
        return shapes
    result = list(shapes)
    for at in sorted(touched, reverse=True):
        del result[at]
    for shape in moved:
        _insert(result, shape)
    return tuple(result)


def _insert(result: list[Shape], shape: Shape) -> None:
    at = bisect_left(result, shape.order, key=_order_of)
    if at < len(result) and result[at].is_like(shape):
        result[at] = shape.with_free(result[at].nodes + shape.nodes)
    else:
        result.insert(at, shape)


def _order_of(shape: Shape) -> tuple[object, ...]:
    return shape.order
