"""Watches over the cache: from a position in a resource's history to a stream of what one watcher must see.

Owns the translation of changes into ADDED, MODIFIED and DELETED under a selector, bookmarks, and when a watch is too
old; must not know HTTP. A watcher is a cursor into the shared history: it holds nothing of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from atoll.kubeapi.bucket import Bucket, Entry, Event
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.errors import BadRequest, Gone
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.selectors import Selector

DeltaType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]
BOOKMARK_SECONDS = 30.0
"""How often a quiet watch that asked for bookmarks gets one: clients resume from it, so rarer means more relists."""

_MOST_DIGITS, _NO_NUMBER = 20, 2**64
_AT_ONCE = 64  # objects of the initial state in one batch


@dataclass(frozen=True)
class Delta:
    """One thing a watcher must see: a change, an object of the initial state, or a bookmark (without an entry)."""

    type: DeltaType
    revision: int
    entry: Entry | None = None
    event: Event | None = None  # where encodings are shared between watchers
    ends_initial: bool = False


Deltas = list[Delta]


@dataclass(frozen=True)
class Scope:
    """What is watched: a resource by its key prefix, a part of it by a longer prefix, and the selector."""

    resource: str
    prefix: str
    selector: Selector


@dataclass(frozen=True)
class From:
    """Where a watch begins: the current state (`initial`), or after `revision`."""

    revision: int
    initial: bool = False
    marks_end_of_initial: bool = False


async def watch(
    cache: WatchCache, scope: Scope, start: From, *, bookmark_seconds: float | None = None
) -> AsyncIterator[Deltas]:
    """Yield what happens in `scope`, in batches, until the cache closes.

    Raises Gone when the history before `start`, or before this reader's position, is no longer kept.
    """
    bucket = cache.bucket(scope.resource)
    revision = cache.revision if start.initial else start.revision
    cursor = bucket.cursor(revision)
    if start.initial:
        for deltas in _initial(bucket, scope, revision, marked=start.marks_end_of_initial):
            yield deltas
            await asyncio.sleep(0)  # who takes in many objects at once must not keep everybody else waiting
    while not cache.is_closed:
        if cache.bucket(scope.resource) is not bucket:
            raise Gone("too old resource version: the history was begun anew; list again")
        changed, seen = bucket.changed, cache.revision
        events = bucket.events(cursor)
        cursor += len(events)
        deltas = [delta for event in events if (delta := _delta(event, scope)) is not None]
        if deltas:
            yield deltas
        elif not await _woken(changed, bookmark_seconds):
            yield [Delta("BOOKMARK", seen)]


async def _woken(changed: asyncio.Event, seconds: float | None) -> bool:
    """Wait for a change; False if none came within `seconds`."""
    if seconds is None:
        return await changed.wait()
    try:
        async with asyncio.timeout(seconds):
            return await changed.wait()
    except TimeoutError:
        return False


def _initial(bucket: Bucket, scope: Scope, revision: int, *, marked: bool) -> Iterator[Deltas]:
    """Give the state as it is when the first batch is asked for; each batch is made when its turn comes."""
    entries = [bucket.entries[key] for key in bucket.keys(scope.prefix)]
    if not scope.selector.is_empty:
        entries = [entry for entry in entries if scope.selector.matches(entry.decode())]
    for begin in range(0, len(entries), _AT_ONCE):
        yield [Delta("ADDED", entry.revision, entry) for entry in entries[begin : begin + _AT_ONCE]]
    if marked:
        yield [Delta("BOOKMARK", revision, ends_initial=True)]


def _delta(event: Event, scope: Scope) -> Delta | None:
    """Return what a watcher of `scope` sees of a change: an object that begins to match is ADDED, and so on."""
    if not event.key.startswith(scope.prefix):
        return None
    if scope.selector.is_empty:
        was, now = event.before is not None, event.after is not None
    else:
        was = _matches(scope.selector, event.before_object)
        now = _matches(scope.selector, event.after_object)
    if now:
        return Delta("MODIFIED" if was else "ADDED", event.revision, event.after, event)
    return Delta("DELETED", event.revision, event.gone, event) if was else None


def _matches(selector: Selector, obj: Object | None) -> bool:
    return obj is not None and selector.matches(obj)


def parse_revision(text: str, field: str = "resourceVersion") -> int:
    """Read a resourceVersion; empty is 0. Raises BadRequest."""
    if not text:
        return 0
    if not is_whole_number(text):
        raise BadRequest(f"{field}: Invalid value: {text[:80]!r}: must be a number that the server gave")
    return int(text)


def is_whole_number(text: str) -> bool:
    """Tell whether a text is a number of 64 bits at most; Python reads no more than 4300 digits, and fails on more."""
    return text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS and int(text) < _NO_NUMBER


def bookmark(rt: ResourceType, delta: Delta) -> Object:
    """Return the object of a bookmark event."""
    metadata: dict[str, Any] = {"resourceVersion": str(delta.revision), "creationTimestamp": None}
    if delta.ends_initial:
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {"apiVersion": rt.api_version, "kind": rt.kind, "metadata": metadata}
