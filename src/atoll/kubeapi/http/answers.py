"""Answers: objects, lists, tables and errors in the form that the client asked for.

Owns the encoding of answers; must not read the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response, StreamingResponse

from atoll.kubeapi import tables
from atoll.kubeapi.bucket import Entry
from atoll.kubeapi.errors import ApiError, Unauthorized
from atoll.kubeapi.http.negotiation import JSON, Form, write_body
from atoll.kubeapi.reading import Page
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.tables import IncludeObject

# Objects that are encoded in one go: Jobs of some 200 KB. More keep other requests waiting; fewer cost more writes.
_AT_ONCE = 64


def error_answer(error: ApiError) -> Response:
    """Return the Status of an error."""
    headers = {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else {}  # RFC 9110, 15.5.2
    if error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return Response(orjson.dumps(error.status()), error.code, headers, JSON)


def value_answer(value: Any, form: Form, *, code: int = 200, warnings: Sequence[str] = ()) -> Response:
    """Return any document."""
    response = Response(write_body(value, form.media_type), code, media_type=form.media_type)
    for warning in dict.fromkeys(warnings):  # a write that was tried again warned again
        response.headers.append("Warning", f"299 - {_quoted(warning)}")
    return response


def object_answer(
    rt: ResourceType, obj: Object, form: Form, *, code: int = 200, warnings: Sequence[str] = ()
) -> Response:
    """Return one object."""
    return value_answer(formed(rt, obj, form), form, code=code, warnings=warnings)


def entry_answer(rt: ResourceType, entry: Entry, form: Form) -> Response:
    """Return one object that is encoded already."""
    if form == Form():
        return Response(rt.present(entry.raw), media_type=JSON)
    return object_answer(rt, rt.decode(entry.raw), form)


def formed(rt: ResourceType, obj: Object, form: Form, include: IncludeObject = "Metadata") -> Any:
    """Turn one object into what the form wants."""
    if form.kind == "Table":
        shown = tables.table(rt, [obj], datetime.now(UTC), include=include)
        shown["metadata"] = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        return shown
    return tables.partial(obj) if form.kind == "PartialObjectMetadata" else obj


def page_answer(rt: ResourceType, page: Page, form: Form, include: IncludeObject) -> Response:
    """Return a page of a list."""
    metadata: dict[str, Any] = {"resourceVersion": str(page.revision)}
    if page.continue_token:
        metadata["continue"] = page.continue_token
    if page.remaining is not None:
        metadata["remainingItemCount"] = page.remaining
    if form == Form():
        return _listed(rt, metadata, page.entries)
    objects = [rt.decode(entry.raw) for entry in page.entries]
    if form.kind == "Table":
        value = {**tables.table(rt, objects, datetime.now(UTC), include=include), "metadata": metadata}
    elif form.kind == "PartialObjectMetadata":
        value = {
            "kind": "PartialObjectMetadataList",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": [tables.partial(obj) for obj in objects],
        }
    else:
        value = {"kind": rt.list_kind, "apiVersion": rt.api_version, "metadata": metadata, "items": objects}
    return value_answer(value, form)


def _listed(rt: ResourceType, metadata: dict[str, Any], entries: Sequence[Entry]) -> Response:
    """Return a list, a long one as a stream: unpacked all at once it would take its whole size in memory."""
    head = orjson.dumps({"kind": rt.list_kind, "apiVersion": rt.api_version, "metadata": metadata})[:-1]
    head += b',"items":['
    if len(entries) > _AT_ONCE:
        return StreamingResponse(_pieces(rt, head, entries), media_type=JSON)
    return Response(b"".join((head, _items(rt, entries), b"]}")), media_type=JSON)


async def _pieces(rt: ResourceType, head: bytes, entries: Sequence[Entry]) -> AsyncIterator[bytes]:
    for start in range(0, len(entries), _AT_ONCE):
        yield b"".join((b"," if start else head, _items(rt, entries[start : start + _AT_ONCE])))
        await asyncio.sleep(0)  # a client that reads as fast as we write must not keep everybody else waiting
    yield b"]}"


def _items(rt: ResourceType, entries: Sequence[Entry]) -> bytes:
    return b",".join([rt.present(entry.raw) for entry in entries])


def _quoted(text: str) -> str:
    """Return a quoted-string of RFC 7230; what a header cannot carry is left out or escaped."""
    printable = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
