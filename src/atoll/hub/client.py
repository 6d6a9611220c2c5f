"""Typed, in-process access to the hub's objects, for controllers and the scheduler.

Owns the translation between kinds and the store's plain objects, and between kubeapi's errors and Atoll's. Reads come
from the cache, which holds every write that this process has finished; writes are guarded by the resourceVersion.
"""

import contextlib
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable
from atoll.federation.resources import API_GROUP, BY_NAME, FINISHED_JOB_PHASES, Job, Resource
from atoll.kubeapi import errors as api
from atoll.kubeapi.cache import Entry
from atoll.kubeapi.reading import key_prefix
from atoll.kubeapi.resource import Registry, ResourceType
from atoll.kubeapi.store import Store

R = TypeVar("R", bound=Resource)
FIELD_MANAGER = "atoll-hub"
# A parsed object takes some 10 KB: this bounds them to about 100 MB. Where more are read in turn, each is parsed anew.
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Seen(Generic[R]):
    """One object as a watch shows it, or, without an object, the begin or the end of a snapshot of all live ones."""

    resource: R | None = None
    is_gone: bool = False
    mark: Literal["", "begin", "end"] = ""


@dataclass
class ExistingObjects:
    """What exists, by the store's cache. Admission needs it before the store can be made: `store` is set then."""

    store: Store | None = field(default=None)

    def has(self, model: type[Resource], namespace: str | None, name: str) -> bool:
        """Tell whether the cache holds the object."""
        assert self.store is not None, "the composition root sets the store before it serves"
        rt = _type_of(self.store.registry, model)
        return self.store.cache.get(rt.prefix, rt.key(namespace, name)) is not None

    def unfinished_jobs(self, queue: str) -> int:
        """Count the jobs of a queue that wait or run, by the cache."""
        assert self.store is not None, "the composition root sets the store before it serves"
        entries = self.store.cache.bucket(_type_of(self.store.registry, Job).prefix).entries.values()
        # Most jobs are of other queues: their bytes say so without being decoded.
        jobs = (entry.decode() for entry in list(entries) if queue.encode() in entry.raw)
        return sum(job["spec"]["queue"] == queue and _is_unfinished(job) for job in jobs)


