"""Storage classes, their drivers, free capacity and claims. Pure.

Free capacity moves with every write that a driver sees; it is told rounded down, so that only a change of more than one
part in a hundred is news.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from sys import intern
from typing import Any

from atoll.federation.capacity import parse_bytes, round_down
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.cluster import StorageClassInfo
from atoll.federation.resources.inventory import StorageClassDetail, StorageSegment

Json = Mapping[str, Any]
Labels = tuple[tuple[str, str], ...]

_DEFAULT_CLASS_ANNOTATION = "storageclass.kubernetes.io/is-default-class"
_ALIKE_BITS = 8
# Drivers of local disks report one segment per node: beyond so many, only topology that nodes share is told, and then
# segments are counted by ever rougher amounts.
MAX_SEGMENTS = 200
_SHARED_TOPOLOGY = frozenset({"topology.kubernetes.io/zone", "topology.kubernetes.io/region"})


@dataclass(frozen=True, slots=True)
class StorageClassFacts:
    """One StorageClass."""

    name: str
    provisioner: str
    is_default: bool
    binding_mode: str = ""
    reclaim_policy: str = ""
    allows_expansion: bool = False


@dataclass(frozen=True, slots=True)
class CapacityFacts:
    """One CSIStorageCapacity: what is free in one segment for one class, and the largest volume that it can make."""

    storage_class: str
    free_bytes: int
    largest_volume_bytes: int
    topology: Labels = ()


@dataclass(frozen=True, slots=True)
class VolumeClaimFacts:
    """One PersistentVolumeClaim."""

    storage_class: str
    is_bound: bool
    bytes: int


def project_storage_class(obj: Json) -> StorageClassFacts:
    """Keep what an inventory needs of a StorageClass."""
    annotations = obj["metadata"].get("annotations") or {}
    return StorageClassFacts(
        name=str(obj["metadata"]["name"]),
        provisioner=str(obj.get("provisioner", "")),
        is_default=annotations.get(_DEFAULT_CLASS_ANNOTATION) == "true",
        binding_mode=str(obj.get("volumeBindingMode") or "Immediate"),
        reclaim_policy=str(obj.get("reclaimPolicy") or "Delete"),
        allows_expansion=bool(obj.get("allowVolumeExpansion")),
    )


def project_driver(obj: Json) -> bool:
    """Keep of a CSIDriver whether it tells its free capacity."""
    return bool((obj.get("spec") or {}).get("storageCapacity"))


def project_capacity(obj: Json) -> CapacityFacts:
    """Keep what an inventory needs of a CSIStorageCapacity."""
    limits = [_bytes(obj[name]) for name in ("capacity", "maximumVolumeSize") if obj.get(name)]
    topology = ((obj.get("nodeTopology") or {}).get("matchLabels") or {}).items()
    return CapacityFacts(
        storage_class=intern(str(obj.get("storageClassName", ""))),
        free_bytes=_bytes(obj.get("capacity") or 0),
        largest_volume_bytes=min(limits, default=0),
        topology=tuple(sorted((str(key), str(value)) for key, value in topology)),
    )


def project_volume_claim(obj: Json) -> VolumeClaimFacts:
    """Keep what an inventory needs of a PersistentVolumeClaim."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    wanted = ((spec.get("resources") or {}).get("requests") or {}).get("storage", 0)
    return VolumeClaimFacts(
        storage_class=intern(str(spec.get("storageClassName") or "")),
        is_bound=status.get("phase") == "Bound",
        bytes=_bytes((status.get("capacity") or {}).get("storage") or wanted),
    )


def storage_infos(
    classes: Iterable[StorageClassFacts], capacities: Iterable[CapacityFacts]
) -> tuple[StorageClassInfo, ...]:
    """Sum up for placement: a volume is made in one segment, so free is the best segment's and not the sum."""
    free: dict[str, int] = {}
    for capacity in capacities:
        free[capacity.storage_class] = max(free.get(capacity.storage_class, 0), capacity.largest_volume_bytes)
    return tuple(
        StorageClassInfo(
            name=entry.name,
            provisioner=entry.provisioner,
            is_default=entry.is_default,
            free_bytes=round_down(free[entry.name], _ALIKE_BITS) if entry.name in free else None,
        )
        for entry in sorted(classes, key=lambda entry: entry.name)
    )


def storage_details(
    classes: Iterable[StorageClassFacts],
    capacities: Iterable[CapacityFacts],
    *,
    drivers: Mapping[str, bool],
    claims: Iterable[VolumeClaimFacts],
) -> tuple[StorageClassDetail, ...]:
    """Tell all of the storage classes. `drivers` says by name whether a driver tells its capacity."""
    by_class: dict[str, list[CapacityFacts]] = {}
    for capacity in capacities:
        by_class.setdefault(capacity.storage_class, []).append(capacity)
    bound, pending, claimed = _count_claims(claims)
    return tuple(
        StorageClassDetail(
            name=entry.name,
            provisioner=entry.provisioner,
            is_default=entry.is_default,
            binding_mode=entry.binding_mode,
            reclaim_policy=entry.reclaim_policy,
            allows_expansion=entry.allows_expansion,
            has_driver=entry.provisioner in drivers,
            tells_capacity=drivers.get(entry.provisioner, False),
            segments=_segments(by_class.get(entry.name, ())),
            claims_bound=bound[entry.name],
            claims_pending=pending[entry.name],
            claimed_bytes=claimed[entry.name],
        )
        for entry in sorted(classes, key=lambda entry: entry.name)
    )


def _count_claims(claims: Iterable[VolumeClaimFacts]) -> tuple[Counter[str], Counter[str], Counter[str]]:
    bound: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    claimed: Counter[str] = Counter()
    for claim in claims:
        (bound if claim.is_bound else pending)[claim.storage_class] += 1
        claimed[claim.storage_class] += claim.bytes if claim.is_bound else 0
    return bound, pending, claimed


def _segments(capacities: Iterable[CapacityFacts]) -> tuple[StorageSegment, ...]:
    known = list(capacities)
    keeps_all = len({capacity.topology for capacity in known}) <= MAX_SEGMENTS
    for bits in range(_ALIKE_BITS, 0, -1):
        counts = Counter(_segment(capacity, bits, keeps_all=keeps_all) for capacity in known)
        if len(counts) <= MAX_SEGMENTS:
            break
    return tuple(
        StorageSegment(segments=count, topology=dict(topology), free_bytes=free, largest_volume_bytes=largest)
        for (topology, free, largest), count in sorted(counts.most_common(MAX_SEGMENTS))
    )


def _segment(capacity: CapacityFacts, bits: int, *, keeps_all: bool) -> tuple[Labels, int, int]:
    topology = tuple(pair for pair in capacity.topology if keeps_all or pair[0] in _SHARED_TOPOLOGY)
    return topology, round_down(capacity.free_bytes, bits), round_down(capacity.largest_volume_bytes, bits)


def _bytes(quantity: Any) -> int:
    try:
        return parse_bytes(quantity)
    except InvalidInput:
        return 0
