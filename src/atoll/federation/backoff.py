"""How long to wait before trying again, so that many who fail at one moment do not come back at one moment. Pure."""

from collections.abc import Callable

# The first and the longest wait between attempts to come back, of one that is alone and of one of many: a thousand that
# come back within 4 s are 250 handshakes a second, and each of them has missed one heartbeat at most.
_ALONE_SECONDS = 0.25, 0.5
_ONE_OF_MANY_SECONDS = 1.0, 4.0


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


class Comeback:
    """Delays before each attempt to reach a server again that was lost, the first attempt included."""

    def __init__(self, spread_seconds: float, *, chance: Callable[[], float]) -> None:
        """Wait for so long.

        Args:
            spread_seconds: over how long the first attempts of all who lost the server are spread; 0 for one who is
                alone and tries at once.
            chance: gives a number from 0 to 1.
        """
        self._backoff = Backoff(*(_ONE_OF_MANY_SECONDS if spread_seconds else _ALONE_SECONDS), chance=chance)
        self._spread, self._chance, self._is_first = spread_seconds, chance, True

    def next_seconds(self) -> float:
        """Give the delay before the next attempt."""
        if self._is_first:
            self._is_first = False
            return self._spread * self._chance()
        return self._backoff.next_seconds()

    def reset(self) -> None:
        """Start again, after the server was reached."""
        self._is_first = True
        self._backoff.reset()
