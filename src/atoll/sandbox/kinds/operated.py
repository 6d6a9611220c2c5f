"""Kinds of batch operators that a simulated cluster can serve: as their CRDs would, but for the CRDs' schemas.

Owns which kinds there are; what is done about their objects is the operator's (controllers/operator.py). A kind is
offered if its pods are made from whole pod templates: what else an operator would make of it nobody here can know.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import ADAPTERS, Adapter
from atoll.kubeapi.resource import Column, ResourceType
from atoll.sandbox.kinds.native import AGE
from atoll.sandbox.kinds.shape import ANY, struct

USUAL = ("JobSet", "MPIJob", "PyTorchJob", "RayJob")
_NATIVE = frozenset({("batch/v1", "Job"), ("v1", "Pod"), ("v1", "PodList")})
# Of two versions of a kind, the newer: two operators would fight.
_OFFERED: Mapping[str, Adapter] = {
    adapter.kind if adapter.kind != "Job" else "VolcanoJob": adapter
    for adapter in ADAPTERS.values()
    if (adapter.api_version, adapter.kind) not in _NATIVE
    and adapter.status
    and adapter.groups
    and all(group.parts.pod is not None for group in adapter.groups)
}
_SHORT: Mapping[str, tuple[str, ...]] = {"LeaderWorkerSet": ("lws",), "VolcanoJob": ("vcjob",)}


def offered_kinds() -> tuple[str, ...]:
    """Name the kinds that can be asked for."""
    return tuple(sorted(_OFFERED))


def check_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """Give names of kinds in order, each once.

    Raises:
        InvalidInput: one of them is not offered.
    """
    found = tuple(sorted(set(names)))
    for name in found:
        if name not in _OFFERED:
            raise InvalidInput(
                f"kinds: no operator of {name!r} is simulated; those of {', '.join(offered_kinds())} are"
            )
    return found


def adapters_of(names: Iterable[str]) -> tuple[Adapter, ...]:
    """Give the adapters of the kinds that were asked for. Raises InvalidInput."""
    return tuple(_OFFERED[name] for name in check_kinds(names))


def operated(adapter: Adapter) -> ResourceType:
    """Give the type of a kind as its CRD would define it."""
    group, _, version = adapter.api_version.rpartition("/")
    name = next(name for name, each in _OFFERED.items() if each is adapter)
    return ResourceType(
        group=group,
        version=version,
        kind=adapter.kind,
        plural=adapter.plural,
        singular=adapter.kind.lower(),
        namespaced=True,
        short_names=_SHORT.get(name, ()),
        has_status=True,
        columns=(Column("State", "string", ".status.sandboxState"), AGE),
        schema={**struct({"spec": ANY, "status": ANY}), "description": f"A {name} of the sandbox's own operator."},
        is_custom=True,
    )
