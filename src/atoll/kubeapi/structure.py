"""How values of a schema are structured: which maps are atomic, which lists are sets or maps, and by which keys.

Owns reading OpenAPI v3 with the `x-kubernetes-*` extensions; must not change or judge objects.
A schema of None means that nothing is declared: maps are then granular and lists atomic, as for a resource without
a schema in Kubernetes (structured-merge-diff, "deduced" type).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.kubeapi.object_meta import OBJECT_META

Schema = Mapping[str, Any] | None

_MAX_DEPTH = 40  # deeper than any real kind; a recursive definition (JSONSchemaProps) ends here as free-form


def structural(schema: Mapping[str, Any] | None, *, is_object: bool = True) -> Schema:
    """Return `schema` with references inlined and unions with null unwrapped; with ObjectMeta if it is an object's."""
    if schema is None:
        return {"type": "object", "properties": _identity()} if is_object else None
    definitions = {**schema.get("$defs", {}), **schema.get("definitions", {})}
    resolved = _resolve(schema, definitions, 0)
    if is_object:
        resolved["properties"] = {**_identity(), **resolved.get("properties", {}), "metadata": OBJECT_META}
    return resolved


def _identity() -> dict[str, Any]:
    return {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": OBJECT_META}


def _resolve(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _MAX_DEPTH:
        return {"x-kubernetes-preserve-unknown-fields": True}
    schema = _unwrap(schema, definitions)
    resolved = {key: value for key, value in schema.items() if key not in ("$defs", "definitions")}
    if "properties" in schema:
        properties = schema["properties"].items()
        resolved["properties"] = {name: _resolve(child, definitions, depth + 1) for name, child in properties}
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), Mapping):
            resolved[key] = _resolve(schema[key], definitions, depth + 1)
    return resolved


def _unwrap(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow `$ref`, an `allOf` of one, and the `anyOf: [X, null]` that pydantic writes for an optional field."""
    while True:
        rest = {key: value for key, value in schema.items() if key not in ("$ref", "allOf", "anyOf")}
        choices = [choice for choice in schema.get("anyOf", ()) if choice.get("type") != "null"]
        if "$ref" in schema:
            target = definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1], {})
            schema = {**target, **rest}
        elif len(schema.get("allOf", ())) == 1:
            schema = {**schema["allOf"][0], **rest}
        elif len(choices) == 1 and len(choices) < len(schema["anyOf"]):
            schema = {**choices[0], **rest, "nullable": True}
        else:
            return schema


def child(schema: Schema, name: str) -> Schema:
    """Return the schema of a map's value."""
    if schema is None:
        return None
    declared: Schema = schema.get("properties", {}).get(name)
    if declared is not None:
        return declared
    additional = schema.get("additionalProperties")
    return additional if isinstance(additional, Mapping) else None


def is_named(schema: Schema, name: str) -> bool:
    """Say whether `name` is a declared field, not a key that users chose."""
    return schema is not None and name in schema.get("properties", {})


def items(schema: Schema) -> Schema:
    """Return the schema of a list's items."""
    found = schema.get("items") if schema is not None else None
    return found if isinstance(found, Mapping) else None


def is_atomic_map(schema: Schema) -> bool:
    """Say whether a map is owned and replaced as a whole."""
    return schema is not None and schema.get("x-kubernetes-map-type") == "atomic"


def list_type(schema: Schema) -> str:
    """Return `map`, `set` or `atomic`."""
    return str(schema.get("x-kubernetes-list-type", "atomic")) if schema is not None else "atomic"


def list_keys(schema: Schema) -> tuple[str, ...]:
    """Return the fields that identify an item of a list of type map."""
    return tuple(schema.get("x-kubernetes-list-map-keys", ())) if schema is not None else ()


def merge_key(schema: Schema) -> str | None:
    """Return the field by which a strategic merge patch merges a list of maps, or None if it replaces the list."""
    if schema is None or patch_strategies(schema) == {"replace"}:
        return None
    declared = schema.get("x-kubernetes-patch-merge-key")
    return None if declared is None else str(declared)


def patch_strategies(schema: Schema) -> set[str]:
    """Return the patch strategies of a field: merge, replace, retainKeys."""
    text = schema.get("x-kubernetes-patch-strategy", "") if schema is not None else ""
    return {part.strip() for part in str(text).split(",") if part.strip()}


def item_keys(schema: Schema, item: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the identity of an item of a list of type map, with defaults for missing keys; None without identity."""
    declared = items(schema)
    identity: dict[str, Any] = {}
    for key in list_keys(schema):
        value = item.get(key)
        if value is None:
            value = (child(declared, key) or {}).get("default")
        if value is not None:
            identity[key] = value
    return identity or None
