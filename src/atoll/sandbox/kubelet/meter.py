"""What containers use of this machine: the room's door to psutil.

Owns the readings between which a rate is taken; must not know pods.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass

import psutil

# Between two readings that are nearer than this a rate says little: the kernel counts CPU in hundredths of a second.
_SHORTEST_WINDOW_SECONDS = 0.5


@dataclass(frozen=True)
class Reading:
    """What a process and all that it started use: cores on average over the window, and resident bytes."""

    cores: float
    memory_bytes: int
    window_seconds: float


class Meter:
    """Reads what processes use; each rate is since the reading before, the first since the process began."""

    def __init__(self) -> None:
        self._last: dict[tuple[int, float], tuple[float, float]] = {}

    def read(self, pid: int) -> Reading | None:
        """Read a process with its descendants; None if it is gone."""
        try:
            top = psutil.Process(pid)
            family = (top, *top.children(recursive=True))
            key, now = (pid, top.create_time()), time.time()
        except psutil.Error:
            return None
        cpu, memory = 0.0, 0
        for process in family:
            with contextlib.suppress(psutil.Error):  # one that has just ended
                times = process.cpu_times()
                cpu += times.user + times.system + times.children_user + times.children_system
                memory += process.memory_info().rss
        began, used = self._last.get(key, (key[1], 0.0))
        window = max(now - began, _SHORTEST_WINDOW_SECONDS)
        if now - began >= _SHORTEST_WINDOW_SECONDS:
            self._last[key] = (now, cpu)
        return Reading(max(0.0, cpu - used) / window, memory, window)

    def forget(self, alive: set[int]) -> None:
        """Forget processes that do not run any more."""
        self._last = {key: last for key, last in self._last.items() if key[0] in alive}
