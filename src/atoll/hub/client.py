"""Typed, in-process access to the hub's objects, for controllers and the scheduler.

Owns the translation between kinds and the store's plain objects, and between kubeapi's errors and Atoll's. Reads come
from the cache, which holds every write that this process has finished; writes are guarded by the resourceVersion.
"""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput, NotFound, Unavailable
from atoll.federation.resources import (
    API_GROUP,
    BY_NAME,
    FINISHED_JOB_PHASES,
    FINISHED_RUN_PHASES,
    Job,
    Resource,
    Run,
    resolve,
)
from atoll.federation.workloads import Level, level_of
from atoll.hub.following import Follower
from atoll.hub.parsing import Parsed
from atoll.kubeapi import errors as api
from atoll.kubeapi.cache import Entry
from atoll.kubeapi.reading import key_prefix
from atoll.kubeapi.resource import Object, Registry, ResourceType
from atoll.kubeapi.store import Store

_WATCH_RETRY_SECONDS = 0.5
R = TypeVar("R", bound=Resource)
FIELD_MANAGER = "atoll-hub"
# Looking into one object takes some 20 µs.
_GLANCES_AT_ONCE = 500
_ENDS: Mapping[type[Resource], Collection[str]] = {Job: FINISHED_JOB_PHASES, Run: FINISHED_RUN_PHASES}


class _Glance(NamedTuple):
    """What is read of an object that is not parsed. `is_leaving` says that its deletion was asked for.

    `unmet` names the conditions that are False, with spaces between: one text that all objects share.
    """

    revision: int
    phase: str
    is_leaving: bool
    unmet: str


class Tally(NamedTuple):
    """How many objects of a kind are in each phase, and of how many each condition is False."""

    phases: Mapping[str, int] = MappingProxyType({})
    unmet: Mapping[str, int] = MappingProxyType({})


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
        """The object; the marks have none."""
        assert self.parse is not None, "a mark is no object"
        return self.parse()


@dataclass
class ExistingObjects:
    """What exists, by the store's cache. Admission needs it before the store can be made: `store` is set then."""

    store: Store | None = field(default=None)

    def has(self, model: type[Resource], namespace: str | None, name: str) -> bool:
        """Tell whether the cache holds the object."""
        assert self.store is not None, "the composition root sets the store before it serves"
        rt = _type_of(self.store.registry, model)
        return self.store.cache.get(rt.prefix, rt.key(namespace, name)) is not None

    def awaited_jobs(self, namespace: str, name: str) -> tuple[str, ...]:
        """Name the jobs that a job depends on until it is placed, by the cache."""
        assert self.store is not None, "the composition root sets the store before it serves"
        rt = _type_of(self.store.registry, Job)
        entry = self.store.cache.get(rt.prefix, rt.key(namespace, name))
        if entry is None or b"dependsOn" not in entry.raw:
            return ()
        job = entry.decode()
        status = job.get("status", {})
        if _phase(job) not in ("", "Pending") or status.get("attempts"):
            return ()
        return tuple("/".join(resolve(each["job"], namespace)) for each in job["spec"].get("dependsOn", ()))

    def unfinished_jobs(self, queue: str) -> int:
        """Count the jobs of a queue that wait or run, by the cache."""
        assert self.store is not None, "the composition root sets the store before it serves"
        entries = self.store.cache.bucket(_type_of(self.store.registry, Job).prefix).entries.values()
        # Most jobs are of other queues: their bytes say so without being decoded.
        jobs = (entry.decode() for entry in list(entries) if queue.encode() in entry.raw)
        return sum(job["spec"]["queue"] == queue and _is_unfinished(job) for job in jobs)

    def pod_security(self, namespace: str) -> Level:
        """Read it off the Namespace, by the cache."""
        assert self.store is not None, "the composition root sets the store before it serves"
        return _pod_security(self.store, namespace)


