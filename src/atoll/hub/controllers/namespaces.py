"""Namespaces: one that is deleted takes its contents with it, and goes last.

Owns the deletion of what is in a namespace, and its finalizer.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence

from atoll.hub.client import translated
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Outcome, RequeueAfter, Source
from atoll.hub.kinds import NAMESPACE_FINALIZER
from atoll.kubeapi.errors import Gone, NotFound, Timeout, Unavailable
from atoll.kubeapi.resource import ResourceType
from atoll.kubeapi.store import Store

# How soon to look again whether what has finalizers of its own has gone.
_WAIT_SECONDS = 0.5
_WATCH_RETRY_SECONDS = 0.5


class _Namespaces(Source):
    """The namespaces of a store."""

    def __init__(self, store: Store, rt: ResourceType) -> None:
        self._store, self._rt = store, rt

    async def keys(self) -> AsyncIterator[Iterable[Key]]:
        """Give every namespace, then those that change."""
        while True:
            try:
                async for event in self._store.watch(self._rt):
                    yield [("", event.object["metadata"]["name"])]
            except Gone:
                continue
            except (Unavailable, Timeout):  # as in hub/client.py: an end of this would be the end of the hub
                await asyncio.sleep(_WATCH_RETRY_SECONDS)
                continue
            return


class NamespaceController:
    """Empties namespaces that are being deleted."""

    name = "namespaces"

    def __init__(self, context: Context) -> None:
        self._store = context.client.store
        found = self._store.registry.by_kind("", "Namespace")
        assert found is not None, "the registry of the hub serves namespaces"
        self._type = found

    def sources(self) -> Sequence[Source]:
        """Watch namespaces."""
        return (_Namespaces(self._store, self._type),)

    async def reconcile(self, key: Key) -> Outcome:
        """Delete what is in one namespace that is being deleted, then let it go."""
        with translated():
            return await self._reconcile(key[1])

    async def _reconcile(self, name: str) -> Outcome:
        try:
            namespace = await self._store.get(self._type, None, name)
        except NotFound:
            return DONE
        metadata = namespace["metadata"]
        if "deletionTimestamp" not in metadata or NAMESPACE_FINALIZER not in metadata.get("finalizers", ()):
            return DONE
        if await self._empty(name):
            return RequeueAfter(_WAIT_SECONDS)
        metadata["finalizers"] = [other for other in metadata["finalizers"] if other != NAMESPACE_FINALIZER]
        await self._store.update(self._type, namespace, field_manager="atoll-hub")
        return DONE

    async def _empty(self, namespace: str) -> int:
        """Delete everything in a namespace; give how many objects there were."""
        found = 0
        for rt in self._store.registry.all():
            if not rt.namespaced:
                continue
            for item in (await self._store.list(rt, namespace)).items:
                found += 1
                if "deletionTimestamp" not in item["metadata"]:
                    await self._delete(rt, namespace, item["metadata"]["name"])
        return found

    async def _delete(self, rt: ResourceType, namespace: str, name: str) -> None:
        try:
            await self._store.delete(rt, namespace, name, propagation="Background")
        except NotFound:
            return
