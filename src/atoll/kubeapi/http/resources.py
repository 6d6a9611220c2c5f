"""The verbs on resources over HTTP: get, list, watch, create, update, patch, delete, deletecollection, /status.

Owns reading the query and calling the store; must not decide anything about objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast, get_args

from starlette.requests import Request
from starlette.responses import Response

from atoll.kubeapi.arguments import DeleteArguments, WriteArguments
from atoll.kubeapi.deletion import Propagation
from atoll.kubeapi.discovery import subresources
from atoll.kubeapi.errors import BadRequest, MethodNotAllowed, NotFound
from atoll.kubeapi.http import negotiation
from atoll.kubeapi.http.answers import entry_answer, object_answer, page_answer, value_answer
from atoll.kubeapi.http.negotiation import Form
from atoll.kubeapi.http.target import Target, parse_target
from atoll.kubeapi.http.watches import DEFAULT_SECONDS, WatchForm, watch_answer
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.protobuf import DELETE_OPTIONS, Message
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.scale import Scales
from atoll.kubeapi.selectors import Selector
from atoll.kubeapi.store import Store
from atoll.kubeapi.tables import IncludeObject
from atoll.kubeapi.watching import parse_revision


@dataclass(frozen=True)
class Call:
    """One request to one resource."""

    request: Request
    rt: ResourceType
    target: Target
    form: Form
    warnings: list[str]

    def query(self, name: str) -> str:
        """Return a query parameter, or an empty string."""
        return self.request.query_params.get(name, "")

    def flag(self, name: str) -> bool | None:
        """Return a boolean query parameter; None if it is not there. Raises BadRequest."""
        text = self.query(name)
        if text not in ("", "0", "1", "true", "false"):
            raise BadRequest(f"{name}: Invalid value: {text!r}: must be true or false")
        return None if not text else text in ("1", "true")

    def number(self, name: str) -> int:
        """Return a numeric query parameter; 0 if it is not there. Raises BadRequest."""
        text = self.query(name) or "0"
        if not text.isascii() or not text.isdigit():
            raise BadRequest(f"{name}: Invalid value: {text!r}: must be a whole number")
        return int(text)

    def choice(self, name: str, choices: tuple[str, ...]) -> Any:
        """Return a query parameter that must be one of `choices`. Raises BadRequest."""
        text = self.query(name)
        if text and text not in choices:
            raise BadRequest(f"{name}: Unsupported value: {text!r}: supported values: {', '.join(choices)}")
        return text

    @property
    def include(self) -> IncludeObject:
        """What the rows of a Table carry besides their cells."""
        found: IncludeObject = self.choice("includeObject", ("None", "Metadata", "Object")) or "Metadata"
        return found

    async def body(self, shape: Message | None = None) -> Any:
        """Decode the body, None if there is none; `shape` is its form in protobuf, by default the kind's own."""
        content_type = self.request.headers.get("content-type", "")
        raw = await negotiation.received(self.request)
        return negotiation.read_body(raw, content_type, shape=shape or self.rt.protobuf) if raw else None

    def write_arguments(self) -> WriteArguments:
        """Return the options of a write; the manager is by default the program that the client says it is."""
        agent = self.request.headers.get("user-agent", "").partition("/")[0]
        return {
            "subresource": self.target.subresource,
            "dry_run": self.choice("dryRun", ("All",)) == "All",
            "field_manager": self.query("fieldManager") or "".join(filter(str.isprintable, agent))[:128],
            "field_validation": self.choice("fieldValidation", ("Strict", "Warn", "Ignore")) or "Warn",
            "force": bool(self.flag("force")),
            "warn": self.warnings.append,
        }


