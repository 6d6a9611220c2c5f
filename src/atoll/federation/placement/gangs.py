"""Groups of pods that start together, on the node shapes of a cluster: is there room for all, and what is left then.

Groups are put one after the other, in their order. It must not know what the pods are for.
"""

from atoll.federation.capacity import Shape, fits, give, group_shapes, take
from atoll.federation.placement.demand import Pods

Shapes = tuple[Shape, ...]


def has_room(shapes: Shapes, pods: Pods) -> bool:
    """Tell whether all pods could start at once. Exact for one group; for several, never too hopeful."""
    for pod, count in pods[:-1]:
        shapes, left = take(pod.resources, shapes, count, suits=pod.suits)
        if left:
            return False
    if not pods:
        return True
    pod, count = pods[-1]
    return fits(pod.resources, reversed(shapes), count, suits=pod.suits)  # the emptiest nodes are the last


def emptied(shapes: Shapes) -> Shapes:
    """See nodes as they are when nothing runs on them."""
    return group_shapes(shape.with_free(shape.nodes, shape.allocatable) for shape in shapes)


def taken(shapes: Shapes, pods: Pods) -> Shapes:
    """See nodes with these pods on them, as far as there is room."""
    for pod, count in pods:
        shapes, _ = take(pod.resources, shapes, count, suits=pod.suits)
    return shapes


def given(shapes: Shapes, pods: Pods) -> Shapes:
    """See nodes once these pods have ended; on which nodes they are is an estimate."""
    for pod, count in pods:
        shapes, _ = give(pod.resources, shapes, count, suits=pod.suits)
    return shapes
