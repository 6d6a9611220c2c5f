"""The kubelets of one member: pods run for as long as they say, on virtual time. What ran when is written down.

Owns the pods' life; what it notes is the witness of what truly ran, whatever Job and Run objects say. It must not know
Atoll.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from random import Random

from atoll.kubeapi.errors import ApiError, Conflict, NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.kubelet.kubelet import STAND_IN
from atoll.sandbox.kubelet.status import Container, PodView, status_of
from atoll.sandbox.watching import follow

# What a pod's annotation says of its work: how many seconds, and which part of its grace it takes when told to end.
WORK, GRACE_USED = "twin/work-seconds", "twin/grace-used"
_ENDED = ("Succeeded", "Failed")


@dataclass
class Execution:
    """One pod's containers: when they ran, by true time. `outcome` is empty while they do."""

    cluster: str
    namespace: str
    pod: str
    labels: dict[str, str]
    began: float
    ended: float | None = None
    outcome: str = ""

    def runs_at(self, when: float) -> bool:
        return self.began <= when and (self.ended is None or when < self.ended)


class VirtualKubelet:
    """All pods of one cluster."""

    def __init__(self, cluster: str, store: Store, clock: Callable[[], datetime], chance: Random) -> None:
        self._cluster, self._store, self._clock, self._chance = cluster, store, clock, chance
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, asyncio.Event] = {}
        self._graces: dict[str, float] = {}
        self.executions: list[Execution] = []

    async def run(self, now: Callable[[], float]) -> None:
        """Run pods until cancelled; `now` is true time."""
        self._now = now
        async for event in follow(self._store, POD):
            self._take(event.type, event.object)

    def _take(self, kind: str, pod: Object) -> None:
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        if STAND_IN in metadata.get("annotations", {}):
            return
        if kind == "DELETED":
            self._graces[uid] = 0.0
            if uid in self._stops:
                self._stops[uid].set()
            return
        if "deletionTimestamp" in metadata:
            grace = float(metadata.get("deletionGracePeriodSeconds", 0))
            self._graces[uid] = min(grace, self._graces.get(uid, grace))
            if uid in self._stops:
                self._stops[uid].set()
        if uid not in self._tasks and pod["spec"].get("nodeName") and pod["status"]["phase"] not in _ENDED:
            self._stops[uid] = asyncio.Event()
            if uid in self._graces:
                self._stops[uid].set()
            self._tasks[uid] = asyncio.create_task(self._live(pod))

    async def _live(self, pod: Object) -> None:
        metadata, stop = pod["metadata"], self._stops[pod["metadata"]["uid"]]
        view = PodView(
            [],
            [Container(spec["name"]) for spec in pod["spec"]["containers"]],
            timestamp(self._clock()),
            "10.0.0.9",
            "",
        )
        await asyncio.sleep(self._chance.uniform(0.1, 2.0))
        if stop.is_set():
            view.is_refused, view.message = True, "the pod was stopped before its containers started"
            await self._publish(pod, view)
        else:
            await self._work(pod, view, stop)
        await self._finish(metadata)

    async def _work(self, pod: Object, view: PodView, stop: asyncio.Event) -> None:
        metadata = pod["metadata"]
        notes = metadata.get("annotations", {})
        execution = Execution(
            self._cluster, metadata["namespace"], metadata["name"], dict(metadata.get("labels", {})), self._now()
        )
        self.executions.append(execution)
        for container in view.mains:
            container.state = {"running": {"startedAt": timestamp(self._clock())}}
        telling = asyncio.create_task(self._publish(pod, view))
        work = asyncio.get_running_loop().time() + float(notes.get(WORK, "10"))
        is_done = not await _set_within(stop, work - asyncio.get_running_loop().time())
        if not is_done:
            asked = float(notes.get(GRACE_USED, "0.5")) * self._graces[metadata["uid"]]
            is_done = await self._takes_grace(asked, work)
        await telling
        execution.ended, execution.outcome = self._now(), "done" if is_done else "stopped"
        for container in view.mains:
            code = 0 if is_done else 143
            container.state = {"terminated": {"exitCode": code, "finishedAt": timestamp(self._clock())}}
        await self._publish(pod, view)

    async def _takes_grace(self, seconds: float, work: float) -> bool:
        """Go on for a part of the grace; tell whether the work was done in it."""
        left = work - asyncio.get_running_loop().time()
        await asyncio.sleep(max(0.0, min(seconds, left)))
        return left <= seconds

    async def _publish(self, pod: Object, view: PodView) -> None:
        metadata = pod["metadata"]
        with contextlib.suppress(NotFound, Conflict):
            live = await self._store.get(POD, metadata["namespace"], metadata["name"])
            if live["metadata"]["uid"] != metadata["uid"]:
                return
            status = status_of(view, live.get("status", {}).get("conditions", ()), timestamp(self._clock()))
            patch = Patch("merge", {"metadata": {"uid": metadata["uid"]}, "status": status})
            await self._store.patch(POD, metadata["namespace"], metadata["name"], patch, subresource="status")

    async def _finish(self, metadata: Object) -> None:
        """Let the object of a pod go whose deletion waits for its end."""
        with contextlib.suppress(ApiError):
            live = await self._store.get(POD, metadata["namespace"], metadata["name"])
            if live["metadata"]["uid"] == metadata["uid"] and "deletionTimestamp" in live["metadata"]:
                await self._store.delete(
                    POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_seconds=0
                )


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
    return event.is_set()
