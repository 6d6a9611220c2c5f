"""What a delete request means for one object.

Owns the decision: refuse, mark for deletion, or remove. Pure.
Source: Kubernetes documentation "Garbage Collection" and "Finalizers"; DeleteOptions of meta/v1.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from atoll.kubeapi.errors import Conflict
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object, ResourceType

FOREGROUND, ORPHAN = "foregroundDeletion", "orphan"
Propagation = Literal["", "Background", "Foreground", "Orphan"]  # empty: as the object's finalizers say already


@dataclass(frozen=True)
class DeleteRequest:
    """How to delete: preconditions, what becomes of dependents, and how long the object may take to end."""

    propagation: Propagation = ""
    uid: str = ""
    resource_version: str = ""
    grace_seconds: int | None = None


@dataclass(frozen=True)
class Deletion:
    """What to do with the object: `obj` is what to store, `is_final` says to remove it instead."""

    obj: Object
    is_final: bool


def decide(rt: ResourceType, obj: Object, request: DeleteRequest, now: datetime) -> Deletion:
    """Decide over a delete request; `obj` may be changed in place.

    Raises Conflict if a precondition fails, or if the resource's own rule keeps the object.
    """
    _check_preconditions(rt, obj, request)
    if rt.why_kept is not None and (why := rt.why_kept(obj)):
        raise Conflict.of(rt.subject(obj["metadata"]["name"]), why)
    metadata = obj["metadata"]
    _set_propagation(metadata, request.propagation)
    grace = _grace(rt, obj, request)
    if not metadata.get("finalizers") and grace == 0:
        return Deletion(obj, is_final=True)
    due = timestamp(now + timedelta(seconds=grace))
    if "deletionTimestamp" not in metadata:
        metadata["deletionTimestamp"] = due
        metadata["deletionGracePeriodSeconds"] = grace
        if "generation" in metadata:
            metadata["generation"] += 1
    elif grace < metadata.get("deletionGracePeriodSeconds", 0):
        metadata["deletionTimestamp"] = min(due, metadata["deletionTimestamp"])
        metadata["deletionGracePeriodSeconds"] = grace
    return Deletion(obj, is_final=False)


def is_finished(obj: Object) -> bool:
    """Say whether an object that is being deleted may go now: nobody's finalizer and no grace period is left."""
    metadata = obj["metadata"]
    waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
    return "deletionTimestamp" in metadata and not waits


def _check_preconditions(rt: ResourceType, obj: Object, request: DeleteRequest) -> None:
    metadata = obj["metadata"]
    wanted = (("UID", request.uid, "uid"), ("ResourceVersion", request.resource_version, "resourceVersion"))
    for label, expected, name in wanted:
        if expected and metadata[name] != expected:
            why = f"Precondition failed: {label} in precondition: {expected}, {label} in object meta: {metadata[name]}"
            raise Conflict.of(rt.subject(metadata["name"]), why)


def _set_propagation(metadata: Object, propagation: Propagation) -> None:
    if not propagation:
        return
    added = {"Foreground": FOREGROUND, "Orphan": ORPHAN}.get(propagation)
    others = [finalizer for finalizer in metadata.get("finalizers") or () if finalizer not in (FOREGROUND, ORPHAN)]
    finalizers = [*others, added] if added else others
    if finalizers:
        metadata["finalizers"] = finalizers
    else:
        metadata.pop("finalizers", None)


def _grace(rt: ResourceType, obj: Object, request: DeleteRequest) -> int:
    if rt.grace_seconds is None:
        return 0
    default = rt.grace_seconds(obj)
    if default == 0 or request.grace_seconds is None:
        return default
    return max(0, request.grace_seconds)
