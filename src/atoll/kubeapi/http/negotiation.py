"""Media types: in which form an answer is wanted, and how to read a body.

Owns Accept and Content-Type; must not know resources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import yaml
from starlette.requests import Request

from atoll.kubeapi.errors import BadRequest, NotAcceptable, RequestTooLarge, UnsupportedMediaType
from atoll.kubeapi.http import duplicates
from atoll.kubeapi.http.yaml_bodies import read_yaml, repeated_in_yaml
from atoll.kubeapi.patch import PATCH_TYPES, PatchKind
from atoll.kubeapi.protobuf import CONTENT_TYPE as PROTOBUF
from atoll.kubeapi.protobuf import Message, decode

JSON, YAML = "application/json", "application/yaml"
_APPLY = "application/apply-patch+yaml"
MAX_BODY_BYTES = 3 * 1024 * 1024  # as kube-apiserver limits requests
# YAML takes a hundred times as long to read as JSON, seconds for a megabyte, and nobody else is served meanwhile. What
# kubectl and client-go send is JSON, in an apply patch too.
MAX_YAML_BYTES = 256 * 1024
_FORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")


@dataclass(frozen=True)
class Form:
    """How an answer is written: its media type, and what objects are turned into (empty: as they are)."""

    media_type: str = JSON
    kind: str = ""
    version: str = "v1"


def negotiate(accept: str) -> Form:
    """Return the first form of the Accept header that can be produced. Raises NotAcceptable."""
    for media_type, parameters in accepted(accept):
        if media_type not in (JSON, YAML, "*/*", "application/*"):
            continue
        kind = parameters.get("as", "")
        written = YAML if media_type == YAML else JSON
        if not kind:
            return Form(written)
        if kind in _FORMS and parameters.get("g") == "meta.k8s.io" and parameters.get("v") in ("v1", "v1beta1"):
            return Form(written, "Table" if kind == "Table" else "PartialObjectMetadata", parameters["v"])
    raise NotAcceptable(f"only the following media types are accepted: {JSON}, {YAML}")


def accepted(accept: str) -> list[tuple[str, dict[str, str]]]:
    """Return the media types of an Accept header with their parameters, in the order they are written."""
    if not accept.strip():
        return [("*/*", {})]
    ranges = []
    for text in accept.split(","):
        media_type, *parameters = (part.strip() for part in text.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        ranges.append((media_type.lower(), {name.strip(): value.strip() for name, _, value in pairs}))
    return ranges


async def received(request: Request, *, most: int = MAX_BODY_BYTES) -> bytes:
    """Return the body of a request. Raises RequestTooLarge before more than the limit is in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise RequestTooLarge(f"the body of the request is too large: the limit is {most} bytes")
        parts.append(part)
    return b"".join(parts)


def patch_kind(content_type: str, supported: Sequence[str]) -> PatchKind:
    """Return the kind of patch that a Content-Type announces. Raises UnsupportedMediaType."""
    media_type = _media_type(content_type)
    if media_type not in supported:
        known = ", ".join(supported)
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise UnsupportedMediaType(message)
    return PATCH_TYPES[media_type]


def read_body(body: bytes, content_type: str, *, shape: Message | None = None) -> Any:
    """Decode a body of JSON or YAML, or of protobuf if its shape is known.

    Raises UnsupportedMediaType, or BadRequest if it is malformed.
    """
    form = _form_of(body, content_type)
    if form == PROTOBUF and shape is not None:
        return decode(body, shape)
    if form == JSON:
        return _read_json(body)
    if form == YAML:
        if len(body) > MAX_YAML_BYTES:
            raise RequestTooLarge(f"a body of YAML may have {MAX_YAML_BYTES} bytes: send this as JSON")
        return read_yaml(body, max_bytes=MAX_BODY_BYTES)
    message = f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
    raise UnsupportedMediaType(message)


def repeated_fields(body: bytes, content_type: str, value: Any) -> list[str]:
    """Return the paths of the fields that a body states twice; `value` is what read_body() made of it."""
    form = _form_of(body, content_type)
    if form == JSON:
        return duplicates.in_json(body, value)
    return repeated_in_yaml(body) if form == YAML else []


def write_body(value: Any, media_type: str) -> bytes:
    """Encode an answer."""
    if media_type == YAML:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()
    return orjson.dumps(value)


def _form_of(body: bytes, content_type: str) -> str:
    """Return what a body is written in: JSON, YAML, protobuf, or something unknown."""
    media_type = _media_type(content_type)
    if media_type in ("", JSON) or (media_type in PATCH_TYPES and media_type != _APPLY):
        return JSON
    if media_type in (YAML, "application/x-yaml", "text/yaml", _APPLY):
        return JSON if body.lstrip().startswith(b"{") else YAML
    return media_type


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the object provided is unrecognized: it is not JSON: {error}") from None
