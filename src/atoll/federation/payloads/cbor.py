"""The door to cbor2: CBOR (RFC 8949) as a JSON-like value, by the advice of its section 6.1.

Bytes become base64url text, instants RFC 3339 text, undefined null. Sharing of values (tags 28 and 29) and of strings
(25 and 256) is refused: with it a payload of some bytes is a value without end.
"""

import base64
from collections.abc import Mapping, Sequence, Set
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import partial
from io import BytesIO
from typing import Any, NoReturn

import cbor2

from atoll.federation.payloads.errors import MalformedPayload

# As deep as orjson reads JSON would exhaust the stack of Python that walks the value; instruments nest by a handful.
MAX_DEPTH = 64
_SHARING = (25, 28, 29, 256)
# Keys other than text can be chosen so that all of them fall into one place of a table: 80,000 of them took half a
# minute. As many as fit in this take some hundredths of a second; a larger payload has keys of text, or is not read.
_ANY_KEYS_BYTES = 32 * 1024
# Regular expressions and MIME messages would be compiled and parsed: they stay text.
_LEFT_AS_TEXT = (35, 36)


def decode_cbor(payload: bytes) -> Any:
    """Give the JSON-like value.

    Raises:
        MalformedPayload: the bytes are no CBOR, more than one item of it, nested too deeply, share values, have maps
            or lists as keys of maps, or are large and have keys that are no text.
    """
    stream = BytesIO(payload)
    try:
        is_large = len(payload) > _ANY_KEYS_BYTES
        found = cbor2.load(stream, semantic_decoders=_TAGS, max_depth=MAX_DEPTH, strict_hashable_types=is_large)
        value = _plain(found)
    except (cbor2.CBORDecodeError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise MalformedPayload("CBOR", _innermost(error), where=f"byte {stream.tell()}") from None
    if stream.tell() != len(payload):
        raise MalformedPayload("CBOR", "there is something after the value", where=f"byte {stream.tell()}")
    return value


def _refuse_sharing(tag: int, _value: Any, _is_immutable: bool) -> NoReturn:
    raise ValueError(f"tag {tag}: values that are shared by reference are not read")


def _inner(value: Any, _is_immutable: bool) -> Any:
    return value


_TAGS: Mapping[int, Any] = {tag: partial(_refuse_sharing, tag) for tag in _SHARING} | dict.fromkeys(
    _LEFT_AS_TEXT, _inner
)


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return str(error)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | float):
        return value
    if isinstance(value, int):  # as JSON readers do: beyond 64 bits a number is a float
        return value if -(2**63) <= value < 2**64 else float(value)
    if isinstance(value, bytes | bytearray):
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
    if isinstance(value, Mapping):
        return {_key(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence | Set):
        return [_plain(item) for item in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | Fraction):
        return float(value)
    if isinstance(value, cbor2.CBORTag):
        return _plain(value.value)
    return None if value is cbor2.undefined or isinstance(value, cbor2.CBORSimpleValue) else str(value)


def _key(key: Any) -> str:
    """Give a key as text. A map within a key within a key, each written in the next, would double with each of them."""
    plain = _plain(key)
    if isinstance(plain, dict | list):
        raise TypeError("a key of a map is a map or a list")
    return plain if isinstance(plain, str) else str(plain)
