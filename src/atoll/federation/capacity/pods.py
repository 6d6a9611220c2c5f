"""What a pod asks a node for, by Kubernetes' own rules.

Owns the reading of pod specs and of what their status says of resizes. It must not know which nodes there are.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from atoll.federation.capacity.vectors import GPU_RESOURCE, Amounts, ResourceVector, amounts_of, vector_of
from atoll.federation.errors import InvalidInput

# What placement weighs, and ephemeral storage, which it leaves to the member's own scheduler.
_ORDINARY_RESOURCES = frozenset({"cpu", "memory", "ephemeral-storage", GPU_RESOURCE})
# What a pod may ask for as a whole (KEP-2837); huge pages have their size in the name.
_POD_LEVEL_RESOURCES = ("cpu", "memory", "hugepages-")


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
