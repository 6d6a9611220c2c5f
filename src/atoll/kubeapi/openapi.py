"""OpenAPI documents of the served types, version 3 for each group-version and version 2 in one.

Owns what `kubectl explain` and the clients' validation read; pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson

from atoll.kubeapi.discovery import subresources
from atoll.kubeapi.object_meta import OBJECT_META
from atoll.kubeapi.patch import patch_types
from atoll.kubeapi.resource import ResourceType

_GVK = "x-kubernetes-group-version-kind"
_META_PREFIX = "io.k8s.apimachinery.pkg.apis.meta.v1."
_META_NAME = f"{_META_PREFIX}ObjectMeta"
_LIST_META_NAME = f"{_META_PREFIX}ListMeta"
_LIST_META = {
    "type": "object",
    "description": "Metadata of a list.",
    "properties": {
        "continue": {"type": "string", "description": "Token for the next page; empty on the last."},
        "remainingItemCount": {"type": "integer", "format": "int64", "description": "Items after this page, if known."},
        "resourceVersion": {"type": "string", "description": "The state of the server that the list shows."},
    },
}
_IDENTITY = {
    "apiVersion": {"type": "string", "description": "Group and version of the schema of this object."},
    "kind": {"type": "string", "description": "Kind of this object."},
}
_BODIES = ("application/json", "application/yaml")
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation", "pretty")
_READ_PARAMETERS = ("pretty",)
_LIST_PARAMETERS = ("labelSelector", "fieldSelector", "limit", "continue", "resourceVersion", "watch", "timeoutSeconds")


def paths_of(types: Sequence[ResourceType]) -> dict[str, Any]:
    """Return `/openapi/v3`: where the document of each group-version is, with a hash of what it says."""
    paths = {}
    for group, version in dict.fromkeys((rt.group, rt.version) for rt in types):
        where = f"apis/{group}/{version}" if group else f"api/{version}"
        document = orjson.dumps(document_v3(types, group, version, release=""), option=orjson.OPT_SORT_KEYS)
        digest = hashlib.sha256(document).hexdigest()[:32].upper()
        paths[where] = {"serverRelativeURL": f"/openapi/v3/{where}?hash={digest}"}
    return {"paths": paths}


def document_v3(types: Sequence[ResourceType], group: str, version: str, *, release: str) -> dict[str, Any] | None:
    """Return the OpenAPI v3 document of one group-version, or None if there is no such."""
    found = [rt for rt in types if (rt.group, rt.version) == (group, version)]
    if not found:
        return None
    schemas: dict[str, Any] = {_META_NAME: OBJECT_META, _LIST_META_NAME: _LIST_META}
    paths: dict[str, Any] = {}
    for rt in found:
        schemas |= _schemas(rt, "#/components/schemas/")
        paths |= dict(_paths(rt))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": release},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def document_v2(types: Sequence[ResourceType], *, release: str) -> dict[str, Any]:
    """Return the OpenAPI v2 document: the definitions of all types."""
    definitions: dict[str, Any] = {_META_NAME: OBJECT_META, _LIST_META_NAME: _LIST_META}
    for rt in types:
        definitions |= _schemas(rt, "#/definitions/")
    info = {"title": "Kubernetes", "version": release}
    return {"swagger": "2.0", "info": info, "paths": {}, "definitions": definitions}


def frame_v2(*, release: str) -> bytes:
    """Return the OpenAPI v2 document in protobuf (gnostic's `Document`), its frame only: it defines no type.

    kubectl has the schemas from v3, and asks for this where v3 has none, before it says that nobody serves the kind.
    """
    return _field(1, b"2.0") + _field(2, _field(1, b"Kubernetes") + _field(2, release.encode()))


def _field(number: int, content: bytes) -> bytes:
    assert len(content) < 128, "a length of one byte"
    return bytes((number << 3 | 2, len(content))) + content


def schema_name(rt: ResourceType) -> str:
    """Return the name of a type's schema: the group backwards, version and kind."""
    group = ".".join(reversed(rt.group.split("."))) if rt.group else "io.k8s.api.core"
    return f"{group}.{rt.version}.{rt.kind}"


def _schemas(rt: ResourceType, refs: str) -> dict[str, Any]:
    name = schema_name(rt)
    structure: Mapping[str, Any] = rt.structure or {}
    properties = {
        **structure.get("properties", {}),
        **_IDENTITY,
        "metadata": _ref(refs + _META_NAME, "Object metadata."),
    }
    item = {"type": "object", **structure, "properties": properties, _GVK: [_gvk(rt, rt.kind)]}
    if rt.schema is None:
        item["x-kubernetes-preserve-unknown-fields"] = True
    items = {"type": "array", "description": "The objects.", "items": {"$ref": refs + name}}
    listed = {
        "type": "object",
        "description": f"{rt.list_kind} is a list of {rt.kind}.",
        "required": ["items"],
        "properties": {**_IDENTITY, "items": items, "metadata": _ref(refs + _LIST_META_NAME, "List metadata.")},
        _GVK: [_gvk(rt, rt.list_kind)],
    }
    return {name: item, f"{name}List": listed}


def _ref(target: str, description: str) -> dict[str, Any]:
    return {"description": description, "default": {}, "allOf": [{"$ref": target}]}


def _gvk(rt: ResourceType, kind: str) -> dict[str, str]:
    return {"group": rt.group, "version": rt.version, "kind": kind}


@dataclass(frozen=True)
class _Operation:
    """One operation of a path; `everywhere` marks the list over all namespaces."""

    action: str
    parameters: tuple[str, ...]
    body: tuple[str, ...] = ()
    is_list: bool = False
    subresource: str = ""
    everywhere: bool = False

    @property
    def verb(self) -> str:
        """The verb of the operation, as discovery names it."""
        return {"post": "create", "put": "update"}.get(self.action, self.action)

    def document(self, rt: ResourceType) -> dict[str, Any]:
        """Return the operation on a type."""
        scope = "Namespaced" if rt.namespaced and not self.everywhere else ""
        group = "".join(part.capitalize() for part in rt.group.split(".")) or "Core"
        tail = ("ForAllNamespaces" if self.everywhere else "") + self.subresource.capitalize()
        name = schema_name(rt)
        answer = {"$ref": f"#/components/schemas/{name}{'List' if self.is_list else ''}"}
        operation: dict[str, Any] = {
            "operationId": f"{self.action}{group}{rt.version.capitalize()}{scope}{rt.kind}{tail}",
            "parameters": [_parameter(parameter, "query") for parameter in self.parameters],
            "responses": {"200": {"description": "OK", "content": {"application/json": {"schema": answer}}}},
            "x-kubernetes-action": self.action,
            _GVK: _gvk(rt, rt.kind),
        }
        if self.body:
            content = {media: {"schema": {"$ref": f"#/components/schemas/{name}"}} for media in self.body}
            operation["requestBody"] = {"required": True, "content": content}
        return operation


def _paths(rt: ResourceType) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations, parameters in _all_paths(rt):
        documents = {method: each.document(rt) for method, each in operations.items() if each.verb in rt.verbs}
        if documents:
            yield path, {**documents, "parameters": parameters}


def _all_paths(rt: ResourceType) -> Iterator[tuple[str, dict[str, _Operation], list[dict[str, Any]]]]:
    """Yield the paths of a type that has all verbs, with their operations and parameters."""
    base = f"/apis/{rt.group}/{rt.version}" if rt.group else f"/api/{rt.version}"
    collection = f"{base}/namespaces/{{namespace}}/{rt.plural}" if rt.namespaced else f"{base}/{rt.plural}"
    where = [_parameter("namespace", "path")] if rt.namespaced else []
    named = [*where, _parameter("name", "path")]
    listing = _Operation("list", _LIST_PARAMETERS, is_list=True)
    on_collection = {
        "get": listing,
        "post": _Operation("post", _WRITE_PARAMETERS, _BODIES),
        "delete": _Operation("deletecollection", _LIST_PARAMETERS),
    }
    yield collection, on_collection, where
    if rt.namespaced:
        yield f"{base}/{rt.plural}", {"get": replace(listing, everywhere=True)}, []
    on_object = {
        "get": _Operation("get", _READ_PARAMETERS),
        "put": _Operation("put", _WRITE_PARAMETERS, _BODIES),
        "patch": _Operation("patch", (*_WRITE_PARAMETERS, "force"), patch_types(rt)),
        "delete": _Operation("delete", ("dryRun", "gracePeriodSeconds", "propagationPolicy")),
    }
    yield f"{collection}/{{name}}", on_object, named
    changing = {method: each for method, each in on_object.items() if method != "delete"}
    for subresource in subresources(rt):
        operations = {method: replace(each, subresource=subresource) for method, each in changing.items()}
        yield f"{collection}/{{name}}/{subresource}", operations, named


def _parameter(name: str, place: str) -> dict[str, Any]:
    kind = {"limit": "integer", "timeoutSeconds": "integer", "gracePeriodSeconds": "integer"}.get(name, "string")
    kind = "boolean" if name in ("watch", "force") else kind
    return {"name": name, "in": place, "required": place == "path", "schema": {"type": kind, "uniqueItems": True}}
