"""The verbs of the cluster's API server, on plain dicts by kind.

No client type or exception leaves: failures are the errors of `errors.py`. It must not know what the objects mean.
"""

import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Literal, TypeVar

import aiohttp
import orjson

from atoll.edge.member.discovery import Discovery
from atoll.edge.member.errors import Expired, KindNotServed, error_of
from atoll.edge.member.execution import Command, Remote, output_of
from atoll.edge.member.objects import EVERYTHING, FIELD_MANAGER, Kind, Object, ObjectRef, Selection
from atoll.edge.member.requests import CONNECT_SECONDS, REQUEST_SECONDS, ApiServer, Query, lines, object_of
from atoll.federation.errors import Internal, NotFound

T = TypeVar("T")
Propagation = Literal["Background", "Foreground", "Orphan"]

# client-go's pager uses the same page: a page of pods is then about 5 MB.
PAGE_SIZE = 500
# The server ends a watch after this; API servers send a bookmark every minute, so silence for longer means a dead link.
WATCH_SECONDS = 240
WATCH_SILENCE_SECONDS = 90.0
_LIST_ATTEMPTS = 4
_EVENTS = frozenset({"ADDED", "MODIFIED", "DELETED", "BOOKMARK"})


@dataclass(frozen=True)
class Listing(Generic[T]):
    """All objects that matched, as projected, and the resourceVersion from which to watch."""

    items: list[T]
    resource_version: str


@dataclass(frozen=True)
class WatchEvent:
    """One change: ADDED, MODIFIED, DELETED, or BOOKMARK, which carries only a resourceVersion."""

    type: str
    object: Object


