"""The processes of a campaign, and who starts them again when they end: what systemd and kubelets do elsewhere.

Owns that each runs unless a fault holds it down. What a process does is `serve.py`'s business.
"""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rig.nursery import Nursery, nursery

_SERVE = "campaign.serve"
_LOOK_SECONDS, _AGAIN_SECONDS = 0.25, 1.0


def children() -> Nursery:
    return nursery(_SERVE)


@dataclass
class Child:
    """One process, by its name; `settings` are what its role in `serve.py` takes."""

    name: str
    role: str
    settings: Mapping[str, Any]
    log: Path
    ended: list[int] = field(default_factory=list)
    """The codes that it ended with by itself."""
    _pid: int | None = None
    _is_held: bool = True
    _again_at: float = 0.0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def pid(self) -> int | None:
        """Its number while it runs."""
        return self._pid

    def start(self) -> None:
        """Run, and again whenever it ends."""
        with self._lock:
            self._is_held = False
            if self._pid is None:
                self._pid = children().begin(_SERVE, self.role, json.dumps(self.settings, default=str), log=self.log)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End it, and hold it down until it is started."""
        with self._lock:
            self._is_held = True
            if self._pid is not None:
                pid, self._pid = self._pid, None
                os.kill(pid, signal.SIGCONT)
                children().end(pid, number)

    def pause(self) -> None:
        """Stop it as a machine that swaps or migrates does: it notices nothing."""
        self._send(signal.SIGSTOP)

    def resume(self) -> None:
        self._send(signal.SIGCONT)

    def tend(self) -> None:
        """Start it again if it has ended by itself, after a moment."""
        with self._lock:
            if self._pid is not None and (code := children().code(self._pid)) is not None:
                self.ended.append(code)
                self._pid, self._again_at = None, time.monotonic() + _AGAIN_SECONDS
            if self._pid is None and not self._is_held and time.monotonic() >= self._again_at:
                self.start()

    def _send(self, number: signal.Signals) -> None:
        with self._lock:
            if self._pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._pid, number)


class Tender:
    """Looks after processes in a thread of its own."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tender", daemon=True)

    def __enter__(self) -> "Tender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(30)
        for child in reversed(self._children):
            child.kill()

    def start(self, *wanted: Child) -> None:
        for child in wanted:
            child.start()
            self._children.append(child)

    @property
    def ended(self) -> Sequence[tuple[str, int]]:
        """Whose processes ended by themselves, with their codes."""
        return [(child.name, code) for child in self._children for code in child.ended]

    def _run(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for child in self._children:
                child.tend()
