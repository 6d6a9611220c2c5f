"""Patches of three kinds: JSON Patch (RFC 6902), JSON Merge Patch (RFC 7386), and which kind a request carries.

Owns these two algorithms and the Patch value; strategic merge is in strategic.py, server-side apply in apply.py. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from atoll.kubeapi.errors import BadRequest, Cause, Invalid, RequestTooLarge
from atoll.kubeapi.resource import Object, ResourceType

PatchKind = Literal["json", "merge", "strategic", "apply"]
PATCH_TYPES: dict[str, PatchKind] = {
    "application/json-patch+json": "json",
    "application/merge-patch+json": "merge",
    "application/strategic-merge-patch+json": "strategic",
    "application/apply-patch+yaml": "apply",
}
_CUSTOM_TYPES = tuple(media_type for media_type, kind in PATCH_TYPES.items() if kind != "strategic")
MAX_OPERATIONS = 10_000  # as kube-apiserver limits a JSON Patch
MAX_COPIED_BYTES = 3 * 1024 * 1024  # all copies together, its JSONPatchMaxCopyBytes: each could double the object


@dataclass(frozen=True)
class Patch:
    """A patch as it was sent: a list of operations for `json`, an object for the other kinds."""

    kind: PatchKind
    body: Any


def patch_types(rt: ResourceType) -> tuple[str, ...]:
    """Return the media types of the patches that a resource takes."""
    return _CUSTOM_TYPES if rt.is_custom else tuple(PATCH_TYPES)


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch: null removes, objects merge, everything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


def json_patch(target: Object, operations: Any) -> Object:
    """Apply a JSON Patch.

    Raises BadRequest if the patch is malformed, Invalid naming the operation if it does not fit the object,
    RequestTooLarge if it copies too much.
    """
    if not isinstance(operations, list) or not all(isinstance(operation, Mapping) for operation in operations):
        raise BadRequest("a JSON Patch is a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise BadRequest(f"a JSON Patch may have at most {MAX_OPERATIONS} operations, this has {len(operations)}")
    document: Any = copy.deepcopy(target)
    copied = 0
    for index, operation in enumerate(operations):
        try:
            copied += _copied_bytes(document, operation)
            if copied > MAX_COPIED_BYTES:
                raise RequestTooLarge(f"a JSON Patch may copy at most {MAX_COPIED_BYTES} bytes of the object")
            document = _operate(document, operation)
        except (LookupError, ValueError, TypeError) as error:
            what = f"{operation.get('op')} {operation.get('path')}: {error}"
            cause = Cause(f"[{index}]", what, "FieldValueInvalid")
            raise Invalid(f"the patch cannot be applied: operation {index}: {what}", causes=[cause]) from None
    if not isinstance(document, dict):
        raise Invalid("the patch cannot be applied: it replaces the object by something else")
    return document


def _copied_bytes(document: Any, operation: Mapping[str, Any]) -> int:
    """Say how much an operation copies; raise TypeError if that is nested too deeply to be written."""
    if operation.get("op") != "copy":
        return 0
    return len(orjson.dumps(_at(document, _pointer(operation.get("from")))))


def _operate(document: Any, operation: Mapping[str, Any]) -> Any:
    name, path = operation.get("op"), _pointer(operation.get("path"))
    if name in ("add", "replace", "test") and "value" not in operation:
        raise ValueError("value is missing")
    if name == "add":
        return _put(document, path, copy.deepcopy(operation["value"]), must_exist=False)
    if name == "replace":
        return _put(document, path, copy.deepcopy(operation["value"]), must_exist=True)
    if name == "remove":
        return _take(document, path)
    if name == "test":
        if not _same(_at(document, path), operation["value"]):
            raise ValueError("the value is another")
        return document
    if name == "copy":
        return _put(document, path, copy.deepcopy(_at(document, _pointer(operation.get("from")))), must_exist=False)
    if name == "move":
        return _move(document, _pointer(operation.get("from")), path)
    raise ValueError(f"{name!r} is none of add, remove, replace, move, copy, test")


def _move(document: Any, source: list[str], path: list[str]) -> Any:
    if path[: len(source)] == source and len(path) > len(source):
        raise ValueError("a value cannot be moved into itself")
    value = _at(document, source)
    return _put(_take(document, source), path, value, must_exist=False)


def _pointer(text: Any) -> list[str]:
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise ValueError(f"{text!r} is not a JSON pointer")
    return [part.replace("~1", "/").replace("~0", "~") for part in text.split("/")[1:]]


def _at(document: Any, path: list[str]) -> Any:
    for part in path:
        if isinstance(document, list):
            document = document[_index(part, len(document) - 1)]
        elif isinstance(document, dict) and part in document:
            document = document[part]
        else:
            raise LookupError(f"there is no {part!r}")
    return document


def _put(document: Any, path: list[str], value: Any, *, must_exist: bool) -> Any:
    if not path:
        return value
    if must_exist:
        _at(document, path)
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif must_exist:
        parent[_index(last, len(parent) - 1)] = value
    elif isinstance(parent, list):
        parent.insert(len(parent) if last == "-" else _index(last, len(parent)), value)
    else:
        raise LookupError(f"there is nothing to put {last!r} into")
    return document


def _take(document: Any, path: list[str]) -> Any:
    if not path:
        return None
    _at(document, path)
    parent, last = _at(document, path[:-1]), path[-1]
    if isinstance(parent, list):
        del parent[_index(last, len(parent) - 1)]
    else:
        del parent[last]
    return document


def _same(left: Any, right: Any) -> bool:
    """Compare as JSON does: true is not 1."""
    return orjson.dumps(left, option=orjson.OPT_SORT_KEYS) == orjson.dumps(right, option=orjson.OPT_SORT_KEYS)


def _index(text: str, highest: int) -> int:
    if not text.isascii() or not text.isdigit() or (text != "0" and text.startswith("0")):
        raise ValueError(f"{text!r} is not an index of a list")
    if int(text) > highest:
        raise LookupError(f"index {text} is out of bounds")
    return int(text)
