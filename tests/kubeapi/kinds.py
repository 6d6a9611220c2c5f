"""The kinds that the tests serve: two that look like Kubernetes' own, a namespace, and one of a custom group."""

from typing import Any

from atoll.kubeapi.protobuf import BYTES_VALUES, OBJECT_META, TEXT_VALUES, Field
from atoll.kubeapi.resource import Column, Registry, ResourceType, Scale
from atoll.kubeapi.schema_strategy import SchemaStrategy

_TEXT = {"type": "string"}

CONFIG_MAP = ResourceType(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    singular="configmap",
    namespaced=True,
    short_names=("cm",),
    schema={
        "type": "object",
        "description": "ConfigMap holds configuration data.",
        "properties": {
            "data": {"type": "object", "description": "The data.", "additionalProperties": _TEXT},
            "binaryData": {"type": "object", "description": "Data in base64.", "additionalProperties": _TEXT},
            "immutable": {"type": "boolean", "description": "Whether the data may change."},
        },
    },
    protobuf={
        1: Field("metadata", "message", of=OBJECT_META),
        2: Field("data", "map", of=TEXT_VALUES),
        3: Field("binaryData", "map", of=BYTES_VALUES),
        4: Field("immutable", "bool"),
    },
)

NAMESPACE = ResourceType(
    group="",
    version="v1",
    kind="Namespace",
    plural="namespaces",
    singular="namespace",
    namespaced=False,
    short_names=("ns",),
    has_status=True,
    protobuf={1: Field("metadata", "message", of=OBJECT_META)},
)

_CONTAINER: dict[str, Any] = {
    "type": "object",
    "required": ["name"],
    "properties": {
        "name": _TEXT,
        "image": _TEXT,
        "command": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "atomic"},
        "env": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": _TEXT, "value": _TEXT}},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "x-kubernetes-patch-merge-key": "name",
            "x-kubernetes-patch-strategy": "merge",
        },
        "ports": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"containerPort": {"type": "integer"}, "protocol": {**_TEXT, "default": "TCP"}},
            },
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
            "x-kubernetes-patch-merge-key": "containerPort",
            "x-kubernetes-patch-strategy": "merge",
        },
    },
}

_POD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Pod runs containers.",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "nodeName": _TEXT,
                "nodeSelector": {"type": "object", "additionalProperties": _TEXT, "x-kubernetes-map-type": "atomic"},
                "containers": {
                    "type": "array",
                    "items": _CONTAINER,
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                    "x-kubernetes-patch-merge-key": "name",
                    "x-kubernetes-patch-strategy": "merge",
                },
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "phase": _TEXT,
                "conditions": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"type": _TEXT, "status": _TEXT}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            },
        },
    },
}

POD = ResourceType(
    group="",
    version="v1",
    kind="Pod",
    plural="pods",
    singular="pod",
    namespaced=True,
    short_names=("po",),
    categories=("all",),
    has_status=True,
    schema=_POD_SCHEMA,
    columns=(
        Column("Name", "string", ".metadata.name", format="name"),
        Column("Status", "string", ".status.phase"),
        Column("Age", "date", ".metadata.creationTimestamp"),
        Column("Node", "string", ".spec.nodeName", priority=1),
    ),
)

_WIDGET_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Widget is a thing with parts.",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "description": "What the widget should be.",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1, "maximum": 100, "description": "How large it is."},
                "color": {"type": "string", "enum": ["red", "green", "blue"], "default": "red"},
                "code": {"type": "string", "pattern": "^[a-z]+$"},
                "tags": {"type": "array", "items": _TEXT, "x-kubernetes-list-type": "set"},
                "parts": {
                    "type": "array",
                    "description": "What it is made of.",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {"name": _TEXT, "count": {"type": "integer", "default": 1}},
                    },
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
                "steps": {"type": "array", "items": _TEXT},
                "options": {"type": "object", "additionalProperties": _TEXT},
                "anything": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {
            "type": "object",
            "properties": {
                "ready": {"type": "boolean"},
                "count": {"type": "integer"},
                "conditions": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"type": _TEXT, "status": _TEXT, "reason": _TEXT}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["type"],
                },
            },
        },
    },
}

WIDGET = ResourceType(
    group="example.dev",
    version="v1",
    kind="Widget",
    plural="widgets",
    singular="widget",
    namespaced=True,
    short_names=("wd",),
    has_status=True,
    schema=_WIDGET_SCHEMA,
    strategy=SchemaStrategy(_WIDGET_SCHEMA),
    scale=Scale("spec.size", "status.count"),
    columns=(
        Column("Size", "integer", ".spec.size", description="How large it is."),
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Color", "string", ".spec.color", priority=1),
        Column("Age", "date", ".metadata.creationTimestamp"),
    ),
)

SLOW = ResourceType(
    group="example.dev",
    version="v1",
    kind="Slow",
    plural="slows",
    singular="slow",
    namespaced=True,
    grace_seconds=lambda obj: int(obj.get("spec", {}).get("graceSeconds", 30)),
)


def make_registry() -> Registry:
    """Return a registry of all of them."""
    registry = Registry()
    for rt in (CONFIG_MAP, NAMESPACE, POD, WIDGET, SLOW):
        registry.register(rt)
    return registry


def widget(name: str, *, size: int = 3, namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """Return a widget."""
    return {
        "apiVersion": "example.dev/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"size": size, **spec},
    }


def config_map(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    """Return a config map."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": dict(data),
    }
