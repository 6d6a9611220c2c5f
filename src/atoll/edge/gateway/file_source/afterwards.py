"""What is done with a file when it is in its dataset: nothing, delete it, or move it aside. Blocks on the disk.

A file is touched only if it is still exactly the one that was sent.
"""

import os
from contextlib import suppress
from pathlib import Path

from atoll.edge.gateway.file_source.patterns import SENT_FOLDER
from atoll.edge.gateway.file_source.records import Entry
from atoll.edge.gateway.file_source.roots import opened_below, opened_folder, signature_at
from atoll.federation.resources.stream_files import FileSource

_FOLDER_MODE = 0o755


def tidy_up(root: Path, source: FileSource, entry: Entry) -> bool:
    """Do it; tell whether the file has gone from its place.

    Raises:
        OSError: the system does not let it; try again later.
    """
    if source.afterwards == "Keep":
        return False
    with opened_folder(root, source.folder) as folder:
        if signature_at(folder, entry.path) == entry.signature:
            _remove(folder, entry.path, aside=source.afterwards == "Move")
            if source.settle.marker is not None:
                with suppress(FileNotFoundError):
                    _remove(folder, entry.path + source.settle.marker.encode(), aside=source.afterwards == "Move")
        return signature_at(folder, entry.path) is None


def _remove(folder: int, path: bytes, *, aside: bool) -> None:
    parent, _, name = path.rpartition(b"/")
    with opened_below(os.dup(folder), parent) as source:
        if not aside:
            os.unlink(name, dir_fd=source)
            return
        _make_folders(folder, SENT_FOLDER + b"/" + parent)
        with opened_below(os.dup(folder), SENT_FOLDER + b"/" + parent) as target:
            os.rename(name, _free_name(target, name), src_dir_fd=source, dst_dir_fd=target)


def _make_folders(folder: int, path: bytes) -> None:
    descriptor = os.dup(folder)
    try:
        for name in filter(None, path.split(b"/")):
            with suppress(FileExistsError):
                os.mkdir(name, _FOLDER_MODE, dir_fd=descriptor)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
    finally:
        os.close(descriptor)


def _free_name(folder: int, name: bytes) -> bytes:
    """Give a name that nothing has there: an earlier file of the same name is kept."""
    number, free = 1, name
    while True:
        try:
            os.stat(free, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return free
        number += 1
        free = b"%s~%d" % (name, number)
