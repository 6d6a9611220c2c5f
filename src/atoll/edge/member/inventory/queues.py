"""The member's own batch queues, where Kueue is installed: flavors, quotas, how much waits. Pure.

Reads kueue.x-k8s.io v1beta1 and v1beta2 alike: they name the cohort differently.
"""

from collections.abc import Mapping
from typing import Any

from atoll.edge.member.objects import condition
from atoll.federation.capacity import amounts_of
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.inventory import ClusterQueueInfo, FlavorInfo, QuotaInfo, Taint

Json = Mapping[str, Any]

_MESSAGE_CHARS = 200


def project_flavor(obj: Json) -> FlavorInfo:
    """Keep what an inventory needs of a ResourceFlavor."""
    spec = obj.get("spec") or {}
    return FlavorInfo(
        name=str(obj["metadata"]["name"]),
        node_labels={str(key): str(value) for key, value in (spec.get("nodeLabels") or {}).items()},
        taints=tuple(
            Taint(key=str(entry["key"]), value=str(entry.get("value") or ""), effect=str(entry.get("effect", "")))
            for entry in spec.get("nodeTaints") or ()
        ),
    )


def project_queue(obj: Json) -> ClusterQueueInfo:
    """Keep what an inventory needs of a ClusterQueue."""
    spec, status, active = obj.get("spec") or {}, obj.get("status") or {}, condition(obj, "Active")
    is_active = active.get("status") == "True"
    return ClusterQueueInfo(
        name=str(obj["metadata"]["name"]),
        cohort=str(spec.get("cohortName") or spec.get("cohort") or ""),
        is_active=is_active,
        message="" if is_active else str(active.get("message") or active.get("reason") or "")[:_MESSAGE_CHARS],
        pending=int(status.get("pendingWorkloads") or 0),
        admitted=int(status.get("admittedWorkloads") or 0),
        quotas=_quotas(spec, status),
    )


def _quotas(spec: Json, status: Json) -> tuple[QuotaInfo, ...]:
    reserved = {
        (flavor.get("name"), resource.get("name")): resource.get("total", 0)
        for flavor in status.get("flavorsReservation") or ()
        for resource in flavor.get("resources") or ()
    }
    return tuple(
        _quota(str(flavor["name"]), resource, reserved.get((flavor["name"], resource["name"]), 0))
        for group in spec.get("resourceGroups") or ()
        for flavor in group.get("flavors") or ()
        for resource in flavor.get("resources") or ()
    )


def _quota(flavor: str, resource: Json, reserved: Any) -> QuotaInfo:
    name = str(resource["name"])
    return QuotaInfo(
        flavor=flavor,
        resource=name,
        nominal=_amount(name, resource.get("nominalQuota")) or 0,
        borrowing_limit=_amount(name, resource.get("borrowingLimit")),
        lending_limit=_amount(name, resource.get("lendingLimit")),
        reserved=_amount(name, reserved) or 0,
    )


def _amount(name: str, quantity: Any) -> int | None:
    if quantity is None:
        return None
    try:
        return amounts_of({name: quantity})[name]
    except InvalidInput:
        return 0
