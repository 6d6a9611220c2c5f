"""Starts containers as processes through contain.py, and ends them.

Owns the lifeline: a pipe whose writing end only this process has. When it closes, by close() or by this process's
death, every launcher kills its container and all that came from it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import marshal
import os
import signal
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import structlog

from atoll.sandbox import contain
from atoll.sandbox.kubelet.logs import ContainerLog
from atoll.sandbox.kubelet.paths import Mount, rewritten

log = structlog.get_logger()

_LAUNCHER = (sys.executable, "-I", "-S", str(Path(contain.__file__)))
_CHUNK_BYTES = 64 * 1024
_OUTPUT_SECONDS = 1.0
"""How long output is read on after the launcher's end: it is at its end then, unless the launcher itself was killed."""
_KILL_SECONDS = 5.0
"""How long a launcher may take to kill its container before it is killed itself; more only delays a stuck machine."""


@dataclass(frozen=True)
class Launch:
    """What to run: the command with its environment and mounts, and a folder of the container's own."""

    argv: Sequence[str]
    env: Mapping[str, str]
    folder: Path
    working_directory: str = ""
    mounts: Sequence[Mount] = ()


@dataclass(frozen=True)
class Ends:
    """What a process reads and writes, as open descriptors; all three are one terminal if `is_terminal`."""

    stdin: int
    stdout: int
    stderr: int
    is_terminal: bool = False


class Running:
    """A process in its launcher, and how it is ended. `ended` has its exit code."""

    ended: asyncio.Task[int]

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Hold the launcher `process`."""
        self._process = process

    @property
    def pid(self) -> int:
        """Its number on this machine: what it runs are its descendants."""
        return self._process.pid

    def terminate(self) -> None:
        """Ask the process group to end (SIGTERM)."""
        self._send(signal.SIGTERM)

    async def kill(self) -> None:
        """Kill the process and everything it started; return when it is gone."""
        self._send(signal.SIGUSR1)
        done, _ = await asyncio.wait((self.ended,), timeout=_KILL_SECONDS)
        if not done:
            self._send(signal.SIGKILL)
            await asyncio.wait((self.ended,))

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)


class Process(Running):
    """One running container."""

    def __init__(self, process: asyncio.subprocess.Process, output: int, log: ContainerLog) -> None:
        """Read the pipe `output` of `process` into `log`; both are this object's to close."""
        super().__init__(process)
        self._output = output
        self._log = log
        self.ended: asyncio.Task[int] = asyncio.create_task(self._run(), name=f"container-{process.pid}")

    async def _run(self) -> int:
        reader = asyncio.create_task(self._read(), name=f"output-{self._process.pid}")
        try:
            code = await self._process.wait()
            await asyncio.wait((reader,), timeout=_OUTPUT_SECONDS)
            return code
        finally:
            reader.cancel()
            self._log.close()

    async def _read(self) -> None:
        stream = asyncio.StreamReader()
        pipe = os.fdopen(self._output, "rb", buffering=0)
        protocol = asyncio.StreamReaderProtocol(stream)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
        try:
            while chunk := await stream.read(_CHUNK_BYTES):
                self._write(chunk)
        finally:
            transport.close()

    def _write(self, chunk: bytes) -> None:
        """Keep what fits: a full disk must not stop the container, which would wait for its output to be read."""
        try:
            self._log.feed(chunk)
        except OSError as error:
            log.warning("Output of a container was lost.", path=str(self._log.path), error=error.strerror)


