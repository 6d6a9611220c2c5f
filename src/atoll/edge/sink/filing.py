"""Puts files that were brought into a version's folder, under the names that they had. Blocks on the disk.

Owns which name a file gets: its own, made safe once more, or a numbered one if another content has that. What is in the
ledger is never written over; what is in the folder and not in the ledger is left of a commit that did not happen.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.bus.file_names import numbered, safe_path
from atoll.federation.durable import make_folder, sync_folder


@dataclass(frozen=True)
class BroughtFile:
    """A file on the volume that is not in a version yet: its content is durable at `part`.

    `part` is None if its content will never come; `lost` says why.
    """

    source: str
    part: Path | None
    bytes: int
    sha256: str
    modified_at: float
    lost: str = ""


class Filed(NamedTuple):
    """What became of a brought file: `file` in the version; None if it was lost. A repeated one was there already."""

    source: str
    file: ManifestFile | None
    is_repeated: bool = False


def place(folder: Path, brought: Sequence[BroughtFile], taken: Mapping[str, ManifestFile]) -> list[Filed]:
    """Put brought files into a version's folder, so that they survive a power loss.

    Args:
        folder: the version's.
        brought: what `Landing.bring` gave.
        taken: the files of the version's ledger by path.

    Raises:
        OSError: the volume took not all. Nothing is committed: bring the same files again.
    """
    names = _Names(taken)
    filed, folders = [], set()
    for item in brought:
        if item.part is None:
            filed.append(Filed(item.source, None))
            continue
        path, is_repeated = names.take(item)
        if is_repeated:
            item.part.unlink(missing_ok=True)
        else:
            target = folder / path
            make_folder(target.parent)
            _move(item.part, target, item.bytes)
            folders.add(target.parent)
        filed.append(Filed(item.source, ManifestFile(path=path, bytes=item.bytes, sha256=item.sha256), is_repeated))
    for changed in sorted(folders):
        sync_folder(changed)
    return filed


def _move(part: Path, target: Path, size: int) -> None:
    """Put a part in its place; one that an attempt before this one has put there is there already."""
    try:
        part.rename(target)
    except FileNotFoundError:
        if not target.is_file() or target.stat().st_size != size:
            raise


def clear_parts(parts: Path, *, before: float) -> None:
    """Remove what was brought for commits that never came, as of Streams that are deleted: older than an instant."""
    for folder, _, names in os.walk(parts):
        for name in names:
            path = Path(folder) / name
            if path.stat(follow_symlinks=False).st_mtime < before:
                path.unlink()


class _Names:
    """The names that a version has, compared as a file system does that does not tell cases apart."""

    def __init__(self, taken: Mapping[str, ManifestFile]) -> None:
        self._files = {path.lower(): (path, file.sha256) for path, file in taken.items()}
        self._folders = {folder for path in taken for folder in _folders(path.lower())}

    def take(self, item: BroughtFile) -> tuple[str, bool]:
        """Give the path of a file, and whether exactly this content has it already."""
        wanted = path = self._place(safe_path(item.source.encode()))
        number = 1
        while True:
            known, digest = self._files.get(path.lower(), ("", ""))
            if digest == item.sha256:
                return known, True
            if not known and path.lower() not in self._folders:
                break
            number += 1
            path = numbered(wanted, number)
        self._files[path.lower()] = path, item.sha256
        self._folders.update(_folders(path.lower()))
        return path, False

    def _place(self, path: str) -> str:
        """Give the path with other folders where a file has a folder's name."""
        *folders, name = path.split("/")
        place = ""
        for folder in folders:
            number, free = 1, f"{place}{folder}"
            while free.lower() in self._files:
                number += 1
                free = numbered(f"{place}{folder}", number)
            place = f"{free}/"
        return f"{place}{name}"


def _folders(path: str) -> Iterable[str]:
    return (path[:at] for at, char in enumerate(path) if char == "/")
