"""Runs one container of a pod: start, wait, restart with back-off, until it has ended for good or the pod stops.

Owns the container's entry in the pod's view; must not know the pod's other containers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from atoll.kubeapi.metadata import timestamp
from atoll.kubeapi.resource import Object
from atoll.sandbox.events import Said
from atoll.sandbox.kubelet.environment import ConfigurationError
from atoll.sandbox.kubelet.exec import Commands
from atoll.sandbox.kubelet.logs import ContainerLog
from atoll.sandbox.kubelet.process import Process
from atoll.sandbox.kubelet.starting import CannotStart, Place, Started, Starter
from atoll.sandbox.kubelet.status import Container, ended

RESTART_SECONDS, MAX_RESTART_SECONDS = 1.0, 60.0  # KEP-4603, "Tune CrashLoopBackOff"; doubled at each restart
STABLE_SECONDS = 600.0  # a container that ran so long starts at RESTART_SECONDS again, as in Kubernetes
RETRY_SECONDS = 0.2
"""How often a missing volume, ConfigMap or Secret is looked for: less delays pods, more costs CPU for stuck ones."""
_CANNOT_START = 128  # the exit code that container runtimes report


@dataclass
class Life:
    """What the containers of a pod share while it lives."""

    publish: Callable[[], Awaitable[None]]
    say: Callable[[Said], Awaitable[None]]
    clock: Callable[[], datetime]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    processes: dict[str, Process] = field(default_factory=dict)
    logs: dict[str, ContainerLog] = field(default_factory=dict)
    commands: dict[str, Commands] = field(default_factory=dict)

    async def end(self) -> None:
        """Kill whatever still runs."""
        processes, commands = tuple(self.processes.values()), tuple(self.commands.values())
        await asyncio.gather(*(process.kill() for process in processes), *(each.close() for each in commands))

    async def pause(self, seconds: float) -> bool:
        """Wait; True as soon as the pod is to stop."""
        try:
            async with asyncio.timeout(seconds):
                return await self.stopping.wait()
        except TimeoutError:
            return False


def restarts(policy: str, exit_code: int, *, is_init: bool) -> bool:
    """Say whether a container that ended is started again."""
    if is_init:  # an init container that succeeded is done under every policy
        return policy != "Never" and exit_code != 0
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


class ContainerRunner:
    """One container of one pod."""

    def __init__(self, view: Container, spec: Mapping[str, Any], life: Life) -> None:
        """Keep `view` up to date with what happens."""
        self._view = view
        self._spec = spec
        self._life = life
        self._delay = RESTART_SECONDS

    async def run(self, pod: Object, place: Place, starter: Starter, *, is_init: bool) -> bool:
        """Run to the final end. True if that was a success. Raises MountRefused."""
        policy = pod["spec"]["restartPolicy"]
        while True:
            state, lasted = await self._once(pod, place, starter)
            code = int(state["terminated"]["exitCode"])
            if self._life.stopping.is_set() or not restarts(policy, code, is_init=is_init):
                return await self._end(state)
            self._view.last_state = state
            self._view.restarts += 1
            self._view.state = {"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {self._delay:.0f}s"}}
            await self._life.publish()
            await self._life.say(Said("BackOff", f"Back-off restarting container {self._view.name}", "Warning"))
            self._delay = RESTART_SECONDS if lasted >= STABLE_SECONDS else self._delay
            if await self._life.pause(self._delay):
                return await self._end(state)
            self._delay = min(2 * self._delay, MAX_RESTART_SECONDS)

    async def _end(self, state: dict[str, Any]) -> bool:
        self._view.state = state
        await self._life.publish()
        return bool(state["terminated"]["exitCode"] == 0)

    async def _once(self, pod: Object, place: Place, starter: Starter) -> tuple[dict[str, Any], float]:
        """Run the container once. Returns its terminated state and how many seconds it ran."""
        began = self._life.clock()
        name = self._view.name
        try:
            started = await self._started(pod, place, starter)
        except CannotStart as error:
            await self._life.say(Said("Failed", f"Error: {error}", "Warning"))
            return self._unstarted("StartError", str(error)), 0.0
        if started is None:
            return self._unstarted("ContainerCannotRun", "the pod was stopped before the container could start"), 0.0
        process = self._life.processes[name] = started.process
        self._life.commands[name] = Commands(starter.launcher, started.launch, name)
        if self._life.stopping.is_set():  # it was asked while the process was being made
            process.terminate()
        self._view.container_id = f"sandbox://{pod['metadata']['uid']}/{name}/{self._view.restarts}"
        self._view.state = {"running": {"startedAt": timestamp(began)}}
        await self._life.publish()
        code = await process.ended
        del self._life.processes[name]
        await self._life.commands.pop(name).close()
        finished = self._life.clock()
        state = ended(code, timestamp(began), timestamp(finished), container_id=self._view.container_id)
        return state, (finished - began).total_seconds()

    async def _started(self, pod: Object, place: Place, starter: Starter) -> Started | None:
        """Start, retrying while something referred to is missing; None if the pod is stopped before."""
        while not self._life.stopping.is_set():
            try:
                started = await starter.start(pod, self._spec, place, restarts=self._view.restarts)
            except ConfigurationError as error:
                await self._wait_for(str(error))
            else:
                self._life.logs[self._view.name] = started.log
                return started
        return None

    async def _wait_for(self, message: str) -> None:
        waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": message}}
        if self._view.state != waiting:
            self._view.state = waiting
            await self._life.publish()
            await self._life.say(Said("Failed", f"Error: {message}", "Warning"))
        await self._life.pause(RETRY_SECONDS)

    def _unstarted(self, reason: str, message: str) -> dict[str, Any]:
        now = timestamp(self._life.clock())
        state = ended(_CANNOT_START, now, now, container_id="", message=message)
        state["terminated"]["reason"] = reason
        state["terminated"].pop("signal", None)
        return state
