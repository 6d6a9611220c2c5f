"""The outbox's SQLite file: how it is opened, what stands in it, and what a failure of it means. The door to sqlite3.

Owns schema and migrations. What returned from `transaction` has survived a power loss (write-ahead log,
synchronous=FULL). It must not know what an envelope is.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from atoll.federation.errors import Internal, Unavailable

# Below this much free disk nothing more is taken in: trimming needs room too, and so does the rest of a small box.
RESERVED_FREE_BYTES = 64 * 1024 * 1024
# Pages that are free inside the file are room as well; a commit to them still needs its size in the write-ahead log.
_LEAST_FREE_BYTES = 16 * 1024 * 1024
_WAL_LIMIT_BYTES = 64 * 1024 * 1024
# An outbox that was emptied gives its room back to the disk if it is as much as this.
_GIVEN_BACK_BYTES = 256 * 1024 * 1024
# A check reads the whole file; a larger one would keep a small box from its instruments for minutes. There the CRC of
# each envelope is what finds damage, when it is forwarded.
_CHECKED_BYTES = 256 * 1024 * 1024
_CORRUPT_CODES = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE envelopes (
    number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, stream TEXT NOT NULL, readings INTEGER NOT NULL,
    last INTEGER NOT NULL, stored_at REAL NOT NULL, data BLOB NOT NULL);
CREATE INDEX envelopes_by_stream ON envelopes (namespace, stream, number);
CREATE TABLE streams (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, received INTEGER NOT NULL, duplicates INTEGER NOT NULL,
    committed INTEGER NOT NULL, PRIMARY KEY (namespace, stream)) WITHOUT ROWID;
CREATE TABLE batches (number INTEGER PRIMARY KEY, session INTEGER NOT NULL, packets BLOB NOT NULL);
CREATE TABLE open_datasets (
    namespace TEXT NOT NULL, stream TEXT NOT NULL, dataset TEXT NOT NULL, levels TEXT NOT NULL,
    PRIMARY KEY (namespace, stream, dataset, levels)) WITHOUT ROWID;
INSERT INTO meta VALUES ('ident', lower(hex(randomblob(16)))), ('number', '0'), ('session', '0');
"""
# `every`: see Absence; 0 is what is left of shed readings. `clock`: when it was stored, by the outbox's own clock.
_SECOND = """
ALTER TABLE envelopes ADD COLUMN span INTEGER;
ALTER TABLE envelopes ADD COLUMN every INTEGER NOT NULL DEFAULT 1;
ALTER TABLE envelopes ADD COLUMN clock REAL NOT NULL DEFAULT 0;
ALTER TABLE envelopes ADD COLUMN is_kept INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN trimmed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN forwarded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN shed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN damaged INTEGER NOT NULL DEFAULT 0;
ALTER TABLE streams ADD COLUMN left_at REAL;
CREATE TABLE memory (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE losses (
    number INTEGER PRIMARY KEY, namespace TEXT NOT NULL, stream TEXT NOT NULL, first INTEGER NOT NULL,
    last INTEGER NOT NULL, why TEXT NOT NULL);
INSERT OR IGNORE INTO meta VALUES ('clock', '0');
"""
_MIGRATIONS = (_SCHEMA, _SECOND)


class OutboxUnavailable(Unavailable):
    """The file takes no write now; nothing was stored, and the same write may succeed later."""

    reason = "OutboxUnavailable"


class OutboxFull(OutboxUnavailable):
    """The disk or the configured limit has no room."""

    reason = "OutboxFull"


class OutboxReadOnly(OutboxUnavailable):
    """This process may not write the file: a file system that is mounted read-only, or rights."""

    reason = "OutboxReadOnly"


class OutboxLocked(OutboxUnavailable):
    """Another program has the file locked."""

    reason = "OutboxLocked"


class DiskFailing(OutboxUnavailable):
    """The disk reports errors."""

    reason = "DiskFailing"


class OutboxDamaged(Internal):
    """The database file is not readable as what it was."""

    reason = "OutboxDamaged"


