"""Looks through a folder: which files are there, and what they look like from outside. Reads none, follows no link."""

import fcntl
import os
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from atoll.edge.gateway.file_source.patterns import SENT_FOLDER
from atoll.edge.gateway.file_source.roots import Signature, opened_below, opened_file

# Deeper is no instrument's folder but a loop of mounts.
_DEEPEST = 32


@dataclass
class Scan:
    """What a look found: files by path, and what could not be looked at, by path."""

    files: dict[bytes, Signature] = field(default_factory=dict)
    problems: dict[bytes, str] = field(default_factory=dict)


def scan(folder: int, *, is_wanted: Callable[[bytes], bool], recursive: bool) -> Scan:
    """Look through an open folder.

    Raises:
        OSError: the folder itself cannot be read.
    """
    found = Scan()
    for path, entry in _entries(folder, b"", recursive=recursive, problems=found.problems):
        if is_wanted(path):
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            except OSError as error:
                found.problems[path] = f"cannot be looked at: {error.strerror}"
                continue
            if stat.S_ISREG(status.st_mode):
                found.files[path] = Signature.of(status)
    return found


def _entries(
    folder: int, prefix: bytes, *, recursive: bool, problems: dict[bytes, str]
) -> Iterator[tuple[bytes, "os.DirEntry[str]"]]:
    below = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = os.fsencode(entry.name)
            with suppress(OSError):  # it is gone again
                if entry.is_dir(follow_symlinks=False):
                    below.append(name)
                elif entry.is_file(follow_symlinks=False):
                    yield prefix + name, entry
    if not recursive or prefix.count(b"/") >= _DEEPEST:
        return
    for name in below:
        if name == SENT_FOLDER:
            continue
        try:
            with opened_below(os.dup(folder), name) as descriptor:
                yield from _entries(descriptor, prefix + name + b"/", recursive=True, problems=problems)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems[prefix + name] = f"cannot be looked into: {error.strerror}"


def is_closed(folder: int, path: bytes) -> bool | None:
    """Tell whether no process of this machine has a file open for writing; None if the system cannot tell.

    A read lease is granted exactly then (fcntl(2), F_SETLEASE), to the file's owner and to who has CAP_LEASE, where the
    file system has leases.
    """
    try:
        with opened_file(folder, path) as descriptor:
            # Who opens it for writing in this moment breaks the lease, and SIGIO, which says so, would end the process.
            fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
            try:
                fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
            except BlockingIOError:
                return False
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            return True
    except OSError:
        return None
