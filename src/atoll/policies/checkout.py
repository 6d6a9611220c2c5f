"""A folder of policies on disk, as somebody works on it: read as a commit of it would be, with nothing followed out.

It must not know what files say.
"""

import asyncio
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from atoll.policies.git import FOLDER_MODE, LINK_MODE, Entry
from atoll.policies.kustomize.gathering import Find
from atoll.policies.kustomize.kustomization import FILE_NAMES

_FILE_MODE = "100644"


@dataclass(frozen=True)
class Checkout:
    """A path that somebody named, in the repository that it lies in.

    Attributes:
        root: the repository's top folder; outside of any repository the named folder itself. Nothing is read beyond it.
        start: the named folder or file, relative to the root; "" is the root.
        named: the path as it was written.
    """

    root: Path
    start: str
    named: Path

    @classmethod
    def around(cls, path: Path) -> "Checkout":
        """Find the repository around a path; a kustomization file means its folder."""
        named = path.parent if path.name in FILE_NAMES else path
        real = named.resolve()
        folder = real if real.is_dir() else real.parent
        root = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), folder)
        start = real.relative_to(root).as_posix()
        return cls(root, "" if start == "." else start, named)

    def shown(self, path: str) -> str:
        """Write a path of the repository as the one who named the folder would."""
        inside = os.path.relpath(self.root / path, self.root / self.start)
        return os.path.normpath(self.named / inside) if inside != "." else str(self.named)

    async def list_files(self, folder: str) -> list[Entry]:
        """List all files below a folder, or the one file that it is; Git's own files are none."""
        return await asyncio.to_thread(lambda: sorted(self._walk(folder), key=lambda entry: entry.path))

    async def finder(self) -> Find:
        """Give what finds the entry of a path."""
        return self._find

    async def read_files(self, entries: Sequence[Entry]) -> list[bytes]:
        """Give the contents of files."""
        return await asyncio.to_thread(lambda: [(self.root / entry.path).read_bytes() for entry in entries])

    def _walk(self, folder: str) -> Iterator[Entry]:
        start = self.root / folder
        if start.is_file():
            yield self._entry(folder, start.lstat())
        for above, folders, files in os.walk(start):
            if ".git" in folders:
                folders.remove(".git")
            links = [name for name in folders if (Path(above) / name).is_symlink()]
            for name in (*files, *links):
                path = Path(above) / name
                yield self._entry(path.relative_to(self.root).as_posix(), path.lstat())

    def _find(self, path: str) -> Entry | None:
        parts = PurePosixPath(path).parts
        if ".." in parts or ".git" in parts:
            return None
        try:
            return self._entry(path, (self.root / path).lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    @staticmethod
    def _entry(path: str, found: os.stat_result) -> Entry:
        mode = FOLDER_MODE if stat.S_ISDIR(found.st_mode) else LINK_MODE if stat.S_ISLNK(found.st_mode) else _FILE_MODE
        return Entry(mode, "", 0 if mode == FOLDER_MODE else found.st_size, path)