class Launcher:
    """Starts the containers of one cluster; decides once how mounts are made on this machine."""

    def __init__(self, isolation: str) -> None:
        """Args: `isolation` is what probe_isolation() said."""
        self.isolation = isolation
        self._reader, self._writer = os.pipe()
        self._numbers = itertools.count()

    @cached_property
    def search_path(self) -> str:
        """PATH of containers: the folder of this interpreter first, so that `python` and `atoll` are found."""
        return os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)))

    async def start(self, launch: Launch, log: ContainerLog) -> Process:
        """Start a container; a command that cannot be run ends with exit code 126 to 128."""
        output, written = os.pipe()  # not asyncio's: with that, nobody hears of an end while the pipe is held open
        try:
            process = await self.spawn(launch, Ends(asyncio.subprocess.DEVNULL, written, written))
        except BaseException:
            os.close(output)
            raise
        finally:
            os.close(written)
        return Process(process, output, log)

    async def spawn(self, launch: Launch, ends: Ends) -> asyncio.subprocess.Process:
        """Start a process where a container is, or is to be; the ends stay the caller's to close."""
        scratch = launch.folder / "scratch"
        root = launch.folder / "root"
        for folder in (scratch, root):
            folder.mkdir(parents=True, exist_ok=True)
        description = launch.folder / f"launch-{next(self._numbers)}"
        with open(description, "wb", opener=_private) as file:  # noqa: ASYNC230 - a small local file
            marshal.dump({**self._describe(launch, scratch, root), "terminal": ends.is_terminal}, file)
        return await asyncio.create_subprocess_exec(
            *_LAUNCHER,
            str(description),
            stdin=ends.stdin,
            stdout=ends.stdout,
            stderr=ends.stderr,
            pass_fds=(self._reader,),
            start_new_session=True,
        )

    def close(self) -> None:
        """End every container that still runs, whatever state this process is in."""
        for end in (self._writer, self._reader):
            with contextlib.suppress(OSError):
                os.close(end)

    def _describe(self, launch: Launch, scratch: Path, root: Path) -> dict[str, object]:
        own = _seen(scratch, launch.mounts)
        base = {"PATH": self.search_path, "HOME": own, "TMPDIR": own, "LANG": "C.UTF-8"}
        env = {**base, **launch.env}
        argv, directory = list(launch.argv), launch.working_directory or own
        mounts = (*launch.mounts, *restored(launch.mounts))
        if mounts and self.isolation != "mounts":
            argv = [rewritten(word, mounts) for word in argv]
            env = {name: rewritten(value, mounts) for name, value in env.items()}
            directory = rewritten(directory, mounts)
        return {
            "argv": argv,
            "env": env,
            "cwd": directory,
            "root": str(root),
            "mounts": [[str(mount.source), mount.target, mount.is_read_only] for mount in mounts],
            "isolation": self.isolation if mounts else "none",
            "lifeline": self._reader,
        }


def restored(mounts: Sequence[Mount], programs: Sequence[Path] | None = None) -> tuple[Mount, ...]:
    """Give the mounts by which programs stay where they are below a volume that would hide them, as one at /tmp may.

    Args:
        mounts: a container's own.
        programs: folders of programs; None means this interpreter and Atoll, which every container may use.
    """
    wanted = {*_own_programs()} if programs is None else {*programs}
    hidden = {each for each in wanted if any(Path(mount.target) in each.parents for mount in mounts)}
    outermost = sorted(each for each in hidden if hidden.isdisjoint(each.parents))
    return tuple(Mount(each, str(each), is_read_only=True) for each in outermost)


def _own_programs() -> tuple[Path, ...]:
    return Path(sys.prefix), Path(sys.base_prefix), Path(contain.__file__).parents[2]


def _seen(scratch: Path, mounts: Sequence[Mount]) -> str:
    """Give the folder that is a container's own: a volume over its place, as at /tmp, hides the one of the machine."""
    return next((mount.target for mount in mounts if scratch.is_relative_to(mount.target)), str(scratch))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


async def probe_isolation() -> tuple[str, str]:
    """Find out how mounts can be made here: `mounts`, or `rewrite` and the reason."""
    with tempfile.TemporaryDirectory(prefix="atoll-probe-") as folder:
        process = await asyncio.create_subprocess_exec(
            *_LAUNCHER, "--probe", folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        output, errors = await process.communicate()
    mode, _, reason = output.decode().partition(": ")
    if mode not in ("mounts", "rewrite"):
        return "rewrite", errors.decode(errors="replace").strip()[-200:] or "the probe gave no answer"
    return mode, reason
