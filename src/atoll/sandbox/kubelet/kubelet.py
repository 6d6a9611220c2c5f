"""Plays the kubelets of all nodes of one cluster: every bound pod gets a worker, every deleted one is ended.

Owns which pods run here, their addresses and GPUs; must not place pods. One kubelet for all nodes costs one watch.
"""

from __future__ import annotations

import asyncio
import ipaddress
import math
import shutil
from functools import partial
from pathlib import Path

import structlog

from atoll.kubeapi.errors import ApiError, Conflict, NotFound
from atoll.kubeapi.resource import Object
from atoll.sandbox.kinds.catalog import NODE, POD
from atoll.sandbox.kubelet.devices import GPU, Devices, DevicesExhausted, gpus_of
from atoll.sandbox.kubelet.exec import Commands
from atoll.sandbox.kubelet.logs import ContainerLog
from atoll.sandbox.kubelet.pod import Berth, Machinery, PodWorker
from atoll.sandbox.kubelet.stand_ins import StandIns
from atoll.sandbox.watching import follow

log = structlog.get_logger()

ENDED = ("Succeeded", "Failed")
_DEVICES_SECONDS, _LOOK_SECONDS = 5.0, 0.02  # far longer than a pod that ended holds its GPUs, and how often to look
STAND_IN = "sandbox.atoll.dev/stand-in"
"""Annotation of pods that only say that something is there, as mirror pods do: the kubelet lets them be."""


