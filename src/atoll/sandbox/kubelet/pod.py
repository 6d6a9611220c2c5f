"""Runs one pod from bound to ended: volumes, GPUs, init containers, containers, and its end.

Owns the pod's processes and its status; must not know other pods. It is told once what to run and once to stop, and
writes the whole status each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.resource import Object
from atoll.kubeapi.store import Store
from atoll.sandbox.events import Recorder, Said
from atoll.sandbox.kinds.catalog import POD
from atoll.sandbox.kubelet.container import RETRY_SECONDS, ContainerRunner, Life
from atoll.sandbox.kubelet.exec import Commands
from atoll.sandbox.kubelet.logs import ContainerLog
from atoll.sandbox.kubelet.paths import MountRefused
from atoll.sandbox.kubelet.starting import Place, Starter
from atoll.sandbox.kubelet.status import Container, PodView, status_of
from atoll.sandbox.kubelet.volumes import NotYet, Volumes, is_projected

# The kubelet looks for newer Secrets and ConfigMaps once a minute (its syncFrequency); less often, and what renews its
# credentials shortly before their end is shut out for a moment.
REFRESH_SECONDS = 10.0


@dataclass(frozen=True)
class Machinery:
    """What the pods of one cluster share."""

    store: Store
    events: Recorder
    volumes: Volumes
    starter: Starter
    clock: Callable[[], datetime]


@dataclass(frozen=True)
class Berth:
    """What one pod was given: its folder, its addresses, and the GPUs of each container."""

    folder: Path
    pod_ip: str
    host_ip: str
    devices: dict[str, tuple[int, ...]]


class PodWorker:
    """One pod while it is here."""

    def __init__(self, pod: Object, machinery: Machinery, berth: Berth) -> None:
        """Run nothing until run()."""
        self.pod = pod
        self._machinery = machinery
        self._berth = berth
        self._kill_at = math.inf
        self._hastened = asyncio.Event()
        self._writing = asyncio.Lock()
        self._life = Life(self._publish, self._say, machinery.clock)
        spec = pod["spec"]
        self._view = PodView(
            inits=[Container(c["name"], c.get("image", "")) for c in spec.get("initContainers", ())],
            mains=[Container(c["name"], c.get("image", "")) for c in spec["containers"]],
            start_time=timestamp(machinery.clock()),
            pod_ip=berth.pod_ip,
            host_ip=berth.host_ip,
        )
        addresses = {"podIP": berth.pod_ip, "hostIP": berth.host_ip}
        self._published = ""  # the view as it was last written
        self._described = {**pod, "status": {**pod.get("status", {}), **addresses}}  # for fieldRef

    def log_of(self, container: str) -> ContainerLog | None:
        """Return the log of a container's newest run, None before its first."""
        return self._life.logs.get(container)

    def commands_of(self, container: str) -> Commands | None:
        """Return where commands beside a container are run, None while it does not run."""
        return self._life.commands.get(container)

    def processes(self) -> dict[str, int]:
        """Return the process of each container that runs now, by its number on this machine."""
        return {name: process.pid for name, process in self._life.processes.items()}

    def stop(self, grace_seconds: float) -> None:
        """End the pod: SIGTERM now, SIGKILL after `grace_seconds`; said again, it can be sooner and not later."""
        self._kill_at = min(self._kill_at, asyncio.get_running_loop().time() + grace_seconds)
        self._life.stopping.set()
        self._hastened.set()

    async def kill(self) -> bool:
        """Kill what runs now; False if nothing does."""
        processes = tuple(self._life.processes.values())
        await asyncio.gather(*(process.kill() for process in processes))
        return bool(processes)

    async def run(self) -> None:
        """Run the pod to its end; its last status is written, and nothing of it runs, when this returns."""
        limit = self.pod["spec"].get("activeDeadlineSeconds")
        helpers = [asyncio.create_task(self._stop_when_asked(), name="pod-stopper")]
        if limit is not None:
            helpers.append(asyncio.create_task(self._expire(limit), name="pod-deadline"))
        if any(map(is_projected, self.pod["spec"].get("volumes", ()))):
            helpers.append(asyncio.create_task(self._refresh(), name="pod-volumes"))
        try:
            await self._run()
        except* MountRefused as refused:
            await self._refuse("FailedMount", str(refused.exceptions[0]))
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await self._life.end()
        await self._publish()

    async def refuse(self, reason: str, message: str) -> None:
        """Fail the pod without running anything."""
        await self._refuse(reason, message)
        await self._publish()

    async def _run(self) -> None:
        volumes = await self._volumes()
        place = Place(self._berth.folder, volumes or {}, self._berth.devices)
        if volumes is not None and await self._run_inits(place):
            specs = zip(self._view.mains, self.pod["spec"]["containers"], strict=True)
            async with asyncio.TaskGroup() as group:
                for view, spec in specs:
                    runner = ContainerRunner(view, spec, self._life)
                    group.create_task(runner.run(self._described, place, self._machinery.starter, is_init=False))
        elif self._life.stopping.is_set():
            self._view.is_refused = True
            self._view.message = "the pod was stopped before its containers started"

    async def _run_inits(self, place: Place) -> bool:
        specs = self.pod["spec"].get("initContainers", ())
        for view, spec in zip(self._view.inits, specs, strict=True):
            runner = ContainerRunner(view, spec, self._life)
            if not await runner.run(self._described, place, self._machinery.starter, is_init=True):
                return False
        return True

    async def _volumes(self) -> dict[str, tuple[Path, bool]] | None:
        """Wait for the volumes; None if the pod is stopped before. Raises MountRefused."""
        said = ""
        while not self._life.stopping.is_set():
            try:
                return await self._machinery.volumes.prepare(self.pod, self._berth.folder)
            except NotYet as error:
                if str(error) != said:
                    said = str(error)
                    await self._say(Said("FailedMount", said, "Warning"))
            await self._life.pause(RETRY_SECONDS)
        return None

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_SECONDS)
            await self._machinery.volumes.refresh(self.pod, self._berth.folder)

    async def _stop_when_asked(self) -> None:
        await self._life.stopping.wait()
        for process in tuple(self._life.processes.values()):
            process.terminate()
        loop = asyncio.get_running_loop()
        while (left := self._kill_at - loop.time()) > 0:
            self._hastened.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._hastened.wait()
        await asyncio.gather(*(process.kill() for process in tuple(self._life.processes.values())))

    async def _expire(self, limit_seconds: float) -> None:
        await asyncio.sleep(limit_seconds)
        self._view.reason = "DeadlineExceeded"
        self._view.message = "Pod was active on the node longer than the specified deadline"
        self.stop(self.pod["spec"].get("terminationGracePeriodSeconds", 30))

    async def _refuse(self, reason: str, message: str) -> None:
        self._view.is_refused, self._view.reason, self._view.message = True, reason, message
        await self._say(Said(reason, message, "Warning"))

    async def _say(self, said: Said) -> None:
        await self._machinery.events.say(self.pod, said)

    async def _publish(self) -> None:
        """Write the pod's status if it is news; a pod that is gone has none."""
        metadata = self.pod["metadata"]
        name, namespace, store = metadata["name"], metadata["namespace"], self._machinery.store
        async with self._writing:
            if (news := repr(self._view)) == self._published:
                return
            with contextlib.suppress(NotFound):
                live = await store.get(POD, namespace, name)
                if live["metadata"]["uid"] != metadata["uid"]:
                    return
                before = live.get("status", {}).get("conditions", ())
                status = status_of(self._view, before, timestamp(self._machinery.clock()))
                patch = Patch("merge", {"metadata": {"uid": metadata["uid"]}, "status": status})
                await store.patch(POD, namespace, name, patch, subresource="status")
                self._published = news
