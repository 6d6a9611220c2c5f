"""The store: what controllers and HTTP both read and write objects through.

Owns the order of a write (read, change, admit, track fields, commit); the decisions are in the pure modules it calls,
and the races of writers in committing.py. Values are plain dicts of JSON types; each returned one is the caller's own.
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Unpack

from atoll.kubeapi import deletion, watching
from atoll.kubeapi.arguments import DeleteArguments, ListArguments, WatchArguments, WriteArguments
from atoll.kubeapi.bucket import HISTORY, Entry
from atoll.kubeapi.cache import WatchCache
from atoll.kubeapi.committing import Committer
from atoll.kubeapi.deletion import DeleteRequest
from atoll.kubeapi.errors import AlreadyExists, Cause, Conflict, Forbidden
from atoll.kubeapi.metadata import generate_name, timestamp
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.reading import Page, Query, Reader, key_prefix
from atoll.kubeapi.resource import Object, Registry, ResourceType
from atoll.kubeapi.selectors import Selector
from atoll.kubeapi.storage import RevisionConflict, Storage
from atoll.kubeapi.watching import Deltas, From, Scope
from atoll.kubeapi.writing import WriteOptions, Writer

_GENERATED_NAMES = 8  # tries to find a free generated name, as in kube-apiserver
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # no vowels: no words; as Kubernetes generates names


@dataclass(frozen=True)
class ListResult:
    """A list at one revision; `remaining` is None if it is not known."""

    items: list[Object]
    resource_version: str
    continue_token: str = ""
    remaining: int | None = None


@dataclass(frozen=True)
class WatchEvent:
    """ADDED, MODIFIED, DELETED or BOOKMARK (an object with only a resourceVersion)."""

    type: str
    object: Object


class Store:
    """All objects of the registered resource types."""

    def __init__(
        self,
        registry: Registry,
        storage: Storage,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[], str] = lambda: str(uuid.uuid4()),
        new_suffix: Callable[[], str] = lambda: "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5)),
        history: int = HISTORY,
        require_namespaces: bool = False,
    ) -> None:
        """Serve nothing until start().

        `require_namespaces` refuses to create objects in namespaces that do not exist or are being deleted.
        """
        self.registry = registry
        self.cache = WatchCache(storage, history=history)
        self._reader = Reader(self.cache, storage)
        self._committer = Committer(self.cache, storage, self._reader)
        self.clock = clock
        self._new_uid = new_uid
        self._new_suffix = new_suffix
        self._require_namespaces = require_namespaces

    async def start(self) -> None:
        """Load every object; return when reads can be served."""
        await self.cache.start()

    async def close(self) -> None:
        """End every watch and stop following the storage."""
        await self.cache.close()

    # reads

    async def get(self, rt: ResourceType, namespace: str | None, name: str) -> Object:
        """Return one object as of the newest write. Raises NotFound."""
        return rt.decode((await self.entry(rt, namespace, name)).raw)

    async def entry(self, rt: ResourceType, namespace: str | None, name: str, resource_version: str = "") -> Entry:
        """Return one object in its encoded form: the newest, or one not older than a version ("0": as is known here).

        Raises NotFound, BadRequest for what is no version, Timeout for a version of the future.
        """
        entry = await self._reader.entry(rt, namespace, name, resource_version)
        if entry is None:
            raise rt.not_found(name)
        return entry

    async def list(
        self, rt: ResourceType, namespace: str | None = None, **options: Unpack[ListArguments]
    ) -> ListResult:
        """Return the objects of a namespace, or of all, at one revision.

        Raises BadRequest, Invalid, Gone or Timeout.
        """
        page = await self.page(rt, namespace, **options)
        items = [rt.decode(entry.raw) for entry in page.entries]
        return ListResult(items, str(page.revision), page.continue_token, page.remaining)

    async def page(self, rt: ResourceType, namespace: str | None = None, **options: Unpack[ListArguments]) -> Page:
        """Return the same as list() in encoded form."""
        return await self._reader.page(rt, Query(namespace, **options))

    async def watch(
        self, rt: ResourceType, namespace: str | None = None, **options: Unpack[WatchArguments]
    ) -> AsyncIterator[WatchEvent]:
        """Yield what happens to the objects of a namespace, or of all. Raises Gone when `resource_version` is too old.

        Ends when the store closes.
        """
        async for deltas in self.deltas(rt, namespace, **options):
            for delta in deltas:
                yield WatchEvent(
                    delta.type, rt.decode(delta.entry.raw) if delta.entry else watching.bookmark(rt, delta)
                )

    async def deltas(
        self, rt: ResourceType, namespace: str | None = None, **options: Unpack[WatchArguments]
    ) -> AsyncIterator[Deltas]:
        """Yield the same as watch() in encoded form and in batches."""
        selector = Selector.parse(options.get("label_selector", ""), options.get("field_selector", ""))
        version, send_initial = options.get("resource_version", ""), options.get("send_initial")
        revision = watching.parse_revision(version)
        await self._reader.reach(version)
        if send_initial is None:
            start = From(revision, initial=revision == 0)
        elif send_initial:
            is_marked = options.get("bookmarks", False) or options.get("marks_initial", False)
            start = From(0, initial=True, marks_end_of_initial=is_marked)
        else:
            start = From(revision or self.cache.revision)
        scope = Scope(rt.prefix, key_prefix(rt, namespace), selector)
        pause = watching.BOOKMARK_SECONDS if options.get("bookmarks") else None
        async for deltas in watching.watch(self.cache, scope, start, bookmark_seconds=pause):
            yield deltas

    # writes

    async def create(
        self, rt: ResourceType, obj: Object, *, namespace: str | None = None, **options: Unpack[WriteArguments]
    ) -> Object:
        """Create an object. Raises AlreadyExists, Invalid, BadRequest, or NotFound for its namespace."""
        writer = self._writer(rt, options)
        draft = writer.draft(obj, namespace)
        await self._check_namespace(rt, draft)
        prefix = draft["metadata"].get("generateName")
        if draft["metadata"].get("name") or not prefix:
            return await self._insert(writer, draft)
        for _ in range(_GENERATED_NAMES - 1):
            draft["metadata"]["name"] = generate_name(prefix, self._new_suffix())
            try:
                return await self._insert(writer, draft)
            except AlreadyExists:
                continue
        draft["metadata"]["name"] = generate_name(prefix, self._new_suffix())
        return await self._insert(writer, draft)

    async def update(
        self, rt: ResourceType, obj: Object, *, namespace: str | None = None, **options: Unpack[WriteArguments]
    ) -> Object:
        """Replace an object. Raises Conflict when its metadata.resourceVersion is stale, NotFound, Invalid."""
        writer = self._writer(rt, options)
        draft = writer.draft(obj, namespace)
        namespace, name = draft["metadata"].get("namespace"), str(draft["metadata"].get("name") or "")
        return await self._change(writer, namespace, name, lambda live: writer.replaced(live, draft))

    async def patch(
        self, rt: ResourceType, namespace: str | None, name: str, patch: Patch, **options: Unpack[WriteArguments]
    ) -> Object:
        """Patch an object; kind `apply` creates it if need be and wants a `field_manager`.

        Raises NotFound, Invalid, BadRequest, or Conflict (a stale resourceVersion, or fields that others own).
        """
        writer = self._writer(rt, options)
        if patch.kind != "apply":
            return await self._change(
                writer, namespace, name, lambda live: writer.replaced(live, writer.patched(live, patch))
            )
        config = writer.configuration(patch.body, namespace, name)

        async def attempt(entry: Entry | None) -> Object | None:
            if entry is None:
                return await self._apply_new(writer, config)
            live = rt.decode(entry.raw)
            return await self._finish(writer, entry, live, changed=writer.applied(live, config))

        return await self._committer.settle(rt, namespace, name, attempt)

    async def delete(
        self, rt: ResourceType, namespace: str | None, name: str, **options: Unpack[DeleteArguments]
    ) -> Object:
        """Delete an object, or mark it for deletion while finalizers or a grace period hold it.

        Returns the object as it was removed or as it now waits. Raises NotFound, or Conflict if a precondition fails.
        """
        dry_run = options.get("dry_run", False)
        request = DeleteRequest(
            propagation=options.get("propagation", ""),
            uid=options.get("uid", ""),
            resource_version=options.get("resource_version", ""),
            grace_seconds=options.get("grace_seconds"),
        )

        async def attempt(entry: Entry | None) -> Object | None:
            if entry is None:
                raise rt.not_found(name)
            decision = deletion.decide(rt, rt.decode(entry.raw), request, self.clock())
            await self._committer.replace(entry, None if decision.is_final else decision.obj, dry_run=dry_run)
            return decision.obj

        return await self._committer.settle(rt, namespace, name, attempt)

    # the steps of a write

    def _writer(self, rt: ResourceType, options: WriteArguments) -> Writer:
        return Writer(rt, WriteOptions(**options), now=timestamp(self.clock()), new_uid=self._new_uid)

    async def _check_namespace(self, rt: ResourceType, draft: Object) -> None:
        namespaces = self.registry.by_kind("", "Namespace") if self._require_namespaces and rt.namespaced else None
        if namespaces is None:
            return
        name = draft["metadata"]["namespace"]
        known = self.cache.get(namespaces.prefix, namespaces.key(None, name))
        # As in kube-apiserver's NamespaceLifecycle: what is known here will do, and only what is not is asked for.
        namespace = known.decode() if known is not None else await self.get(namespaces, None, name)
        if "deletionTimestamp" in namespace["metadata"]:
            where = namespace["metadata"]["name"]
            raise Forbidden(
                f'{rt.plural} "{draft["metadata"].get("name", "")}" is forbidden: unable to create new content in '
                f"namespace {where} because it is being terminated",
                causes=[Cause("metadata.namespace", f"namespace {where} is being terminated", "NamespaceTerminating")],
                subject=rt.subject(str(draft["metadata"].get("name", ""))),
            )

    async def _change(
        self, writer: Writer, namespace: str | None, name: str, change: Callable[[Object], Object]
    ) -> Object:
        async def attempt(entry: Entry | None) -> Object | None:
            if entry is None:
                raise writer.rt.not_found(name)
            live = writer.rt.decode(entry.raw)
            return await self._finish(writer, entry, live, changed=change(live))

        return await self._committer.settle(writer.rt, namespace, name, attempt)

    async def _insert(self, writer: Writer, draft: Object) -> Object:
        return await self._committer.insert(writer.rt, writer.created(draft), dry_run=writer.options.dry_run)

    async def _apply_new(self, writer: Writer, config: Object) -> Object:
        name = config["metadata"]["name"]
        if writer.options.subresource:
            raise writer.rt.not_found(name)
        if config["metadata"].get("uid") or config["metadata"].get("resourceVersion"):
            raise Conflict.of(writer.rt.subject(name), "it does not exist, and the configuration names one that did")
        await self._check_namespace(writer.rt, config)
        try:
            created = writer.created_by_apply(config)
            return await self._committer.insert(writer.rt, created, dry_run=writer.options.dry_run)
        except AlreadyExists:
            key = writer.rt.key(config["metadata"].get("namespace"), name)
            raise RevisionConflict(key, None) from None

    async def _finish(self, writer: Writer, entry: Entry, live: Object, *, changed: Object) -> Object | None:
        """Write what an update of `live` came to, or remove what nobody holds any more; None if nothing changed."""
        if changed == live:
            return None
        kept = None if deletion.is_finished(changed) else changed
        await self._committer.replace(entry, kept, dry_run=writer.options.dry_run)
        return changed
