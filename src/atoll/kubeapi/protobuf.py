"""Reading bodies in Kubernetes' protobuf encoding, which kubectl sends for the kinds it was built with.

Owns the wire format and the shapes that servers share (ObjectMeta, DeleteOptions, Event); a kind's own shape stands
with its ResourceType. Answers are never written so: every client also takes JSON.
Source: k8s.io/apimachinery runtime/serializer/protobuf and the generated.proto files of k8s.io/api.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from atoll.kubeapi.errors import BadRequest

CONTENT_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_MAX_DEPTH = 64

Kind = Literal[
    "string", "texts", "bytes", "bool", "int", "time", "micro-time", "quantity", "int-or-string", "message", "map"
]


@dataclass(frozen=True)
class Field:
    """One field of a message. `of` is the shape of a message, or the one field of a map's values.

    A message without a name is what Go embeds: its fields stand among those of the message around it. With
    `omits_zero`, zero is as good as absent: Go writes it always if the field is no pointer, and JSON leaves it out.
    """

    name: str
    kind: Kind = "string"
    repeated: bool = False
    of: Message | None = None
    omits_zero: bool = False


Message = Mapping[int, Field]
"""The shape of a message: its fields by number."""


def texts(**numbers: int) -> dict[int, Field]:
    """Return fields of text by name and number."""
    return {number: Field(name) for name, number in numbers.items()}


TEXT_VALUES: Message = {2: Field("value")}
BYTES_VALUES: Message = {2: Field("value", "bytes")}
QUANTITY_VALUES: Message = {2: Field("value", "quantity")}

_OWNER: Message = {
    **texts(kind=1, name=3, uid=4, apiVersion=5),
    6: Field("controller", "bool"),
    7: Field("blockOwnerDeletion", "bool"),
}
OBJECT_META: Message = {
    **texts(name=1, generateName=2, namespace=3, uid=5, resourceVersion=6),
    7: Field("generation", "int"),
    8: Field("creationTimestamp", "time"),
    9: Field("deletionTimestamp", "time"),
    10: Field("deletionGracePeriodSeconds", "int"),
    11: Field("labels", "map", of=TEXT_VALUES),
    12: Field("annotations", "map", of=TEXT_VALUES),
    13: Field("ownerReferences", "message", repeated=True, of=_OWNER),
    14: Field("finalizers", repeated=True),
}
DELETE_OPTIONS: Message = {
    1: Field("gracePeriodSeconds", "int"),
    2: Field("preconditions", "message", of=texts(uid=1, resourceVersion=2)),
    3: Field("orphanDependents", "bool"),
    4: Field("propagationPolicy"),
    5: Field("dryRun", repeated=True),
}
_REFERENCE = texts(kind=1, namespace=2, name=3, uid=4, apiVersion=5, resourceVersion=6, fieldPath=7)
_SERIES: Message = {1: Field("count", "int", omits_zero=True), 2: Field("lastObservedTime", "micro-time")}
EVENT: Message = {
    1: Field("metadata", "message", of=OBJECT_META),
    2: Field("involvedObject", "message", of=_REFERENCE),
    **texts(reason=3, message=4, type=9, action=12, reportingComponent=14, reportingInstance=15),
    5: Field("source", "message", of=texts(component=1, host=2)),
    6: Field("firstTimestamp", "time"),
    7: Field("lastTimestamp", "time"),
    8: Field("count", "int", omits_zero=True),
    10: Field("eventTime", "micro-time"),
    11: Field("series", "message", of=_SERIES),
    13: Field("related", "message", of=_REFERENCE),
}
"""A core/v1 Event: every client's recorder writes them, to every server that has them."""
_ENVELOPE: Message = {
    1: Field("type", "message", of=texts(apiVersion=1, kind=2)),
    2: Field("raw", "bytes"),
}


def decode(body: bytes, shape: Message) -> dict[str, Any]:
    """Return the object in a body, with apiVersion and kind. Raises BadRequest if it is malformed."""
    if not body.startswith(_MAGIC):
        raise BadRequest("the object provided is unrecognized: it is not in Kubernetes' protobuf encoding")
    envelope = _message(body[len(_MAGIC) :], _ENVELOPE, 0)
    raw = base64.b64decode(envelope.get("raw", ""))
    return {**envelope.get("type", {}), **_message(raw, shape, 0)}