class Client:
    """Reads and writes kinds. Every method that writes raises Conflict, InvalidInput, NotFound or Unavailable.

    What it gives is shared by all readers: resources are frozen, and nobody may change a dict inside one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parsed = Parsed(store.cache.recent)
        self._glances: dict[type[Resource], dict[str, _Glance]] = {}
        self._types: dict[type[Resource], ResourceType] = {}  # asked for at every read

    @property
    def store(self) -> Store:
        """The store below, for objects that are no kinds of ours: events and namespaces."""
        return self._store

    def type_of(self, model: type[Resource]) -> ResourceType:
        """Give the served resource of a kind."""
        found = self._types.get(model)
        if found is None:
            found = self._types[model] = _type_of(self._store.registry, model)
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
        return _pod_security(self._store, namespace)

    async def get(self, model: type[R], namespace: str | None, name: str) -> R | None:
        """Read one object; None if it does not exist."""
        rt = self.type_of(model)
        entry = self._store.cache.get(rt.prefix, rt.key(namespace, name))
        return self._parsed.of(model, entry) if entry is not None else None

    async def list_unfinished(self, model: type[R], ends: Collection[str]) -> list[R]:
        """Read all objects of a kind whose phase is none of `ends`, ordered by key.

        Those that have ended are most, and stay as they are: each is looked into once per revision, and never parsed.
        """
        rt = self.type_of(model)
        bucket, found = self._store.cache.bucket(rt.prefix), []
        for number, key in enumerate(bucket.keys(key_prefix(rt, None))):
            if number % _GLANCES_AT_ONCE == 0:
                await asyncio.sleep(0)
            entry = bucket.entries.get(key)  # it may be gone by now
            if entry is not None and self._glance(model, entry).phase not in ends:
                found.append(self._parsed.of(model, entry))
        self._forget_gone(model)
        return found

    async def tally(self, model: type[Resource]) -> Tally:
        """Count a kind's objects; each is looked into once per revision, and never parsed."""
        bucket = self._store.cache.bucket(self.type_of(model).prefix)
        phases, unmet = Counter[str](), Counter[str]()
        for number, entry in enumerate(list(bucket.entries.values())):
            if number % _GLANCES_AT_ONCE == 0:
                await asyncio.sleep(0)
            glance = self._glance(model, entry)
            phases[glance.phase] += 1
            unmet.update(glance.unmet.split())
        self._forget_gone(model)
        return Tally(phases, unmet)

    def _forget_gone(self, model: type[Resource]) -> None:
        glances, entries = self._glances.get(model, {}), self._store.cache.bucket(self.type_of(model).prefix).entries
        for key in glances.keys() - entries.keys() if len(glances) > len(entries) else ():
            del glances[key]

    def _glance(self, model: type[Resource], entry: Entry) -> _Glance:
        glances = self._glances.setdefault(model, {})
        known = glances.get(entry.key)
        if known is None or known.revision != entry.revision:
            obj = entry.decode()
            is_leaving = "deletionTimestamp" in obj["metadata"]
            phase, unmet = sys.intern(_phase(obj)), sys.intern(_unmet(obj))
            known = glances[entry.key] = _Glance(entry.revision, phase, is_leaving, unmet)
        return known

    def _has_ended(self, model: type[Resource], entry: Entry) -> bool:
        if model not in _ENDS:
            return False
        glance = self._glance(model, entry)
        return glance.phase in _ENDS[model] and not glance.is_leaving

    async def list(self, model: type[R], namespace: str | None = None, *, name_prefix: str = "") -> list[R]:
        """Read the objects of a kind, in one namespace or in all, ordered by key.

        `name_prefix` reads only those whose names begin with it, at no cost for the others; it wants a namespace.
        """
        rt = self.type_of(model)
        bucket = self._store.cache.bucket(rt.prefix)
        keys = bucket.keys(key_prefix(rt, namespace) + name_prefix)
        return [self._parsed.of(model, bucket.entries[key]) for key in keys]

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
            return Seen(_key_of(rt, entry), is_gone=True, parse=lambda: model.model_validate(entry.decode()))
        return Seen(
            _key_of(rt, entry),
            parse=lambda: self._parsed.of(model, entry),
            ended=lambda: self._has_ended(model, entry),
        )

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


def _pod_security(store: Store, namespace: str) -> Level:
    rt = store.registry.by_kind("", "Namespace")
    entry = store.cache.get(rt.prefix, rt.key(None, namespace)) if rt is not None else None
    return level_of(entry.decode()["metadata"].get("labels") if entry is not None else None)


def _is_unfinished(job: Mapping[str, Any]) -> bool:
    return _phase(job) not in FINISHED_JOB_PHASES


def _phase(obj: Mapping[str, Any]) -> str:
    """Give the phase; a job that has ended and is to be placed again has not ended for good, and is named so."""
    spec, status = obj.get("spec", {}), obj.get("status", {})
    is_asked = spec.get("requeues", 0) > status.get("requeue", {}).get("answered", 0) and not spec.get("cancelled")
    return "Requeued" if is_asked else str(status.get("phase", ""))


def _unmet(obj: Mapping[str, Any]) -> str:
    conditions = obj.get("status", {}).get("conditions", ())
    return " ".join(each["type"] for each in conditions if each["status"] == "False")


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
