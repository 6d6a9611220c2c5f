"""Values by key on disk, each write atomic and durable: what the agent must know after kill -9 or power loss.

One file per key, written beside, synced, renamed. It must not know what the values mean.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import structlog

from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Conflict, Internal, InvalidInput

log = structlog.get_logger(__name__)

_SUFFIX = ".entry"


class Shelf:
    """A folder of entries. One process at a time uses it: see `lock`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _make(folder)

    def load(self) -> dict[str, bytes]:
        """Read all entries; one that cannot be read is set aside and logged."""
        for leftover in self._folder.glob("*.tmp"):
            leftover.unlink()
        entries: dict[str, bytes] = {}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            key, newline, value = path.read_bytes().partition(b"\n")
            if newline and path.name == _file_name(key.decode(errors="replace")):
                entries[key.decode()] = value
            else:
                path.rename(path.with_suffix(".damaged"))
                log.error("an entry of the agent's state was damaged and set aside", path=str(path))
        return entries

    def put(self, key: str, value: bytes) -> None:
        """Store a value; on return it survives power loss.

        Raises:
            Internal: the disk does not take it.
        """
        path = self._folder / _file_name(key)
        beside = path.with_suffix(".tmp")
        try:
            with beside.open("wb") as file:
                file.write(key.encode() + b"\n" + value)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            sync_folder(self._folder)
        except OSError as error:
            raise Internal(f"cannot write {path}: {error.strerror}; the agent keeps its state there") from error

    def delete(self, key: str) -> None:
        """Remove a value; a key that is not there is fine."""
        (self._folder / _file_name(key)).unlink(missing_ok=True)
        sync_folder(self._folder)


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Hold a folder for this process; the kernel frees it when the process dies, however it dies.

    Raises:
        Conflict: another process holds it. InvalidInput: it cannot be made.
    """
    _make(folder)
    with (folder / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise Conflict(
                f"another agent uses the state folder {folder}: stop it, or give this one its own"
            ) from error
        yield


def _make(folder: Path) -> None:
    try:
        make_folder(folder)
    except OSError as error:
        raise InvalidInput(f"cannot use the state folder {folder}: {error.strerror}") from error


def _file_name(key: str) -> str:
    # Keys hold slashes and may be longer than a file name; the key itself stands in the file's first line.
    return hashlib.sha256(key.encode()).hexdigest()[:40] + _SUFFIX
