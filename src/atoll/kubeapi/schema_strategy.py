"""Admission by schema: what a structural OpenAPI v3 schema says of an object is all there is to say.

Owns the order (prune, default, validate); used for custom resources and for kinds without rules of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from atoll.kubeapi import patterns, schema_rules, schema_shape
from atoll.kubeapi.resource import Object, Prepared
from atoll.kubeapi.structure import structural

_IDENTITY = ("apiVersion", "kind", "metadata")  # judged by metadata.py for every kind


class SchemaStrategy:
    """Defaults, prunes and validates by a schema of the whole object.

    apiVersion, kind and metadata need not be declared. A part that is to take any fields says
    `x-kubernetes-preserve-unknown-fields: true`.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises ValueError naming a pattern that cannot be compiled."""
        resolved = structural(schema, is_object=False) or {}
        declared = resolved.get("properties", {})
        properties = {name: below for name, below in declared.items() if name not in _IDENTITY}
        required = [name for name in resolved.get("required", ()) if name not in _IDENTITY]
        self._schema = {**resolved, "properties": properties, "required": required}
        for path, pattern in _patterns(self._schema, ""):
            try:
                patterns.compiled(pattern)
            except re.error as error:
                raise ValueError(f"{path}.pattern: {pattern!r} cannot be compiled: {error}") from None

    def prepare(self, new: Object, old: Object | None) -> Prepared:  # noqa: ARG002 - the protocol's signature
        """Bring `new` into shape and judge it."""
        unknown = tuple(schema_shape.prune(new, self._schema, is_object=True))
        schema_shape.drop_nulls(new, self._schema)
        schema_shape.fill_defaults(new, self._schema)
        body = {name: value for name, value in new.items() if name not in _IDENTITY}
        return Prepared(new, tuple(schema_rules.check(body, self._schema)), (), unknown)


def _patterns(schema: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    if "pattern" in schema:
        yield path, schema["pattern"]
    for name, below in schema.get("properties", {}).items():
        yield from _patterns(below, f"{path}.{name}" if path else name)
    for name in ("items", "additionalProperties", "not"):
        if isinstance(schema.get(name), Mapping):
            yield from _patterns(schema[name], f"{path}[]")
    for name in ("allOf", "anyOf", "oneOf"):
        for part in schema.get(name, ()):
            yield from _patterns(part, path)
