"""An operator for any kind of workload that has an adapter: carries out what operator_plan.py decides.

Owns the writes only. It stands for the operators of JobSet, Kubeflow, Ray and others as far as Atoll sees of them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from atoll.federation.errors import InvalidInput
from atoll.federation.workloads import Adapter
from atoll.kubeapi.errors import AlreadyExists, NotFound
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers import operator_plan
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, owner_key, split
from atoll.sandbox.events import Recorder, Said
from atoll.sandbox.kinds.catalog import POD


class Operator:
    """The operator of one kind in one cluster."""

    def __init__(self, store: Store, rt: ResourceType, adapter: Adapter, clock: Callable[[], datetime]) -> None:
        """Read and write objects of `rt` through `store`."""
        self._store, self._rt, self._adapter, self._clock = store, rt, adapter, clock
        self._events = Recorder(store, f"{rt.singular}-operator", clock)

    def controller(self) -> Controller:
        """Return what to run."""
        sources = (Source(self._rt, own_key), Source(POD, owner_key(self._rt.kind)))
        return Controller(f"{self._rt.singular}-operator", sources, self._reconcile)

    async def _reconcile(self, key: str) -> None:
        namespace, name = split(key)
        try:
            obj = await self._store.get(self._rt, namespace, name)
        except NotFound:
            return
        if "deletionTimestamp" in obj["metadata"]:
            return
        try:
            step = operator_plan.plan(obj, self._adapter, await self._pods(obj), self._clock())
        except InvalidInput as error:
            await self._events.say(obj, Said("InvalidSpec", str(error), "Warning"))
            return
        if step.status != obj.get("status"):
            await self._store.update(self._rt, {**obj, "status": step.status}, subresource="status")
        for doomed in step.delete:
            with contextlib.suppress(NotFound):
                await self._store.delete(POD, namespace, doomed)
        for pod in step.create:
            with contextlib.suppress(AlreadyExists):
                await self._store.create(POD, pod, namespace=namespace)

    async def _pods(self, obj: Object) -> list[Object]:
        uid = obj["metadata"]["uid"]
        pods = (await self._store.list(POD, obj["metadata"]["namespace"])).items
        return [pod for pod in pods if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))]
