"""Clocks that are wrong: a process forked for a campaign takes the time from here, and a campaign says how wrong it is.

Owns the offset, eight bytes of a file that both sides have mapped. It reaches what asks Python for the date and time;
monotonic clocks stay right, as they do on a machine whose NTP steps, and so do other programs.
"""

import datetime as dates
import mmap
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_OFFSET = struct.Struct("<d")


class Skew:
    """By how many seconds the clock of a process is ahead."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(_OFFSET.pack(0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _OFFSET.size)

    def get(self) -> float:
        return float(_OFFSET.unpack_from(self._map)[0])

    def set(self, seconds: float) -> None:
        """Step the clock, now."""
        _OFFSET.pack_into(self._map, 0, seconds)


def install(skew: Skew) -> None:
    """Let this process take the time from a skewed clock, in every module that has been imported."""
    right = dates.datetime
    skewed = _skewed(right, skew.get)
    seconds = time.time
    time.time = lambda: seconds() + skew.get()
    for module in tuple(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("atoll.") and getattr(module, "datetime", None) is right:
            module.datetime = skewed  # type: ignore[attr-defined]


def _skewed(right: type[dates.datetime], offset: Callable[[], float]) -> Any:
    class Kind(type(right)):  # type: ignore[misc]
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, right)

        def __getattr__(cls, name: str) -> Any:
            return getattr(right, name)

    class Skewed(right, metaclass=Kind):  # type: ignore[misc, valid-type]
        @classmethod
        def now(cls, tz: dates.tzinfo | None = None) -> dates.datetime:
            return right.now(tz) + dates.timedelta(seconds=offset())

    return Skewed
