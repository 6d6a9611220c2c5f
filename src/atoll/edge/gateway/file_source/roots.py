"""Which folders this gateway may read: those of its own command line. Opens what lies in them and nothing else.

Every step of a path is opened relative to the one before and never through a link, so neither a Stream, a message nor
somebody who swaps a folder for a link meanwhile leads out of a root.
"""

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

from atoll.federation.errors import InvalidInput
from atoll.federation.resources.stream_files import FileSource

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe that takes a file's name would keep a reader for ever.
_FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Signature(NamedTuple):
    """What tells one content of a file from another without reading it."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Give that of a file."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ino)


@dataclass(frozen=True)
class Roots:
    """The allowed folders by name."""

    folders: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> Self:
        """Read `DIR`, which is called by its last name, or `NAME=DIR`.

        Raises:
            InvalidInput: a folder is not there, or two have one name.
        """
        found: dict[str, Path] = {}
        for text in texts:
            given, equals, place = text.partition("=")
            folder = Path(place if equals else text).absolute()
            name = given if equals else re.sub(r"[^a-z0-9]+", "-", folder.name.lower()).strip("-")
            if not _NAME.fullmatch(name):
                raise InvalidInput(f"--files-root {text}: give it a name of letters and digits: NAME={folder}")
            if name in found:
                raise InvalidInput(
                    f"--files-root {text}: {found[name]} is called {name} too; give it another: NAME=DIR"
                )
            if not folder.is_dir():
                raise InvalidInput(f"--files-root {text}: {folder} is not a folder")
            found[name] = folder
        return cls(found)

    def find(self, source: FileSource) -> Path:
        """Give the root that a Stream means.

        Raises:
            InvalidInput: this gateway was not allowed such a root, or it is not clear which.
        """
        names = ", ".join(sorted(self.folders))
        if not self.folders:
            raise InvalidInput("this gateway may read no folder: start it with --files-root DIR")
        if source.root is None and len(self.folders) > 1:
            raise InvalidInput(f"files.root: say which of this gateway's roots is meant: {names}")
        root = next(iter(self.folders)) if source.root is None else source.root
        if root not in self.folders:
            raise InvalidInput(f"files.root: this gateway has no root {root}; it was started with {names}")
        return self.folders[root]


@contextmanager
def opened_folder(root: Path, folder: str) -> Iterator[int]:
    """Open a folder below a root.

    Raises:
        OSError: it is not there, or a step of the way is no folder but a link, say.
    """
    with opened_below(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC), folder.encode()) as descriptor:
        yield descriptor


@contextmanager
def opened_below(descriptor: int, path: bytes) -> Iterator[int]:
    """Open a folder below an open one, which is closed. Raises as `opened_folder`."""
    try:
        for name in path.split(b"/"):
            if name in (b"", b"."):
                continue
            below = os.open(_step(name), _FOLDER_FLAGS, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def opened_file(folder: int, path: bytes) -> Iterator[int]:
    """Open a regular file below an open folder.

    Raises:
        OSError: it is not there, may not be read, or is no regular file.
    """
    parent, _, name = path.rpartition(b"/")
    with opened_below(os.dup(folder), parent) as below:
        descriptor = os.open(_step(name), _FILE_FLAGS, dir_fd=below)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        yield descriptor
    finally:
        os.close(descriptor)


def signature_at(folder: int, path: bytes) -> Signature | None:
    """Give the signature of what a path names now; None if there is no regular file."""
    try:
        with opened_file(folder, path) as descriptor:
            return Signature.of(os.fstat(descriptor))
    except OSError:
        return None


def _step(name: bytes) -> bytes:
    if name in (b"", b".", b"..") or b"\0" in name:
        raise OSError(errno.EINVAL, "not a name")
    return name
