"""Names that survive a power loss.

An fsync of a file keeps what is in it. That it is there, under its name, is kept by an fsync of its folder, and the
folder by one of the folder around it: POSIX promises no more, whatever some file systems do.
"""

import os
from pathlib import Path


def make_folder(path: Path, *, mode: int = 0o777) -> None:
    """Make a folder, and those around it that are missing, so that they survive a power loss.

    Raises:
        OSError: the disk does not take it.
    """
    if path.is_dir():
        return
    make_folder(path.parent, mode=mode)
    path.mkdir(mode=mode, exist_ok=True)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder survive a power loss: files that were made, renamed or removed."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
