"""Waiting for the federation to become what was asked for, with a limit, a reason and a way to be stopped."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from atoll.federation.errors import AtollError, Unavailable

T = TypeVar("T")
_POLL_SECONDS = 0.1


class DemoFailed(AtollError):
    """Something that the demo claims did not come true; `look` says where to find out why."""

    reason = "DemoFailed"

    def __init__(self, message: str, look: str) -> None:
        super().__init__(message)
        self.look = look


class Stopped(AtollError):
    """The demo was told to stop while it waited."""

    reason = "Stopped"


class Patience:
    """Waits for claims; `stop` ends every wait of every thread."""

    def __init__(self) -> None:
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End all waits, now and later."""
        self._stopped.set()

    def sleep(self, seconds: float) -> None:
        """Sleep.

        Raises:
            Stopped: told to stop.
        """
        if self._stopped.wait(seconds):
            raise Stopped("told to stop")

    def until(self, claim: str, probe: Callable[[], T | None], *, seconds: float, look: str) -> T:
        """Ask again and again until the probe gives a value that counts as true.

        Raises:
            DemoFailed: the claim did not come true in time.
            Stopped: told to stop.
        """
        deadline = time.monotonic() + seconds
        trouble = ""
        while True:
            try:
                value = probe()
            except Unavailable as error:
                # A killed hub or API server comes back: what counts is the claim, within its time.
                value, trouble = None, f" ({error})"
            if value:
                return value
            if time.monotonic() > deadline:
                raise DemoFailed(f"{claim}: not so after {seconds:.0f} s{trouble}", look)
            self.sleep(_POLL_SECONDS)
