"""What is inside a reading: bytes of a known format become a JSON-like value, and paths find fields in it. Pure.

Owns the formats that a Stream may name and the syntax of field paths. It must not know Streams, topics or files, and
keeps no state: what a Sparkplug birth told of earlier is the caller's to remember.

A JSON-like value is made of dict with text keys, list, str, int, float, bool and None; bytes are base64url text.
"""

from collections.abc import Callable
from typing import Any, Literal

from atoll.federation.payloads.errors import MalformedPayload
from atoll.federation.payloads.paths import InvalidPath, Steps, as_text, field, parse_path

__all__ = [
    "InvalidPath",
    "MalformedPayload",
    "PayloadFormat",
    "Steps",
    "as_text",
    "decode",
    "decoder",
    "field",
    "parse_path",
]

PayloadFormat = Literal["Raw", "JSON", "CBOR", "SparkplugB"]


def decode(payload: bytes, form: PayloadFormat) -> Any:
    """Give the JSON-like value of a payload.

    Raises:
        MalformedPayload: the bytes are nothing of this format; it says where they stop to be. Raw has no value at all.
    """
    return decoder(form)(payload)


def decoder(form: PayloadFormat) -> Callable[[bytes], Any]:
    """Give the function that decodes one format, to be kept by who decodes much.

    A library is loaded with the first use of its format: a gateway on a small box pays for those that it has.
    """
    match form:
        case "JSON":
            from atoll.federation.payloads.json_text import decode_json

            return decode_json
        case "CBOR":
            from atoll.federation.payloads.cbor import decode_cbor

            return decode_cbor
        case "SparkplugB":
            from atoll.federation.payloads.sparkplug import decode_sparkplug

            return decode_sparkplug
        case "Raw":
            return _decode_raw


def _decode_raw(_payload: bytes) -> Any:
    raise MalformedPayload(
        "Raw", "the Stream's payload.format is Raw, which has no fields; name JSON, CBOR or SparkplugB"
    )
