"""Virtual time: an event loop whose clock jumps to the next thing that happens, and processes that can be killed in it.

Owns what time it is for whom, and whose code runs. A process that was killed runs no further instruction: what it had
left to do is held back, its `finally` blocks too, until the history is over. It must not know what a process does.
"""

import asyncio
import contextvars
import heapq
import itertools
from asyncio import base_events
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

EPOCH = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
# Where monotonic clocks stand when a history begins: no code may take one for the seconds since it was started.
_BOOTED = 10_000.0
# How long a thread works before its result is seen.
_THREAD_SECONDS = 0.004
# Turns of the loop at one instant: code that spins would hang a history for ever.
_MOST_TURNS = 100_000


class Killed(BaseException):
    """Ends what a thread does at the moment at which its process is killed. Nothing of Atoll catches it."""


@dataclass(eq=False)
class Machine:
    """A computer: its clocks, and which life of it this is. `rate` is how many seconds it counts in one."""

    name: str
    rate: float = 1.0
    skew_seconds: float = 0.0
    boots: int = 0

    @property
    def boot_id(self) -> str:
        return f"{self.name}-{self.boots}"


@dataclass(eq=False)
class Process:
    """A program that runs on a machine. What it starts, and what that starts, is part of it."""

    name: str
    machine: Machine
    is_alive: bool = True
    is_frozen: bool = False
    held: list[asyncio.Handle] = field(default_factory=list)
    context: contextvars.Context = field(init=False)
    on_death: list[Callable[[], None]] = field(default_factory=list)
    # How many steps of threads it has left before it is killed; None: as many as it likes.
    steps_left: int | None = None
    is_in_thread: bool = False

    def __post_init__(self) -> None:
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)

    def start(self, work: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        """Run a coroutine as this process."""
        return asyncio.get_running_loop().create_task(work, context=self.context.copy())

    @property
    def runs(self) -> bool:
        """Whether it gets the processor."""
        return self.is_alive and not self.is_frozen

    def kill(self) -> None:
        """End it as kill -9 does; the kernel then closes what it had open."""
        self.is_alive = False
        for tell in self.on_death:
            tell()
        self.on_death.clear()

    def step(self) -> None:
        """Take one step in a thread: begin, change a file, end. Raises Killed if it was one too many."""
        if self.steps_left is not None and self.is_in_thread:
            self.steps_left -= 1
            if self.steps_left < 0:
                self.steps_left = None
                self.kill()
                raise Killed


_PROCESS: contextvars.ContextVar[Process | None] = contextvars.ContextVar("twin-process", default=None)
_TRUE = Machine("nowhere")


def current_process() -> Process | None:
    """Give the process whose code runs."""
    return _PROCESS.get()


def current_machine() -> Machine:
    """Give the machine whose code runs; one with true clocks outside of all."""
    process = _PROCESS.get()
    return process.machine if process is not None else _TRUE


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it is in memory: who waits in a set waits in one order."""

    def __init__(self, work: Any, *, serial: int, **options: Any) -> None:
        self._serial = serial
        super().__init__(work, **options)

    def __hash__(self) -> int:
        return self._serial


class _Future(asyncio.Future[Any]):
    """The same."""

    _serial = 0

    def __hash__(self) -> int:
        return self._serial


class _NoSockets:
    """In the place of a selector: nothing comes from outside."""

    def close(self) -> None:
        pass


@dataclass
class VirtualClock:
    """True time, in seconds since the history began."""

    now: float = 0.0

    def monotonic(self) -> float:
        """Give a machine's monotonic clock; it is not the true time."""
        return _BOOTED + self.now * current_machine().rate

    def time(self) -> float:
        """Give a machine's wall clock."""
        machine = current_machine()
        return EPOCH.timestamp() + machine.skew_seconds + self.now * machine.rate

    def datetime(self) -> datetime:
        """Give the same as an instant."""
        machine = current_machine()
        return EPOCH + timedelta(seconds=machine.skew_seconds + self.now * machine.rate)


class VirtualLoop(base_events.BaseEventLoop):
    """An event loop on virtual time. `chance` says what nobody promises: how long a thread takes."""

    def __init__(self, clock: VirtualClock, chance: Random) -> None:
        super().__init__()
        self.clock, self._chance = clock, chance
        self._selector = _NoSockets()
        self._is_ending = False
        self.turns = self._turns_now = 0
        self._serials = itertools.count(1)
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self.set_task_factory(self._new_task)
        self.set_exception_handler(self._note_failure)
        self.failures: list[dict[str, Any]] = []

    def _new_task(self, _loop: Any, work: Any, context: Any = None) -> "asyncio.Task[Any]":
        return _Task(work, serial=next(self._serials), loop=self, context=context)

    def create_future(self) -> "asyncio.Future[Any]":
        future = _Future(loop=self)
        future._serial = next(self._serials)
        return future

    def time(self) -> float:
        """Give the time by the clock of whoever asks."""
        return _BOOTED + self.clock.now * current_machine().rate

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """Call back when the clock of whoever asks shows this."""
        return self.call_true((when - _BOOTED) / current_machine().rate, callback, *args, context=context)

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        """Call back in the next turn: what asyncio does, without its questions."""
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]
        return handle

    def call_true(self, at: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """Call back at a true time."""
        at = max(at, self.clock.now)
        timer = asyncio.TimerHandle(at, callback, args, self, context)
        heapq.heappush(self._timers, (at, next(self._serials), timer))
        return timer

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Do nothing: it is left out when its time comes."""

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> "asyncio.Future[Any]":
        """Run at once what a thread would do, and tell of it when the thread would have done it."""
        done: asyncio.Future[Any] = self.create_future()
        try:
            result, error = _in_thread(current_process(), func, args), None
        except Killed:
            return done  # nobody is left who waits for it
        except Exception as failure:
            result, error = None, failure

        def tell() -> None:
            if not done.done():
                if error is None:
                    done.set_result(result)
                else:
                    done.set_exception(error)

        self.call_later(_THREAD_SECONDS * self._chance.random(), tell)
        return done

    async def create_connection(self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any) -> Any:  # type: ignore[override]
        """Connect as asyncio does; `dial` says to what."""
        return await self.dial(protocol_factory)

    async def dial(self, _protocol_factory: Any) -> Any:
        """Find nobody there: histories with a network beside NATS put theirs in this place."""
        raise ConnectionRefusedError

    def _note_failure(self, _loop: Any, context: dict[str, Any]) -> None:
        if not self._is_ending:
            self.failures.append(context)

    def _write_to_self(self) -> None:
        pass

    def _process_events(self, event_list: Any) -> None:
        pass

    def _run_once(self) -> None:
        timers, ready = self._timers, self._ready  # type: ignore[attr-defined]
        if not ready:
            while timers and timers[0][2].cancelled():
                heapq.heappop(timers)
            if not timers:
                raise RuntimeError("nothing will ever happen again: all tasks wait for each other")
            if timers[0][0] > self.clock.now:
                self.clock.now, self._turns_now = timers[0][0], 0
        while timers and timers[0][0] <= self.clock.now:
            ready.append(heapq.heappop(timers)[2])
        self.turns += 1
        self._turns_now += 1
        if self._turns_now > _MOST_TURNS:
            raise RuntimeError(f"something spins: time stands still at {self.clock.now:.3f} s")
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled:
                continue
            process = handle._context.get(_PROCESS)
            if process is None or process.runs or self._is_ending:
                handle._run()
            else:
                process.held.append(handle)

    def thaw(self, process: Process) -> None:
        """Let a process go on that was frozen: all that came due meanwhile is due now."""
        process.is_frozen = False
        self._ready.extend(process.held)  # type: ignore[attr-defined]
        process.held.clear()

    def end(self, processes: list[Process]) -> None:
        """Cancel all that still runs, that of dead processes too, and close."""
        self._is_ending = True
        tasks = asyncio.all_tasks(self)
        for process in processes:
            self._ready.extend(process.held)  # type: ignore[attr-defined]
            process.held.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.wait(tasks, timeout=600))
        self.close()


def _in_thread(process: Process | None, func: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Do a thread's work at once; its process may be killed before, over or after it."""
    if process is None:
        return func(*args)
    process.is_in_thread = True
    try:
        process.step()
        result = func(*args)
        process.step()
        return result
    finally:
        process.is_in_thread = False
