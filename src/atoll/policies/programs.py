"""Other programs, run to their end: how git, gpg and kubectl are started, bounded and ended.

Every run is bounded in time and in what it may print and, where the caller says so, in memory and in files; it is
killed with all that it has started when its task is cancelled. It must not know what the programs are for.
"""

import asyncio
import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.federation.errors import AtollError, Unavailable

_KILL_SECONDS = 5.0
_CHUNK_BYTES = 1 << 16
# Messages are short; git passes on what a server says, which may have no end.
_MOST_SAID_BYTES = 1 << 20


class ProgramFailed(AtollError):
    """A program ended with an error. Its door explains it: this leaves no door unexplained."""

    def __init__(self, program: str, stderr: str) -> None:
        super().__init__(f"{program} failed: {stderr[-500:]}")
        self.stderr = stderr


class PrintedTooMuch(ProgramFailed):
    """A program printed more than it may."""


@dataclass(frozen=True)
class Bounds:
    """What a program, and each that it starts, may use; with a bound of memory CPU time is bound, too."""

    seconds: float
    printed_bytes: int
    memory_bytes: int | None = None
    file_bytes: int | None = None


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
        ProgramFailed: it ended with an error, or printed more than it may (PrintedTooMuch).
    """
    if shutil.which(command[0], path=environment.get("PATH", os.defpath)) is None:
        raise Unavailable(f"{command[0]} is not installed; install it to read policies from Git")
    process = await _start(_held(command, bounds), environment)
    try:
        async with asyncio.timeout(bounds.seconds):
            out, err = await _talk(process, name, stdin, bounds.printed_bytes)
    except TimeoutError as error:
        raise Unavailable(f"{name} took longer than {bounds.seconds:g} s") from error
    finally:
        await _end(process)
    if process.returncode:
        raise ProgramFailed(name, err.decode(errors="replace").strip())
    return out


async def _talk(process: asyncio.subprocess.Process, name: str, stdin: bytes, most_bytes: int) -> tuple[bytes, bytes]:
    """Give a program what it reads, and take what it writes, at once: each may wait for the other."""
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    tasks = (
        asyncio.ensure_future(_read(process.stdout, name, most_bytes)),
        asyncio.ensure_future(_read(process.stderr, name, _MOST_SAID_BYTES)),
        asyncio.ensure_future(_write(process.stdin, stdin)),
    )
    try:
        out, err, _ = await asyncio.gather(*tasks)
        await process.wait()
        return out, err
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(stream: asyncio.StreamReader, name: str, most_bytes: int) -> bytes:
    found = bytearray()
    while chunk := await stream.read(_CHUNK_BYTES):
        found += chunk
        if len(found) > most_bytes:
            raise PrintedTooMuch(name, f"it printed more than {most_bytes} bytes")
    return bytes(found)


async def _write(stream: asyncio.StreamWriter, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may end without reading
        stream.write(content)
        await stream.drain()
        stream.close()
        await stream.wait_closed()


def _held(command: Sequence[str], bounds: Bounds) -> Sequence[str]:
    """Have a shell set the kernel's limits before it becomes the program: nothing that it starts escapes them."""
    limits = {
        "-f": bounds.file_bytes and bounds.file_bytes // 512,  # POSIX: ulimit counts blocks of 512 bytes
        "-v": bounds.memory_bytes and bounds.memory_bytes // 1024,
        "-t": bounds.memory_bytes and int(bounds.seconds) + 1,
    }
    # A kernel that knows a limit not (macOS has none of memory) goes without it.
    setting = "".join(f"ulimit {limit} {most} 2>/dev/null; " for limit, most in limits.items() if most)
    return ("/bin/sh", "-c", f'{setting}exec "$@"', "sh", *command) if setting else command


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
                # asyncio waits for the ends of the pipes, too, which come after all that was written into them.
                await asyncio.gather(*(_drain(pipe) for pipe in (process.stdout, process.stderr) if pipe is not None))
                await process.wait()


async def _drain(pipe: asyncio.StreamReader) -> None:
    while await pipe.read(_CHUNK_BYTES):
        pass
