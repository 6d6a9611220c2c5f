"""The resources that the hub serves: Atoll's kinds out of the catalog, and core/v1 Namespace and Event.

Owns the translation from the catalog to kubeapi's ResourceType; must not know HTTP or storage.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.federation.capacity import format_duration
from atoll.federation.resources import API_GROUP, API_VERSION, KINDS, Kind, PrintColumn
from atoll.hub.admission import KindStrategy
from atoll.hub.references import Existing, why_kept
from atoll.hub.schema import openapi_schema
from atoll.kubeapi.protobuf import EVENT, OBJECT_META, Field, Message
from atoll.kubeapi.resource import Column, Object, Prepared, Registry, ResourceType

NAMESPACE_FINALIZER = "atoll.dev/contents"
# `kubectl create namespace` writes protobuf. Source: k8s.io/api core/v1 generated.proto, Namespace and NamespaceSpec.
_NAMESPACE_WIRE: Message = {
    1: Field("metadata", "message", of=OBJECT_META),
    2: Field("spec", "message", of={1: Field("finalizers", repeated=True)}),
}
_AGE = Column("AGE", "date", ".metadata.creationTimestamp")


class NamespaceStrategy:
    """A namespace goes only when its contents have gone: the controller of namespaces takes the finalizer away."""

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Give a new namespace its finalizer and its phase."""
        if old is None:
            metadata = new["metadata"]
            metadata["finalizers"] = sorted({*metadata.get("finalizers", ()), NAMESPACE_FINALIZER})
        new["status"] = {"phase": "Terminating" if "deletionTimestamp" in new["metadata"] else "Active"}
        return Prepared(new)


def build_registry(existing: Existing) -> Registry:
    """Make the registry of everything the hub serves."""
    registry = Registry()
    registry.register(namespace_type())
    registry.register(event_type())
    for kind in KINDS:
        registry.register(resource_type(kind, existing))
    return registry


def resource_type(kind: Kind, existing: Existing) -> ResourceType:
    """Describe one of Atoll's kinds to kubeapi."""
    return ResourceType(
        group=API_GROUP,
        version=API_VERSION,
        kind=kind.name,
        plural=kind.plural,
        singular=kind.singular,
        namespaced=kind.namespaced,
        short_names=kind.short_names,
        categories=("atoll",),
        has_status=True,
        columns=(*(_column(kind, column) for column in kind.columns), _AGE),
        schema=openapi_schema(kind),
        strategy=KindStrategy(kind, existing),
        why_kept=(lambda queue: why_kept(queue, existing)) if kind.name == "Queue" else None,
    )


def _column(kind: Kind, column: PrintColumn) -> Column:
    value = _cluster_state if (kind.name, column.name) == ("Cluster", "PHASE") else None
    return Column(column.name, column.type, column.path, column.priority, value=value)


def _cluster_state(cluster: Mapping[str, Any], _now: datetime) -> str:
    """Write the phase, and that nothing new comes, as kubectl writes `Ready,SchedulingDisabled` of a node."""
    spec, phase = cluster.get("spec", {}), str(cluster.get("status", {}).get("phase", ""))
    if "deletionTimestamp" in cluster.get("metadata", {}):
        return f"{phase},Leaving"
    if spec.get("draining"):
        return f"{phase},Draining"
    return f"{phase},Cordoned" if spec.get("unschedulable") else phase


def namespace_type() -> ResourceType:
    """Describe core/v1 Namespace."""
    return ResourceType(
        group="", version="v1", kind="Namespace", plural="namespaces", singular="namespace", namespaced=False,
        short_names=("ns",), columns=(Column("STATUS", "string", ".status.phase"), _AGE), strategy=NamespaceStrategy(),
        protobuf=_NAMESPACE_WIRE,
        schema={"type": "object", "description": "A room for names and for access rights.", "properties": {
            "spec": {"type": "object", "properties": {"finalizers": {"type": "array", "items": {"type": "string"}}}},
            "status": {"type": "object", "properties": {"phase": {"type": "string"}}},
        }},
    )  # fmt: skip


def event_type() -> ResourceType:
    """Describe core/v1 Event, with the columns of `kubectl get events`."""
    return ResourceType(
        group="", version="v1", kind="Event", plural="events", singular="event", namespaced=True, short_names=("ev",),
        protobuf=EVENT,
        columns=(
            Column("LAST SEEN", "string", value=_last_seen),
            Column("TYPE", "string", ".type"),
            Column("REASON", "string", ".reason"),
            Column("OBJECT", "string", value=_about),
            Column("MESSAGE", "string", ".message"),
            Column("COUNT", "integer", ".count", priority=1),
            Column("Name", "string", ".metadata.name", priority=1, format="name"),
        ),
    )  # fmt: skip


def _last_seen(event: Mapping[str, Any], now: datetime) -> str:
    seen = event.get("lastTimestamp") or event["metadata"].get("creationTimestamp")
    if not seen:
        return "<unknown>"
    age = now - datetime.fromisoformat(str(seen)).astimezone(UTC)
    return format_duration(max(0, int(age.total_seconds())))


def _about(event: Mapping[str, Any], _now: datetime) -> str:
    about = event.get("involvedObject", {})
    return f"{str(about.get('kind', '')).lower()}/{about.get('name', '')}"
