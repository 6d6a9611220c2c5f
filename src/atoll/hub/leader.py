"""Leadership of one hub among several: a lease in JetStream, held by compare-and-set and judged by local clocks only.

Owns taking, renewing and losing the lease; must not know what a leader does.
A holder acts only until its own monotonic deadline, counted from before the renewal was sent; a rival takes the lease
only when it has seen the same revision stand for a whole lease. So no two clocks are ever compared.
"""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

import orjson
import structlog

from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.table import Table
from atoll.federation.errors import AtollError, Conflict

log = structlog.get_logger(__name__)

LEASE_STREAM, LEASE_PREFIX = "LEASES", "lease"
LEASE_KEY = "hub/leader"
# Six renewals fit into a lease: four may fail in a row before it is lost.
_RENEWALS = 6
# The holder stops this much earlier than rivals may begin.
_SAFE_PART = 0.75


class Lease:
    """One hub's claim to lead. `token` is the revision of the write that took the lease: it grows with every leader."""

    def __init__(self, table: Table, *, seconds: float, is_alive: Callable[[], bool] = lambda: True) -> None:
        """See `open`."""
        self._table, self._seconds, self._is_alive = table, seconds, is_alive
        self._now = time.monotonic
        self._holder = secrets.token_hex(8)
        self._revision = 0
        self._deadline = 0.0
        # The revision that stands there, and since when we have seen no other.
        self._seen, self._seen_since = -1, 0.0
        self.token = 0

    @classmethod
    async def open(cls, bus: Bus, *, seconds: float, is_alive: Callable[[], bool] = lambda: True) -> "Lease":
        """Make the stream of leases if it is not there, and look at what stands.

        From then on a dead predecessor's lease runs out: a hub that loads its objects meanwhile need not wait for it.

        Args:
            bus: the connection that renewals go over.
            seconds: how long the lease lasts.
            is_alive: whether whoever leads under this lease still moves; when not, it is renewed no more.
        """
        await bus.ensure_table(LEASE_STREAM, LEASE_PREFIX)
        lease = cls(bus.table(LEASE_STREAM, LEASE_PREFIX), seconds=seconds, is_alive=is_alive)
        await lease._look()
        return lease

    @property
    def is_held(self) -> bool:
        """Whether this hub may act as leader right now."""
        return self._now() < self._deadline

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        while True:
            try:
                current = await self._look()
                has_run_out = self._now() - self._seen_since >= self._seconds
                if current is None or self._is_ours(current) or has_run_out:
                    await self._write(self._seen)
                    self.token = self._revision
                    return
            except Conflict:
                self._seen = -1
            except AtollError as error:
                log.debug("the lease could not be read", error=str(error))
            await asyncio.sleep(self._seconds / _RENEWALS)

    async def _look(self) -> Change | None:
        """Read the lease, and note when it changed."""
        current = await self._table.get(LEASE_KEY)
        revision = current.revision if current else 0
        if revision != self._seen:
            self._seen, self._seen_since = revision, self._now()
        return current

    async def hold(self) -> None:
        """Renew until the lease is lost; return then."""
        while self.is_held:
            await asyncio.sleep(min(self._seconds / _RENEWALS, max(0.0, self._deadline - self._now())))
            if not self._is_alive():
                log.error("who leads under the lease does not move; it is renewed no more")
                self._deadline = 0.0
                return
            try:
                async with asyncio.timeout(max(0.01, self._deadline - self._now())):
                    await self._write(self._revision)
            except Conflict:
                self._deadline = 0.0
            except (AtollError, TimeoutError) as error:
                log.debug("the lease could not be renewed", error=str(error))
                await self._reread()

    async def release(self) -> None:
        """Give the lease up, so that the next leader need not wait."""
        self._deadline = 0.0
        with contextlib.suppress(AtollError, TimeoutError):
            async with asyncio.timeout(1):
                await self._table.delete(LEASE_KEY, expected=self._revision)

    async def _reread(self) -> None:
        """A renewal whose answer was lost may have happened: go on from what stands there, if it is still ours."""
        with contextlib.suppress(AtollError, TimeoutError):
            async with asyncio.timeout(max(0.01, self._deadline - self._now())):
                current = await self._table.get(LEASE_KEY)
            if current is not None and self._is_ours(current):
                self._revision = current.revision
            else:
                self._deadline = 0.0

    def _is_ours(self, current: Change) -> bool:
        return bool(orjson.loads(current.value or b"{}").get("holder") == self._holder)

    async def _write(self, expected: int) -> None:
        before = self._now()
        body = orjson.dumps({"holder": self._holder, "renewal": secrets.token_hex(4)})
        self._revision = await self._table.put(LEASE_KEY, body, expected=expected)
        self._deadline = before + self._seconds * _SAFE_PART


class Claim(Protocol):
    """A claim to lead, such as a Lease."""

    @property
    def token(self) -> int:
        """Grows with every leader."""

    @property
    def is_held(self) -> bool:
        """Whether this hub may act as leader right now."""

    async def acquire(self) -> None:
        """Wait until this hub leads."""

    async def hold(self) -> None:
        """Return when it leads no more."""

    async def release(self) -> None:
        """Let others lead."""


async def lead(lease: Claim, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` whenever this hub is the leader, and cancel it as soon as it is not; for ever."""
    while True:
        await lease.acquire()
        log.info("this hub leads now", token=lease.token)
        worker = asyncio.ensure_future(work())
        holder = asyncio.create_task(lease.hold(), name="hub-lease")
        try:
            await asyncio.wait({worker, holder}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            log.info("this hub leads no more", token=lease.token)
            await _stop(worker, holder)
            await lease.release()
        if not worker.cancelled():
            worker.result()  # leading ends by losing the lease only: a worker that failed takes the hub with it


async def _stop(*tasks: asyncio.Future[None]) -> None:
    """Cancel tasks and wait until they have ended."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
