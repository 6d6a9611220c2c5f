"""OpenAPI v3 schemas of the kinds, made from their pydantic models: what `kubectl explain` and server-side apply read.

Owns the translation from JSON Schema and the list hints; must not validate anything. Pure.
"""

from collections.abc import Mapping
from typing import Any

from atoll.federation.resources import Kind
from atoll.federation.resources.descriptions import DESCRIPTIONS
from atoll.kubeapi.object_meta import OBJECT_META

# Lists whose items have an identity: appliers then own single items (KEP-555, structured-merge-diff).
_MAP_KEYS: Mapping[str, str] = {
    "clusters": "cluster",
    "conditions": "type",
    "inputs": "mountPath",
    "ledger": "stream",
    "links": "peer",
    "outputs": "mountPath",
    "replicas": "cluster",
}
_SETS = frozenset({"residency", "topics"})
# Maps that are written and replaced as a whole: nobody owns one field of a record of a decision.
_ATOMIC_MAPS = frozenset({"decision"})
_DROPPED = frozenset({"title", "$defs", "$ref", "anyOf", "allOf", "const", "default", "exclusiveMinimum"})
_FREE_FORM: dict[str, Any] = {"x-kubernetes-preserve-unknown-fields": True}


def openapi_schema(kind: Kind) -> dict[str, Any]:
    """Give the schema of a kind's objects, with every reference written out."""
    source = kind.model.model_json_schema(by_alias=True)
    definitions = {name: _explained(name, each) for name, each in source.get("$defs", {}).items()}
    schema = _convert(_explained(kind.name, source), definitions)
    schema["description"] = kind.model.description
    schema["properties"]["metadata"] = OBJECT_META
    return schema


def _explained(model: str, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Say of a model's fields what the manual of the kinds says, where the model itself says nothing."""
    words = {**DESCRIPTIONS["*"], **DESCRIPTIONS.get(model, {})}
    fields = definition.get("properties", {})
    told = {
        name: {**node, "description": node.get("description") or words[name]} if name in words else node
        for name, node in fields.items()
    }
    return {**definition, "properties": told} if fields else dict(definition)


def _convert(node: Mapping[str, Any], definitions: Mapping[str, Any], name: str = "") -> dict[str, Any]:
    node = _resolved(node, definitions)
    schema = {key: value for key, value in node.items() if key not in _DROPPED}
    if "const" in node:
        schema |= {"type": "string", "enum": [node["const"]]}
    if "exclusiveMinimum" in node:  # a number in JSON Schema 2020-12, a flag beside `minimum` in OpenAPI 3.0
        schema |= {"minimum": node["exclusiveMinimum"], "exclusiveMinimum": True}
    if isinstance(node.get("default"), str | int | float | bool):
        schema["default"] = node["default"]
    if "properties" in node:
        schema["properties"] = {key: _convert(child, definitions, key) for key, child in node["properties"].items()}
    if "items" in node:
        schema["items"] = _convert(node["items"], definitions)
        schema |= _list_hint(name, schema["items"])
    if name in _ATOMIC_MAPS:
        schema["x-kubernetes-map-type"] = "atomic"
    return _additional(schema, node, definitions)


def _additional(schema: dict[str, Any], node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Write what other fields a map may have: none, any, or values of one schema."""
    allowed = schema.pop("additionalProperties", None)
    if isinstance(allowed, Mapping):
        schema["additionalProperties"] = _convert(allowed, definitions)
    elif allowed is True:
        schema |= _FREE_FORM
    return schema if "type" in node or "const" in node else {**schema, **_FREE_FORM}


def _resolved(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> Mapping[str, Any]:
    """Follow references and unwrap the union with null of an optional field; what stands beside wins."""
    while "$ref" in node or "anyOf" in node:
        beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf")}
        if "$ref" in node:
            target = definitions[str(node["$ref"]).rsplit("/", 1)[-1]]
        else:
            target = next(choice for choice in node["anyOf"] if choice.get("type") != "null")
        node = {**target, **beside}
    return node


def _list_hint(name: str, items: Mapping[str, Any]) -> dict[str, Any]:
    key = _MAP_KEYS.get(name)
    if key and key in items.get("properties", {}):
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}
    return {"x-kubernetes-list-type": "set" if name in _SETS else "atomic"}
