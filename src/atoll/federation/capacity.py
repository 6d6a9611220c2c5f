"""What work needs and what nodes have: quantities, durations, resource vectors, GPU models, node shapes.

Owns the arithmetic of capacity, exact and in integers: millicores, bytes, whole GPUs. Used by the hub to place work and
by the member agent to report free capacity. Pure and standard library only; it must not know any kind.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil
from typing import Any

from atoll.federation.errors import InvalidInput

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT_LABEL = "nvidia.com/gpu.product"
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
# What placement weighs, and ephemeral storage, which it leaves to the member's own scheduler.
_ORDINARY_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage", GPU_RESOURCE})

# The grammar of apimachinery/pkg/api/resource/quantity.go.
_QUANTITY = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?")
_BINARY: dict[str, int] = {
    suffix: 1024**power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), start=1)
}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_MAX_QUANTITY = 2**63 - 1
# Longer than any exact quantity can be (19 digits, a point, 9 digits); keeps hostile input from costing time.
_MAX_QUANTITY_CHARS = 64
_MAX_EXPONENT = 100

_DURATION = re.compile(r"(?:[0-9]+(?:\.[0-9]+)?(?:ms|s|m|h|d))+")
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNIT_SECONDS: dict[str, Fraction | int] = {"d": 86_400, "h": 3_600, "m": 60, "s": 1, "ms": Fraction(1, 1000)}


def parse_quantity(text: str | float) -> Fraction:
    """Read a Kubernetes quantity exactly.

    As Kubernetes does, more digits than nano are rounded away from zero and more than 2^63-1 is cut to it. A number, as
    YAML gives for `cpu: 1`, means the quantity that it is written as.

    Raises:
        InvalidInput: the text is no quantity.
    """
    match = _QUANTITY.fullmatch(str(text)) if len(str(text)) <= _MAX_QUANTITY_CHARS else None
    if match is None or isinstance(text, bool):
        raise InvalidInput(
            f"{str(text)[:80]!r} is no quantity: write a number with an optional suffix, such as 500m or 40Gi"
        )
    sign, digits, suffix = match[1], match[2], match[3] or ""
    whole, _, part = digits.partition(".")
    nanos = ceil(Fraction(int(whole + part), 10 ** len(part)) * _scale(suffix) * 10**9)
    value = min(Fraction(nanos, 10**9), Fraction(_MAX_QUANTITY))
    return -value if sign == "-" else value


def _scale(suffix: str) -> Fraction:
    if suffix in _BINARY:
        return Fraction(_BINARY[suffix])
    exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
    return Fraction(10) ** max(-_MAX_EXPONENT, min(_MAX_EXPONENT, exponent))


def parse_bytes(text: str | float) -> int:
    """Read a quantity as whole bytes, rounded up.

    Raises:
        InvalidInput: the text is no quantity, or is negative.
    """
    return ceil(_not_negative(text))


def parse_millicores(text: str | float) -> int:
    """Read a CPU quantity as whole millicores, rounded up.

    Raises:
        InvalidInput: the text is no quantity, or is negative.
    """
    return min(ceil(_not_negative(text) * 1000), _MAX_QUANTITY)


def _not_negative(text: str | float) -> Fraction:
    value = parse_quantity(text)
    if value < 0:
        raise InvalidInput(f"{text!r} is negative: a resource quantity is zero or more")
    return value


def format_bytes(count: int) -> str:
    """Write bytes as the shortest exact quantity with a binary suffix: 42949672960 is 40Gi."""
    for suffix, unit in reversed(_BINARY.items()):
        if count and count % unit == 0:
            return f"{count // unit}{suffix}"
    return str(count)


def format_millicores(millicores: int) -> str:
    """Write millicores as a quantity: 1500 is 1500m, 2000 is 2."""
    return str(millicores // 1000) if millicores % 1000 == 0 else f"{millicores}m"


def parse_duration(text: str) -> float:
    """Read a duration such as 20m, 1h30m, 500ms or 7d as seconds.

    Raises:
        InvalidInput: the text is no duration.
    """
    if len(text) > _MAX_QUANTITY_CHARS or _DURATION.fullmatch(text) is None:
        raise InvalidInput(f"{text[:80]!r} is no duration: write numbers with units d, h, m, s or ms, such as 1h30m")
    return float(sum(Fraction(number) * _UNIT_SECONDS[unit] for number, unit in _DURATION_PART.findall(text)))


def format_duration(seconds: float) -> str:
    """Write seconds for a person, to the second from one minute on: 5400 is 1h30m, 0.25 is 0.25s."""
    if seconds < 60:
        return f"{round(seconds, 2):g}s"
    rest, parts = round(seconds), ""
    for unit in ("d", "h", "m", "s"):
        number, rest = divmod(rest, int(_UNIT_SECONDS[unit]))
        parts += f"{number}{unit}" if number else ""
    return parts


@dataclass(frozen=True)
class ResourceVector:
    """An amount of every resource that placement weighs."""

    millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0

    def __add__(self, other: "ResourceVector") -> "ResourceVector":
        """Add component by component."""
        return ResourceVector(
            self.millicores + other.millicores, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus
        )

    def __sub__(self, other: "ResourceVector") -> "ResourceVector":
        """Subtract component by component; a component may become negative."""
        return self + other * -1

    def __mul__(self, times: int) -> "ResourceVector":
        """Multiply every component."""
        return ResourceVector(self.millicores * times, self.memory_bytes * times, self.gpus * times)

    def covers(self, other: "ResourceVector") -> bool:
        """Tell whether `other` fits into this amount in every component."""
        return self.times(other, 1) == 1

    def times(self, other: "ResourceVector", at_most: int) -> int:
        """Count how many times `other` fits into this amount, never more than `at_most`, never less than 0."""
        pairs = (
            (self.millicores, other.millicores),
            (self.memory_bytes, other.memory_bytes),
            (self.gpus, other.gpus),
        )
        return max(0, min([at_most, *(have // need for have, need in pairs if need > 0)]))

    def at_least(self, other: "ResourceVector") -> "ResourceVector":
        """Take the larger of each component."""
        return ResourceVector(
            max(self.millicores, other.millicores),
            max(self.memory_bytes, other.memory_bytes),
            max(self.gpus, other.gpus),
        )


# Amounts by resource name: cpu in millicores, everything else in bytes or pieces.
Amounts = Mapping[str, int]
# What a pod may ask for as a whole (KEP-2837); huge pages have their size in the name.
_POD_LEVEL_RESOURCES = ("cpu", "memory", "hugepages-")


def amounts_of(resources: Mapping[str, Any]) -> dict[str, int]:
    """Read a resource list such as a container's requests or a node's allocatable.

    Raises:
        InvalidInput: a quantity is malformed or negative.
    """
    return {
        name: parse_millicores(quantity) if name == "cpu" else parse_bytes(quantity)
        for name, quantity in resources.items()
    }


def vector_of(amounts: Amounts) -> ResourceVector:
    """Take what placement weighs out of amounts."""
    return ResourceVector(amounts.get("cpu", 0), amounts.get("memory", 0), amounts.get(GPU_RESOURCE, 0))


def demand_of_pod_spec(spec: Mapping[str, Any]) -> ResourceVector:
    """Tell what a pod asks a node for, of what placement weighs: `requests_of_pod` as a vector.

    Raises:
        InvalidInput: a quantity is malformed or negative, or the spec is not of a pod's form.
    """
    return vector_of(requests_of_pod(spec))


def requests_of_pod(spec: Mapping[str, Any], status: Mapping[str, Any] | None = None) -> dict[str, int]:
    """Tell what a pod asks a node for, by Kubernetes' rule (component-helpers/resource/helpers.go, PodRequests).

    The larger of what runs together and what initialises it: containers and sidecars (init containers with
    restartPolicy Always, KEP-753) run together; every other init container runs beside the sidecars before it. A limit
    counts where no request is given; requests of the pod as a whole stand above its containers'; overhead is added.

    Args:
        spec: the pod's.
        status: the pod's; while a container is resized (KEP-1287) it takes the most of what it wants and has, and if
            its node can never give what it wants, only what it has.

    Raises:
        InvalidInput: a quantity is malformed or negative, or the spec is not of a pod's form.
    """
    held = _held_by_container(status or {})
    is_infeasible = _is_resize_infeasible(status or {})
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for container in _entries(spec, "initContainers"):
        is_sidecar = container.get("restartPolicy") == "Always"
        own = _requests_of_container(container, held if is_sidecar else {}, is_infeasible=is_infeasible)
        if is_sidecar:
            sidecars, own = _sum(sidecars, own), {}
        peak = _most(peak, _sum(sidecars, own))
    together = sidecars
    for container in _entries(spec, "containers"):
        together = _sum(together, _requests_of_container(container, held, is_infeasible=is_infeasible))
    whole = amounts_of(_mapping(_mapping(spec, "resources"), "requests"))
    whole = {name: amount for name, amount in whole.items() if name.startswith(_POD_LEVEL_RESOURCES)}
    return _sum(_most(together, peak) | whole, amounts_of(_mapping(spec, "overhead")))


def unknown_resources(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """Name the resources that a pod asks for and that placement knows nothing of, such as other vendors' devices."""
    containers = (*_entries(spec, "initContainers"), *_entries(spec, "containers"))
    return tuple(sorted({name for container in containers for name in _requests(container)} - _ORDINARY_RESOURCES))


