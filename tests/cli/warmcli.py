"""The program, forked from a process that has loaded its modules: a command costs what it does, not its imports.

It is the real program in a process of its own: arguments, environment, folder, streams, exit code and death are its
own. That it also starts from nothing is seen where tests start commands that go on, and all processes of a stack.
"""

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

MAX_REQUEST_BYTES = 100_000


class WarmCli:
    """A process that becomes the program, again and again; it ends with the one that made it."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, __file__, str(theirs.fileno())]
            self._process = subprocess.Popen(command, pass_fds=[theirs.fileno()])

    def run(
        self, arguments: Sequence[str], *, stdin: str, environment: Mapping[str, str], seconds: float
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end, as subprocess.run() would.

        Raises:
            subprocess.TimeoutExpired: it took longer than `seconds`, and was killed.
        """
        request = json.dumps({"arguments": arguments, "environment": dict(environment), "folder": str(Path.cwd())})
        with self._turn, contextlib.ExitStack() as stack:
            streams: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            streams[0].write(stdin.encode())
            streams[0].seek(0)
            descriptors = array.array("i", [stream.fileno() for stream in streams])
            self._ours.sendmsg([request.encode()], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
            pid, code = int(self._receive(None)), None
            try:
                code = int(self._receive(seconds))
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                self._receive(None)
            out, err = (_read(stream) for stream in streams[1:])
        if code is None:
            raise subprocess.TimeoutExpired(list(arguments), seconds, out, err)
        return subprocess.CompletedProcess(list(arguments), code, out, err)

    def _receive(self, seconds: float | None) -> bytes:
        self._ours.settimeout(seconds)
        answer = self._ours.recv(100)
        assert answer, "the process with the loaded modules has ended"
        return answer

    def close(self) -> None:
        """End it."""
        self._ours.close()
        self._process.wait(10)


@cache
def warm_cli() -> WarmCli:
    """Give the one of this process; the end of this process is the end of it."""
    warm = WarmCli()
    atexit.register(warm.close)
    return warm


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


def serve(requests: socket.socket) -> None:
    """Fork for each request, until nobody can make one any more; in the fork, return with everything set up."""
    while True:
        body, descriptors, _, _ = socket.recv_fds(requests, MAX_REQUEST_BYTES, 3)
        if not body:
            os._exit(0)
        pid = os.fork()
        if pid == 0:
            requests.close()
            become(json.loads(body), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        requests.send(str(pid).encode())
        _, status = os.waitpid(pid, 0)
        requests.send(str(os.waitstatus_to_exitcode(status)).encode())


def become(request: Mapping[str, Any], descriptors: Sequence[int]) -> None:
    """Take on the streams, the environment, the folder and the arguments of a request."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    sys.argv = ["atoll", *request["arguments"]]


if __name__ == "__main__":
    import httpcore  # noqa: F401 - httpx loads it with its first client

    import atoll.cli
    from atoll.cli.main import run

    for module in pkgutil.iter_modules(atoll.cli.__path__, "atoll.cli."):
        if module.name != "atoll.cli.__main__":
            importlib.import_module(module.name)
    gc.freeze()  # what is loaded lives as long as the forks, which share its memory until somebody counts in it
    serve(socket.socket(fileno=int(sys.argv[1])))
    run()
