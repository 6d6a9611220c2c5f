"""Writes of one object against the races of others: compare-and-set, on what is known here or on the newest state.

Owns how often a lost race is tried again, and that a writer's own readers see its write. What is written is the
caller's to decide, anew for each state that it is shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable

from atoll.kubeapi.bucket import Entry, stored
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.errors import AlreadyExists, ApiError, Conflict, Timeout
from atoll.kubeapi.reading import Reader
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.storage import RevisionConflict, Storage
from atoll.kubeapi.writing import STALE

_RETRIES = 10  # lost races of one write before the caller hears of it; each retry reads the winner's state first

Attempt = Callable[[Entry | None], Awaitable[Object | None]]
"""Makes a write of an object as it is, None without one; gives what was written, or None if there is nothing to do."""


class Committer:
    """Commits the writes of a store."""

    def __init__(self, cache: WatchCache, storage: Storage, reader: Reader) -> None:
        self._cache, self._storage, self._reader = cache, storage, reader

    async def settle(self, rt: ResourceType, namespace: str | None, name: str, attempt: Attempt) -> Object:
        """Make a write succeed, first on the object as the cache has it: mostly that is the newest state.

        What fails there, or has nothing to do (`attempt` gives None), is tried once more on the state that is the
        newest for sure; a race that another writer won is tried again on what that one wrote.
        """
        is_newest = False
        for _ in range(_RETRIES):
            entry = self._cache.get(rt.prefix, rt.key(namespace, name))
            try:
                done = await attempt(entry)
                if done is not None:
                    return done
                if is_newest and entry is not None:
                    return rt.decode(entry.raw)
            except RevisionConflict as lost:
                await self._reader.reach(str(lost.current or ""))
                continue
            except ApiError:
                if is_newest:
                    raise
            await self._reader.reach()
            is_newest = True
        raise Conflict.of(rt.subject(name), STALE)

    async def insert(self, rt: ResourceType, created: Object, *, dry_run: bool) -> Object:
        """Write an object that is new, and set its resourceVersion. Raises AlreadyExists."""
        metadata = created["metadata"]
        namespace, name = metadata.get("namespace"), metadata["name"]
        key = rt.key(namespace, name)
        seems_free = not dry_run and self._cache.get(rt.prefix, key) is None
        if not seems_free and await self._reader.entry(rt, namespace, name) is not None:
            raise AlreadyExists.of(rt.group, rt.plural, name)
        if dry_run:
            return created
        try:
            revision = await self._storage.write(key, stored(created), expected=0)
        except RevisionConflict:
            raise AlreadyExists.of(rt.group, rt.plural, name) from None
        await self._show(revision)
        metadata["resourceVersion"] = str(revision)
        return created

    async def replace(self, entry: Entry, obj: Object | None, *, dry_run: bool) -> None:
        """Write `obj` over `entry`, None to remove it, and set its resourceVersion. Raises RevisionConflict."""
        if dry_run:
            return
        value = None if obj is None else stored(obj)
        revision = await self._storage.write(entry.key, value, expected=entry.revision)
        await self._show(revision)
        if obj is not None:
            obj["metadata"]["resourceVersion"] = str(revision)

    async def _show(self, revision: int) -> None:
        """Wait until the readers here see a write. It has happened: a cache that is late does not make it fail."""
        with contextlib.suppress(Timeout):
            await self._cache.reach(revision)
