"""What makes a schema of a definition structural, so that objects can be pruned, defaulted and merged by it.

Owns judging schemas; the rules in CEL that they carry are schema_validations.py's.
Source: Kubernetes documentation "Specifying a structural schema"; k8s.io/apiextensions-apiserver
pkg/apiserver/schema/validation.go and pkg/apis/apiextensions/validation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from atoll.kubeapi import patterns, schema_rules, schema_shape
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.schema_formats import KNOWN_FORMATS
from atoll.kubeapi.structure import structural

Schema = Mapping[str, Any]

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_INT_OR_STRING, _PRESERVE = "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields"
_EMBEDDED, _LIST_TYPE, _KEYS = (
    "x-kubernetes-embedded-resource",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_UNSUPPORTED = ("$ref", "definitions", "dependencies", "discriminator", "id", "patternProperties", "readOnly", "xml")
_ONLY_OUTSIDE = ("type", "default", "description", "title", "nullable", "additionalProperties", _PRESERVE, _LIST_TYPE)
_FITS: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda _value: True,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, Mapping),
    "schema": lambda value: isinstance(value, Mapping | list),  # a list is refused with better words
    "schema or boolean": lambda value: isinstance(value, Mapping | bool),
}
_SHAPES: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("type", "format", "pattern", "title", "description", _LIST_TYPE), ("", "string")),
    **dict.fromkeys(
        ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), ("", "integer")
    ),
    **dict.fromkeys(("minimum", "maximum", "multipleOf"), ("", "number")),
    **dict.fromkeys(("exclusiveMinimum", "exclusiveMaximum", "uniqueItems", "nullable"), ("", "boolean")),
    **dict.fromkeys((_INT_OR_STRING, _PRESERVE, _EMBEDDED), ("", "boolean")),
    **dict.fromkeys(("properties", "not"), ("", "object")),
    **dict.fromkeys(("allOf", "anyOf", "oneOf", "x-kubernetes-validations"), ("object", "list")),
    **dict.fromkeys(("required", _KEYS), ("string", "list")),
    "enum": ("any", "list"),
    "items": ("", "schema"),
    "additionalProperties": ("", "schema or boolean"),
}
_OF_METADATA = frozenset(("name", "generateName"))


def faults(schema: Any, path: str) -> Iterator[Cause]:
    """Yield everything that keeps a version's schema from being one, with its place."""
    if not isinstance(schema, Mapping) or schema.get("type") != "object":
        found = schema.get("type") if isinstance(schema, Mapping) else schema
        yield _invalid(f"{path}.type", found, "must be object at the root")
        return
    try:
        found = list(_faults(schema, path))
    except RecursionError:
        found = [Cause(path, "Invalid value: is nested too deeply")]
    yield from found
    if found:
        return
    metadata = schema.get("properties", {}).get("metadata", {})
    if isinstance(metadata, Mapping) and not metadata.get("properties", {}).keys() <= _OF_METADATA:
        text = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield Cause(f"{path}.properties[metadata]", f"Forbidden: {text}", "FieldValueForbidden")


def unknown_formats(schema: Any, path: str) -> Iterator[str]:
    """Yield a warning for every format that nothing checks."""
    for where, below in _below(schema, path):
        if below.get("format", "int32") not in KNOWN_FORMATS:
            yield f'{where}.format: unrecognized format "{below["format"]}"'
        yield from unknown_formats(below, where)


def _faults(schema: Any, path: str) -> Iterator[Cause]:
    """Judge one level and those below: every value needs a type, or says that any will do."""
    malformed = list(_shape_faults(schema, path))
    yield from malformed
    if malformed:
        return
    yield from _type_faults(schema, path)
    yield from _keyword_faults(schema, path)
    yield from _list_faults(schema, path)
    for where, part in _choices(schema, path):
        yield from _junctor_faults(part, schema, where, path)
    for where, inner in _below(schema, path):
        yield from _faults(inner, where)
    if "default" in schema:
        yield from _default_faults(schema, path)


