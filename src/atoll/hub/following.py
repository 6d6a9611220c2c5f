"""What has changed of a kind since one looked last: for who looks when it suits him, and then at all that changed.

Owns the position of one reader in the watch cache's history, and the names that are due. It holds no object, and equal
names merge: who is far behind has a name for each object that changed, not one for each change. It must not know what
the objects mean; what it decodes or parses for a reader, it shares with others.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from atoll.federation.resources import Resource
from atoll.hub.parsing import Parsed
from atoll.kubeapi.bucket import Bucket, Entry
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.errors import Gone
from atoll.kubeapi.resource import Object

R = TypeVar("R", bound=Resource)

# Looking into one object takes some 20 µs; others have their turn after so many.
_AT_ONCE = 250


class Follower(Generic[R]):
    """Follows the objects of one kind.

    A look gives names, and each object as it is when its turn comes: never an older state than was given before. What
    was not looked at because the reader failed is given again.
    """

    def __init__(self, cache: WatchCache, prefix: str, model: type[R], parsed: Parsed) -> None:
        """Know nothing yet: the first look gives every object."""
        self._cache, self._prefix = cache, prefix
        self._model, self._parsed = model, parsed
        self._bucket: Bucket | None = None
        self._cursor = 0
        self._due: OrderedDict[str, None] = OrderedDict()
        self._is_lost = False

    def entry(self, name: str) -> Entry | None:
        """Give the object of a name (`namespace/name`) as it is now; None if there is none."""
        return self._cache.get(self._prefix, self._prefix + name)

    def look(self, entry: Entry) -> Object:
        """Give an entry decoded, for reading only: other readers have the same value."""
        return self._cache.recent.look(entry)

    def parse(self, entry: Entry) -> R:
        """Give an entry as an object of its kind, which other readers have, too. Raises Unreadable."""
        return self._parsed.of(self._model, entry)

    def readable(self, entry: Entry) -> R | None:
        """Give the same; None for what cannot be read."""
        return self._parsed.readable(self._model, entry)

    def parse_apart(self, entry: Entry) -> R:
        """Give the same in any thread; what nobody had parsed is not kept for others. Raises Unreadable."""
        return self._parsed.apart(self._model, entry)

    def is_refused(self, entry: Entry) -> bool:
        """Tell whether somebody found that an entry cannot be read. In any thread."""
        return self._parsed.is_refused(entry)

    def names(self, prefix: str) -> list[str]:
        """Name the objects whose names begin so, in order."""
        keys = self._cache.bucket(self._prefix).keys(self._prefix + prefix)
        return [key.removeprefix(self._prefix) for key in keys]

    def note(self) -> None:
        """Take down which names have changed. Who does so now and then between two looks never loses the history."""
        bucket = self._cache.bucket(self._prefix)
        try:
            if bucket is not self._bucket:
                raise Gone("the history was begun anew")
            events = bucket.events(self._cursor)
        except Gone:
            self._bucket, self._cursor, self._is_lost = bucket, bucket.end, True
            self._due = OrderedDict.fromkeys(bucket.keys(self._prefix))
            return
        self._cursor += len(events)
        for event in events:
            self._due[event.key] = None

    def begin(self) -> bool:
        """Begin a look; True if it is not known what has changed, and everything is due.

        Then what the reader remembers and `entry` does not give any more is gone, too.
        """
        self.note()
        was_lost, self._is_lost = self._is_lost, False
        return was_lost

    async def changed(self) -> AsyncIterator[tuple[str, Entry | None]]:
        """Give what is due, by name (`namespace/name`); None for an object that is gone.

        The reader takes each in at once: what changes while it waits for something else is not due again.
        """
        number = 0
        while self._due:
            key = next(iter(self._due))
            yield key.removeprefix(self._prefix), self._cache.get(self._prefix, key)
            self._due.pop(key, None)
            number += 1
            if number % _AT_ONCE == 0:
                await asyncio.sleep(0)
