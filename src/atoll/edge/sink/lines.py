"""Readings as JSON lines. Pure; the sink's door to msgspec.

    {"at":"2026-11-22T12:00:00.123456789Z","sequence":7,"topic":"lab/scale","payload":{"grams":12.5}}

`at` is the reading's own time, `received` is there where it arrived at another. A payload that is JSON stands as it
came (numbers keep their digits); else `text` has it, or `base64` where it is no UTF-8.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
import orjson

from atoll.federation.bus.envelope import Reading

_SECOND = 1_000_000_000
# Instruments' topics times the seconds that are written at once: a template for each costs some 300 bytes.
_TEMPLATES = 4096
_BREAKS, _CONTENT = b"\n\r", b"payload"
# Whether it is JSON, without building what it says: a fifth of the time of reading it with orjson.
_CHECK = msgspec.json.Decoder(msgspec.Raw).decode


def encode_lines(readings: Sequence[Reading], numbers: Sequence[int]) -> list[bytes]:
    """Give one line per reading, with its newline."""
    are_lines = _are_json_lines([reading[2] for reading in readings])
    if are_lines and all(at_ns is None for _, _, _, at_ns in readings):
        return [
            _template(at_ns // _SECOND, topic) % (at_ns % _SECOND, number, payload)
            for (at_ns, topic, payload, _), number in zip(readings, numbers, strict=True)
        ]
    lines: list[bytes] = []
    for (received_ns, topic, payload, own_ns), number in zip(readings, numbers, strict=True):
        at_ns = received_ns if own_ns is None else own_ns
        received = b"" if at_ns == received_ns else b'"received":"%b",' % _instant(received_ns)
        name, content = (_CONTENT, payload) if are_lines else _content(payload)
        head = b'{"at":"%b",%b"sequence":%d,"topic":%b' % (_instant(at_ns), received, number, orjson.dumps(topic))
        lines.append(b'%b,"%b":%b}\n' % (head, name, content))
    return lines


@lru_cache(_TEMPLATES)
def _template(seconds: int, topic: str) -> bytes:
    """Give the line of a topic in one second, with places for the rest: hardly anything of most lines differs."""
    quoted = orjson.dumps(topic).replace(b"%", b"%%")
    return b'{"at":"%b.%%09dZ","sequence":%%d,"topic":%b,"payload":%%b}\n' % (_second(seconds), quoted)


def _instant(nanoseconds: int) -> bytes:
    return b"%b.%09dZ" % (_second(nanoseconds // _SECOND), nanoseconds % _SECOND)


@lru_cache
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _are_json_lines(payloads: Sequence[bytes]) -> bool:
    """Tell whether all stand as they came, at half the price of asking each."""
    try:
        for payload in payloads:
            _CHECK(payload)
    except (msgspec.DecodeError, RecursionError):
        return False
    whole = b"".join(payloads)
    return whole.isascii() and b"\n" not in whole and b"\r" not in whole


def _content(payload: bytes) -> tuple[bytes, bytes]:
    """Give the name and the text that a payload of any kind has in its line."""
    try:
        text = payload.decode()  # msgspec takes what is between quotes as it is
    except UnicodeDecodeError:
        return b"base64", b'"%b"' % base64.b64encode(payload)
    try:
        _CHECK(payload)
    except (msgspec.DecodeError, RecursionError):
        return b"text", orjson.dumps(text)
    # What breaks lines can only stand between tokens: within a string JSON has it escaped.
    return _CONTENT, payload.translate(None, _BREAKS)