class Resources:
    """Answers requests to resources."""

    def __init__(self, store: Store) -> None:
        """Serve what `store` holds."""
        self._store = store
        self._scales = Scales(store)

    async def handle(self, request: Request) -> Response:
        """Answer one request. Raises ApiError."""
        target = parse_target(request.scope["path"])
        rt = self._store.registry.by_plural(target.group, target.version, target.plural) if target else None
        if target is None or rt is None:
            raise NotFound.resource()
        if target.subresource and target.subresource not in subresources(rt):
            raise NotFound.resource()
        if rt.namespaced is (target.namespace is None) and (target.name or target.namespace):
            raise NotFound.resource()
        call = Call(request, rt, target, negotiation.negotiate(request.headers.get("accept", "")), [])
        try:
            return await self._verb(call)(call)
        except RecursionError:
            raise BadRequest("the object is nested too deeply") from None

    def _verb(self, call: Call) -> Callable[[Call], Awaitable[Response]]:
        method = "GET" if call.request.method == "HEAD" else call.request.method
        if call.target.subresource == "scale":
            on_object = {"GET": self._get_scale, "PUT": self._update_scale, "PATCH": self._patch_scale}
        else:
            on_object = {"GET": self._get, "PUT": self._update, "PATCH": self._patch, "DELETE": self._delete}
        on_collection = {"GET": self._list, "POST": self._create, "DELETE": self._delete_collection}
        verbs = on_object if call.target.name else on_collection
        if method not in verbs or (call.target.subresource and method == "DELETE"):
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        return verbs[method]

    async def _get(self, call: Call) -> Response:
        if call.flag("watch"):
            return await self._watch(call)
        return entry_answer(
            call.rt, await self._store.entry(call.rt, call.target.namespace, call.target.name), call.form
        )

    async def _list(self, call: Call) -> Response:
        if call.flag("watch"):
            return await self._watch(call)
        page = await self._store.page(
            call.rt,
            call.target.namespace,
            label_selector=call.query("labelSelector"),
            field_selector=call.query("fieldSelector"),
            limit=call.number("limit"),
            continue_token=call.query("continue"),
            resource_version=call.query("resourceVersion"),
            resource_version_match=call.query("resourceVersionMatch"),
        )
        return page_answer(call.rt, page, call.form, call.include)

    async def _watch(self, call: Call) -> Response:
        fields = call.query("fieldSelector")
        if call.target.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={call.target.name}")))
        Selector.parse(call.query("labelSelector"), fields)  # what is wrong is said before the stream begins
        parse_revision(call.query("resourceVersion"))
        deltas = self._store.deltas(
            call.rt,
            call.target.namespace,
            label_selector=call.query("labelSelector"),
            field_selector=fields,
            resource_version=call.query("resourceVersion"),
            bookmarks=bool(call.flag("allowWatchBookmarks")),
            send_initial=call.flag("sendInitialEvents"),
        )
        seconds = call.number("timeoutSeconds") or DEFAULT_SECONDS
        return watch_answer(deltas, WatchForm(call.rt, call.form, call.include), seconds=seconds)

    async def _create(self, call: Call) -> Response:
        body = await call.body()
        created = await self._store.create(call.rt, body, namespace=call.target.namespace, **call.write_arguments())
        return object_answer(call.rt, created, call.form, code=201, warnings=call.warnings)

    async def _update(self, call: Call) -> Response:
        body = _named(await call.body(), call.target.name)
        updated = await self._store.update(call.rt, body, namespace=call.target.namespace, **call.write_arguments())
        return object_answer(call.rt, updated, call.form, warnings=call.warnings)

    async def _patch(self, call: Call) -> Response:
        kind = negotiation.patch_kind(call.request.headers.get("content-type", ""))
        arguments = call.write_arguments()
        if kind == "apply":
            arguments["field_manager"] = call.query("fieldManager")
        elif call.flag("force") is not None:
            raise BadRequest("force: Forbidden: may not be specified for non-apply patch")
        patch = Patch(kind, await call.body())
        namespace, name = call.target.namespace, call.target.name
        existed = self._store.cache.get(call.rt.prefix, call.rt.key(namespace, name)) is not None
        patched = await self._store.patch(call.rt, namespace, name, patch, **arguments)
        return object_answer(call.rt, patched, call.form, code=200 if existed else 201, warnings=call.warnings)

    async def _get_scale(self, call: Call) -> Response:
        scale = await self._scales.get(call.rt, call.target.namespace, call.target.name)
        return object_answer(call.rt, scale, call.form)

    async def _update_scale(self, call: Call) -> Response:
        namespace, name = call.target.namespace, call.target.name
        scale = await self._scales.update(call.rt, namespace, name, await call.body(), **call.write_arguments())
        return object_answer(call.rt, scale, call.form, warnings=call.warnings)

    async def _patch_scale(self, call: Call) -> Response:
        patch = Patch(negotiation.patch_kind(call.request.headers.get("content-type", "")), await call.body())
        namespace, name = call.target.namespace, call.target.name
        scale = await self._scales.patch(call.rt, namespace, name, patch, **call.write_arguments())
        return object_answer(call.rt, scale, call.form, warnings=call.warnings)

    async def _delete(self, call: Call) -> Response:
        arguments = await _delete_arguments(call)
        deleted = await self._store.delete(call.rt, call.target.namespace, call.target.name, **arguments)
        metadata = deleted["metadata"]
        if "deletionTimestamp" in metadata:
            return object_answer(call.rt, deleted, call.form)
        details = {"name": metadata["name"], "kind": call.rt.plural, "uid": metadata["uid"]}
        if call.rt.group:
            details["group"] = call.rt.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return value_answer(status, Form(call.form.media_type))

    async def _delete_collection(self, call: Call) -> Response:
        if call.rt.namespaced and call.target.namespace is None:
            raise MethodNotAllowed("the server does not allow this method on the requested resource")
        arguments = await _delete_arguments(call)
        page = await self._store.page(
            call.rt,
            call.target.namespace,
            label_selector=call.query("labelSelector"),
            field_selector=call.query("fieldSelector"),
            limit=call.number("limit"),
            continue_token=call.query("continue"),
        )
        for entry in page.entries:
            await self._delete_if_there(call, entry.decode()["metadata"]["name"], arguments)
        return page_answer(call.rt, page, call.form, call.include)

    async def _delete_if_there(self, call: Call, name: str, arguments: DeleteArguments) -> None:
        try:
            await self._store.delete(call.rt, call.target.namespace, name, **arguments)
        except NotFound:
            return


