"""How often to try: growing delays between attempts, and an allowance per thing and time. Pure."""

from collections import deque
from collections.abc import Callable, Hashable
from datetime import datetime, timedelta


class Backoff:
    """Delays that double from the first to the longest until a success."""

    def __init__(
        self, first_seconds: float, longest_seconds: float, *, chance: Callable[[], float] = lambda: 0.0
    ) -> None:
        """Wait for so long.

        Args:
            chance: gives a number from 0 to 1 by which a delay is shortened, to its half at most: those who fail at the
                same moment shall not come back at the same moment.
        """
        self._first, self._longest, self._chance = first_seconds, longest_seconds, chance
        self._failures = 0

    @property
    def is_fresh(self) -> bool:
        """Whether nothing has failed since the last success."""
        return self._failures == 0

    def next_seconds(self) -> float:
        """Count a failure and give the delay before the next attempt."""
        delay = self._first * 2.0 ** min(self._failures, 30)
        self._failures += 1
        return min(delay, self._longest) * (1 - self._chance() / 2)

    def reset(self) -> None:
        """Start again from the first delay, after a success."""
        self._failures = 0


class Allowance:
    """At most `count` uses per key in any `seconds`."""

    def __init__(self, count: int, seconds: float) -> None:
        self._count, self._window = count, timedelta(seconds=seconds)
        self._uses: dict[Hashable, deque[datetime]] = {}

    def take(self, key: Hashable, now: datetime) -> bool:
        """Use one; False if none is left, and then nothing is used."""
        uses = self._uses.setdefault(key, deque())
        while uses and now - uses[0] >= self._window:
            uses.popleft()
        if len(uses) >= self._count:
            return False
        uses.append(now)
        return True
