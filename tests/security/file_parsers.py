"""Harnesses of files that came from elsewhere: ledgers and sealed segments of a volume, backups."""

import io
import tempfile
from pathlib import Path

import orjson
import zstandard

from atoll.edge.sink import parquet
from atoll.edge.sink.form import Form
from atoll.edge.sink.ledger import LEDGER, VersionLedger, load
from atoll.edge.sink.readings import Readings
from atoll.edge.sink.segments import numbers_in
from atoll.edge.sink.volume import RESERVED
from atoll.federation.bus.envelope import Envelope, Reading
from atoll.federation.errors import Internal, InvalidInput
from atoll.local.backup_file import Head, Writer, parts, verify
from security.fuzzing import Harness

_FOLDER = tempfile.TemporaryDirectory(prefix="atoll-fuzz-")


def _place(name: str, data: bytes) -> Path:
    path = Path(_FOLDER.name) / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return path


def _ledger(data: bytes) -> None:
    """What can be read as a ledger can be told of and written again."""
    _place(LEDGER, data)
    found = load(Path(_FOLDER.name))
    assert found is not None and found.bytes >= 0
    orjson.dumps([found.wire(), found.bytes])


def _lines(data: bytes) -> None:
    numbers_in(_place("s.000001.jsonl.zst", zstandard.ZstdCompressor().compress(data)))


def _parquet() -> bytes:
    rows = (Reading(0, "t", b"{}"),)
    readings = Readings.of(Envelope("0" * 32, "lab", "ns", "s", "d", 1, 1, rows))
    return bytes(parquet.write([parquet.build(readings, Form(format="parquet"), {})], {}))


def _segment(suffix: str, data: bytes) -> None:
    numbers_in(_place(f"s.000001{suffix}", data))


def _backup(data: bytes) -> None:
    """A backup that is damaged is refused, and none names a file outside of the home."""
    for name, _ in parts(io.BytesIO(data)):
        assert name is not None
    verify(_place("backup.tar", data))


def _whole_backup() -> bytes:
    from datetime import UTC, datetime

    path = Path(_FOLDER.name) / "seed.tar"
    with Writer(path, replace=True) as writer:
        writer.add("atoll-backup.json", Head("0.1", datetime(2026, 11, 22, tzinfo=UTC), "http://127.0.0.1").wire())
        writer.add("streams/STATE/stream.json", b"{}")
        writer.add("home/pki/ca.crt", b"x")
        writer.add("end.json", b'{"messages":{"STATE":0}}')
        writer.finish()
    return path.read_bytes()


_LEDGER = orjson.dumps(
    VersionLedger.model_validate(
        {"dataset": "d", "version": 1, "files": [{"path": "a", "bytes": 1, "sha256": "0" * 64}], "index": {}}
    ).wire()
)
assert RESERVED in LEDGER

HARNESSES = (
    Harness("ledger", _ledger, (Internal,), (_LEDGER,), (
        (b'{"dataset":"d","version":1,"files":[', b"{},", b"1]}"), (b"", b'{"a":', b"1"), (b'{"version":', b"1", b"}"),
    )),
    Harness("segment-lines", _lines, (Internal,), (b'{"time":"x","sequence":7,"topic":"t"}\n{"sequence":8,"a":1}\n',), (
        (b"", b'{"sequence":1,}\n', b""), (b'{"sequence":', b"1", b",}\n"),
    )),
    Harness("segment-zstd", lambda data: _segment(".jsonl.zst", data), (Internal,), (
        zstandard.ZstdCompressor().compress(b'{"sequence":7,"a":1}\n' * 50),
    )),
    Harness("segment-parquet", lambda data: _segment(".parquet", data), (Internal, OSError), (_parquet(),)),
    Harness("backup", _backup, (InvalidInput,), (_whole_backup(),)),
)  # fmt: skip
