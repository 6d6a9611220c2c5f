"""Other programs, run to their end: how git, gpg and kubectl are started, bounded and ended.

Every run is bounded in time and, where the caller says so, in memory and in what it may print; it is killed with all
that it has started when its task is cancelled. It must not know what the programs are for.
"""

import asyncio
import contextlib
import os
import resource
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.federation.errors import AtollError, Unavailable

_KILL_SECONDS = 5.0
_CHUNK_BYTES = 1 << 16
# Of what a program says when it fails: its end is where programs say why.
_SAID_CHARACTERS = 4000


class ProgramFailed(AtollError):
    """A program ended with an error. Its door explains it: this leaves no door unexplained."""

    def __init__(self, program: str, stderr: str) -> None:
        super().__init__(f"{program} failed: {stderr[-500:]}")
        self.stderr = stderr


@dataclass(frozen=True)
class Bounds:
    """What a program may use; memory is held by the kernel on Linux only."""

    seconds: float
    printed_bytes: int | None = None
    memory_bytes: int | None = None


async def run(
    command: Sequence[str], name: str, bounds: Bounds, *, environment: Mapping[str, str], stdin: bytes = b""
) -> bytes:
    """Run a program to its end and give what it printed.

    Args:
        command: the program and its arguments; never a shell.
        name: what messages call it.
        bounds: what it may use.
        environment: all of its environment.
        stdin: what it is given to read.

    Raises:
        Unavailable: it is not installed, or took too long.
        ProgramFailed: it ended with an error, or printed more than it may.
    """
    try:
        process = await _start(command, environment)
    except FileNotFoundError as error:
        raise Unavailable(f"{command[0]} is not installed; install it to read policies from Git") from error
    try:
        _hold(process.pid, bounds)
        async with asyncio.timeout(bounds.seconds):
            out, err = await _talk(process, name, stdin, bounds.printed_bytes)
    except TimeoutError as error:
        raise Unavailable(f"{name} took longer than {bounds.seconds:g} s") from error
    finally:
        await _end(process)
    if process.returncode:
        raise ProgramFailed(name, err.decode(errors="replace").strip())
    return out


async def _talk(
    process: asyncio.subprocess.Process, name: str, stdin: bytes, most_bytes: int | None
) -> tuple[bytes, bytes]:
    if most_bytes is None:
        return await process.communicate(stdin)
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    process.stdin.close()
    said = asyncio.ensure_future(process.stderr.read())
    try:
        printed = bytearray()
        while chunk := await process.stdout.read(_CHUNK_BYTES):
            printed += chunk
            if len(printed) > most_bytes:
                raise ProgramFailed(name, f"it printed more than {most_bytes} bytes")
        err = await said
        await process.wait()
        return bytes(printed), err[-_SAID_CHARACTERS:]
    finally:
        said.cancel()


def _hold(pid: int, bounds: Bounds) -> None:
    """Set the kernel's own limits; a program that has ended already needs none."""
    if bounds.memory_bytes is None or sys.platform != "linux":
        return
    cpu_seconds = int(bounds.seconds) + 1
    with contextlib.suppress(ProcessLookupError, PermissionError):
        resource.prlimit(pid, resource.RLIMIT_AS, (bounds.memory_bytes, bounds.memory_bytes))
        resource.prlimit(pid, resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))


async def _start(command: Sequence[str], environment: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start in a session of its own; if cancelled meanwhile, end all of it: asyncio ends the first process only."""
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await starting)
        raise


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a program and its helpers (they share its session) if it still runs, and wait for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 9)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KILL_SECONDS):
                await process.wait()
