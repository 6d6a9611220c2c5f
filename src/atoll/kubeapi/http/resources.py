"""The verbs on resources over HTTP: get, list, watch, create, update, patch, delete, deletecollection, /status.

Owns what each verb asks of the store and how it is answered; must not decide anything about objects.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from atoll.kubeapi import options
from atoll.kubeapi.arguments import DeleteArguments, ListArguments
from atoll.kubeapi.discovery import subresources
from atoll.kubeapi.errors import BadRequest, MethodNotAllowed, NotFound
from atoll.kubeapi.http import negotiation
from atoll.kubeapi.http.access import Access, Action, enforce
from atoll.kubeapi.http.answers import entry_answer, object_answer, page_answer, value_answer
from atoll.kubeapi.http.call import Call
from atoll.kubeapi.http.negotiation import Form
from atoll.kubeapi.http.watches import DEFAULT_SECONDS, WatchForm, watch_answer
from atoll.kubeapi.patch import Patch, patch_types
from atoll.kubeapi.resource import Object
from atoll.kubeapi.scale import Scales
from atoll.kubeapi.selectors import Selector
from atoll.kubeapi.store import Store
from atoll.kubeapi.watching import parse_revision
from atoll.kubeapi.writing import Admit


class Resources:
    """Answers requests to resources."""

    def __init__(self, store: Store, access: Access) -> None:
        """Serve what `store` holds, and store what `access` admits."""
        self._store = store
        self._access = access
        self._scales = Scales(store)

    async def handle(self, request: Request) -> Response:
        """Answer one request as the guard has read it. Raises ApiError."""
        action: Action | None = getattr(request.state, "action", None)
        if action is None:  # a path that access leaves open, and that is not served here
            raise NotFound.resource()
        target = action.target
        rt = self._store.registry.by_plural(target.group, target.version, target.plural) if target else None
        if target is None or rt is None:
            raise NotFound.resource()
        if target.tail or (target.subresource and target.subresource not in subresources(rt)):
            raise NotFound.resource()
        if rt.namespaced is (target.namespace is None) and (target.name or target.namespace):
            raise NotFound.resource()
        form = negotiation.negotiate(request.headers.get("accept", ""))
        call = Call(request, rt, target, form, partial(self._access.admit, request.state.user, action), [])
        try:
            return await self._handler(call, action.verb)(call)
        except RecursionError:
            raise BadRequest("the object is nested too deeply") from None

    def _handler(self, call: Call, verb: str) -> Callable[[Call], Awaitable[Response]]:
        if call.target.subresource == "scale":
            handlers = {"get": self._get_scale, "update": self._update_scale, "patch": self._patch_scale}
        elif call.target.subresource:
            handlers = {"get": self._get, "update": self._update, "patch": self._patch}
        elif call.target.name:
            handlers = {"get": self._get, "watch": self._watch, "update": self._update, "patch": self._patch}
            handlers["delete"] = self._delete
        else:
            handlers = {"list": self._list, "watch": self._watch}
            if call.target.namespace is not None or not call.rt.namespaced:
                handlers |= {"create": self._create, "deletecollection": self._delete_collection}
        if verb not in handlers:
            raise MethodNotAllowed.resource()
        return handlers[verb]

    async def _get(self, call: Call) -> Response:
        version = call.query("resourceVersion")
        entry = await self._store.entry(call.rt, call.target.namespace, call.target.name, version)
        return entry_answer(call.rt, entry, call.form)

    async def _list(self, call: Call) -> Response:
        arguments = _chosen(call) | {
            "resource_version": call.query("resourceVersion"),
            "resource_version_match": call.query("resourceVersionMatch"),
            "send_initial": call.flag("sendInitialEvents"),
        }
        page = await self._store.page(call.rt, call.target.namespace, **arguments)
        return page_answer(call.rt, page, call.form, call.include)

    async def _watch(self, call: Call) -> Response:
        fields = call.query("fieldSelector")
        if call.target.name:
            fields = ",".join(filter(None, (fields, f"metadata.name={call.target.name}")))
        match, send_initial = call.query("resourceVersionMatch"), call.flag("sendInitialEvents")
        causes = options.watch_causes(match=match, continue_token=call.query("continue"), send_initial=send_initial)
        options.refuse("ListOptions", causes)
        Selector.parse(call.query("labelSelector"), fields)  # what is wrong is said before the stream begins
        parse_revision(call.query("resourceVersion"))
        deltas = self._store.deltas(
            call.rt,
            call.target.namespace,
            label_selector=call.query("labelSelector"),
            field_selector=fields,
            resource_version=call.query("resourceVersion"),
            bookmarks=bool(call.flag("allowWatchBookmarks")),
            send_initial=send_initial,
        )
        seconds = call.number("timeoutSeconds") or DEFAULT_SECONDS
        return watch_answer(deltas, WatchForm(call.rt, call.form, call.include), seconds=seconds)

    async def _create(self, call: Call) -> Response:
        arguments, body = call.write_arguments("CreateOptions"), await call.body()
        created = await self._store.create(call.rt, body, namespace=call.target.namespace, **arguments)
        call.request.state.name = created["metadata"]["name"]
        return object_answer(call.rt, created, call.form, code=201, warnings=call.warnings)

    async def _update(self, call: Call) -> Response:
        arguments, body = call.write_arguments("UpdateOptions"), _named(await call.body(), call.target.name)
        updated = await self._store.update(call.rt, body, namespace=call.target.namespace, **arguments)
        return object_answer(call.rt, updated, call.form, warnings=call.warnings)

    async def _patch(self, call: Call) -> Response:
        kind = negotiation.patch_kind(call.request.headers.get("content-type", ""), patch_types(call.rt))
        manager, force = call.query("fieldManager"), call.flag("force")
        options.refuse("PatchOptions", options.patch_causes(is_apply=kind == "apply", manager=manager, force=force))
        arguments = call.write_arguments("PatchOptions")
        if kind == "apply":
            arguments |= {"field_manager": manager, "admit": await self._admit_apply(call)}
        patch = Patch(kind, await call.body())
        namespace, name = call.target.namespace, call.target.name
        existed = self._store.cache.get(call.rt.prefix, call.rt.key(namespace, name)) is not None
        patched = await self._store.patch(call.rt, namespace, name, patch, **arguments)
        return object_answer(call.rt, patched, call.form, code=200 if existed else 201, warnings=call.warnings)

    async def _admit_apply(self, call: Call) -> Admit:
        """Return what looks at an applied object: an apply that creates it must be allowed to create."""
        user, creation = call.request.state.user, Action("create", call.request.scope["path"], call.target)
        decision = await self._access.decide(user, creation)

        def admit(new: Object, old: Object | None) -> None:
            if old is None:
                enforce(user, creation, decision)
            call.admit(new, old)

        return admit

    async def _get_scale(self, call: Call) -> Response:
        scale = await self._scales.get(call.rt, call.target.namespace, call.target.name)
        return object_answer(call.rt, scale, call.form)

    async def _update_scale(self, call: Call) -> Response:
        namespace, name = call.target.namespace, call.target.name
        arguments = call.write_arguments("UpdateOptions")
        scale = await self._scales.update(call.rt, namespace, name, await call.body(), **arguments)
        return object_answer(call.rt, scale, call.form, warnings=call.warnings)

    async def _patch_scale(self, call: Call) -> Response:
        kind = negotiation.patch_kind(call.request.headers.get("content-type", ""), patch_types(call.rt))
        arguments, patch = call.write_arguments("PatchOptions"), Patch(kind, await call.body())
        namespace, name = call.target.namespace, call.target.name
        scale = await self._scales.patch(call.rt, namespace, name, patch, **arguments)
        return object_answer(call.rt, scale, call.form, warnings=call.warnings)

    async def _delete(self, call: Call) -> Response:
        arguments = await self._delete_arguments(call)
        deleted = await self._store.delete(call.rt, call.target.namespace, call.target.name, **arguments)
        metadata = deleted["metadata"]
        if "deletionTimestamp" in metadata:
            return object_answer(call.rt, deleted, call.form)
        details = {"name": metadata["name"], "kind": call.rt.plural, "uid": metadata["uid"]}
        if call.rt.group:
            details["group"] = call.rt.group
        status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details}
        return value_answer(status, Form(call.form.media_type))

    async def _delete_arguments(self, call: Call) -> DeleteArguments:
        arguments = await call.delete_arguments()
        call.request.state.dry_run = arguments["dry_run"]
        return arguments

    async def _delete_collection(self, call: Call) -> Response:
        arguments = await self._delete_arguments(call)
        page = await self._store.page(call.rt, call.target.namespace, **_chosen(call))
        for entry in page.entries:
            await self._delete_if_there(call, entry.decode()["metadata"]["name"], arguments)
        return page_answer(call.rt, page, call.form, call.include)

    async def _delete_if_there(self, call: Call, name: str, arguments: DeleteArguments) -> None:
        try:
            await self._store.delete(call.rt, call.target.namespace, name, **arguments)
        except NotFound:
            return


def _chosen(call: Call) -> ListArguments:
    """Read which objects a request is about, and how many of them it wants."""
    return {
        "label_selector": call.query("labelSelector"),
        "field_selector": call.query("fieldSelector"),
        "limit": call.number("limit"),
        "continue_token": call.query("continue"),
    }


def _named(body: Any, name: str) -> Object:
    """Check a replacement against the name on the URL. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest("the body must be an object")
    metadata = body.get("metadata")
    found = metadata.get("name") if isinstance(metadata, dict) else None
    if found != name:
        raise BadRequest(f"the name of the object ({found or ''}) does not match the name on the URL ({name})")
    return body
