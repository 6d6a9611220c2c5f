"""Judging an object by its schema: types, required fields, enums, patterns, bounds, formats, duplicates.

Owns value validation by OpenAPI v3; must not change anything. Every broken rule is a cause, worded as Kubernetes'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from atoll.kubeapi import structure
from atoll.kubeapi.errors import Cause
from atoll.kubeapi.patterns import compiled
from atoll.kubeapi.schema_formats import FORMATS
from atoll.kubeapi.structure import Schema

_INVALID, _TYPE = "FieldValueInvalid", "FieldValueTypeInvalid"
_INT_OR_STRING = "x-kubernetes-int-or-string"
_EMBEDDED = "x-kubernetes-embedded-resource"


def check(value: Any, schema: Schema, path: str = "") -> Iterator[Cause]:
    """Yield every rule of the schema that a value breaks."""
    if schema is None or (value is None and schema.get("nullable")):
        return
    wrong_type = _wrong_type(value, schema)
    if wrong_type:
        found = f'"{_type_name(value)}"'
        yield Cause(path, f"Invalid value: {found}: {path} in body must be of type {wrong_type}: {found}", _TYPE)
        yield from _check_enum(value, schema, path)
        return
    yield from _check_enum(value, schema, path)
    if isinstance(value, dict):
        yield from _check_map(value, schema, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, path)
    elif isinstance(value, str):
        yield from _check_string(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _check_number(value, schema, path)
    yield from _check_junctors(value, schema, path)


def shown(value: Any) -> str:
    """Return a value as messages show it, cut if it is long."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= 120 else f"{text[:117]}..."


def _wrong_type(value: Any, schema: Mapping[str, Any]) -> str:
    """Return the type that a value should have and has not, or an empty string."""
    if schema.get(_INT_OR_STRING):
        return "" if isinstance(value, int | str) and not isinstance(value, bool) else "integer or string"
    wanted = schema.get("type", "")
    if not wanted or (value is None and "default" not in schema and wanted == "null"):
        return ""
    if isinstance(value, bool):
        return "" if wanted == "boolean" else str(wanted)
    fits = {
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "string": isinstance(value, str),
        "integer": isinstance(value, int) or (isinstance(value, float) and value.is_integer()),
        "number": isinstance(value, int | float),
        "boolean": False,
    }
    return "" if fits.get(str(wanted), True) else str(wanted)


