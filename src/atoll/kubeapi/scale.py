"""The `/scale` subresource: the number of replicas of any kind that says where its number stands.

Owns the Scale object (autoscaling/v1) and its way back into the object; the store reads and writes.
"""

from __future__ import annotations

from typing import Any, Unpack

from atoll.kubeapi.arguments import WriteArguments
from atoll.kubeapi.errors import BadRequest, Cause, Conflict, Invalid, Subject
from atoll.kubeapi.patch import Patch, json_patch, merge_patch
from atoll.kubeapi.resource import Object, ResourceType, Scale
from atoll.kubeapi.selectors import selector_text
from atoll.kubeapi.store import Store
from atoll.kubeapi.writing import STALE

_COPIED = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
_RETRIES = 10


def scale_of(paths: Scale, obj: Object) -> Object:
    """Return the Scale of an object."""
    status: dict[str, Any] = {"replicas": _at(obj, paths.status_replicas) or 0}
    selector = _at(obj, paths.selector) if paths.selector else None
    if selector is not None:
        status["selector"] = selector_text(selector) if isinstance(selector, dict) else selector
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {name: obj["metadata"][name] for name in _COPIED if name in obj["metadata"]},
        "spec": {"replicas": _at(obj, paths.spec_replicas) or 0},
        "status": status,
    }


def with_replicas(paths: Scale, obj: Object, scale: Any) -> Object:
    """Return `obj` with the replicas of a Scale. Raises BadRequest or Invalid; changes `obj`."""
    if not isinstance(scale, dict) or scale.get("kind", "Scale") != "Scale":
        raise BadRequest("the body must be a Scale of autoscaling/v1")
    spec = scale.get("spec")
    replicas = spec.get("replicas", 0) if isinstance(spec, dict) else None
    if isinstance(replicas, bool) or not isinstance(replicas, int) or replicas < 0:
        subject = Subject("autoscaling", "Scale", obj["metadata"]["name"])
        text = f"Invalid value: {replicas!r}: must be a whole number, 0 or more"
        raise Invalid.of(subject, [Cause("spec.replicas", text)])
    *parents, last = paths.spec_replicas.split(".")
    target = obj
    for name in parents:
        target = target.setdefault(name, {})
    target[last] = replicas
    return obj


class Scales:
    """Reads and writes the Scale of objects in a store."""

    def __init__(self, store: Store) -> None:
        """Work on `store`."""
        self._store = store

    async def get(self, rt: ResourceType, namespace: str | None, name: str) -> Object:
        """Return the Scale of one object. Raises NotFound."""
        return scale_of(_paths(rt), await self._store.get(rt, namespace, name))

    async def update(
        self, rt: ResourceType, namespace: str | None, name: str, scale: Any, **options: Unpack[WriteArguments]
    ) -> Object:
        """Replace the Scale of one object. Raises Conflict when its resourceVersion is stale."""
        live = await self._store.get(rt, namespace, name)
        stated = (scale.get("metadata") or {}).get("resourceVersion") if isinstance(scale, dict) else None
        if stated and stated != live["metadata"]["resourceVersion"]:
            raise Conflict.of(rt.subject(name), STALE)
        options["subresource"] = ""  # the number stands in the object itself
        updated = await self._store.update(rt, with_replicas(_paths(rt), live, scale), **options)
        return scale_of(_paths(rt), updated)

    async def patch(
        self, rt: ResourceType, namespace: str | None, name: str, patch: Patch, **options: Unpack[WriteArguments]
    ) -> Object:
        """Patch the Scale of one object, by JSON Patch or as a merge patch."""
        for _ in range(_RETRIES):
            current = await self.get(rt, namespace, name)
            patched = (json_patch if patch.kind == "json" else merge_patch)(current, patch.body)
            try:
                return await self.update(rt, namespace, name, patched, **options)
            except Conflict:
                if current["metadata"]["resourceVersion"] != patched["metadata"].get("resourceVersion"):
                    raise
        raise Conflict.of(rt.subject(name), STALE)


def _paths(rt: ResourceType) -> Scale:
    assert rt.scale is not None, "the route exists for kinds with a scale only"
    return rt.scale


def _at(obj: Any, path: str) -> Any:
    for name in path.split("."):
        obj = obj.get(name) if isinstance(obj, dict) else None
    return obj
