"""The volume of a namespace in a cluster: its claim's class, access mode and size, and when it grows. Pure.

Class and mode are settled by the first claim that is ordered, for neither can be changed; size only grows, and only
where the class allows it. What a dataset wishes and cannot have is said of that dataset, with what to do.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from atoll.federation.bus.data_messages import VolumeReport
from atoll.federation.bus.messages import Manifest, ServiceOrder
from atoll.federation.capacity import format_bytes, parse_bytes
from atoll.federation.errors import InvalidInput
from atoll.federation.resources import DATASET_CLAIM, Cluster, Dataset
from atoll.federation.resources.dataset import AccessMode, DatasetSpec, VolumeGrowth
from atoll.federation.resources.inventory import StorageClassDetail

DEFAULT_BYTES = 10 * 2**30
# From here on writes may fail at any moment, whatever a policy says.
FULL_PERCENT = 95
# A file system of its own is a little smaller than its claim; one that is far larger is shared with others.
_SHARED_FACTOR = 1.25


@dataclass(frozen=True)
class Claim:
    """What the claim asks for; no class means the cluster's default one."""

    storage_class: str | None
    access_mode: AccessMode = "ReadWriteMany"
    size_bytes: int = DEFAULT_BYTES


@dataclass(frozen=True)
class VolumeScope:
    """All that is known of one volume. `datasets` are those with files there that say something of it, oldest first."""

    cluster: Cluster
    datasets: Sequence[Dataset] = ()
    classes: Sequence[StorageClassDetail] = ()
    standing: Claim | None = None
    volume: VolumeReport | None = None


@dataclass(frozen=True)
class Problem:
    """Why a volume is not as a dataset wishes, for its condition."""

    reason: str = ""
    message: str = ""


NO_PROBLEM = Problem()


def says_something(spec: DatasetSpec) -> bool:
    """Tell whether a dataset has wishes for its volume."""
    return any(each is not None for each in (spec.storage_class, spec.access_mode, spec.size, spec.growth))


def plan_claim(scope: VolumeScope) -> Claim:
    """Decide what the claim asks for."""
    claim = scope.standing if scope.standing is not None and not _is_hopeless(scope) else _first_claim(scope)
    wanted = sum(parse_bytes(each.spec.size) for each in scope.datasets if each.spec.size is not None)
    if scope.standing is None:
        return replace(claim, size_bytes=wanted or DEFAULT_BYTES)
    if not _may_grow(scope, claim):
        return claim
    return replace(claim, size_bytes=max(claim.size_bytes, wanted, _grown(scope, claim)))


def problem_of(dataset: Dataset, scope: VolumeScope) -> Problem:
    """Say what of a dataset's wishes its volume does not fulfil, the worst first."""
    claim, known = scope.standing, {each.name: each for each in scope.classes}
    if claim is None:
        return NO_PROBLEM
    name, where = claim.storage_class or _default_class(scope.classes), scope.cluster.metadata.name
    if scope.volume is None and known and name not in known:
        message = f"{where} has no storage class {name!r}, it has {', '.join(sorted(known))}: set spec.storageClass"
        return Problem("NoSuchClass", message)
    if scope.volume is None and _lacks_room(known.get(name or ""), claim):
        asked = format_bytes(claim.size_bytes)
        return Problem("NoRoom", f"{where} has no {asked} left in storage class {name!r}: free some, or ask for less")
    if scope.volume is not None and fill_percent(scope.volume, claim) >= FULL_PERCENT:
        return Problem("VolumeFull", _full(dataset, scope, claim))
    for wish, given, what in (
        (dataset.spec.storage_class, name, "storageClass"),
        (dataset.spec.access_mode, claim.access_mode, "accessMode"),
    ):
        if wish is not None and given is not None and wish != given:
            message = f"spec.{what} is {wish}, the volume that {where} has for this namespace is {given}, and stays so"
            return Problem("AnotherVolume", f"{message}: put the dataset into a namespace of its own")
    if dataset.spec.growth is not None and not _may_grow(scope, claim):
        return Problem("CannotGrow", f"storage class {name!r} of {where} does not allow volumes to grow")
    return NO_PROBLEM


def fill_percent(volume: VolumeReport, claim: Claim) -> float:
    """Tell how full a volume is, of the claim or of its own file system, whichever is worse."""
    by_claim = 100 * volume.used_bytes / max(1, claim.size_bytes)
    if volume.total_bytes > claim.size_bytes * _SHARED_FACTOR:
        # Shared with others, such as an NFS export: what is used there is mostly theirs, but full is full.
        return max(by_claim, 100.0 if not volume.free_bytes else 0.0)
    return max(by_claim, 100 * (1 - volume.free_bytes / max(1, volume.total_bytes)))


