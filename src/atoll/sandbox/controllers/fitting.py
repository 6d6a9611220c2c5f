"""Which node a pod fits on, and why not on the others.

Owns the filters and the score of the simulated scheduler, in kube-scheduler's words. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from atoll.federation.capacity import parse_quantity
from atoll.kubeapi.resource import Object

Amounts = Mapping[str, Fraction]


@dataclass
class NodeView:
    """A node and what its pods have taken of it."""

    node: Object
    taken: dict[str, Fraction] = field(default_factory=dict)

    def take(self, amounts: Amounts) -> None:
        """Count a pod's requests."""
        for name, amount in amounts.items():
            self.taken[name] = self.taken.get(name, Fraction(0)) + amount

    def free(self, name: str) -> Fraction:
        """Return what is left of a resource."""
        allocatable = self.node["status"]["allocatable"].get(name, 0)
        return parse_quantity(allocatable) - self.taken.get(name, Fraction(0))


@dataclass(frozen=True)
class Unfit:
    """No node fits; `message` counts the nodes per reason."""

    message: str


def requests_of(pod: Object) -> dict[str, Fraction]:
    """Return what a pod takes of a node: its containers together, or its greatest init container if that is more."""
    together: dict[str, Fraction] = {"pods": Fraction(1)}
    for container in pod["spec"]["containers"]:
        for name, amount in _requests(container).items():
            together[name] = together.get(name, Fraction(0)) + amount
    for container in pod["spec"].get("initContainers", ()):
        for name, amount in _requests(container).items():
            together[name] = max(together.get(name, Fraction(0)), amount)
    return together


def _requests(container: Mapping[str, Any]) -> dict[str, Fraction]:
    resources = container.get("resources", {})
    stated = {**resources.get("limits", {}), **resources.get("requests", {})}
    return {name: parse_quantity(amount) for name, amount in stated.items()}


def choose(pod: Object, nodes: Sequence[NodeView]) -> NodeView | Unfit:
    """Return the best of the fitting nodes, or why none fits."""
    wanted = requests_of(pod)
    reasons = [_reasons(pod, view, wanted) for view in nodes]
    fitting = [view for view, why_not in zip(nodes, reasons, strict=True) if not why_not]
    if fitting:
        return min(fitting, key=_rank)
    counted = Counter(reason for why_not in reasons for reason in why_not)
    listed = ", ".join(f"{count} {reason}" for reason, count in sorted(counted.items())) or "no nodes"
    return Unfit(f"0/{len(nodes)} nodes are available: {listed}.")


def _rank(view: NodeView) -> tuple[Fraction, Fraction, str]:
    """Order nodes: few free GPUs first, so that whole nodes stay free for large pods; else the emptiest first."""
    return view.free("nvidia.com/gpu"), -view.free("cpu"), view.node["metadata"]["name"]


def _reasons(pod: Object, view: NodeView, wanted: Amounts) -> list[str]:
    """Return every reason why a node cannot have a pod, as kube-scheduler names them."""
    spec, node = pod["spec"], view.node
    if node["spec"].get("unschedulable") and not _tolerates(spec, _UNSCHEDULABLE):
        return ["node(s) were unschedulable"]
    for taint in node["spec"].get("taints", ()):
        if taint["effect"] != "PreferNoSchedule" and not _tolerates(spec, taint):
            return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if not _is_ready(node):
        return ["node(s) were not ready"]
    if not _selected(spec, node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    return [
        "Too many pods" if name == "pods" else f"Insufficient {name}"
        for name, amount in wanted.items()
        if amount > view.free(name)
    ]


_UNSCHEDULABLE = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions", ())
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _tolerates(spec: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    return any(_tolerated(toleration, taint) for toleration in spec.get("tolerations", ()))


def _tolerated(toleration: Mapping[str, Any], taint: Mapping[str, Any]) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if not toleration.get("key"):
        return toleration.get("operator") == "Exists"
    if toleration["key"] != taint["key"]:
        return False
    return toleration.get("operator") == "Exists" or toleration.get("value", "") == taint.get("value", "")


def _selected(spec: Mapping[str, Any], node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if not required:
        return True
    fields = {"metadata.name": node["metadata"]["name"]}
    return any(
        _holds(term.get("matchExpressions", ()), labels) and _holds(term.get("matchFields", ()), fields)
        for term in required.get("nodeSelectorTerms", ())
        if term.get("matchExpressions") or term.get("matchFields")
    )


def _holds(expressions: Iterable[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    return all(_matches(expression, labels.get(expression["key"])) for expression in expressions)


def _matches(expression: Mapping[str, Any], value: str | None) -> bool:
    values = expression.get("values", ())
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt":
            return value is not None and value.isdigit() and int(value) > int(values[0])
        case "Lt":
            return value is not None and value.isdigit() and int(value) < int(values[0])
        case _:
            return False
