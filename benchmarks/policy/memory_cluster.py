"""An API server's objects in memory, as far as the agent's policies ask for them: apply, read, list, watch, delete.

It costs next to nothing, so that what is measured is the agent. It must not check what it is given.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
from collections.abc import AsyncIterator, Callable
from typing import Any

from atoll.edge.member.kube import Listing, WatchEvent
from atoll.edge.member.objects import EVERYTHING, FIELD_MANAGER, Kind, Object, ObjectRef, Selection, key_of


class MemoryCluster:
    """What `edge.member.kube.Kube` does for policies; `applied` is called with each object that is applied."""

    def __init__(self, applied: Callable[[ObjectRef], None]) -> None:
        """Hold nothing yet."""
        self._applied = applied
        self._objects: dict[Kind, dict[str, Object]] = {}
        self._watches: dict[Kind, list[asyncio.Queue[WatchEvent]]] = {}
        self._versions = itertools.count(1)

    def count(self) -> int:
        """Say how many objects there are."""
        return sum(len(objects) for objects in self._objects.values())

    async def get(self, ref: ObjectRef) -> Object | None:
        """Read an object."""
        return self._objects.get(ref.kind, {}).get(ref.key)

    async def list(self, kind: Kind, _selection: Selection = EVERYTHING, *, project: Callable[[Object], Any]) -> Any:
        """Read all objects of a kind; each is Atoll's."""
        return Listing([project(obj) for obj in self._objects.get(kind, {}).values()], str(next(self._versions)))

    async def watch(self, kind: Kind, _selection: Selection = EVERYTHING, **_: object) -> AsyncIterator[WatchEvent]:
        """Give changes for ever."""
        queue: asyncio.Queue[WatchEvent] = asyncio.Queue()
        self._watches.setdefault(kind, []).append(queue)
        while True:
            yield await queue.get()

    async def server_side_apply(self, manifest: Object, **_options: object) -> Object:
        """Take an object as it is."""
        ref = ObjectRef.of(manifest)
        old = self._objects.setdefault(ref.kind, {}).get(ref.key)
        obj = copy.copy(manifest)
        obj["metadata"] = {
            **manifest["metadata"],
            "uid": old["metadata"]["uid"] if old else str(next(self._versions)),
            "resourceVersion": str(next(self._versions)),
            "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply"}],
        }
        self._objects[ref.kind][ref.key] = obj
        self._tell("MODIFIED" if old else "ADDED", ref.kind, obj)
        self._applied(ref)
        return obj

    async def delete(self, ref: ObjectRef, **_options: object) -> bool:
        """Delete an object."""
        old = self._objects.get(ref.kind, {}).pop(ref.key, None)
        if old is not None:
            self._tell("DELETED", ref.kind, old)
        return old is not None

    def _tell(self, event: str, kind: Kind, obj: Object) -> None:
        assert key_of(obj)
        for queue in self._watches.get(kind, ()):
            queue.put_nowait(WatchEvent(event, obj))