class Kube:
    """One API server. Make it with `connect`; close it when done."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._discovery = Discovery(self._document)

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, context: str | None = None) -> "Kube":
        """Read credentials; the server itself is first asked by the first verb.

        Args:
            kubeconfig: file to read; None means the pod's service account.
            context: of the kubeconfig; None means its current one.

        Raises:
            InvalidInput: the kubeconfig or the service account cannot be used.
        """
        return cls(await ApiServer.connect(kubeconfig, context))

    async def close(self) -> None:
        """Close all connections."""
        await self._server.close()

    async def version(self) -> str:
        """Ask the API server for its version, such as `v1.34.1`."""
        return str((await self._server.call("GET", "/version")).get("gitVersion", ""))

    async def namespaced_kinds(self) -> Sequence[Kind]:
        """Name every kind of object that can stand in a namespace, each in the version that the server prefers."""
        return await self._discovery.namespaced_kinds()

    async def creatable_kinds(self) -> Sequence[Kind]:
        """Name every kind of object that can be made in a namespace, in every version that is served."""
        return await self._discovery.creatable_kinds()

    async def serves(self, kind: Kind) -> bool:
        """Say whether the cluster has a kind.

        Raises:
            Unavailable: it could not be asked.
        """
        try:
            await self._discovery.endpoint(kind)
        except KindNotServed:
            return False
        return True

    async def get(self, ref: ObjectRef) -> Object | None:
        """Read one object; None if it does not exist.

        Raises:
            KindNotServed: the cluster has no such kind.
        """
        path = await self._path(ref)
        with contextlib.suppress(NotFound):
            return await self._server.call("GET", path)
        return None

    async def list(
        self, kind: Kind, selection: Selection = EVERYTHING, *, project: Callable[[Object], T]
    ) -> Listing[T]:
        """Read all matching objects page by page, keeping only what `project` makes of each.

        Raises:
            KindNotServed: the cluster has no such kind. Expired: it changes faster than it can be read.
        """
        for _ in range(_LIST_ATTEMPTS):
            with contextlib.suppress(Expired):  # the continue token grew too old: the snapshot starts again
                return await self._list_once(kind, selection, project)
        raise Expired(f"listing {kind} was cut off {_LIST_ATTEMPTS} times")

    async def _list_once(self, kind: Kind, selection: Selection, project: Callable[[Object], T]) -> Listing[T]:
        path = (await self._discovery.endpoint(kind)).path(selection.namespace)
        items: list[T] = []
        token = ""
        while True:
            query = [*_selectors(selection), ("limit", str(PAGE_SIZE))]
            try:
                page = await self._server.call("GET", path, query=[*query, ("continue", token)] if token else query)
            except NotFound:  # the kind's CRD is gone
                self._discovery.forget(kind.api_version)
                raise
            for item in page.get("items") or ():
                # Items of a list carry no type of their own (API conventions, "Lists and Simple kinds").
                items.append(project({"apiVersion": kind.api_version, "kind": kind.kind} | item))
            metadata = page.get("metadata") or {}
            token = metadata.get("continue") or ""
            if not token:
                return Listing(items, str(metadata.get("resourceVersion", "")))

    async def watch(
        self, kind: Kind, selection: Selection = EVERYTHING, *, resource_version: str
    ) -> AsyncGenerator[WatchEvent, None]:
        """Give changes after a resourceVersion until the server ends the watch, which it does every few minutes.

        Raises:
            Expired: the resourceVersion is too old. Unavailable: the connection broke, or was silent for too long.
        """
        path = (await self._discovery.endpoint(kind)).path(selection.namespace)
        query = [
            *_selectors(selection),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(WATCH_SECONDS)),
        ]
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=WATCH_SILENCE_SECONDS)
        async with self._server.open("GET", path, query=query, timeout=timeout) as response:
            async for line in lines(response):
                yield _event(line, f"watch {kind}")

    async def create(self, manifest: Object, *, field_manager: str = FIELD_MANAGER) -> Object:
        """Make an object where there is none; fields that the server does not know are refused.

        Raises:
            Conflict: there is one of that name. InvalidInput, Refused, KindNotServed: the server does not take it.
            NotFound: its namespace is not there.
        """
        ref = ObjectRef.of(manifest)
        path = (await self._discovery.endpoint(ref.kind)).path(ref.namespace)
        query = [("fieldManager", field_manager), ("fieldValidation", "Strict")]
        try:
            return await self._server.call("POST", path, query=query, body=manifest)
        except NotFound:  # the kind's CRD is gone, or the namespace
            self._discovery.forget(ref.kind.api_version)
            raise

    async def server_side_apply(
        self, manifest: Object, *, field_manager: str = FIELD_MANAGER, force: bool = True, strict: bool = False
    ) -> Object:
        """Make the object hold what the manifest says; give the object as it is now.

        Args:
            manifest: only fields that this manager shall own.
            field_manager: who owns them.
            force: take over fields that others own.
            strict: have fields refused that the server does not know; else it may drop them.

        Raises:
            InvalidInput, Refused, KindNotServed: the server does not take it. NotFound: its namespace is not there.
            Conflict: not forced, and others own fields.
        """
        path = await self._path(ObjectRef.of(manifest))
        query = [("fieldManager", field_manager), ("force", "true" if force else "false")]
        if strict:
            query.append(("fieldValidation", "Strict"))
        try:
            return await self._server.call(
                "PATCH", path, query=query, body=manifest, content_type="application/apply-patch+yaml"
            )
        except NotFound:  # the kind's CRD is gone, or the namespace
            self._discovery.forget(str(manifest["apiVersion"]))
            raise

    async def merge_patch(
        self, ref: ObjectRef, patch: Object, *, subresource: str = "", field_manager: str = FIELD_MANAGER
    ) -> Object:
        """Change some fields of an object; a metadata.resourceVersion in the patch guards the write (RFC 7396).

        Raises:
            Conflict: it changed meanwhile. NotFound: it is gone.
        """
        path, query = await self._path(ref), [("fieldManager", field_manager)]
        path = f"{path}/{subresource}" if subresource else path
        return await self._server.call(
            "PATCH", path, query=query, body=patch, content_type="application/merge-patch+json"
        )

    async def replace(self, obj: Object, *, field_manager: str = FIELD_MANAGER) -> Object:
        """Write a whole object; its metadata.resourceVersion guards the write.

        Raises:
            Conflict: it changed meanwhile. NotFound: it is gone.
        """
        path = await self._path(ObjectRef.of(obj))
        return await self._server.call("PUT", path, query=[("fieldManager", field_manager)], body=obj)

    async def delete(
        self,
        ref: ObjectRef,
        *,
        propagation: Propagation = "Background",
        uid: str | None = None,
        grace_seconds: float | None = None,
    ) -> bool:
        """Delete an object; False if it was not there.

        Args:
            propagation: what happens to dependents.
            uid: delete only this incarnation.
            grace_seconds: how long a pod may take to end; None: as it says itself.

        Raises:
            Conflict: another incarnation has the name.
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if uid:
            options["preconditions"] = {"uid": uid}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = math.ceil(grace_seconds)
        path = await self._path(ref)
        with contextlib.suppress(NotFound):
            await self._server.call("DELETE", path, body=options)
            return True
        return False

    async def logs(
        self,
        pod: ObjectRef,
        *,
        container: str,
        follow: bool = False,
        tail_lines: int | None = None,
        since_seconds: int | None = None,
    ) -> AsyncGenerator[bytes, None]:
        """Give a container's log as it comes; with `follow` until the container ends.

        Raises:
            NotFound: no such pod or container. InvalidInput: the container has not started yet.
        """
        query: Query = [("container", container), ("follow", "true" if follow else "false")]
        limits = {"tailLines": tail_lines, "sinceSeconds": since_seconds}
        query += [(name, str(value)) for name, value in limits.items() if value is not None]
        # A job may be silent for hours: only the connection itself can tell that the server has gone.
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._server.open("GET", f"{await self._path(pod)}/log", query=query, timeout=timeout) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    async def execute(self, pod: ObjectRef, container: str, command: Sequence[str]) -> bytes:
        """Run a command in a container and give its standard output.

        Raises:
            Refused: no right to `create pods/exec`. Unavailable: it failed, or did not end in time.
        """
        path = f"{await self._path(pod)}/exec"
        async with self._server.running(path, Command(container, command), within=REQUEST_SECONDS) as remote:
            return await output_of(remote, f"exec {path}")

    @contextlib.asynccontextmanager
    async def running(self, pod: ObjectRef, command: Command) -> AsyncIterator[Remote]:
        """Run a command in a container while the context is open.

        Raises:
            Refused: no right to `create pods/exec`. NotFound: no such pod. InvalidInput: the container does not run.
        """
        async with self._server.running(f"{await self._path(pod)}/exec", command) as remote:
            yield remote

    async def _path(self, ref: ObjectRef) -> str:
        return (await self._discovery.endpoint(ref.kind)).path(ref.namespace, ref.name)

    async def _document(self, path: str, accept: str = "", /) -> Object:
        return await self._server.call("GET", path, accept=accept)


def _selectors(selection: Selection) -> Query:
    pairs = (("labelSelector", selection.label_selector), ("fieldSelector", selection.field_selector))
    return [(name, value) for name, value in pairs if value]


def _event(line: bytes, what: str) -> WatchEvent:
    event = object_of(line, what)
    kind, obj = event.get("type"), event.get("object")
    if kind == "ERROR" and isinstance(obj, dict):
        raise error_of(int(obj.get("code", 500)), orjson.dumps(obj), what=what, headers={})
    if kind not in _EVENTS or not isinstance(obj, dict):
        raise Internal(f"{what}: the API server sent an event of type {kind!r}")
    return WatchEvent(kind, obj)