def _check_enum(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    allowed = schema.get("enum")
    if allowed is not None and value not in allowed:
        choices = ", ".join(shown(choice) for choice in allowed)
        text = f"Unsupported value: {shown(value)}: supported values: {choices}"
        yield Cause(path, text, "FieldValueNotSupported")


def _check_map(value: dict[str, Any], schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for name in schema.get("required", ()):
        if value.get(name) is None:
            yield Cause(_join(path, name), "Required value", "FieldValueRequired")
    yield from _check_count(len(value), schema, path, ("minProperties", "maxProperties", "properties"))
    properties = schema.get("properties", {})
    for name, inner in value.items():
        below = structure.child(schema, name)
        if inner is None and not (below or {}).get("nullable") and name in properties:
            continue  # null and absent are one; a required field has been named above
        yield from check(inner, below, _join(path, name))
    if schema.get(_EMBEDDED):
        yield from _check_embedded(value, path)


def _check_embedded(value: dict[str, Any], path: str) -> Iterator[Cause]:
    """Yield what an object within an object lacks to be one."""
    for name in ("apiVersion", "kind"):
        if not value.get(name):
            yield Cause(_join(path, name), "Required value: must not be empty", "FieldValueRequired")
        elif not isinstance(value[name], str):
            found = f'"{_type_name(value[name])}"'
            where = _join(path, name)
            yield Cause(where, f"Invalid value: {found}: {where} in body must be of type string: {found}", _TYPE)
    if not isinstance(value.get("metadata", {}), dict):
        yield Cause(_join(path, "metadata"), "Invalid value: must be an object", _TYPE)


def _check_list(value: list[Any], schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    inner = structure.items(schema)
    for index, item in enumerate(value):
        yield from check(item, inner, f"{path}[{index}]")
    yield from _check_count(len(value), schema, path, ("minItems", "maxItems", "items"))
    kind = structure.list_type(schema)
    seen: set[bytes] = set()
    for index, item in enumerate(value):
        identity = item
        if kind == "map":
            identity = structure.item_keys(schema, item) if isinstance(item, Mapping) else None
        if identity is None or (kind == "atomic" and not schema.get("uniqueItems")):
            continue
        encoded = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
        if encoded in seen:
            yield Cause(f"{path}[{index}]", f"Duplicate value: {shown(identity)}", "FieldValueDuplicate")
        seen.add(encoded)


def _check_count(count: int, schema: Mapping[str, Any], path: str, names: tuple[str, str, str]) -> Iterator[Cause]:
    least, most, what = names
    if count < schema.get(least, 0):
        text = f"Invalid value: {count}: {path} in body should have at least {schema[least]} {what}"
        yield Cause(path, text, _INVALID)
    if most in schema and count > schema[most]:
        text = f"Too many: {count}: must have at most {schema[most]} item{'' if schema[most] == 1 else 's'}"
        yield Cause(path, text, "FieldValueTooMany")


def _check_string(value: str, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    if len(value) < schema.get("minLength", 0):
        text = f"Invalid value: {shown(value)}: {path} in body should be at least {schema['minLength']} chars long"
        yield Cause(path, text, _INVALID)
    if "maxLength" in schema and len(value) > schema["maxLength"]:
        text = f"Too long: may not be more than {schema['maxLength']} bytes"
        yield Cause(path, text, "FieldValueTooLong")
    pattern = schema.get("pattern")
    if pattern is not None and not compiled(pattern).occurs_in(value):
        yield Cause(path, f"Invalid value: {shown(value)}: {path} in body should match '{pattern}'", _INVALID)
    is_format = FORMATS.get(schema.get("format", ""))
    if is_format is not None and not is_format(value):
        text = f"Invalid value: {shown(value)}: {path} in body must be of type {schema['format']}: {shown(value)}"
        yield Cause(path, text, _TYPE)


def _check_number(value: float, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    least, most, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    above, below = schema.get("exclusiveMinimum") is True, schema.get("exclusiveMaximum") is True
    rules = (
        (
            least is not None and (value < least or (above and value == least)),
            f"greater than {_or_equal(above)}{least}",
        ),
        (most is not None and (value > most or (below and value == most)), f"less than {_or_equal(below)}{most}"),
        (bool(step) and Decimal(str(value)) % Decimal(str(step or 1)) != 0, f"a multiple of {step}"),
    )
    for broken, rule in rules:
        if broken:
            yield Cause(path, f"Invalid value: {shown(value)}: {path} in body should be {rule}", _INVALID)
    bits = {"int32": 31, "int64": 63}.get(schema.get("format", ""))
    if bits is not None and not -(2**bits) <= value < 2**bits:
        yield Cause(path, f"Invalid value: {shown(value)}: {path} in body must be of type {schema['format']}", _INVALID)


def _or_equal(exclusive: bool) -> str:
    return "" if exclusive else "or equal to "


def _check_junctors(value: Any, schema: Mapping[str, Any], path: str) -> Iterator[Cause]:
    for part in schema.get("allOf", ()):
        yield from check(value, part, path)
    for junctor, rule in (("anyOf", "at least one schema (anyOf)"), ("oneOf", "one and only one schema (oneOf)")):
        if junctor in schema:
            yield from _check_choice(value, schema[junctor], path, rule, is_exclusive=junctor == "oneOf")
    if "not" in schema and _holds(value, schema["not"], path):
        yield Cause(path, f'Invalid value: "": "{path}" must not validate the schema (not)')


def _check_choice(
    value: Any, choices: Sequence[Mapping[str, Any]], path: str, rule: str, *, is_exclusive: bool
) -> Iterator[Cause]:
    """Yield what keeps a value from one, or from only one, of several schemas; and what the nearest of them lacks."""
    faults = [tuple(check(value, choice, path)) for choice in choices]
    count = sum(not found for found in faults)
    if count == 1 or (count and not is_exclusive):
        return
    text = f'Invalid value: "": "{path}" must validate {rule}'
    if is_exclusive:
        text += f". Found {count} valid alternatives" if count else ". Found none valid"
    yield Cause(path, text)
    if not count:
        yield from min(faults, key=len, default=())


def _holds(value: Any, schema: Mapping[str, Any], path: str) -> bool:
    return next(check(value, schema, path), None) is None


def _type_name(value: Any) -> str:
    names = {dict: "object", list: "array", str: "string", bool: "boolean", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
