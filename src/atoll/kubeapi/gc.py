"""The garbage collector: deletes what lost all its owners, and carries out foreground and orphan deletions.

Owns the loop; the graph is in owner_graph.py. Works on any store, in this process; one runs per API.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from atoll.kubeapi.deletion import FOREGROUND, ORPHAN, Propagation
from atoll.kubeapi.errors import ApiError, Conflict, Gone, NotFound
from atoll.kubeapi.owner_graph import Node, Owner, OwnerGraph
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.kubeapi.watching import Delta

log = logging.getLogger(__name__)

MANAGER = "garbage-collector"
_RETRY_SECONDS = 0.2
_LOOK_FOR_TYPES_SECONDS = 1.0  # a custom resource's objects are collected at most this long after it is defined


class GarbageCollector:
    """Collects garbage in one store."""

    def __init__(self, store: Store) -> None:
        """Collect nothing until run()."""
        self._store = store
        self._graph = OwnerGraph()
        self._due: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._refused: set[str] = set()  # what is to be tried again when the object changes in any way
        self._loading: set[ResourceType] = set()
        self._loaded = asyncio.Event()

    async def run(self) -> None:
        """Collect until cancelled."""
        watched: dict[ResourceType, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._work(), name="gc-worker")
            while True:
                served = dict.fromkeys(self._store.registry.all())
                for rt in [rt for rt in served if rt not in watched]:
                    self._begin(rt)
                    watched[rt] = tasks.create_task(self._watch(rt), name=f"gc-watch-{rt.plural}")
                for rt in [rt for rt in watched if rt not in served]:
                    watched.pop(rt).cancel()
                    self._end(rt)
                await asyncio.sleep(_LOOK_FOR_TYPES_SECONDS)

    def _begin(self, rt: ResourceType) -> None:
        """Decide nothing until all objects of a type are known: what is not known yet is not absent."""
        self._loading.add(rt)
        self._loaded.clear()

    def _end(self, rt: ResourceType) -> None:
        self._loading.discard(rt)
        if not self._loading:
            self._loaded.set()

    async def _watch(self, rt: ResourceType) -> None:
        while True:
            self._begin(rt)
            unseen = {node.uid for node in self._graph.of_type(rt)}
            try:
                async for deltas in self._store.deltas(rt, send_initial=True, marks_initial=True):
                    for delta in deltas:
                        self._take(rt, delta, unseen)
            except Gone:
                log.info("collector fell behind; reading all objects again", extra={"resource": rt.plural})
            except ApiError:
                log.warning("collector could not watch", extra={"resource": rt.plural}, exc_info=True)
            await asyncio.sleep(_RETRY_SECONDS)

    def _take(self, rt: ResourceType, delta: Delta, unseen: set[str]) -> None:
        if delta.entry is None:
            for uid in unseen:  # what was known before and is not in the initial state went meanwhile
                self._enqueue(self._graph.drop(uid))
            unseen.clear()
            self._end(rt)
            return
        node = Node.of(rt, self._store.cache.recent.look(delta.entry))
        unseen.discard(node.uid)
        if delta.type == "MODIFIED" and node == self._graph.get(node.uid) and node.uid not in self._refused:
            return  # its status was written, mostly: nothing that is decided here follows from that
        self._refused.discard(node.uid)
        self._enqueue(self._graph.drop(node.uid) if delta.type == "DELETED" else self._graph.put(node))

    def _enqueue(self, uids: set[str]) -> None:
        for uid in uids - self._queued:
            self._queued.add(uid)
            self._due.put_nowait(uid)

    async def _work(self) -> None:
        while True:
            uid = await self._due.get()
            await self._loaded.wait()
            self._queued.discard(uid)
            node = self._graph.get(uid)
            if node is None:
                continue
            try:
                await self._collect(node)
            except NotFound:
                continue  # it is gone already; the watch will say so
            except ApiError as error:
                facts = {"kind": node.rt.kind, "why": error.message}
                if error.retryable or isinstance(error, Conflict):
                    log.info("collector will try again", extra=facts)
                    asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._enqueue, {uid})
                else:
                    self._refused.add(uid)
                    log.warning("collector was refused; it tries again when the object changes", extra=facts)

    async def _collect(self, node: Node) -> None:
        if node.waits_to_orphan:
            for dependent in self._graph.dependents(node.uid):
                await self._drop_owners(dependent, {node.uid})
            await self._finish(node, ORPHAN)
        elif node.waits_for_dependents:
            await self._delete_blockers(node)
        if node.owners and not node.is_deleting:
            await self._collect_without_owners(node)

    async def _delete_blockers(self, node: Node) -> None:
        blockers = self._graph.blockers(node.uid)
        for dependent in blockers:
            if not dependent.is_deleting:
                await self._delete(dependent, "Foreground")
        if not blockers:
            await self._finish(node, FOREGROUND)

    async def _collect_without_owners(self, node: Node) -> None:
        absent = {owner.uid for owner in node.owners if await self._is_absent(owner, node.namespace)}
        if len(absent) == len({owner.uid for owner in node.owners}):
            await self._delete(node, "Background")
        elif absent:
            await self._drop_owners(node, absent)

    async def _is_absent(self, owner: Owner, namespace: str | None) -> bool:
        """Say whether an owner does not exist. One of a kind that is not served here is taken to exist."""
        if self._graph.get(owner.uid) is not None:
            return False
        rt = self._store.registry.by_kind(owner.group, owner.kind)
        if rt is None or (rt.namespaced and namespace is None):
            return False
        try:
            found = await self._store.get(rt, namespace, owner.name)
        except NotFound:
            return True
        return bool(found["metadata"]["uid"] != owner.uid)

    async def _delete(self, node: Node, propagation: Propagation) -> None:
        await self._store.delete(node.rt, node.namespace, node.name, uid=node.uid, propagation=propagation)

    async def _drop_owners(self, node: Node, uids: set[str]) -> None:
        def change(metadata: Object) -> None:
            kept = [owner for owner in metadata.get("ownerReferences") or () if owner.get("uid") not in uids]
            metadata["ownerReferences"] = kept

        await self._change(node, change)

    async def _finish(self, node: Node, finalizer: str) -> None:
        def change(metadata: Object) -> None:
            metadata["finalizers"] = [other for other in metadata.get("finalizers") or () if other != finalizer]

        await self._change(node, change)

    async def _change(self, node: Node, change: Callable[[Object], None]) -> None:
        obj = await self._store.get(node.rt, node.namespace, node.name)
        if obj["metadata"]["uid"] != node.uid:
            raise node.rt.not_found(node.name)
        change(obj["metadata"])
        for name in ("finalizers", "ownerReferences"):
            if not obj["metadata"].get(name):
                obj["metadata"].pop(name, None)
        await self._store.update(node.rt, obj, field_manager=MANAGER, field_validation="Ignore")
