"""How long an outbox has run: the clock by which its readings age.

It counts only while a gateway runs and never jumps, so that a machine that wakes in 1970 or is set forward by a year
sheds nothing for it. What it does not count is the time that a gateway was switched off.
"""

import time
from collections.abc import Callable


class OutboxClock:
    """Seconds that the outbox has been open, over all processes that had it."""

    def __init__(self, seconds: float, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset = seconds - monotonic()

    def now(self) -> float:
        """Give the seconds."""
        return self._offset + self._monotonic()
