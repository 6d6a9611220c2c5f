"""One `exec`: carries what a client types to a command and what that prints back, and says how it ended.

Owns the conversation and its Status; the frames are kubeapi's, the processes exec.py's.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from atoll.kubeapi.errors import Internal
from atoll.kubeapi.http.channels import RESIZE, STDERR, STDIN, STDOUT, Channels, ClientGone, Frame
from atoll.sandbox.kubelet.exec import Command, Commands, Wanted
from atoll.sandbox.kubelet.exec_pipes import Output
from atoll.sandbox.kubelet.starting import CannotStart

_OUTPUT_SECONDS = 1.0
"""How long output is read on after the command's end: what it left behind is killed, so nothing comes much later."""


class ExecSession:
    """One command that is run for one client."""

    def __init__(self, commands: Commands, wanted: Wanted) -> None:
        """Run `wanted` when the conversation begins."""
        self._commands = commands
        self._wanted = wanted

    async def run(self, channels: Channels) -> dict[str, Any]:
        """Run the command to its end, or end it when the client is gone. Raises ClientGone."""
        try:
            command = await self._commands.start(self._wanted)
        except CannotStart as error:
            return Internal(f"the command cannot be run: {error}").status()
        typing = asyncio.create_task(_type(channels, command), name="exec-input")
        printing = asyncio.create_task(_print(channels, command), name="exec-output")
        try:
            await asyncio.wait((typing, printing), return_when=asyncio.FIRST_COMPLETED)
            if not printing.done():
                raise ClientGone
            return exit_status(await printing)
        finally:
            for task in (typing, printing):
                task.cancel()
            await asyncio.gather(typing, printing, return_exceptions=True)
            await command.close()


async def _type(channels: Channels, command: Command) -> None:
    """Carry what the client sends, until it is gone."""
    async for frame in channels.frames():
        if frame.channel == STDIN and command.pipes.stdin is not None:
            if frame.is_last:
                command.pipes.stdin.end()
            else:
                await command.pipes.stdin.write(frame.data)
        elif frame.channel == RESIZE:
            _resize(command, frame)


def _resize(command: Command, frame: Frame) -> None:
    """Resize the terminal as the client says; a size that cannot be is ignored, as the kubelet does."""
    try:
        size = orjson.loads(frame.data)
        columns, rows = int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        return
    if 0 < columns < 1 << 16 and 0 < rows < 1 << 16:
        command.pipes.resize(columns, rows)


async def _print(channels: Channels, command: Command) -> int:
    """Carry what the command prints to its end; return its exit code. Raises ClientGone."""
    outputs = [(STDOUT, command.pipes.stdout), (STDERR, command.pipes.stderr)]
    carrying = [
        asyncio.create_task(_carry(channels, number, output, command.ended), name="exec-carry")
        for number, output in outputs
        if output is not None
    ]
    try:
        await asyncio.gather(*carrying)
        return await command.ended
    finally:
        for task in carrying:
            task.cancel()


async def _carry(channels: Channels, channel: int, output: Output, ended: asyncio.Task[int]) -> None:
    while chunk := await _next(output, ended):
        await channels.send(channel, chunk)


async def _next(output: Output, ended: asyncio.Task[int]) -> bytes:
    """Return the next piece; nothing at the end, or if nothing comes any more though the command has ended."""
    reading = asyncio.create_task(output.read(), name="exec-read")
    try:
        await asyncio.wait((reading, ended), return_when=asyncio.FIRST_COMPLETED)
        return await asyncio.wait_for(reading, _OUTPUT_SECONDS)
    except TimeoutError:
        return b""
    finally:
        reading.cancel()


def exit_status(code: int) -> dict[str, Any]:
    """Return the Status of a command that ended (k8s.io/kubelet: pkg/cri/streaming/remotecommand, ServeExec)."""
    if code == 0:
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }
