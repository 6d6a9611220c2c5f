"""The Job controller: carries out what job_plan.py decides.

Owns the order of writes: the status that counts a pod is written before the pod may go.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from atoll.kubeapi.errors import Conflict, NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.controllers import job_plan
from atoll.sandbox.controllers.copies import Copies
from atoll.sandbox.controllers.job_plan import TRACKING
from atoll.sandbox.controllers.runtime import Controller, Source, own_key, owner_key, split
from atoll.sandbox.events import Recorder, Said
from atoll.sandbox.kinds.catalog import JOB, POD


class JobController:
    """The Jobs of one cluster."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        """Read and write through `store`."""
        self._store = store
        self._pods = Copies(store, POD)
        self._clock = clock
        self._events = Recorder(store, "job-controller", clock)

    def controller(self) -> Controller:
        """Return what to run."""
        return Controller("job", (Source(JOB, own_key), Source(POD, owner_key("Job"))), self._reconcile)

    async def _reconcile(self, key: str) -> float | None:
        namespace, name = split(key)
        try:
            job = await self._store.get(JOB, namespace, name)
        except NotFound:
            await self._release_orphans(namespace, name)
            return None
        pods = await self._pods_of(job)
        if "deletionTimestamp" in job["metadata"] or job_plan.is_finished(job):
            await self._release([pod for pod in pods if _may_go(pod)])
            return await self._expire(job)
        step = job_plan.plan(job, pods, self._clock())
        if step.status != job.get("status"):
            await self._store.update(JOB, {**job, "status": step.status}, subresource="status")
        await self._release([pod for pod in pods if pod["metadata"]["name"] in step.uncount])
        doomed = [pod for pod in pods if pod["metadata"]["name"] in step.delete]
        if step.forgives:
            await self._release(doomed)
        await self._delete(job, doomed)
        await self._create(job, step.create)
        await self._forget(job_plan.forgotten(pods))
        return step.again_seconds

    async def _pods_of(self, job: Object) -> list[Object]:
        uid, pods = job["metadata"]["uid"], await self._pods.list()
        return [pod for pod in pods if any(o["uid"] == uid for o in pod["metadata"].get("ownerReferences", ()))]

    async def _create(self, job: Object, indexes: tuple[int | None, ...]) -> None:
        for index in indexes:
            pod = await self._store.create(POD, job_plan.new_pod(job, index), namespace=job["metadata"]["namespace"])
            await self._events.say(job, Said("SuccessfulCreate", f"Created pod: {pod['metadata']['name']}"))

    async def _delete(self, job: Object, pods: list[Object]) -> None:
        for pod in pods:
            metadata = pod["metadata"]
            with contextlib.suppress(NotFound):
                await self._store.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])
                await self._events.say(job, Said("SuccessfulDelete", f"Deleted pod: {metadata['name']}"))

    async def _forget(self, pods: list[Object]) -> None:
        """Delete pods that nobody will look at any more."""
        for pod in pods:
            metadata = pod["metadata"]
            with contextlib.suppress(NotFound, Conflict):
                await self._store.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"])

    async def _release(self, pods: list[Object]) -> None:
        """Take the tracking finalizer from pods that are counted."""
        for pod in pods:
            metadata = pod["metadata"]
            kept = [finalizer for finalizer in metadata.get("finalizers", ()) if finalizer != TRACKING]
            if len(kept) == len(metadata.get("finalizers", ())):
                continue
            body = {"metadata": {"resourceVersion": metadata["resourceVersion"], "finalizers": kept or None}}
            with contextlib.suppress(NotFound):
                await self._store.patch(POD, metadata["namespace"], metadata["name"], Patch("merge", body))

    async def _release_orphans(self, namespace: str, job_name: str) -> None:
        """Let the pods of a Job go that is gone itself; the garbage collector deletes them."""
        pods = (await self._store.list(POD, namespace)).items
        owned = [pod for pod in pods if f"{namespace}/{job_name}" in owner_key("Job")(pod)]
        await self._release([pod for pod in owned if _may_go(pod)])

    async def _expire(self, job: Object) -> float | None:
        metadata = job["metadata"]
        if "deletionTimestamp" in metadata or not job_plan.is_finished(job):
            return None
        left = job_plan.ttl_left(job, self._clock())
        if left == 0:
            await self._store.delete(JOB, metadata["namespace"], metadata["name"], uid=metadata["uid"])
            return None
        return left


def _may_go(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"] or pod["status"]["phase"] in ("Succeeded", "Failed")
