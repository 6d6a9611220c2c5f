"""A live copy of all objects of one kind: list, then watch, for ever, whatever the API server does.

Owns the reflector loop of client-go (tools/cache/reflector.go) for plain dicts. Memory is bounded by `keep` and
`project`: only what they make of an object is kept. It must not know what the objects mean. Handlers hear of real
changes only, so a list that starts again is silent where nothing changed.

Stricter than client-go in one thing: a position is good only in the store that gave it, and after a failure another
store may answer (made anew, or restored from an old copy). A real API server takes a resourceVersion of the future in
silence and sends nothing until its own has grown past it. So only a watch that the server ended itself is resumed.
"""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import structlog

from atoll.edge.member.errors import Expired, KindNotServed, Refused, Throttled
from atoll.edge.member.kube import Listing, WatchEvent
from atoll.edge.member.objects import EVERYTHING, Kind, Object, Selection, key_of
from atoll.federation.backoff import Backoff
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = TypeVar("P")
Handler = Callable[[str], None]
_Version = str  # uid and resourceVersion
_Entry = tuple[str, _Version, T]

_FIRST_RETRY_SECONDS = 0.2
# So soon is an API server heard that was away: longer delays what it lost, shorter is felt by a server that struggles.
_LONGEST_RETRY_SECONDS = 5.0
# As client-go: a server or proxy that ends watches faster than this is not asked again without a pause.
_SHORTEST_WATCH_SECONDS = 1.0
# How soon a CRD that is installed later is noticed, where work may wait for it.
_LOOK_AGAIN_SECONDS = 5.0
# A right that is missing is granted by a person, if ever.
REFUSED_RETRY_SECONDS = 30.0
# So much longer than asked for a throttled informer waits at most, so that not all of an agent's come back at once.
_PATIENCE = 0.25


class Source(Protocol):
    """What an informer needs of an API server."""

    async def list(self, kind: Kind, selection: Selection = ..., *, project: Callable[[Object], P]) -> Listing[P]:
        """Read all objects, each as `project` makes it."""
        ...

    def watch(self, kind: Kind, selection: Selection = ..., *, resource_version: str) -> AsyncIterator[WatchEvent]:
        """Give the changes after a resourceVersion."""
        ...


