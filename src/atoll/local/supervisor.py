"""The supervisor: starts processes in stages, waits until each is ready, restarts what dies, stops in reverse order.

It knows what to run only from its ProcessSpecs.
"""

import asyncio
import time
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from atoll.federation.errors import Unavailable
from atoll.local.child import kill_session, last_line, spawn, terminate
from atoll.local.state import ProcessState

# First wait before a restart; doubled each time up to the longest. A shorter first wait spins on a broken port,
# a longer one delays the flow after a kill -9 for no gain.
_FIRST_BACKOFF_SECONDS, _LONGEST_BACKOFF_SECONDS = 0.2, 10.0
# A process that lived this long was healthy: its next restart is quick again.
_HEALTHY_SECONDS = 30.0
_PROBE_SECONDS = 0.05
# How often a process that is held down looks whether it may start: less wakes for nothing, more is felt by who waits.
_HOLD_SECONDS = 0.2

log = structlog.get_logger("atoll.supervisor")


@dataclass(frozen=True)
class ProcessSpec:
    """One process to keep running. `is_ready` is asked until true; None means ready once started.

    While the file `hold` is there, it is not started again when it has ended.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    is_ready: Callable[[], Awaitable[bool]] | None = None
    ready_seconds: float = 30.0
    stop_seconds: float = 8.0
    hold: Path | None = None


class Supervisor:
    """Keeps a set of processes alive; `on_change` hears of every start, death and restart."""

    def __init__(self, logs: Path, on_change: Callable[[], None]) -> None:
        self._logs = logs
        self._on_change = on_change
        self._stages: list[list[_Keeper]] = []

    @property
    def processes(self) -> tuple[ProcessState, ...]:
        """What runs, in the order of starting."""
        return tuple(keeper.state() for stage in self._stages for keeper in stage)

    async def start(self, *specs: ProcessSpec) -> None:
        """Start one stage: all at once, return when all are ready.

        Raises:
            Unavailable: one of them ended or was not ready in time; the message holds its last line and its log.
        """
        stage = [_Keeper(spec, self._logs / f"{spec.name}.log", self._on_change) for spec in specs]
        self._stages.append(stage)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(_outcome(keeper.start())) for keeper in stage]
        failures = [task.result() for task in tasks]
        for failure in failures:
            if failure is not None:
                raise failure

    async def stop(self) -> None:
        """Stop everything, the last stage first; kills what does not listen."""
        for stage in reversed(self._stages):
            async with asyncio.TaskGroup() as group:
                for keeper in stage:
                    group.create_task(keeper.stop())
        self._stages.clear()
        self._on_change()

    def kill(self) -> None:
        """End everything at once, without asking."""
        for stage in self._stages:
            for keeper in stage:
                keeper.kill()


async def _outcome(starting: Awaitable[None]) -> Unavailable | None:
    """Turn a failed start into a value, so that one failure does not cancel the rest of its stage half-started."""
    try:
        await starting
    except Unavailable as error:
        return error
    return None


class _Keeper:
    """Keeps one process running."""

    def __init__(self, spec: ProcessSpec, log_file: Path, on_change: Callable[[], None]) -> None:
        self._spec = spec
        self._log_file = log_file
        self._on_change = on_change
        self._process: Process | None = None
        self._restarts = 0
        self._task: asyncio.Task[None] | None = None

    def state(self) -> ProcessState:
        alive = self._process is not None and self._process.returncode is None
        return ProcessState(
            name=self._spec.name,
            pid=self._process.pid if self._process and alive else None,
            restarts=self._restarts,
            log=str(self._log_file),
        )

    async def start(self) -> None:
        await self._spawn()
        await self._wait_ready()
        self._task = asyncio.create_task(self._keep(), name=f"keep-{self._spec.name}")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if self._process is not None:
            await terminate(self._process, grace_seconds=self._spec.stop_seconds)

    def kill(self) -> None:
        if self._process is not None:
            kill_session(self._process.pid)

    async def _spawn(self) -> None:
        self._process = await spawn(self._spec.argv, self._spec.env, log=self._log_file)
        self._on_change()

    async def _wait_ready(self) -> None:
        deadline = time.monotonic() + self._spec.ready_seconds
        while self._spec.is_ready is not None and not await self._spec.is_ready():
            if self._process is None or self._process.returncode is not None:
                raise Unavailable(self._trouble("ended while starting"))
            if time.monotonic() > deadline:
                raise Unavailable(self._trouble(f"was not ready after {self._spec.ready_seconds:.0f} s"))
            await asyncio.sleep(_PROBE_SECONDS)

    async def _keep(self) -> None:
        backoff_seconds = _FIRST_BACKOFF_SECONDS
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            kill_session(self._process.pid)
            if time.monotonic() - started > _HEALTHY_SECONDS:
                backoff_seconds = _FIRST_BACKOFF_SECONDS
            log.warning("process ended, restart follows", process=self._spec.name, code=code, after=backoff_seconds)
            self._on_change()
            backoff_seconds = await self._restart(backoff_seconds)

    async def _restart(self, backoff_seconds: float) -> float:
        """Try until the process is there again; give the back-off that the next restart starts with."""
        while True:
            await asyncio.sleep(backoff_seconds)
            if self._spec.hold is not None and self._spec.hold.exists():
                backoff_seconds = _HOLD_SECONDS
                continue
            backoff_seconds = min(backoff_seconds * 2, _LONGEST_BACKOFF_SECONDS)
            self._restarts += 1
            try:
                await self._spawn()
                return backoff_seconds
            except Unavailable as error:
                log.warning("restart failed", process=self._spec.name, error=str(error))

    def _trouble(self, what: str) -> str:
        line = last_line(self._log_file)
        return f"{self._spec.name} {what}{': ' + line if line else ''} (log: {self._log_file})"