class Kubelet:
    """All pods that run in one cluster."""

    def __init__(self, machinery: Machinery, folder: Path) -> None:
        """Keep what belongs to pods under `folder`."""
        self._machinery = machinery
        self._folder = folder
        self._devices = Devices()
        self._workers: dict[str, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stops: dict[str, float] = {}  # uid -> grace seconds of pods that are to end
        self._addresses: dict[str, int] = {}  # node -> how many pod addresses it gave out
        self.stand_ins = StandIns()
        """Who answers commands in pods that this kubelet lets be."""

    async def run(self) -> None:
        """Run pods until cancelled; then end them all at once."""
        try:
            async for event in follow(self._machinery.store, POD):
                self._take(event.type, event.object)
        finally:
            tasks = tuple(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def log_of(self, pod: Object, container: str) -> ContainerLog | None:
        """Return the log of a container's newest run, None if it never ran here."""
        worker = self._workers.get(pod["metadata"]["uid"])
        return worker.log_of(container) if worker else None

    def commands_of(self, pod: Object, container: str) -> Commands | None:
        """Return where commands beside a container are run, None while it does not run here."""
        worker = self._workers.get(pod["metadata"]["uid"])
        return worker.commands_of(container) if worker else None

    def processes_of(self, pod: Object) -> dict[str, int]:
        """Return the process of each container that runs here now, by its number on this machine."""
        worker = self._workers.get(pod["metadata"]["uid"])
        return worker.processes() if worker else {}

    def folder_of(self, pod: Object) -> Path:
        """Return the folder that a pod has on this machine."""
        return self._folder / str(pod["metadata"]["uid"])

    async def kill(self, pod: Object) -> bool:
        """Kill a pod's containers as `kill -9` does; what follows is its restart policy's. False if none runs."""
        worker = self._workers.get(pod["metadata"]["uid"])
        return await worker.kill() if worker else False

    def _take(self, kind: str, pod: Object) -> None:
        metadata, uid = pod["metadata"], pod["metadata"]["uid"]
        if kind == "DELETED":
            self._forget(pod)
            return
        if STAND_IN in metadata.get("annotations", {}):
            return
        if "deletionTimestamp" in metadata:
            self._stop(uid, metadata.get("deletionGracePeriodSeconds", 0))
        if uid not in self._tasks and pod["spec"].get("nodeName") and pod["status"]["phase"] not in ENDED:
            self._tasks[uid] = asyncio.create_task(self._run(pod), name=f"pod-{metadata['name']}")

    def _stop(self, uid: str, grace_seconds: float) -> None:
        """End a pod now, or as soon as its worker exists."""
        if grace_seconds < self._stops.get(uid, math.inf):  # a grace can be shortened, never prolonged
            self._stops[uid] = grace_seconds
            if uid in self._workers:
                self._workers[uid].stop(grace_seconds)

    def _forget(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        task = self._tasks.pop(uid, None)
        if task is not None:
            task.cancel()
        self._workers.pop(uid, None)
        self._stops.pop(uid, None)
        asyncio.get_running_loop().run_in_executor(
            None, partial(shutil.rmtree, self.folder_of(pod), ignore_errors=True)
        )

    async def _run(self, pod: Object) -> None:
        metadata, node_name = pod["metadata"], pod["spec"]["nodeName"]
        try:
            await self._run_on(pod, await self._machinery.store.get(NODE, None, node_name))
        except NotFound:
            log.warning("a pod is bound to a node that does not exist", pod=metadata["name"], node=node_name)
        except ApiError as error:
            log.error("a pod was given up", pod=metadata["name"], error=error.message)
        finally:
            self._devices.release(node_name, metadata["uid"])

    async def _run_on(self, pod: Object, node: Object) -> None:
        uid = pod["metadata"]["uid"]
        devices: dict[str, tuple[int, ...]] = {}
        refusal = _unsupported(pod)
        try:
            devices = {} if refusal else await self._devices_for(pod, node)
        except DevicesExhausted as error:
            refusal = ("UnexpectedAdmissionError", str(error))
        worker = PodWorker(pod, self._machinery, self._berth(pod, node, devices))
        self._workers[uid] = worker
        if uid in self._stops:
            worker.stop(self._stops[uid])
        try:
            await (worker.refuse(*refusal) if refusal else worker.run())
        except Exception as error:
            log.error("a pod could not be run", pod=pod["metadata"]["name"], exc_info=error)
            await worker.refuse("KubeletFailed", f"the sandbox could not run the pod: {error!r}")
        self._devices.release(pod["spec"]["nodeName"], uid)
        await self._finish(pod)

    async def _devices_for(self, pod: Object, node: Object) -> dict[str, tuple[int, ...]]:
        """Assign the pod's GPUs. The scheduler counts a pod out when it has ended, just before it gives them back."""
        loop = asyncio.get_running_loop()
        end = loop.time() + _DEVICES_SECONDS
        while True:
            try:
                return self._assigned(pod, node)
            except DevicesExhausted:
                self._devices.release(node["metadata"]["name"], pod["metadata"]["uid"])
                if loop.time() > end:
                    raise
            await asyncio.sleep(_LOOK_SECONDS)

    async def _finish(self, pod: Object) -> None:
        """Let the object of a pod go whose deletion waits for its end."""
        metadata, store = pod["metadata"], self._machinery.store
        try:
            live = await store.get(POD, metadata["namespace"], metadata["name"])
            if live["metadata"]["uid"] == metadata["uid"] and "deletionTimestamp" in live["metadata"]:
                await store.delete(POD, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_seconds=0)
        except (NotFound, Conflict):
            return

    def _assigned(self, pod: Object, node: Object) -> dict[str, tuple[int, ...]]:
        """Give each container its GPUs; init containers use those that the containers get after them."""
        total = int(node["status"]["allocatable"].get(GPU, 0))
        wanted = {c["name"]: gpus_of(c) for c in pod["spec"]["containers"]}
        held = {
            name: self._devices.assign(node["metadata"]["name"], pod["metadata"]["uid"], count=count, total=total)
            for name, count in wanted.items()
            if count
        }
        shared = tuple(index for indexes in held.values() for index in indexes)
        inits = pod["spec"].get("initContainers", ())
        return {**held, **{c["name"]: shared[: gpus_of(c)] for c in inits if gpus_of(c)}}

    def _berth(self, pod: Object, node: Object, devices: dict[str, tuple[int, ...]]) -> Berth:
        name = node["metadata"]["name"]
        network = ipaddress.ip_network(node["spec"]["podCIDR"])
        given = self._addresses.get(name, 0)
        self._addresses[name] = given + 1
        address = network[2 + given % (network.num_addresses - 3)]  # not the network, the router, or the broadcast
        host = next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP")
        return Berth(self.folder_of(pod), str(address), host, devices)


def _unsupported(pod: Object) -> tuple[str, str] | None:
    """Return the reason and the message for a pod that would hang here, None if it can be run."""
    for container in pod["spec"].get("initContainers", ()):
        if container.get("restartPolicy") == "Always":
            name = container["name"]
            return "Unsupported", f"init container {name!r} is a sidecar (restartPolicy Always): the sandbox has none"
    return None
