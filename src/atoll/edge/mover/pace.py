"""Hold a copy to a rate. Owns the account of what was taken; the caller says how much and when."""

import asyncio
import time
from collections.abc import Callable

# Whoever was held up for longer may not catch up at full speed.
_MOST_CREDIT_SECONDS = 0.5


class Pace:
    """At most `bytes_per_second`, on an average of half a second; 0 lets everything through."""

    def __init__(self, bytes_per_second: int, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._monotonic = bytes_per_second, monotonic
        self._paid_until = monotonic()

    def owed_seconds(self, count: int) -> float:
        """Take so many bytes; give for how long to wait before the next ones."""
        if not self._rate:
            return 0.0
        now = self._monotonic()
        self._paid_until = max(self._paid_until, now - _MOST_CREDIT_SECONDS) + count / self._rate
        return max(0.0, self._paid_until - now)

    async def spend(self, count: int) -> None:
        """Take so many bytes, and wait until they are paid for."""
        seconds = self.owed_seconds(count)
        if seconds:
            await asyncio.sleep(seconds)
