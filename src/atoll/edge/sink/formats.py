"""How a reading becomes bytes of a file, and which file. Pure."""

import base64
import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from atoll.federation.bus.envelope import Reading

Format = Literal["raw", "jsonl"]
_JSONL_SUFFIX = ".jsonl"
_SAFE = re.compile(rb"[A-Za-z0-9_-]")
# File systems allow 255 bytes; the rest is for `~` and a hash, `.jsonl` and `.part`.
_LONGEST_STEM = 200


def file_name(topic: str, form: Format, taken: Collection[str]) -> str:
    """Give a topic's file name: its levels joined by dots.

    What is not a letter, digit, `_` or `-` is written %XX, so no topic can name another folder, a hidden file or
    another topic's file. Long topics, and those whose name only differs in case from one that is taken, get a hash.

    Args:
        topic: the MQTT topic.
        form: how the file is written.
        taken: names that other sources have in the same folder.
    """
    stem = ".".join(_level(level) for level in topic.split("/"))
    suffix = _JSONL_SUFFIX if form == "jsonl" else ""
    # A raw file must not look like JSON lines: the suffix tells the format when the ledger is read again.
    plain = len(stem) <= _LONGEST_STEM and not (form == "raw" and stem.endswith(_JSONL_SUFFIX))
    used = {name.lower() for name in taken}
    if plain and f"{stem}{suffix}".lower() not in used:
        return f"{stem}{suffix}"
    number = 0
    while True:
        digest = hashlib.sha256(f"{topic}\0{form}\0{number}".encode()).hexdigest()[:12]
        name = f"{stem[:_LONGEST_STEM]}~{digest}{suffix}"
        if name.lower() not in used:
            return name
        number += 1


def format_of(name: str) -> Format:
    """Tell how a file of this name is written."""
    return "jsonl" if name.endswith(_JSONL_SUFFIX) else "raw"


def encode(reading: Reading, sequence: int, form: Format) -> bytes:
    """Give what a reading adds to its file."""
    if form == "raw":
        return reading.payload
    line = {"at": _instant(reading.received_at_ns), "sequence": sequence, "topic": reading.topic}
    return orjson.dumps(line | _content(reading.payload), option=orjson.OPT_APPEND_NEWLINE)


def _level(level: str) -> str:
    # An empty level becomes `%`, which no encoded byte is.
    return "".join(chr(b) if _SAFE.match(bytes((b,))) else f"%{b:02X}" for b in level.encode()) or "%"


def _instant(nanoseconds: int) -> str:
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def _content(payload: bytes) -> dict[str, Any]:
    """JSON as it came (numbers keep their digits), else text, else base64."""
    try:
        orjson.loads(payload)
    except orjson.JSONDecodeError:
        pass
    else:
        if b"\n" not in payload and b"\r" not in payload:
            return {"payload": orjson.Fragment(payload)}
        return {"payload": orjson.Fragment(payload.translate(None, b"\n\r"))}
    try:
        return {"text": payload.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(payload).decode()}
