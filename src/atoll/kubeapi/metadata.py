"""Object metadata: what the server stamps, what a client may not change, and what a valid name or label is.

Owns these rules for every kind; must not read or write storage. Pure.
Source: Kubernetes API conventions, "Metadata"; k8s.io/apimachinery validation.ValidateObjectMeta.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from atoll.kubeapi.errors import BadRequest, Cause, Conflict
from atoll.kubeapi.resource import Object, ResourceType

_SUBDOMAIN = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
_DNS_LABEL = re.compile(r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
_PATH_SEGMENT = re.compile(r"^(?!\.{1,2}$)[^/%]+$")
_QUALIFIED = re.compile(r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
_MAX_NAME = 253
_MAX_LABEL = 63
_MAX_ANNOTATIONS_BYTES = 256 * 1024
_KEPT_BY_SERVER = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation")
_RBAC_GROUP = "rbac.authorization.k8s.io"  # its names are path segments: `system:node`


def timestamp(at: datetime) -> str:
    """Return an instant as Kubernetes writes it: UTC, whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def generate_name(prefix: str, suffix: str) -> str:
    """Return a generated name, short enough to be used as a label value."""
    return prefix[: _MAX_LABEL - len(suffix)] + suffix


def check_type(rt: ResourceType, obj: Any) -> Object:
    """Check that `obj` is an object of the resource's kind, filling in what is left out. Raises BadRequest."""
    if not isinstance(obj, dict):
        raise BadRequest(f"the body must be an object of kind {rt.kind}")
    for name, expected in (("apiVersion", rt.api_version), ("kind", rt.kind)):
        found = obj.get(name) or expected
        if found != expected:
            raise BadRequest(f"{name} in the data ({found}) does not match the expected {name} ({expected})")
    metadata = obj.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise BadRequest("metadata must be an object")
    rest = {name: value for name, value in obj.items() if name not in ("apiVersion", "kind", "metadata")}
    given = {name: value for name, value in metadata.items() if value is not None}  # null is absent, as Go reads it
    return {"apiVersion": rt.api_version, "kind": rt.kind, "metadata": given, **rest}


def check_place(rt: ResourceType, obj: Object, namespace: str | None) -> str | None:
    """Put the object into the request's namespace and return that; None if cluster-scoped. Raises BadRequest."""
    metadata = obj["metadata"]
    if not rt.namespaced:
        if metadata.get("namespace"):
            raise BadRequest(f"{rt.kind} is cluster-scoped: metadata.namespace must not be set")
        metadata.pop("namespace", None)
        return None
    stated = metadata.get("namespace") or namespace
    if namespace and stated != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if not stated:
        raise BadRequest("an empty namespace may not be set when a resource name is provided")
    metadata["namespace"] = stated
    return str(stated)


def stamp_new(rt: ResourceType, obj: Object, *, uid: str, now: str) -> None:
    """Set what the server sets on a new object, and drop what a client cannot set."""
    metadata = obj["metadata"]
    for name in ("resourceVersion", "selfLink", *_KEPT_BY_SERVER):
        metadata.pop(name, None)
    metadata["uid"] = uid
    metadata["creationTimestamp"] = now
    if _has_intent(rt, obj):
        metadata["generation"] = 1


def carry_over(rt: ResourceType, old: Object, new: Object) -> None:
    """Keep on `new` what only the server changes. Raises Conflict if `new` was made from another object."""
    before, after = old["metadata"], new["metadata"]
    if after.get("uid") and after["uid"] != before["uid"]:
        why = f"Precondition failed: UID in precondition: {after['uid']}, UID in object meta: {before['uid']}"
        raise Conflict.of(rt.subject(before["name"]), why)
    after.pop("selfLink", None)
    for name in _KEPT_BY_SERVER:
        after.pop(name, None)
        if name in before:
            after[name] = before[name]
    after["resourceVersion"] = before["resourceVersion"]


def count_generation(rt: ResourceType, old: Object, new: Object) -> None:
    """Let the generation grow if the intent changed: anything but metadata and, where it is apart, the status."""
    if not _has_intent(rt, new):
        return
    generation = old["metadata"].get("generation", 1)
    new["metadata"]["generation"] = generation + (1 if _intent(rt, old) != _intent(rt, new) else 0)


def _has_intent(rt: ResourceType, obj: Object) -> bool:
    return rt.has_status or "spec" in obj


def _intent(rt: ResourceType, obj: Object) -> Object:
    apart = ("metadata", "status") if rt.has_status else ("metadata",)
    return {name: value for name, value in obj.items() if name not in apart}


