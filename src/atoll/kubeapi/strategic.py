"""Strategic merge patch: a merge patch that knows how the schema merges lists.

Owns the algorithm and its directives ($patch, $retainKeys, $setElementOrder, $deleteFromPrimitiveList). Pure.
Only `x-kubernetes-patch-strategy` and `-merge-key` merge lists: clients compute patches from these, and a server that
merged more than they say would keep what the patch meant to remove.
Source: kubernetes/community, contributors/devel/sig-api-machinery/strategic-merge-patch.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atoll.kubeapi import structure
from atoll.kubeapi.errors import BadRequest
from atoll.kubeapi.structure import Schema

_DIRECTIVE = "$patch"
_RETAIN = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE_FROM = "$deleteFromPrimitiveList/"


def strategic_patch(target: Any, patch: Any, schema: Schema) -> Any:
    """Apply a strategic merge patch. Raises BadRequest naming the directive or list that is malformed."""
    if not isinstance(patch, Mapping):
        return patch
    directive = patch.get(_DIRECTIVE)
    if directive == "delete":
        return {}
    if directive == "replace":
        return {name: value for name, value in patch.items() if name != _DIRECTIVE}
    if directive not in (None, "merge"):
        raise BadRequest(f"$patch: {directive!r} is none of merge, replace, delete")
    result = dict(target) if isinstance(target, Mapping) else {}
    if _RETAIN in patch:
        result = {name: value for name, value in result.items() if name in patch[_RETAIN]}
    for name, value in patch.items():
        if not name.startswith("$"):
            _merge_field(result, name, value, structure.child(schema, name))
    _apply_list_directives(result, patch, schema)
    return result


def _merge_field(result: dict[str, Any], name: str, value: Any, schema: Schema) -> None:
    if value is None:
        result.pop(name, None)
    elif isinstance(value, list):
        result[name] = _merge_list(result.get(name), value, schema)
    elif isinstance(value, Mapping) and structure.patch_strategies(schema) == {"replace"}:
        result[name] = dict(value)
    elif isinstance(value, Mapping) and value.get(_DIRECTIVE) == "delete" and len(value) == 1:
        result.pop(name, None)
    else:
        result[name] = strategic_patch(result.get(name), value, schema)


def _merge_list(target: Any, patch: list[Any], schema: Schema) -> list[Any]:
    live = list(target) if isinstance(target, list) else []
    key = structure.merge_key(schema)
    if key is not None:
        return _merge_maps(live, patch, key, structure.items(schema))
    if "merge" in structure.patch_strategies(schema):
        return live + [item for item in patch if item not in live]
    return [item for item in patch if not (isinstance(item, Mapping) and _DIRECTIVE in item and len(item) == 1)]


def _merge_maps(live: list[Any], patch: list[Any], key: str, schema: Schema) -> list[Any]:
    if any(isinstance(item, Mapping) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if _DIRECTIVE not in item]
    result = list(live)
    for item in patch:
        if not isinstance(item, Mapping) or key not in item:
            raise BadRequest(f"map: {item!r} does not contain declared merge key: {key}")
        at = next((index for index, other in enumerate(result) if other.get(key) == item[key]), None)
        if item.get(_DIRECTIVE) == "delete":
            result = [other for other in result if other.get(key) != item[key]]
        elif at is None:
            result.append(strategic_patch({}, item, schema))
        else:
            result[at] = strategic_patch(result[at], item, schema)
    return result


def _apply_list_directives(result: dict[str, Any], patch: Mapping[str, Any], schema: Schema) -> None:
    for directive, value in patch.items():
        if directive.startswith(_DELETE_FROM):
            name = directive.removeprefix(_DELETE_FROM)
            if isinstance(result.get(name), list):
                result[name] = [item for item in result[name] if item not in value]
    for directive, value in patch.items():
        if directive.startswith(_ORDER):
            name = directive.removeprefix(_ORDER)
            if isinstance(result.get(name), list):
                key = structure.merge_key(structure.child(schema, name))
                result[name] = _in_order(result[name], [_identity(item, key) for item in value], key)


def _identity(item: Any, key: str | None) -> Any:
    return item.get(key) if key is not None and isinstance(item, Mapping) else item


def _in_order(items: list[Any], order: list[Any], key: str | None) -> list[Any]:
    """Bring the items named in `order` into that order; the others keep their place relative to what precedes them."""
    named = sorted(
        (item for item in items if _identity(item, key) in order), key=lambda item: order.index(_identity(item, key))
    )
    result: list[Any] = []
    for item in items:
        if _identity(item, key) in order:
            result.append(named.pop(0))
        else:
            result.append(item)
    return result
