"""Checks on the nodes: is there a node of the right sort, large enough, often enough, and will it be free.

A check looks at equal pods. Where a job has several groups of them, each is looked at as if it were alone, and what is
said names the group; whether there is room for all of them together is looked at last.
"""

import numpy as np

from atoll.federation.capacity import format_bytes, format_millicores
from atoll.federation.placement.case import Case
from atoll.federation.placement.reasons import Check, Explanation
from atoll.federation.placement.shapes import Bools

_MILLICORES, _MEMORY, _GPUS = range(3)


def _no_nodes(case: Case) -> Bools:
    return ~case.table.shapes.any(case.table.shapes.nodes > 0)


def _explain_no_nodes(_case: Case, _position: int) -> Explanation:
    return "it has no ready nodes", {"nodes": 0}


def _no_model(case: Case) -> Bools:
    return ~_no_nodes(case) & ~case.has_model


def _explain_no_model(case: Case, position: int) -> Explanation:
    wanted = case.demand.pod.gpu_models
    products = sorted({shape.gpu_model for shape in case.table.views[position].shapes if shape.gpu_model})
    sought = " or ".join(wanted) or "GPU"
    told = f"its GPUs are {', '.join(products)}" if products else "none of its nodes has a GPU"
    return f"it has no {sought}: {told}", {"wants": wanted, "has": products}


def _too_little_gpu_memory(case: Case) -> Bools:
    return case.has_model & ~case.has_memory


def _explain_gpu_memory(case: Case, position: int) -> Explanation:
    shapes = (shape for shape in case.table.views[position].shapes if case.demand.pod.suits_model(shape))
    largest, wanted = max(shape.gpu_memory_bytes for shape in shapes), case.demand.pod.gpu_memory_bytes
    message = f"its GPUs have {format_bytes(largest)} of memory, {format_bytes(wanted)} is asked for"
    if largest == 0:
        message = f"it does not report the memory of its GPUs, {format_bytes(wanted)} is asked for"
    return message, {"wantsBytes": wanted, "hasBytes": largest}


def _no_labels(case: Case) -> Bools:
    return case.has_memory & ~case.has_suitable


def _explain_no_labels(case: Case, _position: int) -> Explanation:
    wanted = [f"{key}={value}" for key, value in sorted(case.demand.pod.node_labels)]
    return f"no node that would do has the labels of the pod's nodeSelector: {', '.join(wanted)}", {"wants": wanted}


def _too_small(line: int) -> "Check":
    """Make the check that the largest suitable node, if empty, has enough of one resource."""
    words = {_MILLICORES: "InsufficientCpu", _MEMORY: "InsufficientMemory", _GPUS: "InsufficientGpus"}

    def fails(case: Case) -> Bools:
        return case.has_suitable & ~case.has_large[line]

    def explain(case: Case, position: int) -> Explanation:
        start, end = case.table.shapes.bounds[position : position + 2]
        suitable = case.suitable.labels[start:end]
        largest = int(case.table.shapes.whole[line, start:end][suitable].max())
        message = (
            f"its largest suitable node has {_amount(line, largest)}, a pod asks for {_amount(line, _need(case, line))}"
        )
        return message, {"wants": _need(case, line), "has": largest}

    return Check(words[line], fails, explain)


def _need(case: Case, line: int) -> int:
    return case.needs[line]


def _amount(line: int, value: int) -> str:
    if line == _MILLICORES:
        return f"{format_millicores(value)} CPU"
    return f"{format_bytes(value)} of memory" if line == _MEMORY else f"{value} GPU{'' if value == 1 else 's'}"


def _no_node_holds_one(case: Case) -> Bools:
    return np.asarray(np.logical_and.reduce(case.has_large) & (case.room_empty == 0))


def _explain_no_node_holds_one(case: Case, _position: int) -> Explanation:
    wants = ", ".join(_amount(line, _need(case, line)) for line in (_MILLICORES, _MEMORY, _GPUS))
    return f"no single node has all that a pod asks for: {wants}", {}


def _too_few_nodes(case: Case) -> Bools:
    return (case.room_empty > 0) & (case.room_empty < case.demand.count)


def _explain_too_few_nodes(case: Case, position: int) -> Explanation:
    holds, wants = int(case.room_empty[position]), case.demand.count
    message = f"its nodes hold {holds} of the {wants} pods at once, even when empty"
    return message, {"wantsPods": wants, "hasRoom": holds}


def _in_use(case: Case) -> Bools:
    return (case.room_empty >= case.demand.count) & np.isinf(case.wait_seconds)


def _explain_in_use(case: Case, position: int) -> Explanation:
    room, wants = int(case.room_now[position]), case.demand.count
    has = f"it has room for {room} of {wants} pods"
    if case.demand.beside:
        has, wants = f"it has no room for all {_pods(case)} now", sum(count for _, count in case.demand.pods)
    return f"{has}, and when more becomes free is not known", {"wantsPods": wants, "hasRoom": room}


def _pods(case: Case) -> str:
    """Name groups of pods as `1 launcher and 4 worker pods`."""
    groups = zip(case.demand.pods, case.demand.roles, strict=True)
    return f"{' and '.join(f'{count} {role}' for (_, count), role in groups)} pods"


def _not_together(case: Case) -> Bools:
    """Each group has room in an empty cluster, but not all at once."""
    if not case.demand.beside:
        return np.zeros(len(case.table), np.bool_)
    alone = np.logical_and.reduce([part.room_empty >= part.demand.count for part in case.parts])
    return np.asarray(alone & (case.room_empty < case.demand.count))


def _explain_not_together(case: Case, _position: int) -> Explanation:
    return f"its nodes do not hold {_pods(case)} at once, even when empty", {
        "wantsPods": [count for _, count in case.demand.pods]
    }


def _by_group(check: Check) -> Check:
    """Look at every group of pods; a job with one is the group itself."""

    def fails(case: Case) -> Bools:
        if not case.demand.beside:
            return check.fails(case)
        return np.asarray(np.logical_or.reduce([check.fails(part) for part in case.parts]))

    def explain(case: Case, position: int) -> Explanation:
        if not case.demand.beside:
            return check.explain(case, position)
        number = next(number for number, part in enumerate(case.parts) if check.fails(part)[position])
        message, numbers = check.explain(case.parts[number], position)
        return f"for the {case.demand.roles[number]} pods, {message}", {**numbers, "group": number}

    return Check(check.reason, fails, explain)


NODE_CHECKS = (
    Check("NoNodes", _no_nodes, _explain_no_nodes),
    _by_group(Check("GpuModel", _no_model, _explain_no_model)),
    _by_group(Check("GpuMemory", _too_little_gpu_memory, _explain_gpu_memory)),
    _by_group(Check("NodeSelector", _no_labels, _explain_no_labels)),
    _by_group(_too_small(_GPUS)),
    _by_group(_too_small(_MILLICORES)),
    _by_group(_too_small(_MEMORY)),
    _by_group(Check("NodeShape", _no_node_holds_one, _explain_no_node_holds_one)),
    _by_group(Check("TooFewNodes", _too_few_nodes, _explain_too_few_nodes)),
    Check("GangTooLarge", _not_together, _explain_not_together),
    Check("CapacityInUse", _in_use, _explain_in_use),
)
