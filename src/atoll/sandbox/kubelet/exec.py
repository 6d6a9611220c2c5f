"""Commands beside a container: processes in its environment, with its mounts, that end when it does.

Owns these processes and their pipes or terminal; must not know pods, HTTP, or who asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from atoll.sandbox.kubelet.exec_pipes import Pipes, opened
from atoll.sandbox.kubelet.process import Launch, Launcher, Running
from atoll.sandbox.kubelet.starting import check_program

_TERMINAL = {"TERM": "xterm"}  # as container runtimes set it


@dataclass(frozen=True)
class Wanted:
    """A command, and whether something is typed into it, and on a terminal."""

    command: Sequence[str]
    has_stdin: bool = False
    has_terminal: bool = False


class Command(Running):
    """One running command, and our ends of its pipes."""

    def __init__(self, process: asyncio.subprocess.Process, pipes: Pipes) -> None:
        """Own both."""
        super().__init__(process)
        self.pipes = pipes
        self.ended = asyncio.create_task(process.wait(), name=f"command-{process.pid}")

    async def close(self) -> None:
        """Kill it if it runs, and everything it started."""
        await self.kill()
        self.pipes.close()


class Commands:
    """The commands beside one run of one container."""

    def __init__(self, launcher: Launcher, launch: Launch, container: str) -> None:
        """Start commands as `launch` was started."""
        self._launcher = launcher
        self._launch = launch
        self._container = container
        self._running: set[Command] = set()
        self._is_closed = False

    async def start(self, wanted: Wanted) -> Command:
        """Start a command. Raises CannotStart if there is no such program, or the container has ended meanwhile."""
        env = {**_TERMINAL, **self._launch.env} if wanted.has_terminal else self._launch.env
        launch = replace(self._launch, argv=tuple(wanted.command), env=env)
        check_program(launch, self._launcher.search_path, self._container)
        async with opened(has_stdin=wanted.has_stdin, has_terminal=wanted.has_terminal) as (ends, pipes):
            command = Command(await self._launcher.spawn(launch, ends), pipes)
        self._running.add(command)
        command.ended.add_done_callback(lambda _: self._running.discard(command))
        if self._is_closed:
            await command.kill()
        return command

    async def close(self) -> None:
        """Kill all that run: the container has ended."""
        self._is_closed = True
        await asyncio.gather(*(command.kill() for command in tuple(self._running)))
