"""The inventory of a cluster out of what its nodes, pods and storage objects say. Pure.

Free is what an ordinary pod could take now: nodes that are not ready, cordoned or tainted offer nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from atoll.edge.member.facts import DISTRIBUTIONS, CapacityFacts, NodeFacts, PodFacts, StorageClassFacts
from atoll.federation.capacity import GPU_PRODUCT_LABEL, ResourceVector, Shape, group_shapes, node_shape
from atoll.federation.resources.cluster import GpuShape, Inventory, NodeShape, StorageClassInfo

_UNNAMED_GPU = "unknown"


@dataclass(frozen=True)
class ClusterFacts:
    """All that was seen of a cluster, by the objects' names; `runs` are the keys of the runs that are ordered."""

    nodes: Mapping[str, NodeFacts]
    pods: Mapping[str, PodFacts] = field(default_factory=dict)
    storage_classes: Mapping[str, StorageClassFacts] = field(default_factory=dict)
    capacities: Mapping[str, CapacityFacts] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()
    version: str = ""
    cilium_version: str = ""


def build_inventory(facts: ClusterFacts) -> Inventory:
    """Sum up a cluster."""
    shapes = group_shapes(_shapes(facts))
    total = sum((node.allocatable for node in facts.nodes.values()), ResourceVector())
    cni, cni_version = _cni(facts)
    return Inventory(
        version=facts.version,
        distribution=_distribution(facts.nodes.values()),
        nodes=len(facts.nodes),
        nodes_ready=sum(node.is_ready for node in facts.nodes.values()),
        millicores=total.millicores,
        memory_bytes=total.memory_bytes,
        gpus=_count_gpus((_gpu_of(node), node.allocatable.gpus) for node in facts.nodes.values()),
        free_gpus=_count_gpus(
            ((shape.gpu_model or _UNNAMED_GPU, shape.gpu_memory_bytes), shape.free.gpus * shape.nodes)
            for shape in shapes
            if shape.allocatable.gpus
        ),
        shapes=tuple(NodeShape(**shape.fields()) for shape in shapes),
        counted_runs=tuple(sorted(facts.runs & {pod.job for pod in facts.pods.values() if pod.is_live and pod.node})),
        storage_classes=_storage_classes(facts),
        cni=cni,
        cni_version=cni_version,
    )


def _shapes(facts: ClusterFacts) -> Iterable[Shape]:
    used = _used_by_node(facts.pods.values())
    for name, node in facts.nodes.items():
        if node.takes_work:
            yield node_shape(
                node.allocatable,
                used.get(name, ResourceVector()),
                labels=node.labels,
                gpu_memory_bytes=node.gpu_memory_bytes,
            )


def _used_by_node(pods: Iterable[PodFacts]) -> dict[str, ResourceVector]:
    # Sums in place: a new vector per pod would be ten times slower, and there may be 100,000 pods.
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for pod in pods:
        if pod.is_live and pod.node:
            total, demand = sums[pod.node], pod.demand
            total[0] += demand.millicores
            total[1] += demand.memory_bytes
            total[2] += demand.gpus
    return {node: ResourceVector(*total) for node, total in sums.items()}


def _gpu_of(node: NodeFacts) -> tuple[str, int]:
    return node.labels.get(GPU_PRODUCT_LABEL, _UNNAMED_GPU), node.gpu_memory_bytes


def _count_gpus(counted: Iterable[tuple[tuple[str, int], int]]) -> tuple[GpuShape, ...]:
    """Sum up by model and memory; a model that is all in use stays in the list with 0."""
    counts: Counter[tuple[str, int]] = Counter()
    known: set[tuple[str, int]] = set()
    for gpu, count in counted:
        counts[gpu] += count
        known |= {gpu} if count or gpu[0] != _UNNAMED_GPU else set()
    return tuple(
        GpuShape(model=model, memory_bytes=memory_bytes, count=counts[model, memory_bytes])
        for model, memory_bytes in sorted(known)
    )


def _storage_classes(facts: ClusterFacts) -> tuple[StorageClassInfo, ...]:
    """A dataset's volume is made in one segment, so the free capacity is the best segment's and not the sum."""
    free: dict[str, int] = {}
    for capacity in facts.capacities.values():
        free[capacity.storage_class] = max(free.get(capacity.storage_class, 0), capacity.free_bytes)
    return tuple(
        StorageClassInfo(
            name=entry.name, provisioner=entry.provisioner, is_default=entry.is_default, free_bytes=free.get(entry.name)
        )
        for entry in sorted(facts.storage_classes.values(), key=lambda entry: entry.name)
    )


def _distribution(nodes: Iterable[NodeFacts]) -> str:
    """The most telling of the nodes' distributions: one KubeEdge node makes it a KubeEdge cluster."""
    found = {node.distribution for node in nodes}
    return next((name for name, _ in DISTRIBUTIONS if name in found), "")


def _cni(facts: ClusterFacts) -> tuple[str, str]:
    """Name the network plugin and, if it is Cilium, its oldest version: a rollout is done when the last node has it."""
    versions = {pod.cilium_version for pod in facts.pods.values() if pod.cilium_version}
    if facts.cilium_version or versions:
        return "cilium", facts.cilium_version or min(versions, key=_version_order)
    names = Counter(node.cni for node in facts.nodes.values() if node.cni)
    return (names.most_common(1)[0][0] if names else ""), ""


def _version_order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.partition("-")[0].split(".") if part.isdecimal())
