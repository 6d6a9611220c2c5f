"""The catalogue: every file that was found finished, and how far it is on its way. In SQLite beside the outbox.

Owns the numbering of uploads (its `ident` and their numbers) and what was dealt with already, so that nothing is sent
twice or forgotten over a restart. The content stays where the instrument left it: the folder is the spool. Calls block
on the disk: run them in a thread. One thread at a time is let in.

A file is `Waiting` to be sent, `Stored` when the hub has its chunks, `Announcing` while its reading may or may not be
in the outbox, `Announced` when it is, `Committed` when it is in its dataset, `Done` when nothing is left to do with it.
"""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from atoll.edge.gateway.database import OutboxDamaged, check_file
from atoll.edge.gateway.file_source.records import (
    COLUMNS,
    SCHEMA,
    CatalogueDamaged,
    Counts,
    End,
    Entry,
    State,
    entry_of,
    guarded,
)
from atoll.edge.gateway.file_source.roots import Signature
from atoll.edge.gateway.memory import StreamKey
from atoll.federation.bus.file_messages import INLINE_BYTES


def open_catalogue(path: Path) -> tuple["Catalogue", str]:
    """Open or make the catalogue; a damaged one is set aside. Gives what that means, empty if nothing.

    Raises:
        OutboxUnavailable: the disk does not take it.
    """
    try:
        check_file(path)
        return Catalogue(path), ""
    except (OutboxDamaged, CatalogueDamaged) as damage:
        aside = path.with_name(f"{path.name}.damaged")
        path.replace(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return Catalogue(path), f"{damage}; it is {aside.name} now, and files that are still in their folders go again"


class Catalogue:
    """One SQLite database."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        with guarded(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=10)
            try:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")
                if not self._db.execute("PRAGMA user_version").fetchone()[0]:
                    self._db.executescript(f"BEGIN IMMEDIATE; {SCHEMA} PRAGMA user_version = 1; COMMIT;")
                self.ident = str(self._db.execute("SELECT value FROM meta WHERE key = 'ident'").fetchone()[0])
            except BaseException:
                self._db.close()
                raise

    def close(self) -> None:
        """Close the database; what was noted stays."""
        with self._lock:
            self._db.close()

    # --- what was found

    def newest(self, stream: StreamKey, path: bytes) -> Signature | None:
        """Give the newest content of a path that was found finished; None if there was none."""
        query = (
            "SELECT size, mtime_ns, inode FROM files WHERE namespace = ? AND stream = ? AND path = ? "
            "ORDER BY id DESC LIMIT 1"
        )
        rows = self._rows(query, (*stream, path))
        return Signature(*rows[0]) if rows else None

    def same_content(self, stream: StreamKey, signature: Signature) -> tuple[bytes, str] | None:
        """Give path and dataset of a file that was found finished and looks exactly like this one."""
        query = (
            "SELECT path, dataset FROM files WHERE namespace = ? AND stream = ? AND inode = ? AND size = ? AND "
            "mtime_ns = ? ORDER BY id DESC LIMIT 1"
        )
        rows = self._rows(query, (*stream, signature.inode, signature.size, signature.mtime_ns))
        return (rows[0][0], rows[0][1]) if rows else None

    def add(self, stream: StreamKey, found: Iterable[tuple[bytes, Signature, str]], *, now: float) -> None:
        """Note finished files and the datasets that they belong to, in the order in which they are to be sent."""
        with self._transaction() as db:
            for path, signature, dataset in found:
                db.execute(
                    "INSERT INTO files (namespace, stream, path, size, mtime_ns, inode, dataset) "
                    "VALUES (?,?,?,?,?,?,?)",
                    (*stream, path, *signature, dataset),
                )
                folder = path[: path.rfind(b"/") + 1]
                db.execute("INSERT OR REPLACE INTO open_datasets VALUES (?,?,?,?,?)", (*stream, dataset, folder, now))

    def announce(self, announced: Iterable[tuple[StreamKey, bytes]]) -> None:
        """Note paths that messages named, until their files are found."""
        rows = [(*stream, path) for stream, path in announced]
        self._change("INSERT OR IGNORE INTO announcements VALUES (?,?,?)", rows)

    def announcements(self, stream: StreamKey) -> list[bytes]:
        """Give the paths that messages named and that were not found yet."""
        query = "SELECT path FROM announcements WHERE namespace = ? AND stream = ?"
        return [row[0] for row in self._rows(query, stream)]

    def heard(self, stream: StreamKey, paths: Iterable[bytes]) -> None:
        """Note that announced paths were dealt with."""
        rows = [(*stream, path) for path in paths]
        self._change("DELETE FROM announcements WHERE namespace = ? AND stream = ? AND path = ?", rows)

    def renamed(self, stream: StreamKey, old: bytes, new: bytes) -> None:
        """Note that a file that was sent has another name now."""
        with self._transaction() as db:
            db.execute("UPDATE files SET path = ? WHERE namespace = ? AND stream = ? AND path = ?", (new, *stream, old))

    def end(self, stream: StreamKey, *, marker: tuple[bytes, Signature] | None = None, before: float = 0.0) -> bool:
        """End the datasets that files in the marker's folder and below opened, or all that got none since `before`.

        The marker is noted as dealt with in the same commit. Tells whether any was ended.
        """
        if marker is None and not self._rows("SELECT 1 FROM open_datasets WHERE namespace = ? AND stream = ?", stream):
            return False
        with self._transaction() as db:
            where, values = "namespace = ? AND stream = ?", (*stream,)
            rows = db.execute(f"SELECT dataset, folder, at FROM open_datasets WHERE {where}", values).fetchall()  # noqa: S608 # constant
            if marker is None:
                newest: dict[str, float] = {}
                for dataset, _, at in rows:
                    newest[dataset] = max(at, newest.get(dataset, at))
                ended = {dataset for dataset, at in newest.items() if at < before}
            else:
                path, signature = marker
                folder = path[: path.rfind(b"/") + 1]
                ended = {dataset for dataset, other, _ in rows if other.startswith(folder)}
                db.execute(
                    "INSERT INTO files (namespace, stream, path, size, mtime_ns, inode, dataset, state) "
                    "VALUES (?,?,?,?,?,?,'','Done')",
                    (*stream, path, *signature),
                )
            through = db.execute("SELECT coalesce(max(id), 0) FROM files").fetchone()[0]
            for dataset in sorted(ended):
                db.execute(
                    "INSERT INTO ends (namespace, stream, dataset, through) VALUES (?,?,?,?)",
                    (*stream, dataset, through),
                )
                db.execute(f"DELETE FROM open_datasets WHERE {where} AND dataset = ?", (*values, dataset))  # noqa: S608 # constant
            return bool(ended)

    def forget(self, entries: Iterable[int]) -> None:
        """Forget files: they are gone, or have to be found again."""
        with self._transaction() as db:
            db.executemany("DELETE FROM files WHERE id = ?", [(number,) for number in entries])

    # --- on their way

    def entries(self, *states: State) -> list[Entry]:
        """Give files in these states, oldest first."""
        query = f"SELECT {COLUMNS} FROM files WHERE state IN ({','.join('?' * len(states))}) ORDER BY id"  # noqa: S608 # constant
        return [entry_of(row) for row in self._rows(query, states)]

    def to_send(self, stream: StreamKey, *, limit: int) -> list[Entry]:
        """Give files of a Stream that need chunks and are not stored, oldest first."""
        query = (
            f"SELECT {COLUMNS} FROM files WHERE state = 'Waiting' AND namespace = ? AND stream = ? AND size > ? "  # noqa: S608 # constant
            "ORDER BY id LIMIT ?"
        )
        return [entry_of(row) for row in self._rows(query, (*stream, INLINE_BYTES, limit))]

    def to_announce(self, stream: StreamKey, *, limit: int) -> list[Entry]:
        """Give files of a Stream that are stored, or small enough to need no chunks, oldest first."""
        query = (
            f"SELECT {COLUMNS} FROM files WHERE namespace = ? AND stream = ? AND "  # noqa: S608 # constant
            "(state = 'Stored' OR state = 'Waiting' AND size <= ?) ORDER BY id LIMIT ?"
        )
        return [entry_of(row) for row in self._rows(query, (*stream, INLINE_BYTES, limit))]

    def wanted(self) -> list[Entry]:
        """Give files whose chunks a sink asked for once more."""
        return [entry_of(row) for row in self._rows(f"SELECT {COLUMNS} FROM files WHERE wanted ORDER BY id")]  # noqa: S608 # constant

    def begin_upload(self, entry: int, *, chunk_bytes: int) -> Entry:
        """Give a file an upload of its own; it keeps the one that it has."""
        with self._transaction() as db:
            number = int(db.execute("SELECT value FROM meta WHERE key = 'upload'").fetchone()[0]) + 1
            changed = db.execute(
                "UPDATE files SET upload = ?, chunk_bytes = ? WHERE id = ? AND upload = 0", (number, chunk_bytes, entry)
            )
            if changed.rowcount:
                db.execute("UPDATE meta SET value = ? WHERE key = 'upload'", (str(number),))
            return entry_of(db.execute(f"SELECT {COLUMNS} FROM files WHERE id = ?", (entry,)).fetchone())  # noqa: S608 # constant

    def stored(self, entry: int, sha256: str) -> None:
        """Note that the hub has all chunks of a file."""
        self._change("UPDATE files SET state = 'Stored', sha256 = ? WHERE id = ?", [(sha256, entry)])

    def want(self, upload: int, attempt: int) -> None:
        """Note that a sink lacks chunks of an upload; what it says of an earlier attempt is known already."""
        statement = (
            "UPDATE files SET wanted = 1, attempt = attempt + 1 "
            "WHERE upload = ? AND attempt = ? AND upload > 0 AND NOT wanted AND state = 'Announced'"
        )
        self._change(statement, [(upload, attempt)])

    def sent_again(self, entry: int) -> None:
        """Note that a wanted upload is stored once more, or given up."""
        self._change("UPDATE files SET wanted = 0 WHERE id = ?", [(entry,)])

    def announcing(self, entries: Iterable[int], *, outbox: str, after: int) -> None:
        """Note that readings of these files are about to be put into an outbox, behind envelope `after`."""
        statement = "UPDATE files SET state = 'Announcing', outbox = ?, envelope = ? WHERE id = ?"
        self._change(statement, [(outbox, after, number) for number in entries])

    def announced(self, entries: Iterable[int], *, outbox: str, envelope: int) -> None:
        """Note that they are in it, in envelopes up to this one."""
        statement = "UPDATE files SET state = 'Announced', outbox = ?, envelope = ? WHERE id = ?"
        self._change(statement, [(outbox, envelope, number) for number in entries])

    def not_announced(self, entries: Iterable[Entry]) -> None:
        """Note that they are not in it: they are to be announced again, from what is stored or from the folder."""
        rows = [("Stored" if entry.sha256 and entry.upload else "Waiting", entry.id) for entry in entries]
        self._change("UPDATE files SET state = ? WHERE id = ?", rows)

    def committed(self, stream: StreamKey, *, outbox: str, envelope: int) -> int:
        """Note that all files announced in envelopes up to this one are in their datasets; give how many were new."""
        where = "namespace = ? AND stream = ? AND state = 'Announced' AND outbox = ? AND envelope <= ?"
        values = (*stream, outbox, envelope)
        if not self._rows(f"SELECT 1 FROM files WHERE {where} LIMIT 1", values):  # noqa: S608 # constant
            return 0
        with self._transaction() as db:
            count, size = db.execute(f"SELECT count(*), sum(size) FROM files WHERE {where}", values).fetchone()  # noqa: S608 # constant
            if not count:  # another thread has noted them since the look above
                return 0
            db.execute(f"UPDATE files SET state = 'Committed', wanted = 0 WHERE {where}", values)  # noqa: S608 # constant
            db.execute(
                "INSERT INTO totals VALUES (?,?,?,?) ON CONFLICT DO UPDATE SET files = files + excluded.files, "
                "bytes = bytes + excluded.bytes",
                (*stream, count, size),
            )
            return int(count)

    def done(self, entries: Iterable[int]) -> None:
        """Note that nothing is left to do with files; they are remembered while they are in their folder."""
        self._change("UPDATE files SET state = 'Done' WHERE id = ?", [(number,) for number in entries])

    # --- ends of runs

    def ends(self) -> list[End]:
        """Give the ends of runs whose files are all announced."""
        query = (
            "SELECT * FROM ends AS e WHERE NOT EXISTS (SELECT 1 FROM files AS f WHERE f.namespace = e.namespace AND "
            "f.stream = e.stream AND f.dataset = e.dataset AND f.id <= e.through AND "
            "f.state IN ('Waiting', 'Stored', 'Announcing')) ORDER BY id"
        )
        return [End(row[0], StreamKey(row[1], row[2]), *row[3:]) for row in self._rows(query)]

    def ending(self, end: int, *, outbox: str, after: int) -> None:
        """Note that an end is about to be put into an outbox, behind envelope `after`."""
        self._change("UPDATE ends SET outbox = ?, envelope = ? WHERE id = ?", [(outbox, after, end)])

    def ended(self, end: int) -> None:
        """Note that it is in it."""
        self._change("DELETE FROM ends WHERE id = ?", [(end,)])

    # --- what is asked of all

    def kept_uploads(self) -> tuple[int, tuple[int, ...]]:
        """Give the number of the next upload, and those before it that are still needed."""
        following = int(self._rows("SELECT value FROM meta WHERE key = 'upload'")[0][0]) + 1
        query = "SELECT upload FROM files WHERE upload > 0 AND state NOT IN ('Committed', 'Done') ORDER BY upload"
        return following, tuple(row[0] for row in self._rows(query))

    def counts(self) -> dict[StreamKey, Counts]:
        """Count the files of each Stream."""
        found = {StreamKey(*row[:2]): Counts(0, 0, row[2], row[3]) for row in self._rows("SELECT * FROM totals")}
        query = (
            "SELECT namespace, stream, sum(state = 'Waiting'), sum(state IN ('Stored', 'Announcing', 'Announced')) "
            "FROM files GROUP BY namespace, stream"
        )
        for namespace, stream, waiting, sent in self._rows(query):
            key = StreamKey(namespace, stream)
            found[key] = found.get(key, Counts())._replace(waiting=waiting, sent=sent)
        return found

    def _rows(self, query: str, values: Sequence[object] = ()) -> list[Any]:
        with self._lock, guarded(self._path):
            return self._db.execute(query, values).fetchall()

    def _change(self, statement: str, rows: Sequence[Sequence[object]]) -> None:
        with self._transaction() as db:
            db.executemany(statement, rows)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock, guarded(self._path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
