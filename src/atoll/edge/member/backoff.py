"""How often something may be done: an allowance per thing and time. Pure."""

from collections import deque
from collections.abc import Hashable
from datetime import datetime, timedelta


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
