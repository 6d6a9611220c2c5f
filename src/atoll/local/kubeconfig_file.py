"""Kubeconfig files on disk: which ones count, how one is locked, and how it is replaced.

Owns the rules of kubectl's own client library (client-go: tools/clientcmd/loader.go, config.go). It knows no entry.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from atoll.federation.errors import Conflict, InvalidInput, Unavailable
from atoll.local.home import write_atomically
from atoll.local.kubeconfig_text import KubeconfigText

VARIABLE = "KUBECONFIG"
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.05


def user_files() -> tuple[Path, ...]:
    """Give the files that kubectl would read: those of $KUBECONFIG, else ~/.kube/config."""
    listed = [part for part in os.environ.get(VARIABLE, "").split(os.pathsep) if part]
    return tuple(Path(part).absolute() for part in dict.fromkeys(listed)) or (Path.home() / ".kube" / "config",)


def file_to_write(files: Sequence[Path]) -> Path:
    """Choose the file that gets what is new, as kubectl does: the first that is there, else the last."""
    return next((path for path in files if path.exists()), files[-1])


def parse(path: Path) -> KubeconfigText:
    """Read a file; one that is not there counts as empty.

    Raises:
        InvalidInput: it is malformed; the message names it and the line.
    """
    return _parsed(path, _content(path))


def rewrite(path: Path, change: Callable[[KubeconfigText], None]) -> None:
    """Change a file under its lock; it is replaced whole, keeps its mode and owner, and a link stays a link.

    Raises:
        InvalidInput: it is malformed; it is untouched.
        Conflict: another program holds its lock. Unavailable: it cannot be written.
    """
    target = path.resolve()
    if target.exists() and not target.is_file():
        raise Unavailable(f"{path} is no regular file: choose another kubeconfig with ${VARIABLE}")
    with _locked(path):
        before = _content(target)
        text = _parsed(path, before)
        change(text)
        after = text.text().encode()
        if after != before:
            _replace(target, after)


def _replace(target: Path, content: bytes) -> None:
    was = target.stat() if target.exists() else None
    write_atomically(target, content, mode=stat.S_IMODE(was.st_mode) if was else 0o600, durable=True)
    if was is not None and was.st_uid != target.stat().st_uid:
        with contextlib.suppress(PermissionError):  # only root may give it back to its owner
            os.chown(target, was.st_uid, was.st_gid)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold kubectl's lock on a kubeconfig: a file beside it that only one can create."""
    lock = path.with_name(f"{path.name}.lock")
    deadline = time.monotonic() + _LOCK_SECONDS
    while not _created(lock):
        if time.monotonic() > deadline:
            raise Conflict(f"another program holds {lock}: if none is running that writes {path.name}, remove the lock")
        time.sleep(_POLL_SECONDS)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _created(lock: Path) -> bool:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return False
    except OSError as error:
        raise Unavailable(f"cannot write {lock}: {error.strerror or error}") from error
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror or error}") from error


def _parsed(path: Path, content: bytes) -> KubeconfigText:
    try:
        return KubeconfigText(content.decode())
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: is no UTF-8 text") from error
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}; mend it or move it away, nothing was changed") from error
