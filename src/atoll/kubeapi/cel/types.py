"""The types that rules see: what a structural schema declares, and under which names.

Owns the translation; must not know the library that checks by it.
Source: k8s.io/apiserver/pkg/cel/common/schemas.go (SchemaDeclType) and escaping.go; Kubernetes documentation
"Validation rules". What a schema keeps without declaring it cannot be named in a rule.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]

EMBEDDED = "x-kubernetes-embedded-resource"
_RESERVED = re.compile(
    "true|false|null|in|as|break|const|continue|else|for|function|if|import|let|loop|package|namespace|return|var|void"
    "|while"
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_ESCAPABLE = re.compile(r"[A-Za-z_.\-/][A-Za-z0-9_.\-/]*", re.ASCII)
_SCALARS = {"boolean": "bool", "number": "double", "integer": "int"}
_TEXTS = {"byte": "bytes", "duration": "duration", "date": "timestamp", "date-time": "timestamp"}


@dataclass(frozen=True)
class Scalar:
    """A type without parts: bool, int, double, string, bytes, timestamp, duration, or dyn for any value."""

    name: str


@dataclass(frozen=True)
class ListType:
    """A list of one type."""

    of: Type


@dataclass(frozen=True)
class MapType:
    """A map from strings to one type."""

    of: Type


@dataclass(frozen=True, eq=False)
class ObjectType:
    """An object with declared fields; `path` says where in the schema it stands."""

    path: tuple[str, ...]
    fields: Mapping[str, Type]


Type = Scalar | ListType | MapType | ObjectType
DYN = Scalar("dyn")
_TEXT = Scalar("string")
_META = {"name": _TEXT, "generateName": _TEXT}


def declared(schema: Schema, *, path: tuple[str, ...] = (), is_object: bool = False) -> Type | None:
    """Return the type of a schema's values, or None if rules cannot see them.

    `is_object` says that they have apiVersion, kind and metadata, of which rules see name and generateName.
    """
    if schema.get("x-kubernetes-int-or-string"):
        return DYN
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        inner = declared(items, path=(*path, "items"), is_object=_is_embedded(items)) if items else None
        return None if inner is None else ListType(inner)
    if kind == "object":
        return _declared_object(schema, path, is_object)
    if kind == "string":
        return Scalar(_TEXTS.get(schema.get("format", ""), "string"))
    return Scalar(_SCALARS[kind]) if kind in _SCALARS else None


def _declared_object(schema: Schema, path: tuple[str, ...], is_object: bool) -> Type | None:
    additional = schema.get("additionalProperties")
    if isinstance(additional, Mapping):
        inner = declared(additional, path=(*path, "values"), is_object=_is_embedded(additional))
        return None if inner is None else MapType(inner)
    fields: dict[str, Type] = {}
    for name, below in schema.get("properties", {}).items():
        escaped = escape(name)
        inner = declared(below, path=(*path, name), is_object=_is_embedded(below))
        if escaped is not None and inner is not None:
            fields[escaped] = inner
    if is_object:
        fields |= {"apiVersion": _TEXT, "kind": _TEXT, "metadata": ObjectType((*path, "metadata"), _META)}
    return ObjectType(path, fields)


def _is_embedded(schema: Schema) -> bool:
    return bool(schema.get(EMBEDDED))


def escape(name: str) -> str | None:
    """Return the name of a property in rules, or None if it has none."""
    if _RESERVED.fullmatch(name):
        return f"__{name}__"
    if not _ESCAPABLE.fullmatch(name):
        return None
    escaped = re.sub(r"__|[.\-/]", lambda match: _ESCAPES[match[0]], name)
    return escaped if re.fullmatch(r"[A-Za-z_]\w*", escaped, re.ASCII) else None
