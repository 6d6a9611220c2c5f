"""Admission by schema: what a structural OpenAPI v3 schema says of an object is all there is to say.

Owns the order (prune, default, validate); used for custom resources and for kinds without rules of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from atoll.kubeapi import patterns, schema_rules, schema_shape
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.resource import Object, Prepared
from atoll.kubeapi.structure import structural

if TYPE_CHECKING:
    from atoll.kubeapi.schema_validations import Validations

VALIDATIONS = "x-kubernetes-validations"
_IDENTITY = ("apiVersion", "kind", "metadata")  # judged by metadata.py for every kind
_NAMES = ("name", "generateName")  # all of metadata that a schema may have rules for
# hasBlockingErr of apiextensions-apiserver: rules may rely on values that have the shape of their schema
_BLOCKING = frozenset(
    ("FieldValueNotSupported", "FieldValueRequired", "FieldValueTooLong", "FieldValueTooMany", "FieldValueTypeInvalid")
)
_NOT_ASKED = Cause(
    "<nil>",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)


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
            except patterns.BadPattern as error:
                raise ValueError(f"{path}.pattern: {pattern!r} cannot be compiled: {error}") from None
        metadata = declared.get("metadata", {})
        names = {name: below for name, below in metadata.get("properties", {}).items() if name in _NAMES}
        self._metadata = {"type": "object", "properties": names}
        with_names = {**properties, "metadata": {**metadata, **self._metadata}}
        self._validations = validations_of({**self._schema, "properties": with_names})

    @property
    def unenforced(self) -> tuple[str, ...]:
        """The CEL rules that this server cannot judge, each with the reason."""
        return () if self._validations is None else tuple(self._validations.findings.unenforced)

    def prepare(self, new: Object, old: Object | None) -> Prepared:
        """Bring `new` into shape and judge it."""
        unknown = tuple(schema_shape.prune(new, self._schema, is_object=True))
        schema_shape.drop_nulls(new, self._schema)
        schema_shape.fill_defaults(new, self._schema)
        body = {name: value for name, value in new.items() if name not in _IDENTITY}
        names = {name: value for name, value in new.get("metadata", {}).items() if name in _NAMES}
        causes = [*schema_rules.check(names, self._metadata, "metadata"), *schema_rules.check(body, self._schema)]
        if self._validations is not None:
            is_blocked = any(cause.reason in _BLOCKING for cause in causes)
            causes += [_NOT_ASKED] if is_blocked else self._validations.check(new, old)
        return Prepared(new, tuple(causes), (), unknown)


def validations_of(schema: Mapping[str, Any], path: str = "") -> Validations | None:
    """Return the CEL rules of a schema, or None if it has none: the CEL library is loaded for the first that has."""
    if not _has_rules(schema):
        return None
    from atoll.kubeapi.schema_validations import Validations

    return Validations(schema, path)


def _has_rules(schema: Any) -> bool:
    if isinstance(schema, Mapping):
        return VALIDATIONS in schema or any(_has_rules(below) for below in schema.values())
    return isinstance(schema, list) and any(_has_rules(below) for below in schema)


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
