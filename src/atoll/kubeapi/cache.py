"""The watch cache: every live object and the recent changes of each resource, from `Storage.follow()`.

Owns what reads and watches are served from; must not write, nor know selectors or HTTP.

Objects are kept as encoded JSON with their resourceVersion, packed: a list is a join of bytes, a reader that decodes
gets a value of its own. A change is decoded at most once and encoded once for all watchers.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import logging
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import orjson

from atoll.kubeapi.errors import Cause, Gone, Timeout, Unavailable
from atoll.kubeapi.packing import Packer, Packing
from atoll.kubeapi.recent import Recent
from atoll.kubeapi.resource import Object
from atoll.kubeapi.storage import Change, Storage, Synced

log = logging.getLogger(__name__)

HISTORY = 4096
"""Changes kept per resource. Fewer make slow watchers list again; more cost memory, one old and one new object each."""
_FOLLOW_AGAIN_SECONDS = 0.5
_METADATA, _VERSION = b'"metadata":{"', b'"resourceVersion"'
_WAIT_SECONDS = 3.0  # as kube-apiserver waits for a resourceVersion of the future before it answers 504


class Entry:
    """One live object: its key, the revision of its last write, and its JSON with that resourceVersion in it.

    There is one of these per object of the store, and nobody changes it.
    """

    __slots__ = ("_packing", "_text", "key", "revision")

    def __init__(self, key: str, revision: int, text: bytes, packing: Packing | None = None) -> None:
        """Hold JSON: as it is, or as `packing` has packed it."""
        self.key = key
        self.revision = revision
        self._text = text
        self._packing = packing

    @property
    def raw(self) -> bytes:
        """The JSON."""
        return self._text if self._packing is None else self._packing.unpack(self._text)

    def decode(self) -> Object:
        """Return the object as a value of the caller's own."""
        obj: Object = orjson.loads(self.raw)
        return obj


@dataclass(frozen=True)
class Event:
    """One change of one object: what it was and what it is; one of the two may be None."""

    revision: int
    key: str
    before: Entry | None
    after: Entry | None
    encodings: dict[str, bytes] = field(default_factory=dict, compare=False)  # shared by all watchers, by media form

    @cached_property
    def before_object(self) -> Object | None:
        """The object before the change, for reading only."""
        return self.before.decode() if self.before else None

    @cached_property
    def gone(self) -> Entry | None:
        """The object as it was before the change, at the change's revision: what is sent for an object that left."""
        return Entry(self.key, self.revision, encode(self.before.raw, self.revision)) if self.before else None

    @cached_property
    def after_object(self) -> Object | None:
        """The object after the change, for reading only."""
        return self.after.decode() if self.after else None


def stored(obj: Object) -> bytes:
    """Return the JSON of an object that is stored: its metadata stands before all that is deep, and has no version."""
    metadata = {name: value for name, value in obj["metadata"].items() if name != "resourceVersion"}
    return orjson.dumps({"apiVersion": "", "kind": "", "metadata": {}} | obj | {"metadata": metadata})


def encode(value: bytes, revision: int) -> bytes:
    """Put `revision` into the metadata of stored JSON.

    In what `stored` gives this is one insertion. A text that may say something else is decoded: one that holds a
    resourceVersion of any kind, or an object before its metadata.
    """
    head, found, tail = value.partition(_METADATA)
    if found and head.count(b"{") == 1 and _VERSION not in value:
        return b"".join((head, b'"metadata":{"resourceVersion":"', b"%d" % revision, b'","', tail))
    obj = orjson.loads(value)
    obj["metadata"]["resourceVersion"] = str(revision)
    return orjson.dumps(obj)


class Bucket:
    """The live objects and the recent changes of one resource."""

    def __init__(self, floor: int, history: int) -> None:
        """Know nothing of what happened up to revision `floor`."""
        self.entries: dict[str, Entry] = {}
        self.floor = floor
        self.changed = asyncio.Event()
        self._packer = Packer()
        self._events: list[Event] = []
        self._history = history
        self._dropped = 0  # events that were dropped before the first of _events: a cursor is an absolute position
        self._ordered: list[str] | None = None  # sorted keys, made when first asked for

    def entry(self, key: str, revision: int, value: bytes) -> Entry:
        """Make the entry of a stored value."""
        return Entry(key, revision, *self._packer.pack(encode(value, revision)))

    def apply(self, key: str, entry: Entry | None, revision: int) -> None:
        """Take in one live change and wake the watchers."""
        before = self.place(key, entry)
        if before is None and entry is None:
            return
        self._events.append(Event(revision, key, before, entry))
        if len(self._events) > 2 * self._history:
            self._forget(len(self._events) - self._history)
        self.wake()

    def place(self, key: str, entry: Entry | None) -> Entry | None:
        """Put or remove a live object without a change event; return what was there."""
        before = self.entries.pop(key, None)
        if entry is not None:
            self.entries[key] = entry
        if self._ordered is not None and (before is None) != (entry is None):
            position = bisect.bisect_left(self._ordered, key)
            if entry is not None:
                self._ordered.insert(position, key)
            else:
                del self._ordered[position]
        return before

    def _forget(self, count: int) -> None:
        self.floor = self._events[count - 1].revision
        del self._events[:count]
        self._dropped += count

    def wake(self) -> None:
        """Let every waiting watcher look again."""
        waiting, self.changed = self.changed, asyncio.Event()
        waiting.set()

    def keys(self, prefix: str, after: str = "") -> list[str]:
        """Return the live keys that begin with `prefix` and come after `after`, in order."""
        if self._ordered is None:
            self._ordered = sorted(self.entries)
        start = bisect.bisect_left(self._ordered, prefix)
        end = bisect.bisect_left(self._ordered, prefix + "\U0010ffff", start)
        if after:
            start = bisect.bisect_right(self._ordered, after, start, end)
        return self._ordered[start:end]

    def cursor(self, revision: int) -> int:
        """Return the position of the first event after `revision`. Raises Gone if some of them are forgotten."""
        if revision < self.floor:
            raise Gone(f"too old resource version: {revision} ({self.floor})")
        return self._dropped + bisect.bisect_right(self._events, revision, key=lambda event: event.revision)

    @property
    def end(self) -> int:
        """The position after the last event."""
        return self._dropped + len(self._events)

    def events(self, cursor: int) -> list[Event]:
        """Return the events from a position on. Raises Gone if the reader was so slow that some are forgotten."""
        if cursor < self._dropped:
            raise Gone(f"too old resource version: the watch fell behind the last {self._history} changes")
        return self._events[cursor - self._dropped :]

    def at(self, revision: int, prefix: str, after: str = "") -> tuple[list[str], Mapping[str, Entry]]:
        """Return keys() as they were at an earlier revision, and where to look them up. Raises Gone if it is too old.

        The changes since are taken back one by one, so the cost is theirs and not that of all objects.
        """
        past: dict[str, Entry | None] = {}
        for event in reversed(self.events(self.cursor(revision))):
            if event.key > after and event.key.startswith(prefix):
                past[event.key] = event.before
        keys = self.keys(prefix, after)
        for key, entry in past.items():
            position = bisect.bisect_left(keys, key)
            is_there = position < len(keys) and keys[position] == key
            if entry is None and is_there:
                del keys[position]
            elif entry is not None and not is_there:
                keys.insert(position, key)
        return keys, ChainMap({key: entry for key, entry in past.items() if entry is not None}, self.entries)


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
