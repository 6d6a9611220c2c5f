"""One child process: started in its own session, tied to its parent's life where the kernel can, ended for sure.

It restarts nothing: that is the supervisor's decision.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from pathlib import Path

from atoll.federation.errors import Unavailable

# prctl(2): the signal that a process gets when the thread that forked it ends.
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies, even by kill -9. Runs between fork and exec."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def spawn(argv: Sequence[str], env: Mapping[str, str], *, log: Path) -> Process:
    """Start a program with its output appended to a log file.

    Raises:
        Unavailable: the program is missing or cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            return await asyncio.create_subprocess_exec(
                *argv,
                env=dict(env),
                stdin=DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            raise Unavailable(f"cannot start {argv[0]}: {error.strerror or error}") from error


async def terminate(process: Process, *, grace_seconds: float) -> None:
    """Ask a process to end, wait, then kill it; whatever is left of its session dies with it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await process.wait()
    kill_session(process.pid)
    await process.wait()


def kill_session(leader: int) -> None:
    """Kill every process of the group that a session leader opened."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def last_line(log: Path) -> str:
    """Give the last line that a process wrote and what is indented below it, for messages; empty if it wrote none."""
    try:
        lines = log.read_text(errors="replace").rstrip().splitlines()
    except FileNotFoundError:
        return ""
    begin = next((index for index in reversed(range(len(lines))) if not lines[index].startswith(" ")), 0)
    return " ".join(line.strip() for line in lines[begin:])[:400]