def _message(data: bytes, shape: Message, depth: int) -> dict[str, Any]:
    """Decode one message; fields without a place in `shape` are left out, as are empty texts."""
    if depth > _MAX_DEPTH:
        raise _malformed("it is nested too deeply")
    decoded: dict[str, Any] = {}
    for number, value in _fields(data):
        field = shape.get(number)
        if field is None:
            continue
        if field.kind == "map":
            entry = _message(_as_bytes(value), {1: Field("key"), **(field.of or TEXT_VALUES)}, depth + 1)
            decoded.setdefault(field.name, {})[entry.get("key", "")] = entry.get("value", "")
            continue
        read = (
            _message(_as_bytes(value), field.of or {}, depth + 1)
            if field.kind == "message"
            else _READ[field.kind](value)
        )
        if not field.name:
            decoded.update(read)
        elif field.repeated:
            decoded.setdefault(field.name, []).append(read)
        elif read not in ("", None) and (read or not field.omits_zero):
            decoded[field.name] = read
    return decoded


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    position = 0
    while position < len(data):
        key, position = _varint(data, position)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = _varint(data, position)
        elif wire in (_FIXED64, _FIXED32):
            size = 8 if wire == _FIXED64 else 4
        else:
            raise _malformed(f"it has wire type {wire}")
        if position + size > len(data):
            raise _malformed("it is cut off")
        yield number, data[position : position + size]
        position += size


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7
    raise _malformed("it is cut off in a number")


def _as_bytes(value: int | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    raise _malformed("a number stands where bytes should")


def _as_int(value: int | bytes) -> int:
    if isinstance(value, bytes):
        raise _malformed("bytes stand where a number should")
    return value - 2**64 if value >= 2**63 else value


def _as_text(value: int | bytes) -> str:
    try:
        return _as_bytes(value).decode()
    except UnicodeDecodeError:
        raise _malformed("a text is not UTF-8") from None


def _as_texts(value: int | bytes) -> list[str]:
    """Return the texts of a message that holds nothing else, as the values of `extra` in a review."""
    texts_of: list[str] = _message(_as_bytes(value), {1: Field("items", repeated=True)}, 0).get("items", [])
    return texts_of


def _as_time(value: int | bytes) -> str | None:
    """Return an instant of whole seconds; the zero value is none."""
    at = _instant(value)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _as_micro_time(value: int | bytes) -> str | None:
    """Return an instant of microseconds, which JSON always has six digits of; the zero value is none."""
    at = _instant(value)
    return None if at is None else at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _instant(value: int | bytes) -> datetime | None:
    read = _message(_as_bytes(value), {1: Field("seconds", "int"), 2: Field("nanos", "int")}, 0)
    seconds, nanos = read.get("seconds"), read.get("nanos", 0)
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=nanos // 1000)
    except (ValueError, OverflowError, OSError):
        raise _malformed(f"{seconds} seconds and {nanos} nanoseconds are no time") from None


def _as_quantity(value: int | bytes) -> str:
    return str(_message(_as_bytes(value), texts(string=1), 0).get("string", ""))


def _as_int_or_string(value: int | bytes) -> int | str:
    """Return the one of a number and a text that the first field says it is (util/intstr generated.proto)."""
    shape: Message = {1: Field("isText", "bool"), 2: Field("number", "int"), 3: Field("text")}
    read = _message(_as_bytes(value), shape, 0)
    return str(read.get("text", "")) if read.get("isText") else int(read.get("number", 0))


_READ: Mapping[str, Callable[[int | bytes], Any]] = {
    "string": _as_text,
    "bytes": lambda value: base64.b64encode(_as_bytes(value)).decode(),
    "bool": lambda value: _as_int(value) != 0,
    "int": _as_int,
    "time": _as_time,
    "micro-time": _as_micro_time,
    "texts": _as_texts,
    "quantity": _as_quantity,
    "int-or-string": _as_int_or_string,
}


def _malformed(why: str) -> BadRequest:
    return BadRequest(f"the object provided is unrecognized: its protobuf is malformed: {why}")
