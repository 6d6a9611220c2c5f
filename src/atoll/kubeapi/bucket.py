"""The live objects and the recent changes of one resource, as the watch cache keeps them.

Owns how an object is kept: as encoded JSON with its resourceVersion, packed. A list is a join of bytes, and a reader
that decodes gets a value of its own. Owns, too, how long a change is remembered; it must not know where they come from.
"""

from __future__ import annotations

import asyncio
import bisect
from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import orjson

from atoll.kubeapi.errors import Gone
from atoll.kubeapi.packing import Packer, Packing
from atoll.kubeapi.resource import Object

HISTORY = 4096
"""Changes kept per resource. Fewer make slow watchers list again; more cost memory, one old and one new object each."""
_METADATA, _VERSION = b'"metadata":{"', b'"resourceVersion"'


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
