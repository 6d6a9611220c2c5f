"""A limit on bytes per second, kept over any stretch of time longer than a second."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

_CLOSED_SECONDS = 1.0
# Under a limit a chunk is accounted for in pieces, so that readings on the same link never wait for a whole one.
_PIECE_BYTES = 64 * 1024
# Of a limited link; the rest is left for readings, which are small and wanted sooner.
_FILES_SHARE = 0.75


class Link(Protocol):
    """The link that files share with readings."""

    @property
    def rate(self) -> int | None:
        """Bytes per second that may be sent now; None is no limit, 0 lets nothing pass."""

    def spend(self, size: int) -> None:
        """Note that bytes were sent."""


class Pace:
    """Lets the bytes of one Stream's files pass at the lower of its own limit and its share of the link."""

    def __init__(
        self, own: Callable[[], int | None], link: Link | None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._own, self._link, self._clock = own, link, clock
        self._free_at = clock()

    async def pay(self, size: int) -> None:
        """Wait until `size` bytes may be sent."""
        while size > 0:
            rate = self._rate()
            if rate == 0:
                await asyncio.sleep(_CLOSED_SECONDS)
                continue
            piece = size if rate is None else min(size, _PIECE_BYTES)
            if self._link is not None and self._link.rate is not None:
                self._link.spend(piece)
            size -= piece
            if rate is not None:
                # A second's worth may go at once after a pause.
                self._free_at = max(self._free_at, self._clock() - 1.0) + piece / rate
                await asyncio.sleep(max(0.0, self._free_at - self._clock()))

    def _rate(self) -> float | None:
        own, link = self._own(), self._link.rate if self._link is not None else None
        limits = [limit for limit in (own, None if link is None else link * _FILES_SHARE) if limit is not None]
        return min(limits, default=None)
