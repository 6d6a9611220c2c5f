"""The seam to what keeps objects: one key per object, compare-and-set, one revision counter over the whole store.

Owns the protocol and the storage in memory; must not know what a value means.
Keys are `<group or 'core'>/<plural>/<namespace or '-'>/<name>`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Change:
    """One write as a follower sees it; `value` None is a deletion."""

    key: str
    value: bytes | None
    revision: int


@dataclass(frozen=True)
class Synced:
    """Everything up to `revision` has been seen. Comes once after the live keys, and may come again as progress."""

    revision: int


class RevisionConflict(Exception):
    """The key's last write is not the expected one. `current` is its revision, 0 without the key, None if unknown."""

    def __init__(self, key: str, current: int | None) -> None:
        """Name the key and what was found there."""
        super().__init__(f"{key} is at revision {current}, not at the expected one: read it again")
        self.key = key
        self.current = current


class Storage(Protocol):
    """What a store of objects must do."""

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        """Write one key if its last write was at revision `expected` (0: the key must not exist); None deletes.

        Returns the new revision, which is larger than every earlier one of the whole store. The write is durable.
        Raises RevisionConflict if another write came first.
        """

    def follow(self) -> AsyncIterator[Change | Synced]:
        """Yield the last change of every live key in revision order, then Synced, then each change as it happens.

        Ends only by cancellation. Raising means that history was lost: the caller follows anew.
        """

    async def revision(self) -> int:
        """Return the revision of the store's last write, so that a reader knows how far it must have followed."""


class MemoryStorage:
    """Storage that lives as long as the process."""

    def __init__(self) -> None:
        """Start empty, at revision 1 as etcd does: to clients a resourceVersion of 0 means "any"."""
        self._revision = 1
        self._live: dict[str, Change] = {}
        self._followers: set[asyncio.Queue[Change]] = set()

    async def write(self, key: str, value: bytes | None, *, expected: int) -> int:
        """Write one key; see Storage."""
        current = self._live.get(key)
        found = current.revision if current else 0
        if found != expected:
            raise RevisionConflict(key, found)
        if value is None and current is None:
            return self._revision
        self._revision += 1
        change = Change(key, value, self._revision)
        self._live.pop(key, None)  # live keys stay in revision order
        if value is not None:
            self._live[key] = change
        for follower in self._followers:
            follower.put_nowait(change)
        return self._revision

    async def follow(self) -> AsyncIterator[Change | Synced]:
        """Yield the live keys, Synced, then changes; see Storage."""
        queue: asyncio.Queue[Change] = asyncio.Queue()
        self._followers.add(queue)
        try:
            live, revision = tuple(self._live.values()), self._revision
            for change in live:
                yield change
            yield Synced(revision)
            while True:
                yield await queue.get()
        finally:
            self._followers.discard(queue)

    async def revision(self) -> int:
        """Return the revision of the last write."""
        return self._revision
