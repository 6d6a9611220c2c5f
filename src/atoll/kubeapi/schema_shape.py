"""Bringing an object into the shape of its schema: defaults filled in, unknown fields taken out and named.

Owns defaulting and pruning (Kubernetes, "Structural schemas"); must not judge values. Changes what it is given.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.kubeapi import structure
from atoll.kubeapi.object_meta import OBJECT_META
from atoll.kubeapi.structure import Schema

_PRESERVE = "x-kubernetes-preserve-unknown-fields"
_EMBEDDED = "x-kubernetes-embedded-resource"
_IDENTITY = frozenset(("apiVersion", "kind", "metadata"))
_METADATA = frozenset((*OBJECT_META["properties"], "selfLink"))


def fill_defaults(value: Any, schema: Schema) -> None:
    """Fill in what is missing, or null where null is not allowed, and has a default."""
    if schema is None:
        return
    if isinstance(value, dict):
        for name, declared in schema.get("properties", {}).items():
            if "default" in declared and _lacks(value, name, declared):
                value[name] = copy.deepcopy(declared["default"])
        for name, inner in value.items():
            fill_defaults(inner, structure.child(schema, name))
    elif isinstance(value, list):
        for item in value:
            fill_defaults(item, structure.items(schema))


def _lacks(value: Mapping[str, Any], name: str, declared: Mapping[str, Any]) -> bool:
    return name not in value or (value[name] is None and not declared.get("nullable"))


def drop_nulls(value: Any, schema: Schema) -> None:
    """Take out the declared fields that are null where null is not allowed: null and absent are one."""
    if schema is None:
        return
    if isinstance(value, dict):
        for name in [name for name, inner in value.items() if inner is None]:
            declared = schema.get("properties", {}).get(name)
            if declared is not None and not declared.get("nullable") and "default" not in declared:
                del value[name]
        for name, inner in value.items():
            drop_nulls(inner, structure.child(schema, name))
    elif isinstance(value, list):
        for item in value:
            drop_nulls(item, structure.items(schema))


def prune(value: Any, schema: Schema, *, path: str = "", is_object: bool = False) -> Iterator[str]:
    """Take out the fields that the schema does not know, and yield their paths.

    `is_object` says that `value` is an object with apiVersion, kind and metadata, which are known anyway.
    """
    if schema is None:
        return
    if isinstance(value, dict):
        known = is_object or bool(schema.get(_EMBEDDED))
        yield from _prune_map(value, schema, path, _IDENTITY if known else frozenset())
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from prune(item, structure.items(schema), path=f"{path}[{index}]")


def _prune_map(value: dict[str, Any], schema: Mapping[str, Any], path: str, known: frozenset[str]) -> Iterator[str]:
    properties, additional = schema.get("properties", {}), schema.get("additionalProperties")
    keeps = bool(schema.get(_PRESERVE)) or additional is True or _says_nothing(schema)
    for name in list(value):
        where = f"{path}.{name}" if path else name
        if name in known:
            yield from _prune_metadata(value[name], where) if name == "metadata" else ()
            continue
        if name in properties:
            yield from prune(value[name], properties[name], path=where)
        elif isinstance(additional, Mapping):
            yield from prune(value[name], additional, path=f"{path}[{name}]")
        elif not keeps:
            del value[name]
            yield where


def _prune_metadata(metadata: Any, path: str) -> Iterator[str]:
    """Take out what ObjectMeta does not have; managedFields and the like are judged by those who write them."""
    if not isinstance(metadata, dict):
        return
    for name in [name for name in metadata if name not in _METADATA]:
        del metadata[name]
        yield f"{path}.{name}"


def _says_nothing(schema: Mapping[str, Any]) -> bool:
    """Say whether a schema takes any value, as the empty one does."""
    return "type" not in schema and "properties" not in schema
