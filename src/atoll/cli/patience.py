"""How long a command waits for a hub that is just being restarted, and what it says meanwhile.

It must not know HTTP: whoever asks knows what went wrong, and whether the same may be asked again.
"""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from atoll.cli.output import hint

# A hub that is started anew on the machine of this CLI, or by Kubernetes, serves after some seconds.
USUAL_SECONDS = 10.0
_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.2, 1.0


class Patience:
    """What is left of the time that the requests of one command may wait, and whether that was said."""

    def __init__(
        self,
        seconds: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._seconds, self._clock, self._sleep = seconds, clock, sleep
        self._is_told = False

    def begin(self) -> "Wait":
        """Begin to wait for one answer."""
        return Wait(self, self._clock() + self._seconds)

    def outlasts(self, delay: float, until: float, why: str) -> bool:
        """Wait a moment and tell that it is worth another try; not beyond `until`."""
        if self._clock() + delay > until:
            return False
        if not self._is_told:
            hint(f"{why}: trying again for up to {self._seconds:g} s")
            self._is_told = True
        self._sleep(delay)
        return True


class Wait:
    """The tries of one request."""

    def __init__(self, patience: Patience, until: float) -> None:
        self._patience, self._until = patience, until
        self._delay = _FIRST_DELAY_SECONDS

    def goes_on(self, why: str, *, at_least: float = 0.0) -> bool:
        """Wait before the next try; False if there is to be none.

        Args:
            why: what is said, once for all requests of a command.
            at_least: the seconds that the server asked for.
        """
        delay = max(self._delay, at_least)
        self._delay = min(_LONGEST_DELAY_SECONDS, 2 * self._delay)
        return self._patience.outlasts(delay, self._until, why)


@contextmanager
def telling_after_a_second(what: str) -> Iterator[None]:
    """Tell a terminal what is waited for if it takes more than a moment.

    A pipe gets nothing, and neither does a terminal that has a bar: while it is shown, stderr goes through it.
    """
    if sys.__stderr__ is None or sys.stderr is not sys.__stderr__ or not sys.__stderr__.isatty():
        yield
        return
    timer = threading.Timer(1.0, hint, args=(what,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
