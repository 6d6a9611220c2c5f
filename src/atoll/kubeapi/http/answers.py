"""Answers: objects, lists, tables and errors in the form that the client asked for.

Owns the encoding of answers; must not read the store.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.responses import Response

from atoll.kubeapi import tables
from atoll.kubeapi.cache import Entry
from atoll.kubeapi.errors import ApiError
from atoll.kubeapi.http.negotiation import JSON, Form, write_body
from atoll.kubeapi.reading import Page
from atoll.kubeapi.resource import Object, ResourceType
from atoll.kubeapi.tables import IncludeObject


def error_answer(error: ApiError) -> Response:
    """Return the Status of an error."""
    headers = {}
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
        return Response(_joined(rt, metadata, page.entries), media_type=JSON)
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


def _joined(rt: ResourceType, metadata: dict[str, Any], entries: Sequence[Entry]) -> bytes:
    head = orjson.dumps({"kind": rt.list_kind, "apiVersion": rt.api_version, "metadata": metadata})
    return b"".join((head[:-1], b',"items":[', b",".join([rt.present(entry.raw) for entry in entries]), b"]}"))


def _quoted(text: str) -> str:
    """Return a quoted-string of RFC 7230; what a header cannot carry is left out or escaped."""
    printable = "".join(char if char.isascii() and char.isprintable() else "?" for char in text)
    return '"' + printable.replace("\\", "\\\\").replace('"', '\\"') + '"'