def claim_of(order: ServiceOrder | None) -> Claim | None:
    """Read the claim that stands in an order; None if there is none."""
    for manifest in order.manifests if order is not None else ():
        if (manifest.get("kind"), manifest.get("metadata", {}).get("name")) == ("PersistentVolumeClaim", DATASET_CLAIM):
            spec: dict[str, Any] = manifest["spec"]
            return Claim(spec.get("storageClassName"), spec["accessModes"][0], _bytes(spec))
    return None


def claim_spec(claim: Claim) -> Manifest:
    """Give the spec of the PersistentVolumeClaim."""
    spec: Manifest = {
        "accessModes": [claim.access_mode],
        "resources": {"requests": {"storage": format_bytes(claim.size_bytes)}},
    }
    return spec if claim.storage_class is None else {**spec, "storageClassName": claim.storage_class}


def _first_claim(scope: VolumeScope) -> Claim:
    classes = (each.spec.storage_class for each in scope.datasets)
    modes = (each.spec.access_mode for each in scope.datasets)
    wanted = next((each for each in classes if each is not None), scope.cluster.spec.storage_class)
    mode: AccessMode = next((each for each in modes if each is not None), "ReadWriteMany")
    return Claim(wanted if wanted is not None else _chosen(scope), mode)


def _chosen(scope: VolumeScope) -> str | None:
    """Choose a class where nobody names one: the default; of a cluster without default, that with the most room."""
    if any(each.is_default for each in scope.classes) or not scope.classes:
        return None
    return max(scope.classes, key=lambda each: (_largest(each) or 0, each.has_driver, each.name)).name


def _is_hopeless(scope: VolumeScope) -> bool:
    """Tell whether the claim that stands was never bound, and names a class that its cluster does not have."""
    claim, names = scope.standing, {each.name for each in scope.classes}
    return claim is not None and scope.volume is None and bool(names) and claim.storage_class not in {None, *names}


def _may_grow(scope: VolumeScope, claim: Claim) -> bool:
    name = claim.storage_class or _default_class(scope.classes)
    return any(each.name == name and each.allows_expansion for each in scope.classes)


def _grown(scope: VolumeScope, claim: Claim) -> int:
    """Give the size that the policies for growth make of a volume that is so full."""
    policies = _policies(scope.datasets)
    if not policies or scope.volume is None:
        return claim.size_bytes
    policy = max(policies, key=lambda each: parse_bytes(each.limit))
    if fill_percent(scope.volume, claim) < policy.fill:
        return claim.size_bytes
    return min(claim.size_bytes + max(1, parse_bytes(policy.step)), parse_bytes(policy.limit))


def _full(dataset: Dataset, scope: VolumeScope, claim: Claim) -> str:
    percent = min(100, round(fill_percent(scope.volume, claim))) if scope.volume is not None else 0
    what = f"the volume of {scope.cluster.metadata.name} is {percent}% full ({format_bytes(claim.size_bytes)})"
    policy, grows = dataset.spec.growth, _may_grow(scope, claim)
    if grows and policy is None:
        return f"{what}: set spec.growth, delete versions, or set spec.retention"
    if grows and policy is not None and claim.size_bytes >= parse_bytes(policy.limit):
        return f"{what}, and may not grow beyond spec.growth.limit {policy.limit}: raise it, or delete versions"
    if grows:
        return f"{what}, and is being enlarged"
    return f"{what}, and its storage class does not let it grow: delete versions, or set spec.retention"


def _policies(datasets: Iterable[Dataset]) -> list[VolumeGrowth]:
    return [each.spec.growth for each in datasets if each.spec.growth is not None]


def _lacks_room(storage: StorageClassDetail | None, claim: Claim) -> bool:
    """Tell whether the driver says that no segment can hold the volume."""
    largest = _largest(storage) if storage is not None else None
    return largest is not None and largest < claim.size_bytes


def _largest(storage: StorageClassDetail) -> int | None:
    """Give the largest volume that can be made in any topology; None if the driver does not tell."""
    if not storage.tells_capacity or not storage.segments:
        return None
    return max(each.largest_volume_bytes for each in storage.segments)


def _default_class(classes: Iterable[StorageClassDetail]) -> str | None:
    return next((each.name for each in classes if each.is_default), None)


def _bytes(spec: dict[str, Any]) -> int:
    try:
        return parse_bytes(spec["resources"]["requests"]["storage"])
    except (InvalidInput, KeyError):
        return DEFAULT_BYTES