class Informer(Generic[T]):
    """The objects of one kind by key (`namespace/name`), as `project` makes them."""

    def __init__(
        self,
        source: Source,
        kind: Kind,
        *,
        project: Callable[[Object], T],
        selection: Selection = EVERYTHING,
        keep: Callable[[Object], bool] = lambda _obj: True,
        alternatives: Sequence[Kind] = (),
        look_again_seconds: float = _LOOK_AGAIN_SECONDS,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """Prepare to follow a kind.

        Args:
            project: makes of an object what is kept of it.
            selection: which objects the server is asked for.
            keep: which of those are kept; it may change its mind about an object only when the object changes.
            alternatives: the same kind in other API versions, taken in their order where `kind` is not served.
            look_again_seconds: how often a kind that is not served is looked for.
            chance: gives numbers from 0 to 1 that spread the attempts of many.
        """
        self._source, self._kinds, self._project, self._selection = source, (kind, *alternatives), project, selection
        self._keep, self._look_again_seconds, self._chance = keep, look_again_seconds, chance
        self.kind = kind  # in the version that is served
        self._items: dict[str, T] = {}
        self._versions: dict[str, _Version] = {}
        self._position: str | None = None  # resourceVersion to watch from; None asks for a list first
        self._handlers: list[Handler] = []
        self._news_handlers: list[Handler] = []
        self._list_handlers: list[Callable[[], None]] = []
        self._loss_handlers: list[Callable[[], None]] = []
        self._recovery_handlers: list[Callable[[], None]] = []
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS, chance=chance)
        self.has_synced = asyncio.Event()
        self.problem = ""  # why nothing is heard just now, and `items` may be of the past

    @property
    def items(self) -> Mapping[str, T]:
        """All objects as last heard; complete once `has_synced` is set."""
        return MappingProxyType(self._items)

    def on_change(self, handler: Handler) -> None:
        """Call a handler with the key of each object that was added, changed or deleted; it must not block."""
        self._handlers.append(handler)

    def on_news(self, handler: Handler) -> None:
        """Call a handler with the key of each object of which something else is kept than before; it must not block."""
        self._news_handlers.append(handler)

    def on_list(self, handler: Callable[[], None]) -> None:
        """Call a handler after each list: what came and went between two lists was told to nobody."""
        self._list_handlers.append(handler)

    def on_loss(self, handler: Callable[[], None]) -> None:
        """Call a handler when `problem` begins: from now on what is held may change unheard, until the next list."""
        self._loss_handlers.append(handler)

    def on_recovery(self, handler: Callable[[], None]) -> None:
        """Call a handler when `problem` has ended."""
        self._recovery_handlers.append(handler)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
            except KindNotServed:
                self._replace([])
                self._position = None
                self._recovered()
                self.has_synced.set()
                await asyncio.sleep(self._look_again_seconds * (1 + self._chance() * _PATIENCE))
            except AtollError as error:
                await asyncio.sleep(self._interrupted(error))

    def _interrupted(self, error: AtollError) -> float:
        """Take in why nothing is heard; give the delay before the next attempt."""
        delay = self._backoff.next_seconds()
        if isinstance(error, Throttled):
            delay = max(delay, error.retry_after_seconds * (1 + self._chance() * _PATIENCE))
        else:
            self._position = None
        if isinstance(error, Refused):
            delay = REFUSED_RETRY_SECONDS
        is_first, self.problem = not self.problem, f"{self.kind.kind}s cannot be followed: {error}"
        tell = log.info if is_first else log.debug
        tell("a watch was interrupted", kind=str(self.kind), reason=str(error), retry_seconds=delay)
        for handler in self._loss_handlers if is_first else ():
            handler()
        return delay

    def _recovered(self) -> None:
        had_problem, self.problem = bool(self.problem), ""
        for handler in self._recovery_handlers if had_problem else ():
            handler()

    async def _follow(self) -> None:
        """List if the position is unknown, then watch until the server ends the watch."""
        if self._position is None:
            listing = await self._list()
            self._replace([entry for entry in listing.items if entry is not None])
            self._position = listing.resource_version
            self._recovered()
            self.has_synced.set()
            for handler in self._list_handlers:
                handler()
        began, count = time.monotonic(), 0
        async for event in self._source.watch(self.kind, self._selection, resource_version=self._position):
            self._take(event)
            self._backoff.reset()
            self._recovered()
            count += 1
        if count == 0 and time.monotonic() - began < _SHORTEST_WATCH_SECONDS:
            raise Throttled(f"the API server ended a watch of {self.kind} at once", retry_after_seconds=0)

    async def _list(self) -> "Listing[_Entry[T] | None]":
        """List the first version of the kind that is served."""
        for kind in self._kinds[:-1]:
            try:
                listing = await self._source.list(kind, self._selection, project=self._entry)
            except KindNotServed:
                continue
            self.kind = kind
            return listing
        self.kind = self._kinds[-1]
        return await self._source.list(self.kind, self._selection, project=self._entry)

    def _entry(self, obj: Object) -> "_Entry[T] | None":
        """Make of an object what is kept; of one that is known already, what is kept of it is given again."""
        if not self._keep(obj):
            return None
        key, version = key_of(obj), _version_of(obj)
        known = self._versions.get(key)
        return (key, known, self._items[key]) if known == version else (key, version, self._project(obj))

    def _take(self, event: WatchEvent) -> None:
        self._advance(_resource_version(event.object))
        if event.type == "BOOKMARK":
            return
        key = key_of(event.object)
        old_version, old_item = self._versions.get(key), self._items.get(key)
        entry = None if event.type == "DELETED" else self._entry(event.object)
        if entry is None:
            self._versions.pop(key, None)
            self._items.pop(key, None)
        else:
            _, self._versions[key], self._items[key] = entry
        if old_version != self._versions.get(key):
            self._tell(key, old_version, old_item)

    def _advance(self, position: str) -> None:
        """Move on with the watch; a version that goes back is of another history."""
        if _is_before(position, self._position):
            raise Expired(f"{self.kind} went back from resourceVersion {self._position} to {position}")
        self._position = position or self._position

    def _replace(self, entries: Sequence[_Entry[T]]) -> None:
        versions, items = self._versions, self._items
        self._versions = {key: version for key, version, _ in entries}
        self._items = {key: item for key, _, item in entries}
        for key in versions.keys() | self._versions.keys():
            if versions.get(key) != self._versions.get(key):
                self._tell(key, versions.get(key), items.get(key))

    def _tell(self, key: str, old_version: _Version | None, old_item: T | None) -> None:
        """Tell of a key, given what was known of it; an item itself may be None, so versions say what is there."""
        for handler in self._handlers:
            handler(key)
        came_or_went = (old_version is None) is not (key not in self._versions)
        if came_or_went or old_item != self._items.get(key):
            for handler in self._news_handlers:
                handler(key)


def _version_of(obj: Object) -> _Version:
    """Tell two states of an object apart, even where a server that began anew counts up to the same number again."""
    return f"{obj['metadata'].get('uid', '')}/{_resource_version(obj)}"


def _resource_version(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion", ""))


def _is_before(position: str, known: str | None) -> bool:
    # KEP-5504: the versions of one resource are decimal numbers that grow; where they are none, nothing is claimed.
    return position.isdecimal() and known is not None and known.isdecimal() and int(position) < int(known)