def _held_by_container(status: Mapping[str, Any]) -> dict[str, Mapping[str, int]]:
    """Tell what each container has been given, where the kubelet says so."""
    statuses = (*_entries(status, "initContainerStatuses"), *_entries(status, "containerStatuses"))
    return {
        str(entry.get("name", "")): _most(
            amounts_of(_mapping(_mapping(entry, "resources"), "requests")),
            amounts_of(_mapping(entry, "allocatedResources")),
        )
        for entry in statuses
        if entry.get("resources")
    }


def _is_resize_infeasible(status: Mapping[str, Any]) -> bool:
    return any(
        entry.get("type") == "PodResizePending" and entry.get("reason") == "Infeasible"
        for entry in _entries(status, "conditions")
    )


def _requests_of_container(
    container: Mapping[str, Any], held: Mapping[str, Amounts], *, is_infeasible: bool
) -> Mapping[str, int]:
    has = held.get(str(container.get("name", "")))
    if has is not None and is_infeasible:
        return has
    return _most(amounts_of(_requests(container)), has or {})


def _sum(one: Amounts, other: Amounts) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in one.keys() | other.keys()}


def _most(one: Amounts, other: Amounts) -> dict[str, int]:
    return {name: max(one.get(name, 0), other.get(name, 0)) for name in one.keys() | other.keys()}


