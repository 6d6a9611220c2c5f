"""JSON values as rules see them: numbers, instants and bytes by the schema's types, properties by their escaped names.

Owns the conversion; it copies only what differs from JSON, and changes nothing. Values must have been validated: what
does not fit its format becomes an error for whoever reads it.
Source: k8s.io/apiserver/pkg/cel/common/values.go (UnstructuredToVal).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any

from atoll.kubeapi.cel.conversions import instant, span
from atoll.kubeapi.cel.types import Schema, escape
from atoll.kubeapi.cel.values import CelError, Failed, MapList, SetList

Convert = Callable[[Any], Any]


def converter(schema: Schema) -> Convert | None:
    """Return what converts values of a schema, or None if rules see them as they are."""
    if schema.get("x-kubernetes-int-or-string"):
        return None
    kind = schema.get("type")
    if kind == "array":
        return _of_list(schema)
    if kind == "object":
        return _of_object(schema)
    if kind == "string":
        parse = _TEXTS.get(schema.get("format", ""))
        return None if parse is None else _parsing(parse, schema["format"])
    return {"number": _number, "integer": _integer}.get(str(kind))


def _of_list(schema: Schema) -> Convert | None:
    inner = converter(schema.get("items") or {})
    kind = schema.get("x-kubernetes-list-type")
    keys = tuple(escape(key) or key for key in schema.get("x-kubernetes-list-map-keys", ()))
    if inner is None and kind not in ("set", "map"):
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, list):
            return value
        items = value if inner is None else [inner(item) for item in value]
        if kind == "map":
            known = MapList(items)
            known.keys = keys
            return known
        return SetList(items) if kind == "set" else items

    return convert


def _of_object(schema: Schema) -> Convert | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        every = converter(additional)
        return None if every is None else lambda value: _mapped(value, every)
    below = {name: converter(inner) for name, inner in schema.get("properties", {}).items()}
    renamed = {name: escaped for name in below if (escaped := escape(name)) not in (None, name)}
    changed = {name: convert for name, convert in below.items() if convert is not None}
    if not renamed and not changed:
        return None

    def convert(value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            renamed.get(name, name): changed[name](inner) if name in changed else inner for name, inner in value.items()
        }

    return convert


def _mapped(value: Any, convert: Convert) -> Any:
    return {key: convert(inner) for key, inner in value.items()} if isinstance(value, dict) else value


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _integer(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parsing(parse: Callable[[str], Any], format_: str) -> Convert:
    def convert(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        try:
            return parse(value)
        except (ValueError, OverflowError, binascii.Error):
            return Failed(CelError(f"Invalid {format_} {value[:60]!r}"))

    return convert


def _midnight(text: str) -> datetime:
    return datetime.combine(date.fromisoformat(text), time(), UTC)


_TEXTS: Mapping[str, Callable[[str], Any]] = {
    "date-time": instant,
    "date": _midnight,
    "duration": span,
    "byte": lambda text: base64.b64decode(text, validate=True),
}