def check_metadata(rt: ResourceType, obj: Object, old: Object | None) -> Iterator[Cause]:
    """Yield every broken rule of the object's metadata; `old` is None on create."""
    metadata = obj["metadata"]
    yield from _check_name(rt, metadata.get("name"))
    if rt.namespaced and not _is_dns_label(metadata.get("namespace")):
        yield _invalid("metadata.namespace", metadata.get("namespace"), "must be a DNS-1123 label")
    yield from _check_map("metadata.labels", metadata.get("labels"))
    yield from _check_map("metadata.annotations", metadata.get("annotations"))
    yield from _check_finalizers(metadata.get("finalizers"), old["metadata"] if old is not None else {})
    yield from _check_owners(metadata.get("ownerReferences"))


def _check_name(rt: ResourceType, name: object) -> Iterator[Cause]:
    if not name:
        yield Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
    elif not isinstance(name, str):
        yield _invalid("metadata.name", name, "must be a string")
    elif rt.group == _RBAC_GROUP:
        if not _PATH_SEGMENT.match(name):
            yield _invalid("metadata.name", name, "must not be '.' or '..' nor contain '/' or '%'")
    elif (rt.group, rt.kind) == ("", "Namespace"):
        if not _is_dns_label(name):
            yield _invalid("metadata.name", name, "must be a DNS-1123 label: a-z, 0-9 and '-', at most 63 characters")
    elif len(name) > _MAX_NAME or not _SUBDOMAIN.match(name):
        hint = (
            "a lowercase RFC 1123 subdomain has only a-z, 0-9, '-' and '.', and begins and ends with a letter or digit"
        )
        yield _invalid("metadata.name", name, hint)


def _check_map(path: str, values: object) -> Iterator[Cause]:
    if values is None:
        return
    if not isinstance(values, Mapping):
        yield _invalid(path, values, "must be a map of strings", "FieldValueTypeInvalid")
        return
    for key, value in values.items():
        if not _is_qualified(key):
            yield _invalid(path, key, "is not a qualified name: [prefix/]name with at most 63 characters in the name")
        if not isinstance(value, str):
            yield _invalid(f"{path}[{key}]", value, "must be a string", "FieldValueTypeInvalid")
        elif path.endswith("labels") and value and (len(value) > _MAX_LABEL or not _QUALIFIED.match(value)):
            yield _invalid(path, value, "a label value has at most 63 of A-Z, a-z, 0-9, '-', '_' and '.'")
    if path.endswith("annotations"):
        size = sum(len(str(key)) + len(str(value)) for key, value in values.items())
        if size > _MAX_ANNOTATIONS_BYTES:
            message = f"Too long: may not be more than {_MAX_ANNOTATIONS_BYTES} bytes"
            yield Cause(path, message, "FieldValueTooLong")


def _check_finalizers(finalizers: object, before: Mapping[str, Any]) -> Iterator[Cause]:
    if finalizers is None:
        return
    if not isinstance(finalizers, list):
        yield _invalid("metadata.finalizers", finalizers, "must be a list of strings", "FieldValueTypeInvalid")
        return
    for index, finalizer in enumerate(finalizers):
        if not isinstance(finalizer, str) or not _is_qualified(finalizer):
            yield _invalid(f"metadata.finalizers[{index}]", finalizer, "is not a qualified name")
    known = frozenset(before.get("finalizers") or ())
    added = [str(finalizer) for finalizer in finalizers if str(finalizer) not in known]
    if added and "deletionTimestamp" in before:
        what = f"no new finalizers can be added if the object is being deleted, found {', '.join(added)}"
        yield Cause("metadata.finalizers", f"Forbidden: {what}", "FieldValueForbidden")


def _check_owners(owners: object) -> Iterator[Cause]:
    if owners is None:
        return
    if not isinstance(owners, list) or not all(isinstance(owner, Mapping) for owner in owners):
        yield _invalid("metadata.ownerReferences", owners, "must be a list of owners", "FieldValueTypeInvalid")
        return
    for index, owner in enumerate(owners):
        for name in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(name):
                path = f"metadata.ownerReferences[{index}].{name}"
                yield Cause(path, "Required value: must not be empty", "FieldValueRequired")
    if sum(bool(owner.get("controller")) for owner in owners) > 1:
        yield _invalid("metadata.ownerReferences", "controller", "only one owner can be the controller")


def _is_dns_label(text: object) -> bool:
    return isinstance(text, str) and len(text) <= _MAX_LABEL and _DNS_LABEL.match(text) is not None


def _is_qualified(key: object) -> bool:
    if not isinstance(key, str):
        return False
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_NAME or not _SUBDOMAIN.match(prefix)):
        return False
    return len(name) <= _MAX_LABEL and _QUALIFIED.match(name) is not None


def _invalid(path: str, value: object, rule: str, reason: str = "FieldValueInvalid") -> Cause:
    shown = f'"{value}"' if isinstance(value, str) else str(value)
    return Cause(path, f"Invalid value: {shown}: {rule}", reason)