def _requests(container: Mapping[str, Any]) -> dict[str, Any]:
    resources = _mapping(container, "resources")
    return {**_mapping(resources, "limits"), **_mapping(resources, "requests")}


def _entries(spec: Mapping[str, Any], field: str) -> Sequence[Mapping[str, Any]]:
    value = spec.get(field) or ()
    if not isinstance(value, Sequence) or not all(isinstance(container, Mapping) for container in value):
        raise InvalidInput(f"{field} is no list of objects")
    return value


def _mapping(parent: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = parent.get(field) or {}
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{field} is no mapping")
    return value


# Suffixes that GPU Feature Discovery gives to the product of a shared or sliced GPU: less than the model it names.
_PART_OF_A_GPU = frozenset({"shared", "mig"})


@lru_cache(maxsize=4096)
def gpu_matches(model: str, product: str) -> bool:
    """Tell whether a GPU product label is of a model: the model's whole tokens stand in the product in that order.

    `A100` and `a100-40gb` match `NVIDIA-A100-SXM4-40GB`; `A10` does not. A product that is shared or a MIG slice
    matches only a model that says so, since it is not the whole GPU.
    """
    wanted, offered = _tokens(model), _tokens(product)
    rest = iter(offered)
    in_order = bool(wanted) and all(token in rest for token in wanted)
    return in_order and _PART_OF_A_GPU.intersection(offered) <= set(wanted)


def _tokens(name: str) -> list[str]:
    return [token for token in re.split(r"[-_\s]+", name.lower()) if token]


@dataclass(frozen=True)
class Shape:
    """`nodes` equal nodes: what each has free, what each would have free if it were empty, and which GPU it carries."""

    nodes: int
    free: ResourceVector
    allocatable: ResourceVector
    gpu_model: str | None = None
    gpu_memory_bytes: int = 0
    labels: frozenset[tuple[str, str]] = frozenset()

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
    counts: Counter[Shape] = Counter()
    for shape in shapes:
        counts[replace(shape, nodes=1)] += shape.nodes
    merged = (replace(shape, nodes=nodes) for shape, nodes in counts.items() if nodes > 0)
    return tuple(sorted(merged, key=_shape_order))


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
    free, whole = shape.free, shape.allocatable
    return (
        shape.gpu_model or "", shape.gpu_memory_bytes, free.gpus, free.millicores, free.memory_bytes,
        whole.gpus, whole.millicores, whole.memory_bytes, sorted(shape.labels),
    )  # fmt: skip


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
        per_node = min(holds(shape), count)
        full = min(shape.nodes, count // per_node) if per_node else 0
        last = count - full * per_node if per_node and full < shape.nodes else 0
        count -= full * per_node + last
        groups = ((full, per_node), (min(last, 1), last), (shape.nodes - full - min(last, 1), 0))
        result += (replace(shape, nodes=nodes, free=shape.free - pod * pods) for nodes, pods in groups if nodes)
    return group_shapes(result), count
