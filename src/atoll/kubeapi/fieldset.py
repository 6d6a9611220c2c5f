"""Sets of fields in the FieldsV1 form, and their algebra.

A set is a tree of dicts as it stands in `managedFields[].fieldsV1` (KEP-555): the keys are path elements (`f:name` a
field, `k:{"name":"a"}` a list item by its keys, `v:"x"` an item of a set); an empty dict is a member; a dict with
children is a member too if it has the key `.`. Owns the algebra; must not know schemas. Nothing here changes its
arguments, so sets can share parts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

FieldSet = dict[str, Any]

SELF = "."
_MEMBER: FieldSet = {}


def is_member(node: FieldSet) -> bool:
    """Say whether the path that leads to `node` is itself in the set."""
    return not node or SELF in node


def _children(node: FieldSet) -> FieldSet:
    return {element: below for element, below in node.items() if element != SELF}


def _node(*, member: bool, below: FieldSet) -> FieldSet | None:
    """Return the node for a path, or None if the path leads nowhere."""
    if not below:
        return _MEMBER if member else None
    return {SELF: _MEMBER, **below} if member else below


def union(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths of either set."""
    merged = dict(left)
    for element, node in right.items():
        mine = merged.get(element)
        if mine is None or mine is node:
            merged[element] = node
            continue
        below = union(_children(mine), _children(node))
        merged[element] = _node(member=is_member(mine) or is_member(node), below=below)
    return merged


def difference(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths of `left` that are not in `right`; a member of `right` does not take what is below it."""
    if left.keys().isdisjoint(right):  # the usual case: a status was written, and others own only what is beside it
        return left
    return _combine(left, right, keep_missing=True)


def intersection(left: FieldSet, right: FieldSet) -> FieldSet:
    """Return the paths in both sets."""
    return _combine(left, right, keep_missing=False)


def _combine(left: FieldSet, right: FieldSet, *, keep_missing: bool) -> FieldSet:
    result: FieldSet = {}
    for element, mine in left.items():
        if element == SELF:
            continue
        theirs = right.get(element)
        if theirs is None:
            if keep_missing:
                result[element] = mine
            continue
        member = is_member(mine) and is_member(theirs) is not keep_missing
        node = _node(member=member, below=_combine(mine, theirs, keep_missing=keep_missing))
        if node is not None:
            result[element] = node
    return result


def named_containers_are_members(node: FieldSet) -> FieldSet:
    """Return the set with every field that has children made a member, so that emptied fields can be removed."""
    result: FieldSet = {}
    for element, below in node.items():
        inner = named_containers_are_members(below)
        if inner and element.startswith("f:"):
            inner = {SELF: _MEMBER, **inner}
        result[element] = inner
    return result


def without(node: FieldSet, *paths: tuple[str, ...]) -> FieldSet:
    """Return the set without some paths and everything below them."""
    for path in paths:
        node = _cut(node, path)
    return node


def _cut(node: FieldSet, path: tuple[str, ...]) -> FieldSet:
    element, rest = path[0], path[1:]
    below = node.get(element)
    if below is None:
        return node
    result = dict(node)
    del result[element]
    if rest:
        inner = _cut(below, rest)
        left = _node(member=is_member(below), below=_children(inner))
        if left is not None:
            result[element] = left
    return result


def paths(node: FieldSet, prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Iterate over the members, in order of their path."""
    for element, below in sorted(node.items()):
        if element == SELF:
            continue
        path = (*prefix, element)
        if is_member(below):
            yield path
        yield from paths(below, path)


def readable(path: tuple[str, ...]) -> str:
    """Return a path as conflicts name it: `.spec.containers[name="a"].image`."""
    text = ""
    for element in path:
        form, _, body = element.partition(":")
        if form == "f":
            text += f".{body}"
        elif form == "k":
            keys = orjson.loads(body).items()
            text += f"[{','.join(f'{key}={orjson.dumps(value).decode()}' for key, value in keys)}]"
        else:
            text += f"[={body}]"
    return text
