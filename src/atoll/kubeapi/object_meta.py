"""The schema of ObjectMeta, which every object has (Kubernetes API reference, meta/v1).

Owns the constant only.
"""

from __future__ import annotations

from typing import Any

_STRING: dict[str, Any] = {"type": "string"}


def _text(description: str, **more: Any) -> dict[str, Any]:
    return {"type": "string", "description": description, **more}


_OWNER: dict[str, Any] = {
    "type": "object",
    "description": "An object that this one belongs to; when the last owner is deleted, so is this.",
    "required": ["apiVersion", "kind", "name", "uid"],
    "x-kubernetes-map-type": "atomic",
    "properties": {
        "apiVersion": _text("API version of the owner."),
        "kind": _text("Kind of the owner."),
        "name": _text("Name of the owner."),
        "uid": _text("UID of the owner."),
        "controller": {"type": "boolean", "description": "Whether the owner is the managing controller."},
        "blockOwnerDeletion": {"type": "boolean", "description": "Whether a foreground deletion waits for this."},
    },
}

_MANAGED: dict[str, Any] = {
    "type": "object",
    "description": "The fields that one manager set last.",
    "properties": {
        "manager": _text("Who manages the fields."),
        "operation": _text("Apply or Update."),
        "apiVersion": _text("Version of the resource that the fields belong to."),
        "time": _text("When the set of fields or their values changed last.", format="date-time"),
        "fieldsType": _text("Always FieldsV1."),
        "fieldsV1": {"type": "object", "description": "The set of fields.", "x-kubernetes-map-type": "atomic"},
        "subresource": _text("The subresource through which the fields were set, if any."),
    },
}


def _strings(description: str) -> dict[str, Any]:
    return {"type": "object", "description": description, "additionalProperties": _STRING}


OBJECT_META: dict[str, Any] = {
    "type": "object",
    "description": "Standard object metadata.",
    "properties": {
        "name": _text("Name, unique among the objects of this kind in the namespace."),
        "generateName": _text("Prefix of the name that the server makes when none is given."),
        "namespace": _text("Namespace; empty for cluster-scoped objects."),
        "uid": _text("Identity of this object in time and space, set by the server."),
        "resourceVersion": _text("Opaque version of this object, for concurrency control and watches."),
        "generation": {"type": "integer", "format": "int64", "description": "Grows with every change of the intent."},
        "creationTimestamp": _text("When the object was created.", format="date-time"),
        "deletionTimestamp": _text("When deletion was asked for.", format="date-time"),
        "deletionGracePeriodSeconds": {
            "type": "integer",
            "format": "int64",
            "description": "Seconds that whoever runs the object has to end it.",
        },
        "labels": _strings("Keys and values to select objects by."),
        "annotations": _strings("Keys and values that tools keep with the object."),
        "finalizers": {
            "type": "array",
            "description": "Who must finish something before the object goes; it goes when the list is empty.",
            "items": _STRING,
            "x-kubernetes-list-type": "set",
            "x-kubernetes-patch-strategy": "merge",
        },
        "ownerReferences": {
            "type": "array",
            "description": "The objects that this one belongs to.",
            "items": _OWNER,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["uid"],
            "x-kubernetes-patch-strategy": "merge",
            "x-kubernetes-patch-merge-key": "uid",
        },
        "managedFields": {
            "type": "array",
            "description": "Which manager set which fields.",
            "items": _MANAGED,
            "x-kubernetes-list-type": "atomic",
        },
        "selfLink": _text("Legacy; empty."),
    },
}
