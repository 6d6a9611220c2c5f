"""The door to orjson for payloads. JSON as RFC 8259 has it: no NaN, no comments, UTF-8; nested no deeper than CBOR."""

from typing import Any

import orjson

from atoll.federation.payloads.errors import MalformedPayload

# orjson reads four times as deep as it writes, and Python's own stack ends between the two: whoever walks or writes a
# value must be able to. Instruments nest by a handful.
MAX_DEPTH = 64


def decode_json(payload: bytes) -> Any:
    """Give the value.

    Raises:
        MalformedPayload: the bytes are no JSON, or nested too deeply.
    """
    try:
        value = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload("JSON", error.msg, where=f"line {error.lineno}, column {error.colno}") from None
    # Counted before it is walked: hardly a payload has so many brackets.
    if payload.count(b"[") + payload.count(b"{") > MAX_DEPTH and _is_deeper(value, MAX_DEPTH):
        raise MalformedPayload("JSON", f"it is nested deeper than {MAX_DEPTH} levels")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    """Tell whether containers lie in each other more often than that."""
    inside = [value]
    for _ in range(levels):
        inside = [
            child
            for item in inside
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
    return bool(inside)
