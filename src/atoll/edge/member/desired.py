"""What the hub wants of this cluster: followed on the bus, kept on disk, so that the agent carries on without a hub.

The guard of G2 (no healthy work is stopped because a connection was): an order ends only by the hub's own word. That
is a deletion heard live, or a key missing from a complete snapshot of *the same store that gave the order*: the hub's
mark among the orders names the store that it named before, and the store has come at least as far as what was heard of
it. If the store was made anew or restored from an old copy, what it no longer lists is *retained*: still carried out,
and named in the heartbeat, until the store lists or deletes the key again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Protocol

import orjson
import structlog

from atoll.edge.member.shelf import Shelf
from atoll.federation.bus.changes import Change, Synced
from atoll.federation.bus.farewell import FAREWELL
from atoll.federation.bus.messages import StoreMark
from atoll.federation.errors import Internal

log = structlog.get_logger(__name__)

RUNS, POLICYSETS, SERVICES = "run", "policyset", "service"
# Other kinds of desired keys are for the sinks and movers of this cluster.
_MINE = (f"{RUNS}/", f"{POLICYSETS}/", f"{SERVICES}/", f"{FAREWELL}/")
_META = _MARK = "store"


@dataclass(frozen=True)
class Store:
    """Which stream gave the orders, the newest revision heard, and which orders it lost without having ended them."""

    identity: str = ""
    revision: int = 0
    retained: tuple[str, ...] = ()


class DesiredTable(Protocol):
    """What is needed of the bus's table."""

    def follow(self, under: str = "", *, known: int = 0) -> AsyncIterator[Change | Synced]:
        """Give every live key, `Synced`, then changes; nothing by a store that has not come to revision `known`."""
        ...


@dataclass(frozen=True)
class Verdict:
    """What a complete snapshot means for the orders that it does not list."""

    ended: frozenset[str]
    store: Store


def judge(
    held: Iterable[str], listed: frozenset[str], known: Store, now: Store, *, has_gone_back: bool = False
) -> Verdict:
    """Decide which orders a snapshot has ended.

    Args:
        held: keys of the orders that the agent carries out.
        listed: keys that the snapshot gave.
        known: the store that gave what is held.
        now: the store that gave the snapshot.
        has_gone_back: that store has not come as far as what was heard before.
    """
    missing = frozenset(held) - listed
    is_same = known.identity in ("", now.identity) and not has_gone_back
    ended = missing - frozenset(known.retained) if is_same else frozenset[str]()
    return Verdict(ended, replace(now, retained=tuple(sorted(missing - ended))))


class Orders:
    """The orders that hold now, on disk before anybody hears of them."""

    def __init__(self, orders: Shelf, meta: Shelf) -> None:
        self._shelf, self._meta = orders, meta
        self._orders = orders.load()
        saved = meta.load().get(_META)
        self.store = _store_of(saved) if saved else Store()
        self._handlers: dict[str, list[Callable[[str], None]]] = {}
        self.has_synced = asyncio.Event()

    def get(self, kind: str, key: str) -> bytes | None:
        """Give one order, such as of kind `run` and key `seismology/picks-1`."""
        return self._orders.get(f"{kind}/{key}")

    def has(self, kind: str, key: str) -> bool:
        """Tell whether an order holds."""
        return f"{kind}/{key}" in self._orders

    def keys(self, kind: str) -> Iterator[str]:
        """Give the keys of all orders of a kind."""
        return (key.removeprefix(f"{kind}/") for key in tuple(self._orders) if key.startswith(f"{kind}/"))

    def on_change(self, kind: str, handler: Callable[[str], None]) -> None:
        """Call a handler with each key of a kind whose order came, changed or ended; at once with those that hold."""
        self._handlers.setdefault(kind, []).append(handler)
        for key in self.keys(kind):
            handler(key)

    async def follow(self, table: DesiredTable) -> None:
        """Take in what the hub orders, until cancelled."""
        identity = ""
        async for item in table.follow(known=self.store.revision):
            if isinstance(item, Synced):
                now = Store(identity if _MARK in item.keys else "", item.revision)
                await self._close_snapshot(now, item)
                self.has_synced.set()
            elif item.key == _MARK:
                identity = _identity_of(item.value)
            elif item.key.startswith(_MINE):
                await self._take(item)

    async def _take(self, change: Change) -> None:
        """Store one change and tell of it."""
        is_new = self._orders.get(change.key) != change.value
        if change.value is not None and is_new:
            await asyncio.to_thread(self._shelf.put, change.key, change.value)
        await self._heard(change)
        if change.value is None:
            await self._end([change.key])
        elif is_new:
            self._orders[change.key] = change.value
            self._tell(change.key)

    async def _heard(self, change: Change) -> None:
        """Remember how far the store has come, so that a replica which is behind is not believed after a restart."""
        rest = tuple(key for key in self.store.retained if key != change.key)  # the hub knows it again, or ends it
        if change.revision > self.store.revision or rest != self.store.retained:
            await self._save(replace(self.store, revision=max(change.revision, self.store.revision), retained=rest))

    async def _close_snapshot(self, now: Store, synced: Synced) -> None:
        verdict = judge(tuple(self._orders), synced.keys, self.store, now, has_gone_back=synced.has_gone_back)
        if verdict.store.retained:
            log.warning("orders are kept that the hub's store lost", orders=verdict.store.retained)
        await self._end(verdict.ended)
        await self._save(verdict.store)

    async def _end(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key in self._orders:
                await asyncio.to_thread(self._shelf.delete, key)
                del self._orders[key]
                self._tell(key)

    async def _save(self, store: Store) -> None:
        self.store = store
        await asyncio.to_thread(self._meta.put, _META, orjson.dumps(asdict(store)))

    def _tell(self, key: str) -> None:
        kind, _, rest = key.partition("/")
        for handler in self._handlers.get(kind, ()):
            handler(rest)


def _identity_of(mark: bytes | None) -> str:
    """Read the hub's mark; one that cannot be read names no store, so that nothing ends by it."""
    try:
        return StoreMark.decode(mark).identity if mark is not None else ""
    except Internal as error:
        log.error("the mark of the hub's store could not be read", problem=str(error))
        return ""


def _store_of(saved: bytes) -> Store:
    """Read what is known of the store; if the disk gives other bytes than were written, nothing is."""
    try:
        fields = orjson.loads(saved)
        return Store(str(fields["identity"]), int(fields["revision"]), tuple(map(str, fields["retained"])))
    except (ValueError, KeyError, TypeError) as error:
        log.error("what was known of the hub's store is damaged, and forgotten", problem=repr(error))
        return Store()
