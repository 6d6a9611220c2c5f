"""How files of a version are called: by topic where they grow, by Stream and number where they are sealed. Pure.

Owns the names. No topic can name another folder, a hidden file or another topic's file.
"""

import hashlib
import re
from collections.abc import Collection
from datetime import UTC, datetime

from atoll.federation.resources.stream_layout import Partitions, StreamFormat

JSONL_SUFFIX, LINES_SUFFIX, PARQUET_SUFFIX = ".jsonl", ".jsonl.zst", ".parquet"
_SEGMENT = re.compile(r"\.(\d{6,})(?:\.late)?(?:\.jsonl\.zst|\.parquet)$")
_SAFE = re.compile(rb"[A-Za-z0-9_-]")
# File systems allow 255 bytes; the rest is for `~` and a hash, a number, `.jsonl` and `.part`.
_LONGEST_STEM = 200
_HOUR_NS = 3600 * 1_000_000_000
WINDOW_NS: dict[Partitions, int] = {"None": 0, "Hour": _HOUR_NS, "Day": 24 * _HOUR_NS}


def window_name(partitions: Partitions, start_ns: int) -> str:
    """Give the folder of a partition that begins at this instant, with `/` at its end; empty without partitions."""
    if partitions == "None":
        return ""
    at = datetime.fromtimestamp(start_ns // 1_000_000_000, UTC)
    return f"date={at:%Y-%m-%d}/" + (f"hour={at:%H}/" if partitions == "Hour" else "")


def file_name(topic: str, form: StreamFormat, taken: Collection[str], *, part: int = 1, window: str = "") -> str:
    """Give the name of a file that grows: the topic's levels joined by dots.

    What is not a letter, digit, `_` or `-` is written %XX. Long topics, and those whose name only differs in case from
    one that is taken, get a hash.

    Args:
        topic: the MQTT topic.
        form: how the file is written.
        taken: paths that are there.
        part: which file of this topic it is; from the second on the name has its number.
        window: folder of its partition.
    """
    stem = ".".join(_level(level) for level in topic.split("/"))
    suffix = JSONL_SUFFIX if form == "jsonl" else ""
    number = f".{part:06d}" if part > 1 else ""
    # A raw file must not look like JSON lines: the suffix tells the format when the ledger is read again.
    is_plain = len(stem) <= _LONGEST_STEM and not (form == "raw" and f"{stem}{number}".endswith(JSONL_SUFFIX))
    used = {path.lower() for path in taken}
    if is_plain and f"{window}{stem}{number}{suffix}".lower() not in used:
        return f"{window}{stem}{number}{suffix}"
    attempt = 0
    while True:
        digest = hashlib.sha256(f"{topic}\0{form}\0{attempt}".encode()).hexdigest()[:12]
        path = f"{window}{stem[:_LONGEST_STEM]}~{digest}{number}{suffix}"
        if path.lower() not in used:
            return path
        attempt += 1


def format_of(path: str) -> StreamFormat:
    """Tell how a file that grows is written."""
    return "jsonl" if path.endswith(JSONL_SUFFIX) else "raw"


def window_of(path: str) -> str:
    """Give the folder of the partition that a file lies in, with `/` at its end."""
    return path[: path.rfind("/") + 1]


def segment_name(stream: str, number: int, suffix: str, *, is_late: bool = False) -> str:
    """Give the name of a sealed segment, without its folder."""
    return f"{stream}.{number:06d}{'.late' if is_late else ''}{suffix}"


def segment_number(name: str) -> int | None:
    """Give the number of a sealed segment of this name; None if it is no such name."""
    match = _SEGMENT.search(name)
    return int(match[1]) if match else None


def _level(level: str) -> str:
    # An empty level becomes `%`, which no encoded byte is.
    return "".join(chr(b) if _SAFE.match(bytes((b,))) else f"%{b:02X}" for b in level.encode()) or "%"
