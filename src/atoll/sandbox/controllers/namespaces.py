"""The namespace controller: a new namespace gets its default service account, a deleted one loses its content first.

Owns both; what is content follows from the registry.
"""

from __future__ import annotations

import contextlib

from atoll.kubeapi.errors import AlreadyExists, NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, split
from atoll.sandbox.kinds.catalog import NAMESPACE, SERVICE_ACCOUNT
from atoll.sandbox.kinds.core import CONTENT_FINALIZER

_LOOK_AGAIN_SECONDS = 0.1
"""How often a namespace that is being deleted is looked at: pods take their grace period and nobody says when."""


class NamespaceController:
    """The namespaces of one cluster."""

    def __init__(self, store: Store) -> None:
        """Read and write through `store`."""
        self._store = store

    def controller(self) -> Controller:
        """Return what to run."""
        return Controller("namespace", (Source(NAMESPACE, own_key),), self._reconcile)

    async def _reconcile(self, key: str) -> float | None:
        _, name = split(key)
        try:
            namespace = await self._store.get(NAMESPACE, None, name)
        except NotFound:
            return None
        if "deletionTimestamp" not in namespace["metadata"]:
            await self._furnish(name)
            return None
        if namespace["status"]["phase"] != "Terminating":
            patch = Patch("merge", {"status": {"phase": "Terminating"}})
            await self._store.patch(NAMESPACE, None, name, patch, subresource="status")
        if await self._empty(name):
            return _LOOK_AGAIN_SECONDS
        await self._release(namespace)
        return None

    async def _furnish(self, name: str) -> None:
        with contextlib.suppress(AlreadyExists):
            await self._store.create(SERVICE_ACCOUNT, {"metadata": {"name": "default", "namespace": name}})

    async def _empty(self, name: str) -> int:
        """Delete everything in a namespace. Returns how much is still there."""
        left = 0
        for rt in self._store.registry.all():
            if not rt.namespaced:
                continue
            for obj in (await self._store.list(rt, name)).items:
                left += 1
                if "deletionTimestamp" not in obj["metadata"]:
                    with contextlib.suppress(NotFound):
                        await self._store.delete(rt, name, obj["metadata"]["name"], propagation="Background")
        return left

    async def _release(self, namespace: Object) -> None:
        metadata = namespace["metadata"]
        kept = [finalizer for finalizer in metadata.get("finalizers", ()) if finalizer != CONTENT_FINALIZER]
        body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept or None}}
        with contextlib.suppress(NotFound):
            await self._store.patch(NAMESPACE, None, metadata["name"], Patch("merge", body))
