"""The Deployment controller: carries out what deployment_plan.py decides.

Owns the writes only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers import deployment_plan
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, owner_key, split
from atoll.sandbox.kinds.catalog import DEPLOYMENT, POD


class DeploymentController:
    """The Deployments of one cluster."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Read and write through `store`."""
        self._store = store
        self._clock = clock

    def controller(self) -> Controller:
        """Return what to run."""
        sources = (Source(DEPLOYMENT, own_key), Source(POD, owner_key("Deployment")))
        return Controller("deployment", sources, self._reconcile)

    async def _reconcile(self, key: str) -> None:
        namespace, name = split(key)
        try:
            deployment = await self._store.get(DEPLOYMENT, namespace, name)
        except NotFound:
            return
        if "deletionTimestamp" in deployment["metadata"]:
            return
        uid = deployment["metadata"]["uid"]
        pods = [pod for pod in (await self._store.list(POD, namespace)).items if _is_owned(pod, uid)]
        step = deployment_plan.plan(deployment, pods, self._clock())
        if step.status != deployment.get("status"):
            await self._store.update(DEPLOYMENT, {**deployment, "status": step.status}, subresource="status")
        for doomed in step.delete:
            with contextlib.suppress(NotFound):
                await self._store.delete(POD, namespace, doomed)
        for _ in range(step.create):
            await self._store.create(POD, deployment_plan.new_pod(deployment), namespace=namespace)


def _is_owned(pod: Object, uid: str) -> bool:
    return any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ()))
