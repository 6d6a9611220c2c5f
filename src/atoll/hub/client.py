"""Typed, in-process access to the hub's objects, for controllers and the scheduler.

Owns the translation between kinds and the store's plain objects, and between kubeapi's errors and Atoll's. Reads come
from the cache, which holds every write that this process has finished; writes are guarded by the resourceVersion.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, Literal, TypeVar

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable
from atoll.federation.resources import FINISHED_JOB_PHASES, FINISHED_RUN_PHASES, Job, Resource, Run
from atoll.federation.workloads import Level
from atoll.hub.existing import pod_security, type_of
from atoll.hub.following import Follower
from atoll.hub.glances import Glances, Tally
from atoll.hub.parsing import Parsed, Unreadable, read
from atoll.kubeapi import errors as api
from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.reading import key_prefix
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.store import Store

_WATCH_RETRY_SECONDS = 0.5
R = TypeVar("R", bound=Resource)
FIELD_MANAGER = "atoll-hub"
_ENDS: Mapping[type[Resource], Collection[str]] = {Job: FINISHED_JOB_PHASES, Run: FINISHED_RUN_PHASES}


@dataclass(frozen=True)
class Seen(Generic[R]):
    """One object as a watch shows it, or, without an object, the begin or the end of a snapshot of all live ones.

    `key` is (namespace, name), the namespace of a cluster-scoped object empty. The object itself is parsed when it is
    asked for: of most that a hub finds when it starts, a name is all that is needed.
    """

    key: tuple[str, str] | None = None
    is_gone: bool = False
    mark: Literal["", "begin", "end"] = ""
    parse: Callable[[], R] | None = None
    ended: Callable[[], bool] | None = None

    @property
    def has_ended(self) -> bool:
        """Whether it is a Job or a Run whose phase is a last one, and that stays: nobody asked for its deletion."""
        return self.ended is not None and self.ended()

    @cached_property
    def resource(self) -> R:
        """The object; the marks have none. Raises Unreadable."""
        assert self.parse is not None, "a mark is no object"
        return self.parse()

    @property
    def readable(self) -> R | None:
        """The same; None for an object that cannot be read."""
        with contextlib.suppress(Unreadable):
            return self.resource
        return None


class Client:
    """Reads and writes kinds. Every method that writes raises Conflict, InvalidInput, NotFound or Unavailable.

    What it gives is shared by all readers: resources are frozen, and nobody may change a dict inside one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed = Parsed(store.cache.recent)
        self._glances = Glances(store.cache)
        self._types: dict[type[Resource], ResourceType] = {}  # asked for at every read

    @property
    def store(self) -> Store:
        """The store below, for objects that are no kinds of ours: events and namespaces."""
        return self._store

    def type_of(self, model: type[Resource]) -> ResourceType:
        """Give the served resource of a kind."""
        found = self._types.get(model)
        if found is None:
            found = self._types[model] = type_of(self._store.registry, model)
        return found

    def _stored(self, model: type[R], obj: Object) -> R:
        """Parse what a write gave back; who watches the kind sees the same in a moment."""
        metadata, rt = obj["metadata"], self.type_of(model)
        key, revision = rt.key(metadata.get("namespace"), metadata["name"]), int(metadata["resourceVersion"])
        known = self._parsed.peek(model, key, revision)
        if known is None:  # mostly a watch was faster
            known = model.model_validate(obj)
            self._parsed.remember(key, revision, known)
        return known

    def pod_security(self, namespace: str) -> Level:
        """Tell what pods may have in a namespace."""
        return pod_security(self._store, namespace)

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist. Raises Unreadable."""
        rt = self.type_of(model)
        entry = self._store.cache.get(rt.prefix, rt.key(namespace, name))
        return self._parsed.of(model, entry) if entry is not None else None

    def _parse(self, model: type[R], entries: Iterable[Entry], *, all_or_none: bool) -> list[R]:
        parse = self._parsed.of if all_or_none else self._parsed.readable
        found = (parse(model, entry) for entry in entries)
        return [each for each in found if each is not None]

    async def list_unfinished(self, model: type[R], ends: Collection[str], *, all_or_none: bool = False) -> list[R]:
        """Read all objects of a kind whose phase is none of `ends`; see `list`.

        Those that have ended are most, and stay as they are: each is looked into once per revision, and never parsed.
        """
        found: list[R] = []
        async for some in self._glances.over(self.type_of(model).prefix):
            entries = (entry for entry, glance in some if glance.phase not in ends)
            found += self._parse(model, entries, all_or_none=all_or_none)
        return found

    async def tally(self, model: type[Resource]) -> Tally:
        """Count a kind's objects; each is looked into once per revision, and never parsed."""
        phases, unmet = Counter[str](), Counter[str]()
        async for some in self._glances.over(self.type_of(model).prefix):
            for _, glance in some:
                phases[glance.phase] += 1
                unmet.update(glance.unmet.split())
        return Tally(phases, unmet)

    def unreadable(self) -> Mapping[str, int]:
        """Count, by kind, the objects that somebody has tried to read here, and that could not be."""
        found = Counter[str]()
        for each in self._parsed.refused():
            rt = self.type_of(each.model)
            entry = self._store.cache.get(rt.prefix, each.key)
            found[rt.kind] += entry is not None and entry.revision == each.revision
        return found

    async def list(
        self, model: type[R], namespace: str | None = None, *, name_prefix: str = "", all_or_none: bool = False
    ) -> list[R]:
        """Read the objects of a kind, in one namespace or in all, ordered by key.

        One that cannot be read is left out, so that it stops nothing but its own.

        Args:
            name_prefix: reads only those whose names begin with it, at no cost for the others; it wants a namespace.
            all_or_none: raises Unreadable rather than leave one out: for who takes what is not listed for gone.
        """
        rt = self.type_of(model)
        bucket = self._store.cache.bucket(rt.prefix)
        keys = bucket.keys(key_prefix(rt, namespace) + name_prefix)
        return self._parse(model, (bucket.entries[key] for key in keys), all_or_none=all_or_none)

    async def create(self, resource: R) -> R:
        """Create an object, with its status if that says anything yet. Conflict if one of that name exists."""
        with translated():
            created = await self._store.create(
                self.type_of(type(resource)),
                resource.wire(),
                field_manager=FIELD_MANAGER,
                takes_status=resource.says_a_status,
            )
        return self._stored(type(resource), created)

    async def update(self, resource: R) -> R:
        """Replace an object's metadata and spec. Conflict if it changed since it was read."""
        with translated():
            stored = await self._store.update(
                self.type_of(type(resource)), resource.wire(), field_manager=FIELD_MANAGER
            )
        return self._stored(type(resource), stored)

    async def update_status(self, resource: R) -> R:
        """Replace an object's status, unless it already says the same. Conflict if it changed since it was read."""
        rt, metadata = self.type_of(type(resource)), resource.metadata
        entry = self._store.cache.get(rt.prefix, rt.key(metadata.namespace, metadata.name))
        if entry is not None and str(entry.revision) == metadata.resource_version:
            stored = self._parsed.of(type(resource), entry)
            if stored.has_status_of(resource):
                return stored
        with translated():
            written = await self._store.update(
                rt, resource.wire_status(), subresource="status", field_manager=FIELD_MANAGER
            )
        return self._stored(type(resource), written)

    async def delete(self, model: type[Resource], namespace: str | None, name: str) -> None:
        """Delete an object, with what it owns; one that does not exist is fine."""
        with contextlib.suppress(NotFound), translated():
            await self._store.delete(self.type_of(model), namespace, name, propagation="Background")

    def _seen(self, rt: ResourceType, model: type[R], entry: Entry, *, is_gone: bool) -> Seen[R]:
        if is_gone:
            self._parsed.forget(entry.key)
            return Seen(_key_of(rt, entry), is_gone=True, parse=lambda: read(model, entry.key, entry.decode()))
        return Seen(
            _key_of(rt, entry),
            parse=lambda: self._parsed.of(model, entry),
            ended=lambda: self._has_ended(model, rt, entry),
        )

    def _has_ended(self, model: type[Resource], rt: ResourceType, entry: Entry) -> bool:
        if model not in _ENDS:
            return False
        glance = self._glances.of(rt.prefix, entry)
        return glance.phase in _ENDS[model] and not glance.is_leaving

    def follow(self, model: type[R]) -> Follower[R]:
        """Follow a kind's objects by what has changed between two looks; the first look gives all."""
        return Follower(self._store.cache, self.type_of(model).prefix, model, self._parsed)

    async def watch(self, model: type[R]) -> AsyncIterator[Seen[R]]:
        """Show every live object between a begin and an end mark, then every object that changes or goes; for ever.

        When history was lost, the snapshot is given again, between its marks.
        """
        rt = self.type_of(model)
        while True:
            yield Seen(mark="begin")
            try:
                async for deltas in self._store.deltas(rt, marks_initial=True, send_initial=True):
                    for delta in deltas:
                        if delta.ends_initial:
                            yield Seen(mark="end")
                        elif delta.entry is not None:
                            yield self._seen(rt, model, delta.entry, is_gone=delta.type == "DELETED")
            except api.Gone:
                continue
            except (api.Unavailable, api.Timeout):
                # NATS is away as the watch begins, or the cache is behind it; an end of this would be that of the hub.
                await asyncio.sleep(_WATCH_RETRY_SECONDS)
                continue
            return


def _key_of(rt: ResourceType, entry: Entry) -> tuple[str, str]:
    namespace, _, name = entry.key.removeprefix(rt.prefix).partition("/")
    return (namespace if rt.namespaced else "", name)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Raise Atoll's errors for kubeapi's."""
    try:
        yield
    except api.ApiError as error:
        raise _translate(error) from error


def _translate(error: api.ApiError) -> AtollError:
    match error:
        case api.NotFound():
            return NotFound(error.message)
        case api.Conflict() | api.AlreadyExists():
            return Conflict(error.message)
        case api.Invalid() | api.BadRequest() | api.Forbidden() | api.RequestTooLarge():
            return InvalidInput(error.message, error.causes)
        case api.Unavailable() | api.Timeout() | api.TooManyRequests():
            return Unavailable(error.message)
    return Internal(error.message)
