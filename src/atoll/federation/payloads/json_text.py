"""The door to orjson for payloads. JSON as RFC 8259 has it: no NaN, no comments, UTF-8."""

from typing import Any

import orjson

from atoll.federation.payloads.errors import MalformedPayload


def decode_json(payload: bytes) -> Any:
    """Give the value.

    Raises:
        MalformedPayload: the bytes are no JSON.
    """
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise MalformedPayload("JSON", error.msg, where=f"line {error.lineno}, column {error.colno}") from None