class Client:
    """Reads and writes kinds. Every method that writes raises Conflict, InvalidInput, NotFound or Unavailable.

    What it gives is shared by all readers: resources are frozen, and nobody may change a dict inside one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, tuple[int, Resource]] = {}
        # By kind: the revisions of the objects that had ended and of those that had not, when it was last asked.
        self._phases: dict[type[Resource], tuple[dict[str, int], dict[str, int]]] = {}

    @property
    def store(self) -> Store:
        """The store below, for objects that are no kinds of ours: events and namespaces."""
        return self._store

    def type_of(self, model: type[Resource]) -> ResourceType:
        """Give the served resource of a kind."""
        return _type_of(self._store.registry, model)

    def _parsed(self, model: type[R], entry: Entry) -> R:
        """Parse an object once per revision: controllers and the scheduler read the same ones again and again."""
        revision, known = self._known.pop(entry.key, (0, None))
        if known is None or revision != entry.revision:
            known = model.model_validate(entry.decode())
        if len(self._known) >= _MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self._known[entry.key] = (entry.revision, known)
        assert isinstance(known, model)
        return known

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""
        rt = self.type_of(model)
        entry = self._store.cache.get(rt.prefix, rt.key(namespace, name))
        return self._parsed(model, entry) if entry is not None else None

    async def list_unfinished(self, model: type[R], ends: Collection[str]) -> list[R]:
        """Read all objects of a kind whose phase is none of `ends`, ordered by key.

        Those that have ended are most, and stay as they are: each is looked into once per revision, and never parsed.
        """
        rt = self.type_of(model)
        bucket, (ended, going) = self._store.cache.bucket(rt.prefix), self._phases.get(model, ({}, {}))
        now_ended, now_going = self._phases[model] = ({}, {})
        found = []
        for key in bucket.keys(key_prefix(rt, None)):
            entry = bucket.entries[key]
            was_going = going.get(key) == entry.revision
            if ended.get(key) == entry.revision or (not was_going and _phase(entry.decode()) in ends):
                now_ended[key] = entry.revision
            else:
                now_going[key] = entry.revision
                found.append(self._parsed(model, entry))
        return found

    async def list(self, model: type[R], namespace: str | None = None, *, name_prefix: str = "") -> list[R]:
        """Read the objects of a kind, in one namespace or in all, ordered by key.

        `name_prefix` reads only those whose names begin with it, at no cost for the others; it wants a namespace.
        """
        rt = self.type_of(model)
        bucket = self._store.cache.bucket(rt.prefix)
        keys = bucket.keys(key_prefix(rt, namespace) + name_prefix)
        return [self._parsed(model, bucket.entries[key]) for key in keys]

    async def create(self, resource: R) -> R:
        """Create an object. Conflict if one of that name exists."""
        with translated():
            created = await self._store.create(
                self.type_of(type(resource)), resource.wire(), field_manager=FIELD_MANAGER
            )
        return type(resource).model_validate(created)

    async def update(self, resource: R) -> R:
        """Replace an object's metadata and spec. Conflict if it changed since it was read."""
        return await self._update(resource, "")

    async def update_status(self, resource: R) -> R:
        """Replace an object's status, unless it already says the same. Conflict if it changed since it was read."""
        rt = self.type_of(type(resource))
        entry = self._store.cache.get(rt.prefix, rt.key(resource.metadata.namespace, resource.metadata.name))
        if entry is not None and str(entry.revision) == resource.metadata.resource_version:
            stored = self._parsed(type(resource), entry)
            if stored.wire().get("status") == resource.wire().get("status"):
                return stored
        return await self._update(resource, "status")

    async def _update(self, resource: R, subresource: str) -> R:
        rt, body = self.type_of(type(resource)), resource.wire()
        with translated():
            stored = await self._store.update(rt, body, subresource=subresource, field_manager=FIELD_MANAGER)
        return type(resource).model_validate(stored)

    async def delete(self, model: type[Resource], namespace: str | None, name: str) -> None:
        """Delete an object, with what it owns; one that does not exist is fine."""
        with contextlib.suppress(NotFound), translated():
            await self._store.delete(self.type_of(model), namespace, name, propagation="Background")

    async def watch(self, model: type[R]) -> AsyncIterator[Seen[R]]:
        """Show every live object between a begin and an end mark, then every object that changes or goes; for ever.

        When history was lost, the snapshot is given again, between its marks.
        """
        rt = self.type_of(model)
        while True:
            yield Seen(mark="begin")
            try:
                async for deltas in self._store.deltas(rt, bookmarks=True, send_initial=True):
                    for delta in deltas:
                        if delta.ends_initial:
                            yield Seen(mark="end")
                        elif delta.entry is not None and delta.type == "DELETED":
                            self._known.pop(delta.entry.key, None)
                            yield Seen(model.model_validate(delta.entry.decode()), is_gone=True)
                        elif delta.entry is not None:
                            yield Seen(self._parsed(model, delta.entry))
            except api.Gone:
                continue
            return


def _is_unfinished(job: Mapping[str, Any]) -> bool:
    return _phase(job) not in FINISHED_JOB_PHASES


def _phase(obj: Mapping[str, Any]) -> str:
    return str(obj.get("status", {}).get("phase", ""))


def _type_of(registry: Registry, model: type[Resource]) -> ResourceType:
    kind = str(model.model_fields["kind"].default)
    rt = registry.by_kind(API_GROUP, kind)
    assert rt is not None, f"{kind} is in the catalog: {kind in BY_NAME}"
    return rt


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
