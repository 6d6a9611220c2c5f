"""A live copy of all objects of one kind: list, then watch, for ever, whatever the API server does.

Owns the reflector loop of client-go (tools/cache/reflector.go) for plain dicts. Memory is bounded by `project`: only
what it makes of an object is kept. It must not know what the objects mean. Handlers hear of real changes only, so a
list that starts again is silent where nothing changed.

Stricter than client-go in one thing: a position is good only in the store that gave it, and after a failure another
store may answer (made anew, or restored from an old copy). A real API server takes a resourceVersion of the future in
silence and sends nothing until its own has grown past it. So only a watch that the server ended itself is resumed.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from types import MappingProxyType
from typing import Generic, Protocol, TypeVar

import structlog

from atoll.edge.member.backoff import Backoff
from atoll.edge.member.errors import Expired, KindNotServed, Throttled
from atoll.edge.member.kube import Listing, WatchEvent
from atoll.edge.member.objects import EVERYTHING, Kind, Object, Selection, key_of
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

T = TypeVar("T")
P = TypeVar("P")
Handler = Callable[[str], None]
_Version = tuple[str, str]  # uid and resourceVersion

_FIRST_RETRY_SECONDS = 0.2
# So soon is an API server heard that was away: longer delays what it lost, shorter is felt by a server that struggles.
_LONGEST_RETRY_SECONDS = 5.0
# As client-go: a server or proxy that ends watches faster than this is not asked again without a pause.
_SHORTEST_WATCH_SECONDS = 1.0
# How soon a CRD that is installed later is noticed.
_NOT_SERVED_RETRY_SECONDS = 5.0


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
        self, source: Source, kind: Kind, *, project: Callable[[Object], T], selection: Selection = EVERYTHING
    ) -> None:
        self._source, self._kind, self._project, self._selection = source, kind, project, selection
        self._items: dict[str, T] = {}
        self._versions: dict[str, _Version] = {}
        self._position: str | None = None  # resourceVersion to watch from; None asks for a list first
        self._handlers: list[Handler] = []
        self._list_handlers: list[Callable[[], None]] = []
        self._loss_handlers: list[Callable[[], None]] = []
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self.has_synced = asyncio.Event()
        self.problem = ""  # why nothing is heard just now, and `items` may be of the past

    @property
    def items(self) -> Mapping[str, T]:
        """All objects as last heard; complete once `has_synced` is set."""
        return MappingProxyType(self._items)

    def on_change(self, handler: Handler) -> None:
        """Call a handler with the key of each object that was added, changed or deleted; it must not block."""
        self._handlers.append(handler)

    def on_list(self, handler: Callable[[], None]) -> None:
        """Call a handler after each list: what came and went between two lists was told to nobody."""
        self._list_handlers.append(handler)

    def on_loss(self, handler: Callable[[], None]) -> None:
        """Call a handler when `problem` begins: from now on what is held may change unheard, until the next list."""
        self._loss_handlers.append(handler)

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            try:
                await self._follow()
            except KindNotServed:
                self._replace({}, {})
                self._position, self.problem = None, ""
                self.has_synced.set()
                await asyncio.sleep(_NOT_SERVED_RETRY_SECONDS)
            except AtollError as error:
                await asyncio.sleep(self._interrupted(error))

    def _interrupted(self, error: AtollError) -> float:
        """Take in why nothing is heard; give the delay before the next attempt."""
        delay = self._backoff.next_seconds()
        if isinstance(error, Throttled):
            delay = max(delay, error.retry_after_seconds)
        else:
            self._position = None
        is_first, self.problem = not self.problem, f"{self._kind.kind}s cannot be followed: {error}"
        tell = log.info if is_first else log.debug
        tell("a watch was interrupted", kind=str(self._kind), reason=str(error), retry_seconds=delay)
        for handler in self._loss_handlers if is_first else ():
            handler()
        return delay

    async def _follow(self) -> None:
        """List if the position is unknown, then watch until the server ends the watch."""
        if self._position is None:
            listing = await self._source.list(self._kind, self._selection, project=self._entry)
            self._replace(
                {key: item for key, _, item in listing.items}, {key: version for key, version, _ in listing.items}
            )
            self._position, self.problem = listing.resource_version, ""
            self.has_synced.set()
            for handler in self._list_handlers:
                handler()
        began, count = time.monotonic(), 0
        async for event in self._source.watch(self._kind, self._selection, resource_version=self._position):
            self._take(event)
            self._backoff.reset()
            self.problem = ""
            count += 1
        if count == 0 and time.monotonic() - began < _SHORTEST_WATCH_SECONDS:
            raise Throttled(f"the API server ended a watch of {self._kind} at once", retry_after_seconds=0)

    def _entry(self, obj: Object) -> tuple[str, _Version, T]:
        return key_of(obj), _version_of(obj), self._project(obj)

    def _take(self, event: WatchEvent) -> None:
        self._advance(_resource_version(event.object))
        if event.type == "BOOKMARK":
            return
        key, version, item = self._entry(event.object)
        if event.type == "DELETED":
            known = self._versions.pop(key, None) is not None  # an item itself may be None
            self._items.pop(key, None)
        else:
            known = self._versions.get(key) != version
            self._items[key], self._versions[key] = item, version
        if known:
            self._tell(key)

    def _advance(self, position: str) -> None:
        """Move on with the watch; a version that goes back is of another history."""
        if _is_before(position, self._position):
            raise Expired(f"{self._kind} went back from resourceVersion {self._position} to {position}")
        self._position = position or self._position

    def _replace(self, items: dict[str, T], versions: dict[str, _Version]) -> None:
        old = self._versions
        self._items, self._versions = items, versions
        for key in old.keys() | versions.keys():
            if old.get(key) != versions.get(key):
                self._tell(key)

    def _tell(self, key: str) -> None:
        for handler in self._handlers:
            handler(key)


def _version_of(obj: Object) -> _Version:
    """Tell two states of an object apart, even where a server that began anew counts up to the same number again."""
    return str(obj["metadata"].get("uid", "")), _resource_version(obj)


def _resource_version(obj: Object) -> str:
    return str((obj.get("metadata") or {}).get("resourceVersion", ""))


def _is_before(position: str, known: str | None) -> bool:
    # KEP-5504: the versions of one resource are decimal numbers that grow; where they are none, nothing is claimed.
    return position.isdecimal() and known is not None and known.isdecimal() and int(position) < int(known)
