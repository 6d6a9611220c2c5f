"""Readings as JSON lines. Pure; the sink's door to msgspec.

    {"at":"2026-11-22T12:00:00.123456789Z","sequence":7,"topic":"lab/scale","payload":{"grams":12.5}}

`at` is the reading's own time, `received` is there where it arrived at another. A payload that is JSON stands as it
came (numbers keep their digits); else `text` has it, or `base64` where it is no UTF-8.
"""

import base64
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain

import msgspec
import numpy as np
import orjson

from atoll.edge.sink.index import Numbers
from atoll.edge.sink.readings import Readings

_SECOND = 1_000_000_000
# at: seconds and fraction | received | sequence | topic | name of the content | content. Lines are filled in all at
# once: a call for each costs as much again as its text.
_LINE = b'{"at":"%b.%bZ",%b"sequence":%d,"topic":%b,"%b":%b}\n'
_RECEIVED = b'"received":"%b.%bZ",'
_NEWLINE, _BREAKS, _CONTENT = ord("\n"), b"\n\r", b"payload"
_THREE_DIGITS = np.array([b"%03d" % number for number in range(1000)])
# Whether it is JSON, without building what it says: a fifth of the time of reading it with orjson.
_CHECK = msgspec.json.Decoder(msgspec.Raw).decode


def encode_lines(readings: Readings) -> bytes:
    """Give one line per reading, each with its newline."""
    topics = [orjson.dumps(topic) for topic in readings.topics]
    fields = (
        *_instants(readings.at_ns),
        _received(readings),
        readings.numbers.tolist(),
        map(topics.__getitem__, readings.topic_of.tolist()),
        *_contents(readings.payloads),
    )
    return (_LINE * len(readings)) % tuple(chain.from_iterable(zip(*fields, strict=True)))


def line_sizes(lines: bytes) -> Numbers:
    """Give the bytes of each line, its newline included."""
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == _NEWLINE) + 1
    return np.diff(ends, prepend=0)


def _instants(at_ns: Numbers) -> tuple[list[bytes], list[bytes]]:
    """Give the seconds of instants, and the nine digits behind them."""
    seconds, rest = np.divmod(at_ns, _SECOND)
    digits = [_THREE_DIGITS[part] for part in (rest // 1_000_000, rest // 1000 % 1000, rest % 1000)]
    fractions: list[bytes] = np.stack(digits, axis=1).view("S9").ravel().tolist()
    return [_second(second) for second in seconds.tolist()], fractions


@lru_cache
def _second(seconds: int) -> bytes:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()


def _received(readings: Readings) -> list[bytes]:
    if not readings.have_own_times:
        return [b""] * len(readings)
    is_other = (readings.at_ns != readings.received_ns).tolist()
    instants = zip(*_instants(readings.received_ns), strict=True)
    return [_RECEIVED % instant if differs else b"" for differs, instant in zip(is_other, instants, strict=True)]


def _contents(payloads: Sequence[bytes]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Give the names and the texts that payloads have in their lines."""
    if _are_json_lines(payloads):
        return [_CONTENT] * len(payloads), payloads
    names, contents = zip(*map(_content, payloads), strict=True)
    return names, contents


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
