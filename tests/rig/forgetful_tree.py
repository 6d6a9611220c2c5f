"""Folders and files of which a power cut leaves what was synced, and of the rest what chance wants. No I/O.

Owns what POSIX promises of a file system and no more: a file's content is kept from its fsync on, its name from the
fsync of its folder on. Everything else may be lost: all of it, all from some moment on, or any sectors of it while
others stay, whichever was written first. A rename is kept whole or not at all, and folders forget from the end, as
those of file systems with a journal.
"""

import random
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

Cut = Literal["everything", "the latest", "anything"]
CUTS: tuple[Cut, ...] = ("everything", "the latest", "anything")
_SECTOR_BYTES = 512


@dataclass(eq=False)
class File:
    """A file as it is, as it is kept, and what lies between: (moment, offset, data), or (moment, new size, None)."""

    mode: int = stat.S_IFREG | 0o644
    now: bytearray = field(default_factory=bytearray)
    kept: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for _, place, data in self.pending:
            _apply(self.kept, place, data)
        self.pending.clear()


@dataclass(eq=False)
class Folder:
    """A folder as it is, and as it is kept."""

    mode: int = stat.S_IFDIR | 0o755
    now: dict[str, "Node"] = field(default_factory=dict)
    kept: dict[str, "Node"] = field(default_factory=dict)


Node = File | Folder


@dataclass(frozen=True, eq=False)
class Change:
    """What one call changes of folders: (folder, name) → what is there from then on, or None."""

    moment: int
    entries: tuple[tuple[Folder, str, Node | None], ...]

    @property
    def folders(self) -> set[Folder]:
        return {folder for folder, _, _ in self.entries}

    def apply(self) -> None:
        for folder, name, node in self.entries:
            _set(folder.kept, name, node)


class Tree:
    """All of it. With `names_follow`, an fsync keeps all names of before it too, as a journal does (ext4, xfs)."""

    def __init__(self, *, names_follow: bool = False) -> None:
        self.root = Folder()
        self._names_follow = names_follow
        self._moment = 0
        self._changes: list[Change] = []

    def write(self, file: File, offset: int, data: bytes) -> None:
        _apply(file.now, offset, data)
        file.pending.append((self._next(), offset, data))

    def truncate(self, file: File, size: int) -> None:
        _apply(file.now, size, None)
        file.pending.append((self._next(), size, None))

    def change(self, *entries: tuple[Folder, str, Node | None]) -> None:
        """Put something under names, or take names away (None), at once."""
        for folder, name, node in entries:
            _set(folder.now, name, node)
        self._changes.append(Change(self._next(), entries))

    def sync(self, node: Node) -> None:
        """Keep a file's content, or a folder's names."""
        if isinstance(node, File):
            node.sync()
        if self._names_follow:
            self._keep_names({folder for change in self._changes for folder in change.folders})
        elif isinstance(node, Folder):
            self._keep_names({node})

    def cut(self, how: Cut, chance: random.Random) -> None:
        """Cut the power: from now on everything is as it is kept."""
        since = {"everything": 0, "the latest": chance.randint(0, self._moment), "anything": self._moment}[how]
        share = chance.choice((0.1, 0.5, 0.9)) if how == "anything" else 1.0
        files = _files_of([self.root, *(node for c in self._changes for _, _, node in c.entries if node)])
        names_since = chance.randint(0, self._moment) if how == "anything" else since
        for change in self._changes:
            if change.moment <= names_since:
                change.apply()
        self._changes.clear()
        for file in files:
            for moment, place, data in file.pending:
                if moment <= since:
                    _survive(file, place, data, share, chance)
            file.pending.clear()
            file.now[:] = file.kept
        _restore(self.root)

    def _keep_names(self, folders: set[Folder]) -> None:
        """Keep what was changed of folders, and what had to come before that."""
        wanted = []
        for change in reversed(self._changes):
            if change.folders & folders:
                folders |= change.folders
                wanted.append(change)
        for change in reversed(wanted):
            change.apply()
            self._changes.remove(change)

    def _next(self) -> int:
        self._moment += 1
        return self._moment


def _apply(content: bytearray, place: int, data: bytes | None) -> None:
    """Write at an offset, or, without data, be cut or filled to a size."""
    size = place if data is None else max(len(content), place + len(data))
    if data is None and size < len(content):
        del content[size:]
    content.extend(bytes(size - len(content)))
    if data is not None:
        content[place : place + len(data)] = data


def _survive(file: File, place: int, data: bytes | None, share: float, chance: random.Random) -> None:
    """Keep each sector of a write, or a change of size, with some probability."""
    if data is None:
        if chance.random() <= share:
            _apply(file.kept, place, None)
        return
    at = place
    while at < place + len(data):
        end = min(place + len(data), (at // _SECTOR_BYTES + 1) * _SECTOR_BYTES)
        if share == 1.0 or chance.random() <= share:
            _apply(file.kept, at, data[at - place : end - place])
        at = end


def _set(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def _files_of(nodes: Iterable[Node]) -> list[File]:
    """Give all files that are, or are kept, in some folders and below them."""
    found: dict[Node, None] = {}
    waiting = list(nodes)
    while waiting:
        node = waiting.pop()
        if node not in found:
            found[node] = None
            waiting += [*node.now.values(), *node.kept.values()] if isinstance(node, Folder) else []
    return [node for node in found if isinstance(node, File)]


def _restore(folder: Folder) -> None:
    folder.now = dict(folder.kept)
    for node in folder.now.values():
        if isinstance(node, Folder):
            _restore(node)