def _shape_faults(schema: Any, path: str) -> Iterator[Cause]:
    """Yield the keywords whose values are not of the type that the keyword has."""
    if not isinstance(schema, Mapping):
        yield _invalid(path, schema, "must be a schema")
        return
    for name, value in schema.items():
        inner, kind = _SHAPES.get(name, ("", "any"))
        fits = _FITS[kind](value) if kind != "list" else isinstance(value, list) and all(map(_FITS[inner], value))
        if not fits:
            yield Cause(
                f"{path}.{name}", f"Invalid value: must be of type {kind} {inner}".rstrip(), "FieldValueTypeInvalid"
            )


def _below(schema: Schema, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas one level below, with their places."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}.properties[{name}]", inner
    for name in ("items", "additionalProperties"):
        if name in schema and not isinstance(schema[name], bool | list):
            yield f"{path}.{name}", schema[name]


def _choices(schema: Schema, path: str) -> Iterator[tuple[str, Any]]:
    """Yield the schemas that a schema combines, with their places."""
    for name in ("allOf", "anyOf", "oneOf"):
        for index, part in enumerate(schema.get(name, ())):
            yield f"{path}.{name}[{index}]", part
    if "not" in schema:
        yield f"{path}.not", schema["not"]


def _type_faults(schema: Schema, path: str) -> Iterator[Cause]:
    kind = schema.get("type")
    if schema.get(_INT_OR_STRING):
        if kind:
            yield _invalid(f"{path}.type", kind, f"must be empty if {_INT_OR_STRING} is true")
    elif not kind and not schema.get(_PRESERVE):
        yield _required(f"{path}.type", "must not be empty for specified object fields")
    elif kind and kind not in _TYPES:
        choices = ", ".join(f'"{known}"' for known in _TYPES)
        yield Cause(
            f"{path}.type", f'Unsupported value: "{kind}": supported values: {choices}', "FieldValueNotSupported"
        )
    if schema.get(_EMBEDDED):
        if kind != "object":
            yield _invalid(f"{path}.type", kind, f"must be object if {_EMBEDDED} is true")
        if not schema.get("properties") and not schema.get(_PRESERVE):
            yield _required(f"{path}.properties", f"must not be empty if {_EMBEDDED} is true without {_PRESERVE}")


def _keyword_faults(schema: Schema, path: str) -> Iterator[Cause]:
    for name in _UNSUPPORTED:
        if name in schema:
            yield _forbidden(f"{path}.{name}", "is not supported")
    if schema.get("uniqueItems"):
        yield _forbidden(f"{path}.uniqueItems", "cannot be true since the runtime complexity becomes quadratic")
    if schema.get("additionalProperties") is False:
        yield _forbidden(f"{path}.additionalProperties", "cannot be set to false")
    if schema.get("properties") and "additionalProperties" in schema:
        yield _forbidden(f"{path}.additionalProperties", "additionalProperties and properties are mutual exclusive")
    if schema.get(_PRESERVE) is False:
        yield _invalid(f"{path}.{_PRESERVE}", "false", "must be true or undefined")
    if schema.get("type") == "array" and not isinstance(schema.get("items"), Mapping):
        yield _required(f"{path}.items", "must be specified for arrays, as one schema")
    yield from _pattern_faults(schema, path)


def _pattern_faults(schema: Schema, path: str) -> Iterator[Cause]:
    try:
        patterns.compiled(str(schema.get("pattern", "")))
    except patterns.BadPattern as error:
        yield _invalid(f"{path}.pattern", schema["pattern"], f"must be a valid regular expression, but isn't: {error}")


def _list_faults(schema: Schema, path: str) -> Iterator[Cause]:
    kind, keys = schema.get(_LIST_TYPE), schema.get(_KEYS)
    items = schema.get("items") if isinstance(schema.get("items"), Mapping) else {}
    assert isinstance(items, Mapping)
    if kind is not None and kind not in ("atomic", "set", "map"):
        text = f'Unsupported value: "{kind}": supported values: "atomic", "set", "map"'
        yield Cause(f"{path}.{_LIST_TYPE}", text, "FieldValueNotSupported")
    elif kind is not None and schema.get("type") != "array":
        yield _invalid(f"{path}.type", schema.get("type"), f"must be array if {_LIST_TYPE} is specified")
    elif kind == "set" and not _is_atomic(items):
        yield _invalid(f"{path}.items", items.get("type"), f"must be a scalar or atomic if {_LIST_TYPE} is set")
    elif kind == "map":
        yield from _map_list_faults(items, keys or (), path)
    if keys and kind != "map":
        yield _invalid(f"{path}.{_LIST_TYPE}", kind, f"must be map if {_KEYS} is non-empty")


def _is_atomic(items: Schema) -> bool:
    if items.get("type") == "object":
        return items.get("x-kubernetes-map-type") == "atomic"
    return items.get("type") != "array" or items.get(_LIST_TYPE, "atomic") == "atomic"


def _map_list_faults(items: Schema, keys: Any, path: str) -> Iterator[Cause]:
    if not keys:
        yield _required(f"{path}.{_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
    if items.get("type") != "object":
        yield _invalid(f"{path}.items.type", items.get("type"), f"must be object if {_LIST_TYPE} is map")
        return
    for index, key in enumerate(keys):
        declared = items.get("properties", {}).get(key)
        if declared is None:
            yield _invalid(f"{path}.{_KEYS}[{index}]", key, "entries must all be names of item properties")
        elif declared.get("type") in ("array", "object"):
            text = "entries must all be names of scalar item properties"
            yield _invalid(f"{path}.items.properties[{key}].type", declared["type"], text)
        elif key not in items.get("required", ()) and "default" not in declared:
            text = f"this property is in {_KEYS}, so it must have a default or be a required property"
            yield _required(f"{path}.items.properties[{key}].default", text)


def _junctor_faults(part: Any, outside: Schema, path: str, outer: str) -> Iterator[Cause]:
    """Yield what a part of a choice says that only the schema around it may say, or that this does not say at all."""
    malformed = list(_shape_faults(part, path))
    yield from malformed
    if malformed:
        return
    for name in _ONLY_OUTSIDE:
        if name in part and not (name == "type" and outside.get(_INT_OR_STRING)):
            yield _forbidden(f"{path}.{name}", "must be empty to be structural")
    yield from _pattern_faults(part, path)
    for name, below in part.get("properties", {}).items():
        known = outside.get("properties", {}).get(name)
        if known is None:
            yield _required(f"{outer}.properties[{name}]", f"because it is defined in {path}.properties[{name}]")
        else:
            yield from _junctor_faults(below, known, f"{path}.properties[{name}]", f"{outer}.properties[{name}]")
    if isinstance(part.get("items"), Mapping) and isinstance(outside.get("items"), Mapping):
        yield from _junctor_faults(part["items"], outside["items"], f"{path}.items", f"{outer}.items")
    for where, inner in _choices(part, path):
        yield from _junctor_faults(inner, outside, where, outer)


def _default_faults(schema: Schema, path: str) -> Iterator[Cause]:
    """Yield why a default could not be stored: it must be an object of its own schema, without unknown fields."""
    default = copy.deepcopy(schema["default"])
    resolved = structural(schema, is_object=False)
    if default is None:
        if not schema.get("nullable"):
            yield _invalid(f"{path}.default", "null", "must not be null where null is not allowed")
        return
    for unknown in schema_shape.prune(default, resolved):
        yield _invalid(f"{path}.default", unknown, "must not have unknown fields")
    schema_shape.fill_defaults(default, resolved)
    yield from schema_rules.check(default, resolved, f"{path}.default")


def _invalid(path: str, value: object, rule: str) -> Cause:
    return Cause(path, f'Invalid value: "{value}": {rule}')


def _required(path: str, rule: str) -> Cause:
    return Cause(path, f"Required value: {rule}", "FieldValueRequired")


def _forbidden(path: str, rule: str) -> Cause:
    return Cause(path, f"Forbidden: {rule}", "FieldValueForbidden")