def _named(body: Any, name: str) -> Object:
    """Check a replacement against the name on the URL. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    metadata = body.get("metadata")
    found = metadata.get("name") if isinstance(metadata, dict) else None
    if found != name:
        raise BadRequest(f"the name of the object ({found or ''}) does not match the name on the URL ({name})")
    return body


async def _delete_arguments(call: Call) -> DeleteArguments:
    """Read DeleteOptions from the body and the query; the body goes before the query."""
    options = await call.body(DELETE_OPTIONS)
    if options is None:
        options = {}
    if not isinstance(options, dict):
        raise BadRequest("DeleteOptions must be an object")
    preconditions = options.get("preconditions") or {}
    propagation = options.get("propagationPolicy") or call.query("propagationPolicy")
    if options.get("orphanDependents") is not None and not propagation:
        propagation = "Orphan" if options["orphanDependents"] else "Background"
    if propagation not in get_args(Propagation):
        raise BadRequest(f"propagationPolicy: Unsupported value: {propagation!r}: use Background, Foreground or Orphan")
    grace = options.get("gracePeriodSeconds")
    if grace is None and call.query("gracePeriodSeconds"):
        grace = call.number("gracePeriodSeconds")
    return {
        "uid": preconditions.get("uid") or "",
        "resource_version": preconditions.get("resourceVersion") or "",
        "propagation": cast(Propagation, propagation),
        "grace_seconds": grace,
        "dry_run": bool(options.get("dryRun")) or call.choice("dryRun", ("All",)) == "All",
    }
