"""The summary of a cluster, with the node shapes that placement counts with. Pure.

Free is what an ordinary pod could take now: nodes that are not ready, cordoned, tainted or full of pods offer nothing.
"""

from collections import Counter
from collections.abc import Iterable

from atoll.edge.member.inventory.distribution import most_telling
from atoll.edge.member.inventory.dra import device_pools
from atoll.edge.member.inventory.engines import batch_engines
from atoll.edge.member.inventory.facts import ClusterFacts
from atoll.edge.member.inventory.network import cni_of
from atoll.edge.member.inventory.nodes import NodeFacts
from atoll.edge.member.inventory.storage import storage_infos
from atoll.federation.capacity import GPU_PRODUCT_LABEL, ResourceVector, Shape, bounded_shapes, node_shape, vector_of
from atoll.federation.resources.cluster import GpuShape, Inventory, NodeShape
from atoll.federation.resources.inventory import (
    BatchEngine,
    BatchEngineInfo,
    BatchQueue,
    DeviceInfo,
    DeviceModel,
    NodeTrouble,
)

# A shape is some 500 bytes, and the names of the counted runs need room in the same message.
MAX_SHAPES = 500
MAX_TROUBLED = 50
_UNNAMED_GPU = "unknown"


def build_inventory(facts: ClusterFacts) -> Inventory:
    """Sum up a cluster."""
    nodes = facts.nodes.values()
    shapes = bounded_shapes(open_shapes(facts), MAX_SHAPES)
    total = sum((vector_of(node.allocatable) for node in nodes), ResourceVector())
    states = Counter(node.state(facts.form) for node in nodes)
    cni, cni_version = cni_of(nodes, facts.pods.cilium_versions, facts.cilium_version)
    return Inventory(
        version=facts.version,
        distribution=most_telling(node.distribution for node in nodes),
        nodes=len(facts.nodes),
        nodes_ready=sum(node.ready == "True" for node in nodes),
        millicores=total.millicores,
        memory_bytes=total.memory_bytes,
        gpus=_count_gpus((_gpu_of(node), vector_of(node.allocatable).gpus) for node in nodes),
        free_gpus=_count_gpus(
            ((shape.gpu_model or _UNNAMED_GPU, shape.gpu_memory_bytes), shape.free.gpus * shape.nodes)
            for shape in shapes
            if shape.allocatable.gpus
        ),
        shapes=tuple(NodeShape(**shape.fields()) for shape in shapes),
        counted_runs=tuple(sorted(facts.runs & facts.pods.runs)),
        storage_classes=storage_infos(facts.storage_classes.values(), facts.capacities.values()),
        cni=cni,
        cni_version=cni_version,
        form=facts.form,
        node_states=dict(sorted(states.items())),
        kubelet_versions=dict(sorted(Counter(node.version for node in nodes).items())),
        devices=_devices(facts),
        troubled_nodes=_troubled(facts),
        workload_kinds=facts.served.kinds if facts.served is not None else None,
        policy_kinds=facts.served.policies if facts.served is not None else None,
        batch_engines=_engines(facts),
        stale_kinds=facts.stale_kinds,
    )


def _engines(facts: ClusterFacts) -> tuple[BatchEngineInfo, ...]:
    groups = facts.served.groups if facts.served is not None else frozenset[str]()
    queues: dict[BatchEngine, Iterable[BatchQueue]] = {
        "Kueue": facts.local_queues.values(),
        "Volcano": facts.volcano_queues.values(),
    }
    return batch_engines(groups, facts.pods.engines, queues)


def open_shapes(facts: ClusterFacts) -> Iterable[Shape]:
    """Give the shape of each node that an ordinary pod may be put on now."""
    for name, node in facts.nodes.items():
        used = facts.pods.used(name)
        if takes_work(node, facts, used.get("pods", 0)):
            yield node_shape(
                vector_of(node.allocatable),
                vector_of(used),
                labels=dict(node.labels),
                gpu_memory_bytes=node.gpu_memory_bytes,
            )


def takes_work(node: NodeFacts, facts: ClusterFacts, pods: int) -> bool:
    """Tell whether an ordinary pod may be put on a node that has so many pods."""
    has_place = pods < node.allocatable.get("pods", pods + 1)
    return node.is_open and has_place and node.state(facts.form) == "Ready"


def _gpu_of(node: NodeFacts) -> tuple[str, int]:
    return dict(node.labels).get(GPU_PRODUCT_LABEL, _UNNAMED_GPU), node.gpu_memory_bytes


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


def _devices(facts: ClusterFacts) -> tuple[DeviceInfo, ...]:
    counts: Counter[DeviceModel] = Counter()
    free: Counter[DeviceModel] = Counter()
    for name, node in facts.nodes.items():
        used, is_ready = facts.pods.used(name), node.state(facts.form) == "Ready"
        for device in node.devices:
            amount = node.allocatable.get(device.resource, 0)
            counts[device] += amount
            free[device] += max(0, amount - used.get(device.resource, 0)) if is_ready else 0
    plugged = (
        DeviceInfo(**device.model_dump(), source="DevicePlugin", count=count, free=free[device])
        for device, count in counts.items()
    )
    pools = device_pools(facts.slices.values(), facts.device_claims.values(), nodes=facts.nodes, form=facts.form)
    offered = (
        DeviceInfo(**pool.device.model_dump(), source="Dra", count=pool.devices, free=pool.free) for pool in pools
    )
    return tuple(sorted((*plugged, *offered), key=lambda info: (info.resource, info.model, info.memory_bytes)))


def _troubled(facts: ClusterFacts) -> tuple[NodeTrouble, ...]:
    found: list[NodeTrouble] = []
    for name, node in sorted(facts.nodes.items()):
        state = node.state(facts.form)
        if (state != "Ready" or node.troubles) and len(found) < MAX_TROUBLED:
            found.append(NodeTrouble(name=name, state=state, reasons=node.troubles, message=node.message))
    return tuple(found)
