"""Values with a schema: their fields, how two of them differ, and how to merge them or remove fields from them.

Owns the walk over structured values that server-side apply and field tracking stand on (the semantics are those of
sigs.k8s.io/structured-merge-diff); must not know managers. Arguments are never changed; results may share parts with
them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from atoll.kubeapi import structure
from atoll.kubeapi.fieldset import SELF, FieldSet, is_member, union
from atoll.kubeapi.structure import Schema

_LEAF: FieldSet = {}


def list_elements(schema: Schema, values: list[Any]) -> dict[str, Any] | None:
    """Return the items of a set or map list by path element, or None if the list is one value as a whole.

    A list with items that cannot be told apart is one value too, whatever its schema says.
    """
    kind = structure.list_type(schema)
    if kind == "atomic":
        return None
    elements: dict[str, Any] = {}
    for value in values:
        element = _element(schema, kind, value)
        if element is None or element in elements:
            return None
        elements[element] = value
    return elements


def _element(schema: Schema, kind: str, value: Any) -> str | None:
    if kind == "set":
        return "v:" + orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    identity = structure.item_keys(schema, value) if isinstance(value, Mapping) else None
    return None if identity is None else "k:" + orjson.dumps(identity, option=orjson.OPT_SORT_KEYS).decode()


def field_set(value: Mapping[str, Any], schema: Schema) -> FieldSet:
    """Return the fields that an applied configuration states: leaves, keys of maps, items of lists."""
    fields: FieldSet = {}
    for name, inner in value.items():
        below = _stated(inner, structure.child(schema, name))
        if below and not structure.is_named(schema, name):
            below = {SELF: _LEAF, **below}
        fields[f"f:{name}"] = below
    return fields


def _stated(value: Any, schema: Schema) -> FieldSet:
    if isinstance(value, dict) and not structure.is_atomic_map(schema):
        return field_set(value, schema)
    elements = list_elements(schema, value) if isinstance(value, list) else None
    if elements is None:
        return _LEAF
    inner = structure.items(schema)
    stated = {element: _stated(item, inner) for element, item in elements.items()}
    return {element: {SELF: _LEAF, **below} if below else _LEAF for element, below in stated.items()}


def everything(value: Any, schema: Schema) -> FieldSet:
    """Return the node of a value with all that is below it, containers included."""
    if isinstance(value, dict) and not structure.is_atomic_map(schema):
        below = {f"f:{name}": everything(inner, structure.child(schema, name)) for name, inner in value.items()}
    else:
        elements = list_elements(schema, value) if isinstance(value, list) else None
        inner = structure.items(schema)
        below = {element: everything(item, inner) for element, item in (elements or {}).items()}
    return {SELF: _LEAF, **below} if below else _LEAF


@dataclass(frozen=True)
class Comparison:
    """What differs between two values, as sets of fields."""

    added: FieldSet = field(default_factory=dict)
    modified: FieldSet = field(default_factory=dict)
    removed: FieldSet = field(default_factory=dict)

    @property
    def is_same(self) -> bool:
        """True if the values are equal."""
        return not (self.added or self.modified or self.removed)

    @property
    def changed(self) -> FieldSet:
        """The fields that are new or have a new value."""
        return union(self.added, self.modified)


def compare(old: Mapping[str, Any], new: Mapping[str, Any], schema: Schema) -> Comparison:
    """Compare two objects field by field."""
    comparison = Comparison()
    mine = {f"f:{name}": (value, structure.child(schema, name)) for name, value in old.items()}
    theirs = {f"f:{name}": (value, structure.child(schema, name)) for name, value in new.items()}
    _compare(mine, theirs, comparison)
    return comparison


_Members = dict[str, tuple[Any, Schema]]


def _compare(old: _Members, new: _Members, into: Comparison) -> None:
    for element, (value, schema) in old.items():
        if element not in new:
            into.removed[element] = everything(value, schema)
    for element, (value, schema) in new.items():
        if element not in old:
            into.added[element] = everything(value, schema)
            continue
        before = old[element][0]
        if before is value or (before == value and type(before) is type(value)):
            continue
        mine, theirs = _members(before, schema), _members(value, schema)
        if mine is None or theirs is None or isinstance(before, dict) is not isinstance(value, dict):
            into.modified[element] = _LEAF
            continue
        inner = Comparison()
        _compare(mine, theirs, inner)
        _hang(inner, element, into)


def _hang(inner: Comparison, element: str, into: Comparison) -> None:
    if inner.added:
        into.added[element] = inner.added
    if inner.modified:
        into.modified[element] = inner.modified
    if inner.removed:
        into.removed[element] = inner.removed


def _members(value: Any, schema: Schema) -> _Members | None:
    """Return what is directly below a granular map or list by path element, or None for a value without parts."""
    if isinstance(value, dict):
        if structure.is_atomic_map(schema):
            return None
        return {f"f:{name}": (inner, structure.child(schema, name)) for name, inner in value.items()}
    elements = list_elements(schema, value) if isinstance(value, list) else None
    if elements is None:
        return None
    inner_schema = structure.items(schema)
    return {element: (item, inner_schema) for element, item in elements.items()}


def merge(live: Any, config: Any, schema: Schema) -> Any:
    """Lay `config` over `live`: granular maps and lists are merged, everything else is replaced."""
    if isinstance(config, dict):
        if not isinstance(live, dict) or structure.is_atomic_map(schema):
            return config
        merged = dict(live)
        for name, value in config.items():
            below = structure.child(schema, name)
            merged[name] = merge(live[name], value, below) if name in live else value
        return merged
    if isinstance(config, list) and isinstance(live, list):
        mine, theirs = list_elements(schema, live), list_elements(schema, config)
        if mine is not None and theirs is not None:
            return _merge_lists(mine, theirs, structure.items(schema))
    return config


def _merge_lists(live: dict[str, Any], config: dict[str, Any], schema: Schema) -> list[Any]:
    """Keep the order of `config` among its items; the items only `live` has stand where they stood, before new ones.

    The order is that of structured-merge-diff, typed/merge.go: clients see it.
    """
    merged: list[Any] = []
    waiting = deque(live)
    shared = deque(element for element in config if element in live)
    for element, item in config.items():
        while waiting and not (shared and waiting[0] == shared[0]):
            other = waiting.popleft()
            if other not in config:
                merged.append(live[other])
        if element not in live:
            merged.append(item)
            continue
        merged.append(merge(live[element], item, schema))
        shared.popleft()
    return merged + [live[other] for other in waiting if other not in config]


def remove(value: Any, fields: FieldSet, schema: Schema) -> Any:
    """Return `value` without the members of `fields`; what a removal leaves empty goes too."""
    if isinstance(value, dict) and not structure.is_atomic_map(schema):
        return _remove_from_map(value, fields, schema)
    elements = list_elements(schema, value) if isinstance(value, list) else None
    if elements is None:
        return value
    inner = structure.items(schema)
    kept: list[Any] = []
    for element, item in elements.items():
        below = fields.get(element)
        if below is None:
            kept.append(item)
        elif not is_member(below):
            kept.append(remove(item, below, inner))
    return kept


def _remove_from_map(value: dict[str, Any], fields: FieldSet, schema: Schema) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, inner in value.items():
        below = fields.get(f"f:{name}")
        if below is None:
            kept[name] = inner
        elif not is_member(below):
            left = remove(inner, below, structure.child(schema, name))
            if left or not inner:
                kept[name] = left
    return kept
