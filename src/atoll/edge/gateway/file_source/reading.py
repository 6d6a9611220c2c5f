"""Reads one file as it was found, in pieces, and notices when it is not what it was. Never holds a file in memory."""

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from atoll.edge.gateway.file_source.records import Entry
from atoll.edge.gateway.file_source.roots import Signature, opened_file, opened_folder, signature_at


class FileGone(Exception):
    """The file is not there any more."""


class FileChanged(Exception):
    """The file is another one, or has other content: it has to settle once more."""


class FileUnreadable(Exception):
    """The system does not let it be read now; the text says why."""


class OpenFile:
    """A file that is being read from its start; `digest` is of what was read."""

    def __init__(self, folder: int, entry: Entry, descriptor: int) -> None:
        self._folder, self._entry, self._descriptor = folder, entry, descriptor
        self._digest = hashlib.sha256()

    def read_into(self, room: memoryview) -> int:
        """Fill `room` with what follows; give how much that was, less only at the end.

        Into memory that is used again: with new memory for each piece reading takes thrice the CPU, for page faults.

        Raises:
            FileUnreadable: the disk or the share refuses.
        """
        filled = 0
        try:
            while filled < len(room) and (count := os.readv(self._descriptor, [room[filled:]])):
                filled += count
        except OSError as error:
            raise FileUnreadable(error.strerror or str(error)) from error
        self._digest.update(room[:filled])
        return filled

    def read_whole(self, longest: int) -> bytes:
        """Give all of a small file, or so much of it that it is seen to be longer. Raises as `read_into`."""
        room = bytearray(longest + 1)
        return bytes(room[: self.read_into(memoryview(room))])

    def digest(self) -> bytes:
        """Give the SHA-256 of everything up to here."""
        return self._digest.copy().digest()

    def check(self) -> None:
        """Make sure that what was read is what the file is.

        Raises:
            FileChanged: it was written to, or another one has its name now.
        """
        held = Signature.of(os.fstat(self._descriptor))
        if held != self._entry.signature or signature_at(self._folder, self._entry.path) not in (held, None):
            raise FileChanged


@contextmanager
def opened(root: Path, folder: str, entry: Entry) -> Iterator[OpenFile]:
    """Open a file of the catalogue below a root's folder.

    Raises:
        FileGone, FileChanged, FileUnreadable: see there.
    """
    with ExitStack() as stack:
        try:
            below = stack.enter_context(opened_folder(root, folder))
        except OSError as error:
            # The share is away, most likely; nothing says that the file is gone.
            raise FileUnreadable(f"folder {folder}: {error.strerror}") from error
        try:
            descriptor = stack.enter_context(opened_file(below, entry.path))
        except FileNotFoundError as error:
            raise FileGone from error
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.EINVAL):
                raise FileChanged from error
            raise FileUnreadable(error.strerror or str(error)) from error
        if Signature.of(os.fstat(descriptor)) != entry.signature:
            raise FileChanged
        yield OpenFile(below, entry, descriptor)
