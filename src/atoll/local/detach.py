"""A stack in the background: start its supervisor as a process of its own, follow it until it is ready, stop it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from subprocess import DEVNULL, Popen

from atoll.federation.errors import Conflict, Unavailable
from atoll.local.child import die_with_parent, last_line
from atoll.local.home import Home
from atoll.local.signals import ending_signals
from atoll.local.stack import environment
from atoll.local.state import State

_POLL_SECONDS = 0.1


def launch(argv: Sequence[str], home: Home, *, outlives_us: bool) -> Popen[bytes]:
    """Start a supervisor in a session of its own; unless it shall outlive us, it dies with us even by kill -9.

    Call it from the main thread: for the kernel a process's parent is the thread that started it.

    Raises:
        Conflict: the home is in use.
    """
    with home.locked():
        home.state_file.unlink(missing_ok=True)
        home.logs.mkdir(exist_ok=True)
    with (home.logs / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            list(argv),
            env=environment(),
            stdin=DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=None if outlives_us else die_with_parent,  # noqa: PLW1509 - one system call, no lock
        )


@contextlib.contextmanager
def launched(argv: Sequence[str], home: Home, *, outlives_us: bool) -> Iterator[Popen[bytes]]:
    """Launch a supervisor that is ended when the context ends by any error, an interrupt at any moment included."""
    supervisor = None
    try:
        with _interrupts_wait():
            supervisor = launch(argv, home, outlives_us=outlives_us)
        yield supervisor
    except BaseException:
        if supervisor is not None:
            end(supervisor)
        raise


@contextlib.contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Hold signals back: one between the start of a process and its name being known would leave it behind."""
    pressed: list[int] = []
    before = {number: signal.signal(number, lambda got, _frame: pressed.append(got)) for number in ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if pressed:
        signal.raise_signal(pressed[0])


def wait_ready(supervisor: Popen[bytes], home: Home, *, on_step: Callable[[str], None], seconds: float) -> State:
    """Wait until the stack is ready, telling each step as it begins.

    Raises:
        Unavailable: it failed or took longer; the message says why and where the log is.
    """
    return _follow(home, has_ended=lambda: supervisor.poll() is not None, on_step=on_step, seconds=seconds)


def wait_other(home: Home, *, on_step: Callable[[str], None], told: int, seconds: float) -> State:
    """Wait for a stack that another command is starting, as wait_ready() does; `told` of its steps are known."""
    return _follow(home, has_ended=lambda: not home.is_running(), on_step=on_step, told=told, seconds=seconds)


def _follow(
    home: Home, *, has_ended: Callable[[], bool], on_step: Callable[[str], None], seconds: float, told: int = 0
) -> State:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        state = home.read_state()
        for text in state.steps[told:] if state else ():
            on_step(text)
            told += 1
        if state and state.phase == "Ready":
            return state
        if has_ended():
            raise Unavailable(_why(home, state))
        time.sleep(_POLL_SECONDS)
    raise Unavailable(f"not ready after {seconds:.0f} s; what it waits for is in {home.logs}")


def end(supervisor: Popen[bytes], *, seconds: float = 30.0) -> None:
    """End a supervisor that we launched, whatever it is doing; its processes end with it."""
    supervisor.terminate()
    try:
        supervisor.wait(seconds)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        supervisor.wait()


def stop(home: Home, *, seconds: float = 30.0) -> State | None:
    """Stop the stack of a home and wait until its last process is gone; None if nothing ran there.

    Raises:
        Unavailable: it did not end in time, not even by being killed.
    """
    state = home.read_state()
    if state is None or not home.is_running():
        return None
    _signal(state.pid, signal.SIGTERM)
    if not _released(home, seconds):
        _signal(state.pid, signal.SIGKILL)
        if not _released(home, 5.0):
            raise Unavailable(f"process {state.pid} does not end: its home {home.root} is still locked")
    return state


def running_state(homes: Sequence[Home], *, what: str) -> tuple[Home, State]:
    """Choose the one running home.

    Raises:
        Unavailable: none runs.
        Conflict: several run, and which one is meant is not clear.
    """
    found = [(home, state) for home in homes if (state := home.read_state()) is not None]
    if not found:
        raise Unavailable(f"no {what} runs on this machine")
    if len(found) > 1:
        names = ", ".join(str(home.root) for home, _ in found)
        remedy = "--home, --context or --server" if what == "hub" else "--home"
        raise Conflict(f"more than one {what} runs on this machine ({names}): choose one with {remedy}")
    return found[0]


def _why(home: Home, state: State | None) -> str:
    log = home.logs / "supervisor.log"
    if state and state.message:
        return state.message
    return f"{last_line(log) or 'the supervisor ended'} (log: {log})"


def _released(home: Home, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not home.is_running():
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)
