"""The lease of leadership in a thread of its own, so that a hub stays the leader while its event loop is busy.

Owns the thread, with an event loop and a connection to NATS; must not know what a leader does. In the hub's own loop a
renewal waits behind all that is ready to run: a hub that took in 30,000 objects on a machine with other work lost the
lease, began anew, and lost it again.

It is safe to hold the lease for a loop that stands still. A lease keeps two hubs from doing the same work at once; what
keeps out a write that was decided on something old is the revision which each write carries. So a leader that comes
late writes nothing that it may not, lease or not. But a loop that does not move for long is stuck, and another hub
shall take over: renewals end then.
"""

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from atoll.federation.bus.connection import Bus
from atoll.hub.leader import Lease

T = TypeVar("T")
_PULSE_SECONDS = 1.0
# Shorter, and what merely takes long on a small machine looks stuck; longer, and so long nobody leads.
STUCK_SECONDS = 30.0


class _Thread:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="hub-lease", daemon=True)
        self._thread.start()

    async def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Let a coroutine run there. Who is cancelled here cancels it there."""
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def close(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        await asyncio.to_thread(self._thread.join)
        self._loop.close()


class LeaseBeside:
    """A lease that another thread takes, renews and gives up; see `Lease` for what its methods do."""

    def __init__(self, thread: _Thread, lease: Lease) -> None:
        self._thread, self._lease = thread, lease

    @property
    def token(self) -> int:
        """The revision of the write that took the lease."""
        return self._lease.token

    @property
    def is_held(self) -> bool:
        """Whether this hub may act as leader right now."""
        return self._lease.is_held

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        await self._thread.call(self._lease.acquire())

    async def hold(self) -> None:
        """Renew until the lease is lost; return then."""
        await self._thread.call(self._lease.hold())

    async def release(self) -> None:
        """Give the lease up."""
        await self._thread.call(self._lease.release())


@contextlib.asynccontextmanager
async def lease_beside(
    connect: Callable[[], Awaitable[Bus]], *, seconds: float, stuck_seconds: float = STUCK_SECONDS
) -> AsyncIterator[LeaseBeside]:
    """Give a lease that is renewed in a thread during the context.

    Args:
        connect: connects to NATS; it is called in that thread, and the connection is used and closed there.
        seconds: how long the lease lasts.
        stuck_seconds: how long the caller's event loop may not move before renewals end.

    Raises:
        Unavailable: NATS does not answer.
    """
    pulse = _Pulse(stuck_seconds)
    async with contextlib.AsyncExitStack() as stack:
        thread = _Thread()
        stack.push_async_callback(thread.close)
        beating = asyncio.create_task(pulse.beat(), name="hub-pulse")
        stack.callback(beating.cancel)
        bus = await thread.call(_connected(connect))
        stack.push_async_callback(lambda: thread.call(bus.close()))
        yield LeaseBeside(thread, await thread.call(Lease.open(bus, seconds=seconds, is_alive=pulse.is_alive)))


async def _connected(connect: Callable[[], Awaitable[Bus]]) -> Bus:
    return await connect()


class _Pulse:
    """Tells other threads whether an event loop moves."""

    def __init__(self, stuck_seconds: float) -> None:
        self._stuck_seconds = stuck_seconds
        self._at = time.monotonic()

    async def beat(self) -> None:
        """Show that the loop moves; for ever."""
        while True:
            self._at = time.monotonic()
            await asyncio.sleep(min(_PULSE_SECONDS, self._stuck_seconds / 4))

    def is_alive(self) -> bool:
        """Whether it has moved of late."""
        return time.monotonic() - self._at < self._stuck_seconds
