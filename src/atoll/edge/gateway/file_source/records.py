"""What the catalogue of files holds, as values, and its schema. The other half of `catalogue`'s door to sqlite3."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from atoll.edge.gateway.database import OutboxDamaged, translated
from atoll.edge.gateway.file_source.roots import Signature
from atoll.edge.gateway.memory import StreamKey
from atoll.federation.errors import Internal

State = Literal["Waiting", "Stored", "Announcing", "Announced", "Committed", "Done"]
SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE files (
    id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, stream TEXT NOT NULL, path BLOB NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, dataset TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'Waiting', upload INTEGER NOT NULL DEFAULT 0, attempt INTEGER NOT NULL DEFAULT 0,
    wanted INTEGER NOT NULL DEFAULT 0, chunk_bytes INTEGER NOT NULL DEFAULT 0, sha256 TEXT NOT NULL DEFAULT '',
    outbox TEXT NOT NULL DEFAULT '', envelope INTEGER NOT NULL DEFAULT 0);
CREATE INDEX files_by_path ON files (namespace, stream, path);
CREATE INDEX files_by_inode ON files (inode, namespace, stream);
CREATE INDEX files_by_state ON files (state, namespace, stream);
CREATE TABLE open_datasets (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, dataset TEXT NOT NULL, folder BLOB NOT NULL, at REAL NOT NULL,
    PRIMARY KEY (namespace, stream, dataset, folder)) WITHOUT ROWID;
CREATE TABLE announcements (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, path BLOB NOT NULL,
    PRIMARY KEY (namespace, stream, path)) WITHOUT ROWID;
CREATE TABLE ends (
    id INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, stream TEXT NOT NULL, dataset TEXT NOT NULL,
    through INTEGER NOT NULL, outbox TEXT NOT NULL DEFAULT '', envelope INTEGER NOT NULL DEFAULT 0);
CREATE TABLE totals (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, files INTEGER NOT NULL, bytes INTEGER NOT NULL,
    PRIMARY KEY (namespace, stream)) WITHOUT ROWID;
INSERT INTO meta VALUES ('ident', lower(hex(randomblob(8)))), ('upload', '0');
"""
COLUMNS = (
    "id, namespace, stream, path, size, mtime_ns, inode, dataset, state, upload, attempt, wanted, chunk_bytes, sha256, "
    "outbox, envelope"
)


class CatalogueDamaged(Internal):
    """The database file is not readable as what it was."""

    reason = "CatalogueDamaged"


@dataclass(frozen=True)
class Entry:
    """One content of one file. `upload` is 0 while it has none; `wanted`: a sink asked for its chunks once more."""

    id: int
    stream: StreamKey
    path: bytes
    signature: Signature
    dataset: str
    state: State
    upload: int
    attempt: int
    wanted: bool
    chunk_bytes: int
    sha256: str
    outbox: str
    envelope: int


class End(NamedTuple):
    """The end of a run: it goes out after all files of its dataset up to entry `through`.

    `envelope` is the outbox's newest before it was put there, if it may have been.
    """

    id: int
    stream: StreamKey
    dataset: str
    through: int
    outbox: str
    envelope: int


class Counts(NamedTuple):
    """Files of one Stream by what is still to do with them, and all that ever were committed."""

    waiting: int = 0
    sent: int = 0
    committed: int = 0
    committed_bytes: int = 0


@contextmanager
def guarded(path: Path) -> Iterator[None]:
    """Let no sqlite3 error out, and none that would have the outbox replaced."""
    try:
        with translated(path):
            yield
    except OutboxDamaged as error:
        raise CatalogueDamaged(f"{error}; a gateway that is started again begins a new one") from error


def entry_of(row: Sequence[Any]) -> Entry:
    number, namespace, stream, path, size, mtime_ns, inode, *rest = row
    dataset, state, upload, attempt, wanted, chunk_bytes, sha256, outbox, envelope = rest
    return Entry(
        number, StreamKey(namespace, stream), path, Signature(size, mtime_ns, inode),
        dataset, state, upload, attempt, bool(wanted), chunk_bytes, sha256, outbox, envelope,
    )  # fmt: skip
