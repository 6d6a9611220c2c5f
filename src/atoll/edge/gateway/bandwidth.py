"""How much of its link a gateway may use now: the limit of the hour, and what of it is left.

Owns the arithmetic of windows and of the allowance. Limits are by wall clock, the allowance by one that never jumps.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from atoll.federation.resources.schedule import WEEKDAYS
from atoll.federation.resources.uplink import UplinkSpec, UplinkWindow

# What may be saved up while nothing waits: less, and envelopes are sent one by one; more, and the link feels it.
_SAVED_SECONDS = 0.5
# How long to wait at most before looking at the hour again.
_LOOK_SECONDS = 1.0


def rate_at(uplink: UplinkSpec, at: datetime) -> int | None:
    """Give the bytes per second that may be sent at an aware instant; None: no limit, 0: nothing."""
    local = at.astimezone(ZoneInfo(uplink.time_zone))
    window = next((window for window in uplink.windows if _holds(window, local)), None)
    return uplink.bytes_per_second if window is None else window.bytes_per_second


def _holds(window: UplinkWindow, local: datetime) -> bool:
    now, today = f"{local:%H:%M}", WEEKDAYS[local.weekday()]
    yesterday = WEEKDAYS[(local - timedelta(days=1)).weekday()]
    if window.until > window.starts:
        return today in window.days and window.starts <= now < window.until
    return (today in window.days and window.starts <= now) or (yesterday in window.days and now < window.until)


class Allowance:
    """What may be sent. A large envelope may go into debt, which those after it wait for, so any limit lets it pass."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.uplink = UplinkSpec()
        self._monotonic, self._now = monotonic, now
        self._left, self._counted_at = 0.0, monotonic()

    @property
    def rate(self) -> int | None:
        """Bytes per second that may be sent now; None: no limit."""
        return rate_at(self.uplink, self._now())

    def wait_seconds(self) -> float:
        """Give how long to wait before something may be sent, or before asking again."""
        rate, now = self.rate, self._monotonic()
        passed, self._counted_at = now - self._counted_at, now
        if rate is None:
            self._left = 0.0
            return 0.0
        self._left = min(self._left + passed * rate, rate * _SAVED_SECONDS)
        if not rate:
            return _LOOK_SECONDS
        return 0.0 if self._left >= 0 else min(-self._left / rate, _LOOK_SECONDS)

    def spend(self, size: int) -> None:
        """Take note that so many bytes were sent."""
        self._left -= size
