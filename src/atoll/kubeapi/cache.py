"""The watch cache: every live object and the recent changes of each resource, from `Storage.follow()`.

Owns what reads and watches are served from, and that it is complete: how an object is kept is its bucket's (bucket.py).
It must not write, nor know selectors or HTTP. A change is decoded at most once and encoded once for all watchers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging

from atoll.kubeapi.bucket import HISTORY, Bucket, Entry
from atoll.kubeapi.errors import Cause, Timeout, Unavailable
from atoll.kubeapi.recent import Recent
from atoll.kubeapi.storage import Change, Storage, Synced

log = logging.getLogger(__name__)

_FOLLOW_AGAIN_SECONDS = 0.5
_WAIT_SECONDS = 3.0  # as kube-apiserver waits for a resourceVersion of the future before it answers 504


class WatchCache:
    """All buckets of one storage, kept up to date by one task."""

    def __init__(self, storage: Storage, *, history: int = HISTORY) -> None:
        """Follow nothing until start()."""
        self._storage = storage
        self._history = history
        self._buckets: dict[str, Bucket] = {}
        self._task: asyncio.Task[None] | None = None
        self._synced = asyncio.Event()
        self._waiting: dict[asyncio.Future[None], int] = {}  # readers, and the revisions that they wait for
        self._floor = 0
        self.recent = Recent()
        self.revision = 0
        self.is_closed = False

    async def start(self) -> None:
        """Follow the storage; return when all live objects are here."""
        self.is_closed = False
        self._task = asyncio.create_task(self._run(), name="kubeapi-watch-cache")
        await self._synced.wait()

    async def close(self) -> None:
        """Stop following and end every watch."""
        self.is_closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._synced.clear()
        for bucket in self._buckets.values():
            bucket.wake()
        for arrived in self._waiting:
            if not arrived.done():
                arrived.set_exception(_closing())

    @property
    def is_synced(self) -> bool:
        """True while the cache follows its storage."""
        return self._synced.is_set()

    def bucket(self, prefix: str) -> Bucket:
        """Return the bucket of a resource by its key prefix."""
        found = self._buckets.get(prefix)
        if found is None:
            found = self._buckets[prefix] = Bucket(self._floor, self._history)
        return found

    def get(self, prefix: str, key: str) -> Entry | None:
        """Return one live object, or None."""
        return self.bucket(prefix).entries.get(key)

    async def reach(self, revision: int) -> None:
        """Return when everything up to `revision` is here. Raises Timeout after some seconds."""
        if self.revision >= revision:
            return
        if self.is_closed:
            raise _closing()
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[arrived] = revision
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                await arrived
        except TimeoutError:
            message = f"Too large resource version: {revision}, current: {self.revision}"
            too_new = Cause("", "Too large resource version", "ResourceVersionTooLarge")  # client-go looks for it
            raise Timeout(message, causes=[too_new], retry_after_seconds=1) from None
        finally:
            del self._waiting[arrived]

    async def _run(self) -> None:
        while True:
            try:
                await self._follow()
            except Exception:
                log.exception("the storage lost its follower; following anew")
            await asyncio.sleep(_FOLLOW_AGAIN_SECONDS)

    async def _follow(self) -> None:
        fresh: dict[str, Bucket] | None = {}
        async for change in self._storage.follow():
            if isinstance(change, Synced):
                if fresh is not None:
                    self._replace(fresh, change.revision)
                    fresh = None
                self._advance(change.revision)
            elif fresh is not None:
                self._load(fresh, change)
            else:
                self._take(change)

    def _load(self, fresh: dict[str, Bucket], change: Change) -> None:
        if change.value is None:
            return
        prefix = _prefix(change.key)
        bucket = fresh.get(prefix) or fresh.setdefault(prefix, Bucket(0, self._history))
        bucket.place(change.key, bucket.entry(change.key, change.revision, change.value))

    def _replace(self, fresh: dict[str, Bucket], revision: int) -> None:
        """Begin a history at `revision`; watches of the history before it are told that it is gone."""
        stale, self._buckets, self._floor = self._buckets, fresh, revision
        for bucket in fresh.values():
            bucket.floor = revision
        for bucket in stale.values():
            bucket.wake()
        self._synced.set()

    def _take(self, change: Change) -> None:
        bucket = self.bucket(_prefix(change.key))
        entry = None if change.value is None else bucket.entry(change.key, change.revision, change.value)
        bucket.apply(change.key, entry, change.revision)
        self._advance(change.revision)

    def _advance(self, revision: int) -> None:
        self.revision = max(self.revision, revision)
        for arrived, wanted in self._waiting.items():
            if wanted <= self.revision and not arrived.done():
                arrived.set_result(None)


def _closing() -> Unavailable:
    return Unavailable("the store is closing", retry_after_seconds=1)


def _prefix(key: str) -> str:
    group, plural, _ = key.split("/", 2)
    return f"{group}/{plural}/"
