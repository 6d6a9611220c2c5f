"""What the standard library tells of the world, told by the twin: clocks and randomness.

It is installed before anything of Atoll is imported, since defaults of arguments are taken then. While no history is
lived all is as it was.
"""

import os
import random
import sqlite3
import time
from datetime import datetime, tzinfo
from random import Random
from typing import Any

from twin.machine import VirtualClock

_real = {name: getattr(time, name) for name in ("time", "monotonic", "perf_counter", "clock_gettime", "process_time")}
_real_urandom, _real_connect = os.urandom, sqlite3.connect


class _Present:
    """The history that is lived now."""

    clock: VirtualClock | None = None
    chance: Random | None = None


def begin(clock: VirtualClock, seed: int) -> None:
    """Let clocks and chances be those of a history."""
    _Present.clock, _Present.chance = clock, Random(f"urandom {seed}")
    random.seed(f"random {seed}")


def end() -> None:
    """Let them be real again."""
    _Present.clock = _Present.chance = None


def _monotonic() -> float:
    return _real["monotonic"]() if _Present.clock is None else _Present.clock.monotonic()


def _perf_counter() -> float:
    return _real["perf_counter"]() if _Present.clock is None else _Present.clock.monotonic()


def _time() -> float:
    return _real["time"]() if _Present.clock is None else _Present.clock.time()


def _time_ns() -> int:
    return int(_time() * 1e9)


def _clock_gettime(which: int) -> float:
    if _Present.clock is None:
        return float(_real["clock_gettime"](which))
    return _Present.clock.time() if which == time.CLOCK_REALTIME else _Present.clock.monotonic()


def _urandom(size: int) -> bytes:
    return _real_urandom(size) if _Present.chance is None else _Present.chance.randbytes(size)


def _connect(*arguments: Any, **options: Any) -> sqlite3.Connection:
    """Open a database whose own chances are the history's, too."""
    database = _real_connect(*arguments, **options)
    if _Present.chance is not None:
        database.create_function("randomblob", 1, _urandom)
    return database


class _Instants:
    """In the place of the name `datetime` in modules that ask it for the time."""

    @staticmethod
    def now(zone: tzinfo | None = None) -> datetime:
        return datetime.now(zone) if _Present.clock is None else _Present.clock.datetime()

    def __getattr__(self, name: str) -> Any:
        return getattr(datetime, name)


def tell_time_to(*modules: Any) -> None:
    """Have modules that import `datetime` by name ask a history's clock."""
    for module in modules:
        assert hasattr(module, "datetime"), f"{module.__name__} asks for the time in another way now"
        module.datetime = _Instants()


def _nothing() -> float:
    """How long code computes is no part of a history: in virtual time it takes none."""
    return _real["process_time"]() if _Present.clock is None else 0.0


def cpu_seconds() -> float:
    """Give the processor's time that this process has taken in truth."""
    return float(_real["process_time"]())


def real_seconds() -> float:
    """Give the seconds of this machine's own monotonic clock."""
    return float(_real["monotonic"]())


def install() -> None:
    """Put the twin's clocks and chances where all of Python looks for them."""
    time.time, time.monotonic, time.perf_counter = _time, _monotonic, _perf_counter
    time.clock_gettime, time.time_ns = _clock_gettime, _time_ns
    sqlite3.connect = _connect  # type: ignore[assignment]
    time.thread_time = time.process_time = _nothing
    os.urandom = _urandom
    random._urandom = _urandom  # type: ignore[attr-defined] # secrets and uuid
