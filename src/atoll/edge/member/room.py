"""Whether all pods of a gang find a place at once, beside those that were promised one before. Pure.

It must not know runs or leases. What nodes a pod may go to is judged by the labels that say what a node is; a selector
of other labels is taken to hold, and taints to be tolerated by nobody: whoever is released in error is called back.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atoll.federation.capacity import SHAPE_LABELS, ResourceVector, Shape, demand_of_pod_spec, take

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Pods:
    """Equal pods that must start together."""

    role: str
    count: int
    resources: ResourceVector
    spec: Json

    @classmethod
    def of(cls, role: str, count: int, spec: Json) -> "Pods":
        """Read what the pods of a spec ask for. Raises InvalidInput: a quantity is malformed."""
        return cls(role, count, demand_of_pod_spec(spec), spec)


def why_no_room(gang: Sequence[Pods], promised: Iterable[Pods], shapes: Iterable[Shape]) -> str:
    """Say which pods of a gang find no place now; empty if all do."""
    free = tuple(shapes)
    for pods in _largest_first(promised):
        free, _ = take(pods.resources, free, pods.count, suits=_suits(pods.spec))
    missing: list[str] = []
    for pods in _largest_first(gang):
        free, left = take(pods.resources, free, pods.count, suits=_suits(pods.spec))
        if left:
            missing.append(f"{left} of {pods.count} pods{f' ({pods.role})' if pods.role else ''}")
    return f"no node has room for {' and '.join(missing)}" if missing else ""


def less(gang: Sequence[Pods], placed: int) -> tuple[Pods, ...]:
    """Give what is still promised of a gang when so many of its pods are on nodes: the largest ones, as they may be."""
    rest: list[Pods] = []
    for pods in reversed(_largest_first(gang)):
        gone = min(placed, pods.count)
        placed -= gone
        rest.append(Pods(pods.role, pods.count - gone, pods.resources, pods.spec))
    return tuple(pods for pods in rest if pods.count)


def _largest_first(gang: Iterable[Pods]) -> list[Pods]:
    def size(pods: Pods) -> tuple[int, int, int]:
        return (-pods.resources.gpus, -pods.resources.millicores, -pods.resources.memory_bytes)

    return sorted(gang, key=size)


def _suits(spec: Json) -> Callable[[Shape], bool]:
    selector = {key: value for key, value in (spec.get("nodeSelector") or {}).items() if key in SHAPE_LABELS}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = required.get("nodeSelectorTerms") or ()

    def suits(shape: Shape) -> bool:
        labels = dict(shape.labels)
        has_labels = all(labels.get(key) == value for key, value in selector.items())
        return has_labels and (not terms or any(_holds(term, labels) for term in terms))

    return suits


def _holds(term: Json, labels: Mapping[str, str]) -> bool:
    known = [each for each in term.get("matchExpressions") or () if each.get("key") in SHAPE_LABELS]
    return all(_matches(each, labels.get(each["key"])) for each in known)


def _matches(expression: Json, value: str | None) -> bool:
    values = expression.get("values") or ()
    match expression.get("operator"):
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    return True  # Gt and Lt: of no label that a shape keeps
