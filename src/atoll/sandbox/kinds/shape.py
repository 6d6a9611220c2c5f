"""A short notation for OpenAPI v3 schemas with Kubernetes' list and map types.

Owns the notation; must not know any kind. Everything here returns a plain schema dict.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

STRING: Schema = {"type": "string"}
BOOLEAN: Schema = {"type": "boolean"}
INTEGER: Schema = {"type": "integer", "format": "int64"}
TIME: Schema = {"type": "string", "format": "date-time"}
ANY: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
INT_OR_STRING: Schema = {"x-kubernetes-int-or-string": True}
QUANTITY: Schema = {  # the grammar of apimachinery's resource.Quantity; YAML makes a number of `cpu: 0.5`
    "anyOf": [{"type": "string"}, {"type": "number"}],
    "pattern": r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+|[numkMGTPE]|[KMGTPE]i)?$",
}


def struct(fields: Mapping[str, Schema], *, required: Sequence[str] = ()) -> Schema:
    """Return an object with exactly these fields."""
    schema: Schema = {"type": "object", "properties": dict(fields)}
    if required:
        schema["required"] = list(required)
    return schema


def atomic(schema: Schema) -> Schema:
    """Return a map that is owned and replaced as a whole."""
    return {**schema, "x-kubernetes-map-type": "atomic"}


def mapping(value: Schema) -> Schema:
    """Return an object whose keys are the user's."""
    return {"type": "object", "additionalProperties": value}


def array(item: Schema) -> Schema:
    """Return a list that is replaced as a whole."""
    return {"type": "array", "items": item, "x-kubernetes-list-type": "atomic"}


def unique(item: Schema) -> Schema:
    """Return a list that is a set."""
    return {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "set",
        "x-kubernetes-patch-strategy": "merge",
    }


def keyed(item: Schema, *keys: str) -> Schema:
    """Return a list whose items are identified by `keys`; a strategic merge patch merges by the first of them."""
    return {
        "type": "array",
        "items": item,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": list(keys),
        "x-kubernetes-patch-strategy": "merge",
        "x-kubernetes-patch-merge-key": keys[0],
    }


def merged(item: Schema, key: str) -> Schema:
    """Return a list that apply replaces as a whole but a strategic merge patch merges by `key`."""
    return {**array(item), "x-kubernetes-patch-strategy": "merge", "x-kubernetes-patch-merge-key": key}


def defaulted(schema: Schema, value: object) -> Schema:
    """Return `schema` with a default, which identifies list items that leave the key out."""
    return {**schema, "default": value}


LABELS = mapping(STRING)
STRINGS = array(STRING)
RESOURCES = mapping(QUANTITY)
SELECTOR = atomic(
    struct(
        {
            "matchLabels": LABELS,
            "matchExpressions": array(
                struct({"key": STRING, "operator": STRING, "values": STRINGS}, required=("key", "operator"))
            ),
        }
    )
)
CONDITIONS = keyed(
    struct(
        {
            "type": STRING,
            "status": STRING,
            "reason": STRING,
            "message": STRING,
            "observedGeneration": INTEGER,
            "lastTransitionTime": TIME,
            "lastUpdateTime": TIME,
            "lastProbeTime": {**TIME, "nullable": True},
            "lastHeartbeatTime": TIME,
        },
        required=("type", "status"),
    ),
    "type",
)
OBJECT_REFERENCE = atomic(
    struct(
        {
            "apiVersion": STRING,
            "kind": STRING,
            "namespace": STRING,
            "name": STRING,
            "uid": STRING,
            "resourceVersion": STRING,
            "fieldPath": STRING,
        }
    )
)
