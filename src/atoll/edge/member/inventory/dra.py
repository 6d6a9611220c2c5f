"""Devices of Dynamic Resource Allocation: what drivers offer in ResourceSlices, less what claims have. Pure.

Reads resource.k8s.io v1, v1beta2 and v1beta1 alike (KEP-4381): v1beta1 puts a device's attributes under `basic`.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, NamedTuple

from atoll.edge.member.inventory.nodes import NodeFacts
from atoll.federation.capacity import parse_bytes
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.inventory import (
    ClusterForm,
    DeviceClassInfo,
    DeviceKind,
    DeviceModel,
    DevicePool,
)

Json = Mapping[str, Any]

# What drivers call the model: NVIDIA and AMD productName, Intel and the example driver model.
_MODEL_ATTRIBUTES = ("productName", "model", "family")
_KINDS: Mapping[str, DeviceKind] = {"gpu": "Gpu", "mig": "GpuSlice", "amdgpu": "Gpu", "amdgpu-partition": "GpuSlice"}


class DeviceId(NamedTuple):
    """What makes a device unique in a cluster."""

    driver: str
    pool: str
    device: str


@dataclass(frozen=True, slots=True)
class SliceFacts:
    """One ResourceSlice; `node` is empty if its devices belong to no single node. Devices: name → what it is."""

    driver: str
    pool: str
    generation: int
    node: str
    devices: Mapping[str, DeviceModel]


def project_slice(obj: Json) -> SliceFacts:
    """Keep what an inventory needs of a ResourceSlice; a tainted device is offered to nobody."""
    spec = obj.get("spec") or {}
    pool, driver = spec.get("pool") or {}, intern(str(spec.get("driver", "")))
    return SliceFacts(
        driver=driver,
        pool=intern(str(pool.get("name", ""))),
        generation=int(pool.get("generation") or 0),
        node=intern(str(spec.get("nodeName") or "")),
        devices={
            intern(str(device["name"])): _device(driver, device.get("basic") or device)
            for device in spec.get("devices") or ()
            if not _is_tainted(device.get("basic") or device)
        },
    )


def project_claim(obj: Json) -> tuple[DeviceId, ...]:
    """Keep which devices a ResourceClaim has; those seen with admin access are still everybody's (KEP-5018)."""
    allocation = (obj.get("status") or {}).get("allocation") or {}
    results = (allocation.get("devices") or {}).get("results") or ()
    return tuple(
        DeviceId(*(intern(str(result.get(name, ""))) for name in ("driver", "pool", "device")))
        for result in results
        if not result.get("adminAccess")
    )


def project_class(obj: Json) -> DeviceClassInfo:
    """Keep what an inventory needs of a DeviceClass."""
    spec = obj.get("spec") or {}
    return DeviceClassInfo(
        name=str(obj["metadata"]["name"]), extended_resource=str(spec.get("extendedResourceName") or "")
    )


def device_pools(
    slices: Iterable[SliceFacts],
    claims: Iterable[Iterable[DeviceId]],
    *,
    nodes: Mapping[str, NodeFacts],
    form: ClusterForm,
) -> tuple[DevicePool, ...]:
    """Count devices by sort; those of nodes that take no work are not free."""
    taken = {device for claim in claims for device in claim}
    totals: Counter[DeviceModel] = Counter()
    free: dict[DeviceModel, Counter[str]] = {}
    for offered in _newest(slices):
        node = nodes.get(offered.node)
        is_usable = not offered.node or (node is not None and node.state(form) == "Ready")
        for name, device in offered.devices.items():
            totals[device] += 1
            is_free = is_usable and DeviceId(offered.driver, offered.pool, name) not in taken
            free.setdefault(device, Counter())[offered.node] += is_free
    return tuple(_pool(device, totals[device], free[device]) for device in sorted(totals, key=repr))


def _pool(device: DeviceModel, count: int, free: Counter[str]) -> DevicePool:
    by_node = Counter(str(amount) for node, amount in free.items() if node)
    return DevicePool(
        device=device,
        devices=count,
        free=free.total(),
        nodes=by_node.total(),
        free_by_node=dict(sorted(by_node.items(), key=lambda item: int(item[0]))),
    )


def _newest(slices: Iterable[SliceFacts]) -> list[SliceFacts]:
    """Leave out what a driver has replaced: only the highest generation of a pool counts (ResourcePool.generation)."""
    known = list(slices)
    newest: dict[tuple[str, str], int] = {}
    for item in known:
        key = (item.driver, item.pool)
        newest[key] = max(newest.get(key, 0), item.generation)
    return [item for item in known if item.generation == newest[item.driver, item.pool]]


def _device(driver: str, device: Json) -> DeviceModel:
    attributes = {
        str(name).rpartition("/")[2]: next((value for value in entry.values() if isinstance(value, str)), "")
        for name, entry in (device.get("attributes") or {}).items()
        if isinstance(entry, Mapping)
    }
    model = next((attributes[name] for name in _MODEL_ATTRIBUTES if attributes.get(name)), "")
    profile = attributes.get("profile", "")
    sort = attributes.get("type", "").lower()
    return _model(driver, sort, f"{model}-MIG-{profile}" if sort == "mig" and profile else model, _memory(device))


@lru_cache(maxsize=4096)
def _model(driver: str, sort: str, model: str, memory_bytes: int) -> DeviceModel:
    """Give devices of one sort one value between them."""
    kind = _KINDS.get(sort, "Rdma" if "rdma" in driver else "Gpu" if driver.startswith("gpu.") else "Other")
    return DeviceModel(
        resource=driver, kind=kind, vendor=driver.partition(".")[2], model=model, memory_bytes=memory_bytes
    )


def _memory(device: Json) -> int:
    """Read the capacity `memory`, which may be qualified by a domain."""
    for name, entry in (device.get("capacity") or {}).items():
        if str(name).rpartition("/")[2] == "memory":
            try:
                return parse_bytes(entry.get("value", 0) if isinstance(entry, Mapping) else entry)
            except InvalidInput:
                return 0
    return 0


def _is_tainted(device: Json) -> bool:
    return any(taint.get("effect") in ("NoSchedule", "NoExecute") for taint in device.get("taints") or ())
