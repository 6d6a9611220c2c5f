"""The lease by which runs of lossPolicy Failover go on: until when, and since when without a gap (docs/adr/0021).

A lease ends so many seconds after the newest heartbeat that was stored had been *sent*, on a clock that a suspended
machine does not stop. So no two clocks are compared, and the hub, which counts from when it heard that heartbeat,
always counts from later. It must not know what is done when a lease ends.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from atoll.edge.member.shelf import Shelf
from atoll.federation.bus.messages import Message
from atoll.federation.errors import Internal

HEARTBEAT = "heartbeat"
_KEY = "lease"
# Linux counts the time asleep on this clock only (clock_gettime(2)); elsewhere a machine that sleeps breaks the fence.
_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_seconds() -> float:
    """Give the seconds since this machine was started, those asleep included."""
    return time.clock_gettime(_CLOCK)


def boot_id() -> str:
    """Name this machine's present life; empty where it has no name."""
    return _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else ""


@dataclass(frozen=True)
class Proof:
    """When the newest stored heartbeat was sent, and since when the lease has been held without a gap."""

    sent_at: float
    gained_at: float


class Lease:
    """What the stored heartbeats of one agent entitle it to."""

    def __init__(
        self, clock: Callable[[], float] = boot_seconds, *, proof: Proof | None = None, boot: str = ""
    ) -> None:
        """Start from a proof of this very boot, or from none: then nothing is held until a heartbeat was stored."""
        self.clock, self.proof, self._boot = clock, proof, boot

    @property
    def gain(self) -> str:
        """Name the present unbroken possession: what began under another one has outlived its lease."""
        return f"{self._boot}/{self.proof.gained_at}" if self.proof is not None else ""

    @property
    def gained_at(self) -> float:
        """Since when the lease has been held without a gap; never, if there was no heartbeat."""
        return self.proof.gained_at if self.proof is not None else float("inf")

    def remaining(self, seconds: float) -> float:
        """Give how much is left of a lease of this length; not above 0 once it has ended."""
        return self.proof.sent_at + seconds - self.clock() if self.proof is not None else 0.0

    def renew(self, sent_at: float, acknowledged_at: float, *, seconds: float | None) -> None:
        """Take note of a heartbeat that was stored.

        Args:
            sent_at: before it was handed to the bus.
            acknowledged_at: after the bus said that it is stored.
            seconds: the shortest lease that anything depends on; None: nothing does, and gaps are not told apart.
        """
        old, counted_from = self.proof, self._counted_from(sent_at, acknowledged_at)
        if old is not None and seconds is not None and acknowledged_at < old.sent_at + seconds:
            self.proof = replace(old, sent_at=max(old.sent_at, counted_from))
        else:
            self.proof = Proof(counted_from, acknowledged_at)

    def _counted_from(self, sent_at: float, _acknowledged_at: float) -> float:
        """A heartbeat may have been heard at any moment after it was sent."""
        return sent_at


class _Saved(Message):
    """A lease on disk: it outlives the agent, and means nothing after the machine was started anew."""

    boot: str
    sent_at: float
    gained_at: float


class SavedLease:
    """A lease that an agent finds again when it comes back while the lease still holds."""

    def __init__(self, shelf: Shelf, *, boot: str, shortest: Callable[[], float | None]) -> None:
        """Keep it on a shelf; `shortest` gives the shortest lease that any order depends on, None if none does."""
        self._shelf, self._boot, self._shortest = shelf, boot, shortest
        self.lease = Lease(proof=self._load(), boot=boot)

    def _load(self) -> Proof | None:
        found = self._shelf.load().get(_KEY)
        try:
            saved = _Saved.decode(found) if found is not None and self._boot else None
        except Internal:
            return None
        return Proof(saved.sent_at, saved.gained_at) if saved is not None and saved.boot == self._boot else None

    def renew(self, sent_at: float) -> None:
        """Take note of a heartbeat that is stored now and was sent then."""
        seconds = self._shortest()
        self.lease.renew(sent_at, self.lease.clock(), seconds=seconds)
        if seconds is not None:
            self.save()

    def save(self) -> None:
        """Store the lease as it is now."""
        proof = self.lease.proof
        if proof is not None:
            saved = _Saved(boot=self._boot, sent_at=proof.sent_at, gained_at=proof.gained_at)
            self._shelf.put(_KEY, saved.encode())


class Observed(Protocol):
    """What is needed of the bus's table of reports."""

    async def put(self, key: str, value: bytes) -> int:
        """Write a value."""
        ...

    async def delete(self, key: str) -> int:
        """Delete a key."""
        ...


class Witness:
    """A table of reports that renews the lease with each heartbeat that was stored."""

    def __init__(self, table: Observed, saved: SavedLease) -> None:
        self._table, self._saved = table, saved

    async def put(self, key: str, value: bytes) -> int:
        """Write a value; a heartbeat counts from before it was sent."""
        sent_at = self._saved.lease.clock()
        revision = await self._table.put(key, value)
        if key == HEARTBEAT:
            self._saved.renew(sent_at)
        return revision

    async def delete(self, key: str) -> int:
        """Delete a key."""
        return await self._table.delete(key)
