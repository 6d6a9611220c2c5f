"""Media types: in which form an answer is wanted, and how to read a body.

Owns Accept and Content-Type; must not know resources.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
import yaml
from starlette.requests import Request

from atoll.kubeapi.errors import BadRequest, NotAcceptable, RequestTooLarge, UnsupportedMediaType
from atoll.kubeapi.patch import PATCH_TYPES, PatchKind
from atoll.kubeapi.protobuf import CONTENT_TYPE as PROTOBUF
from atoll.kubeapi.protobuf import Message, decode

JSON, YAML = "application/json", "application/yaml"
MAX_BODY_BYTES = 3 * 1024 * 1024  # as kube-apiserver limits requests
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


async def received(request: Request) -> bytes:
    """Return the body of a request. Raises RequestTooLarge before more than the limit is in memory."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise RequestTooLarge(f"the body of the request is too large: the limit is {MAX_BODY_BYTES} bytes")
        parts.append(part)
    return b"".join(parts)


def patch_kind(content_type: str) -> PatchKind:
    """Return the kind of patch that a Content-Type announces. Raises UnsupportedMediaType."""
    media_type = _media_type(content_type)
    if media_type not in PATCH_TYPES:
        known = ", ".join(PATCH_TYPES)
        message = f"the body of the request was in an unknown format - accepted media types include: {known}"
        raise UnsupportedMediaType(message)
    return PATCH_TYPES[media_type]


def read_body(body: bytes, content_type: str, *, shape: Message | None = None) -> Any:
    """Decode a body of JSON or YAML, or of protobuf if its shape is known.

    Raises UnsupportedMediaType, or BadRequest if it is malformed.
    """
    media_type = _media_type(content_type)
    if media_type == PROTOBUF and shape is not None:
        return decode(body, shape)
    if media_type in ("", JSON) or (media_type in PATCH_TYPES and media_type != "application/apply-patch+yaml"):
        return _read_json(body)
    if media_type in (YAML, "application/x-yaml", "text/yaml", "application/apply-patch+yaml"):
        return _read_json(body) if body.lstrip().startswith(b"{") else _read_yaml(body)
    message = f"the body of the request was in an unknown format - accepted media types include: {JSON}, {YAML}"
    raise UnsupportedMediaType(message)


def write_body(value: Any, media_type: str) -> bytes:
    """Encode an answer."""
    if media_type == YAML:
        return yaml.safe_dump(value, sort_keys=False, allow_unicode=True).encode()
    return orjson.dumps(value)


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _read_json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadRequest(f"the object provided is unrecognized: it is not JSON: {error}") from None


class _Loader(yaml.CSafeLoader):
    """YAML as Kubernetes reads it: dates stay text, because JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()
}


def _read_yaml(body: bytes) -> Any:
    try:
        value = yaml.load(body, Loader=_Loader)  # noqa: S506 - a safe loader
        return orjson.loads(orjson.dumps(value))
    except (yaml.YAMLError, TypeError) as error:
        text = " ".join(str(error).split())
        raise BadRequest(f"the object provided is unrecognized: it is not YAML: {text}") from None
