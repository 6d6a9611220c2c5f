"""Processes that begin in milliseconds: forked from one that has imported everything, which takes a second each time.

Owns that one process, and the ends of its children, which die with it. What a child does is the module's that it is
told to run: a child is a process like any other, with its own signals, log and end.
`python nursery.py MODULE...` takes orders from its standard input, a JSON document a line, and answers with a line.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_END_SECONDS, _LOOK_SECONDS = 20.0, 0.005


class Nursery:
    """The other process, as tests have it: safe to use from several threads."""

    def __init__(self, *modules: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )

    def begin(self, module: str, *arguments: str, log: Path) -> int:
        """Begin a process that calls `main` of a module with arguments and writes to a log; give its id."""
        log.touch()
        return int(self._ask({"begin": module, "arguments": arguments, "log": str(log)}))

    def code(self, process: int) -> int | None:
        """Give the code that a process of this nursery ended with; None while it runs."""
        code = self._ask({"code": process})
        return None if code is None else int(code)

    def end(self, process: int, number: signal.Signals) -> int:
        """Send a process of this nursery a signal, wait until it is gone, and give its code."""
        deadline = time.monotonic() + _END_SECONDS
        if self.code(process) is None:
            os.kill(process, number)  # nobody else has this number: a child that ended is kept until it is asked for
        while (code := self.code(process)) is None:
            assert time.monotonic() < deadline, f"process {process} does not end by {number.name}"
            time.sleep(_LOOK_SECONDS)
        return code

    def close(self) -> None:
        """End it, and all that it began."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(_END_SECONDS)
        self._process.stdout.close()

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(order).encode() + b"\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


@functools.cache
def nursery(*modules: str) -> Nursery:
    """Give this process's nursery that has imported these modules; it ends with this process."""
    opened = Nursery(*modules)
    atexit.register(opened.close)
    return opened


def _serve() -> dict[str, Any] | None:
    """Follow orders until there are no more. Returns in each child, with what it is to do; in the nursery with None."""
    codes: dict[int, int | None] = {}
    for line in sys.stdin.buffer:
        order = json.loads(line)
        if "begin" in order:
            if (answer := os.fork()) == 0:
                return dict(order)
            codes[answer] = None
        else:
            answer = codes[order["code"]] = _code(order["code"], codes[order["code"]])
        print(json.dumps(answer), flush=True)
    for child in (child for child, code in codes.items() if code is None):
        os.kill(child, signal.SIGKILL)
    return None


def _code(child: int, known: int | None) -> int | None:
    if known is None:
        ended, status = os.waitpid(child, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if ended else None
    return known


def _grow_up(order: dict[str, Any]) -> None:
    """Do what a child is for, and end as a program ends."""
    with Path(order["log"]).open("ab") as log, Path(os.devnull).open("rb") as nothing:
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source.fileno(), target)
    importlib.import_module(order["begin"]).main(*order["arguments"])


if __name__ == "__main__":
    for name in sys.argv[1:]:
        importlib.import_module(name)
    gc.freeze()  # or the first collection of each child would copy what it shares with this process
    if wanted := _serve():
        _grow_up(wanted)