class Database:
    """One open file. It lets no sqlite3 error out; callers keep other threads away while they use it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with translated(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                self._prepare()
            except BaseException:
                self._db.close()
                raise

    def _prepare(self) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"journal_size_limit={_WAL_LIMIT_BYTES}"):
            self._db.execute(f"PRAGMA {pragma}")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            self._db.executescript(f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {number}; COMMIT;")
        self._page_bytes = int(self._db.execute("PRAGMA page_size").fetchone()[0])

    def close(self) -> None:
        """Close the file; what was stored stays."""
        self._db.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Ask, and give all rows."""
        with translated(self.path):
            return self._db.execute(query, values).fetchall()

    def run(self, statement: str, values: Sequence[object] = ()) -> int:
        """Change something, inside a transaction; give the last row's number."""
        with translated(self.path):
            return self._db.execute(statement, values).lastrowid or 0

    def run_many(self, statement: str, values: Iterable[Sequence[object]]) -> None:
        """Change something once per row, inside a transaction."""
        with translated(self.path):
            self._db.executemany(statement, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all or nothing. Raises OutboxUnavailable or OutboxDamaged; then nothing has changed."""
        with translated(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def check_room(self, size: int) -> None:
        """Raise OutboxFull if the disk has no room for `size` bytes more, DiskFailing if it does not say."""
        free = _free_bytes(self.path)
        inside = self._free_pages() * self._page_bytes if free < RESERVED_FREE_BYTES + size else 0
        if free + inside < RESERVED_FREE_BYTES + size or free < _LEAST_FREE_BYTES + size:
            raise OutboxFull(
                f"the disk of {self.path.parent} has less than {RESERVED_FREE_BYTES >> 20} MB free: make room on it"
            )

    def give_back(self) -> None:
        """Give the disk what an outbox without envelopes does not need; harmless at any time."""
        if self._free_pages() * self._page_bytes >= _GIVEN_BACK_BYTES and not self.rows(
            "SELECT 1 FROM envelopes LIMIT 1"
        ):
            self.run("VACUUM")

    def _free_pages(self) -> int:
        return int(self.rows("PRAGMA freelist_count")[0][0])


def check_file(path: Path) -> None:
    """Look for damage in a file that is not open; a large one is not read (see _CHECKED_BYTES).

    Raises:
        OutboxDamaged: there is some.
    """
    if not path.exists() or path.stat().st_size > _CHECKED_BYTES:
        return
    with translated(path), closing(sqlite3.connect(path)) as db:
        verdict = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if verdict != "ok":
        raise OutboxDamaged(f"{path} is damaged: {verdict}")


@contextmanager
def translated(path: Path) -> Iterator[None]:
    """Let no sqlite3 error out: the file is broken, or does not take writes now."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in _CORRUPT_CODES:
            raise OutboxDamaged(f"{path} is damaged: {error}") from error
        raise _refusal(path, code, str(error)) from error


def _refusal(path: Path, code: int, error: str) -> OutboxUnavailable:
    """Say what keeps a file from being written, and what to do."""
    refused = f"{path} cannot be written"
    # A full disk can be an error of I/O to SQLite, where it enlarges a file that it maps.
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and _is_full(path)):
        return OutboxFull(f"{refused}: the disk is full; make room on it")
    if code == sqlite3.SQLITE_IOERR:
        return _failing(path, error)
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return OutboxReadOnly(
            f"{refused}: {error}; see whether its file system is mounted read-only, and who owns the folder"
        )
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return OutboxLocked(f"{refused}: another program has it locked; end that one (fuser {path})")
    return OutboxUnavailable(f"{refused}: {error}")


def _failing(path: Path, error: object) -> DiskFailing:
    return DiskFailing(
        f"{path} cannot be used: its disk reports errors ({error}); see the system's log, and replace the disk"
    )


def _is_full(path: Path) -> bool:
    try:
        return _free_bytes(path) == 0
    except DiskFailing:
        return False


def _free_bytes(path: Path) -> int:
    try:
        disk = os.statvfs(path.parent)
    except OSError as error:
        raise _failing(path, error.strerror) from error
    return disk.f_bavail * disk.f_frsize


class Wreck:
    """A damaged file, opened to save what can be read. Whatever cannot is as if it were not there."""

    def __init__(self, path: Path) -> None:
        self._db: sqlite3.Connection | None = None
        with suppress(sqlite3.DatabaseError):
            self._db = sqlite3.connect(path, isolation_level=None)

    def close(self) -> None:
        """Leave the file as it is."""
        if self._db is not None:
            self._db.close()

    def rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        """Give the rows that come before the first that is damaged."""
        found: list[Any] = []
        with suppress(sqlite3.DatabaseError):
            for row in self._db.execute(query, values) if self._db is not None else ():
                found.append(row)
        return found
