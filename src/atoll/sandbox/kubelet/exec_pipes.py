"""The pipes or the terminal between this process and a command.

Owns the descriptors: those of the command's side are closed here as soon as it has them.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import struct
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass

from atoll.sandbox.kubelet.process import Ends

_CHUNK_BYTES = 64 * 1024
# What may wait for a command that does not read: more costs memory, less hears later that the client is gone.
_WAITING_BYTES = 4 * 1024 * 1024


class Input(asyncio.BaseProtocol):
    """What is typed into a command."""

    def __init__(self) -> None:
        """Wait to be connected."""
        self._transport: asyncio.WriteTransport | None = None
        self._has_room = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin (asyncio's protocol)."""
        assert isinstance(transport, asyncio.WriteTransport), "connected for writing"
        transport.set_write_buffer_limits(high=_WAITING_BYTES)
        self._transport = transport
        self._has_room.set()

    def pause_writing(self) -> None:
        """Make writers wait (asyncio's protocol)."""
        self._has_room.clear()

    def resume_writing(self) -> None:
        """Let writers go on (asyncio's protocol)."""
        self._has_room.set()

    def connection_lost(self, _error: Exception | None) -> None:
        """Let writers go on, to nowhere: the command reads no more (asyncio's protocol)."""
        self._transport = None
        self._has_room.set()

    async def write(self, data: bytes) -> None:
        """Write as soon as not too much waits; what the command will never read is dropped."""
        await self._has_room.wait()
        if self._transport is not None:
            self._transport.write(data)

    def end(self) -> None:
        """Close it when all is written."""
        if self._transport is not None:
            self._transport.write_eof()

    def close(self) -> None:
        """Close it now."""
        if self._transport is not None:
            self._transport.abort()


class Output:
    """What a command prints."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        """Read from `reader`."""
        self._reader = reader

    async def read(self) -> bytes:
        """Return the next piece; nothing at the end."""
        try:
            return await self._reader.read(_CHUNK_BYTES)
        except OSError as error:
            if error.errno == errno.EIO:  # how Linux says that nobody holds a terminal any more
                return b""
            raise


@dataclass
class Pipes:
    """Our ends. A terminal has one output, and can be resized."""

    stdout: Output
    stderr: Output | None = None
    stdin: Input | None = None
    resize: Callable[[int, int], None] = lambda _columns, _rows: None
    close: Callable[[], None] = lambda: None


@contextlib.asynccontextmanager
async def opened(*, has_stdin: bool, has_terminal: bool) -> AsyncIterator[tuple[Ends, Pipes]]:
    """Open both sides for starting a command inside; its own are closed afterwards, ours too if that fails."""
    with ExitStack() as theirs, ExitStack() as ours:
        opening = _terminal if has_terminal else _pipes
        ends, pipes = await opening(theirs, ours, has_stdin=has_stdin)
        yield ends, pipes
        pipes.close = ours.pop_all().close


async def _pipes(theirs: ExitStack, ours: ExitStack, *, has_stdin: bool) -> tuple[Ends, Pipes]:
    stdout, given_stdout = await _output_pipe(theirs, ours)
    stderr, given_stderr = await _output_pipe(theirs, ours)
    if not has_stdin:
        return Ends(asyncio.subprocess.DEVNULL, given_stdout, given_stderr), Pipes(stdout, stderr)
    given_stdin, writer = os.pipe()
    theirs.callback(os.close, given_stdin)
    return Ends(given_stdin, given_stdout, given_stderr), Pipes(stdout, stderr, await _input(writer, ours))


async def _output_pipe(theirs: ExitStack, ours: ExitStack) -> tuple[Output, int]:
    reader, writer = os.pipe()
    theirs.callback(os.close, writer)
    return await _output(reader, ours), writer


async def _terminal(theirs: ExitStack, ours: ExitStack, *, has_stdin: bool) -> tuple[Ends, Pipes]:
    """Open a terminal. Its input cannot be ended: who types says so with a control character."""
    master, slave = pty.openpty()
    theirs.callback(os.close, slave)
    sized = os.dup(master)
    ours.callback(os.close, sized)
    given = await _input(os.dup(master), ours) if has_stdin else None

    def resize(columns: int, rows: int) -> None:
        fcntl.ioctl(sized, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    pipes = Pipes(await _output(master, ours), stdin=given, resize=resize)
    return Ends(slave, slave, slave, is_terminal=True), pipes


async def _output(descriptor: int, ours: ExitStack) -> Output:
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    ours.callback(transport.close)
    return Output(reader)


async def _input(descriptor: int, ours: ExitStack) -> Input:
    pipe = os.fdopen(descriptor, "wb", buffering=0)
    _, given = await asyncio.get_running_loop().connect_write_pipe(Input, pipe)
    ours.callback(given.close)
    return given
