"""How long the connection has been away, and who waits for it.

Owns the patience of a call; must not know what is asked.

A call that finds the connection gone is not handed to nats-py, which would keep it and send it at some later moment:
what fails here has not happened. A call that was under way when the connection went has an unknown outcome.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

from atoll.federation.errors import Unavailable

# How long calls wait for a connection that is gone. Below it, a server that is only restarted fails them; above it,
# who asks the hub waits long for the word that it must be asked again.
AWAY_SECONDS = 3.0
# Every call waits that long at least, however long the connection has been gone: a server that is back is found in half
# a second (`Comeback`), and who asks in that moment shall not be refused.
_LEAST_SECONDS = 1.5
# An answer that was on its way when the connection broke never comes. What nats-py kept back is sent right after the
# reconnect, and its answers need this long: shorter, and a slow fsync looks like a lost answer.
_LOST_ANSWER_SECONDS = 2.0


class NotSent(Unavailable):
    """A call was never handed to the connection: nothing has happened, and nothing will."""


class Outage:
    """Whether the connection stands, as its callbacks have told."""

    def __init__(self) -> None:
        self._lost_at = 0.0
        self._stands = asyncio.Event()
        self._stands.set()
        # Called in the order in which they came; a set would order them by where they are in memory.
        self._on_loss: dict[Callable[[], None], None] = {}
        self._on_return: dict[Callable[[], None], None] = {}

    def begin(self) -> None:
        """Take note that the connection is gone."""
        if self._stands.is_set():
            self._lost_at = time.monotonic()
            self._stands.clear()
        _call(self._on_loss)

    def end(self) -> None:
        """Take note that it stands again."""
        self._stands.set()
        _call(self._on_return)

    async def is_over(self) -> bool:
        """Wait for the connection, until it has been away for too long; tell whether it stands."""
        left = self._lost_at + AWAY_SECONDS - time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(_LEAST_SECONDS, left)):
                await self._stands.wait()
        return self._stands.is_set()

    @contextlib.contextmanager
    def on_return(self, callback: Callable[[], None]) -> Iterator[None]:
        """Call back after each reconnect while the context is open."""
        with _member(self._on_return, callback):
            yield

    @contextlib.contextmanager
    def bounding(self, asking: "asyncio.Future[Any]") -> Iterator[None]:
        """Cancel a call that is under way when the connection goes, once its answer cannot be expected any more."""
        loop = asyncio.get_running_loop()

        def give_up() -> None:
            if not self._stands.is_set():
                asking.cancel()

        def lost() -> None:
            loop.call_later(AWAY_SECONDS, give_up)

        def returned() -> None:
            loop.call_later(_LOST_ANSWER_SECONDS, asking.cancel)

        with _member(self._on_loss, lost), _member(self._on_return, returned):
            yield


@contextlib.contextmanager
def _member(callbacks: dict[Callable[[], None], None], callback: Callable[[], None]) -> Iterator[None]:
    callbacks[callback] = None
    try:
        yield
    finally:
        callbacks.pop(callback, None)


def _call(callbacks: dict[Callable[[], None], None]) -> None:
    for callback in tuple(callbacks):
        callback()
