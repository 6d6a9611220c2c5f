"""The disks of a history: they may be full, and what was not synced is lost with the power (rig/forgetful_tree.py).

Owns what stands between Python's calls and the files of a disk's folder; each call is one step of its process, so that
a process can be killed between any two. SQLite calls no Python: what it has committed is taken for durable.
"""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, ClassVar

from rig.forgetful_tree import Cut, File, Folder, Node, Tree
from twin.machine import Process, current_process

_CHANGES = ("pwrite", "ftruncate", "fsync", "fdatasync", "mkdir", "unlink", "rename", "replace")
_NAMES = ("open", "close", "statvfs", *_CHANGES)
_real: dict[str, Callable[..., Any]] = {name: getattr(os, name) for name in _NAMES}
_real_flock = fcntl.flock
# What there is of pages of 4 KiB on a disk that is not full; a gateway wants 64 MB to be free.
_FREE_PAGES = 1 << 20


class Disk:
    """One folder on a disk of its own."""

    def __init__(self, root: Path) -> None:
        _real["mkdir"](root)
        self.root, self.is_full = root, False
        self._prefix = f"{root}/"
        self._tree = Tree()
        self.open_files: dict[int, Node] = {}

    def holds(self, path: str) -> bool:
        return path.startswith(self._prefix) or path == str(self.root)

    def cut(self, how: Cut, chance: Random) -> None:
        """Cut the power, of which whoever used the disk is dead: its files are as they were kept."""
        self._tree.cut(how, chance)
        self.open_files.clear()
        others, _Disks.mounted = _Disks.mounted, ()
        for entry in list(os.scandir(self.root)):
            (shutil.rmtree if entry.is_dir(follow_symlinks=False) else os.unlink)(entry.path)
        _write_out(self._tree.root, self.root)
        _Disks.mounted = others

    # --- what is done to it

    def opened(self, path: str, descriptor: int, flags: int) -> None:
        node = self._node(path)
        if node is None and not flags & os.O_CREAT:
            return  # made by other ways, as by SQLite
        if node is None:
            node = File()
            self._tree.change((*self._place(path), node))
        elif flags & os.O_TRUNC and isinstance(node, File):
            self._tree.truncate(node, 0)
        self.open_files[descriptor] = node

    def made_folder(self, path: str) -> None:
        self._tree.change((*self._place(path), Folder()))

    def removed(self, path: str) -> None:
        self._tree.change((*self._place(path), None))

    def moved(self, source: str, target: str) -> None:
        self._tree.change((*self._place(source), None), (*self._place(target), self._node(source)))

    def written(self, descriptor: int, offset: int, data: bytes) -> None:
        node = self.open_files[descriptor]
        assert isinstance(node, File)
        self._tree.write(node, offset, data)

    def truncated(self, descriptor: int, size: int) -> None:
        node = self.open_files[descriptor]
        assert isinstance(node, File)
        self._tree.truncate(node, size)

    def synced(self, descriptor: int) -> None:
        self._tree.sync(self.open_files[descriptor])

    def _place(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        folder = self._node(parent)
        assert isinstance(folder, Folder), f"{parent} was not made by what the twin sees"
        return folder, name

    def _node(self, path: str) -> Node | None:
        node: Node | None = self._tree.root
        for name in filter(None, path.removeprefix(str(self.root)).split("/")):
            node = node.now.get(name) if isinstance(node, Folder) else None
        return node


class _Disks:
    """Those of the history that is lived now."""

    mounted: tuple[Disk, ...] = ()
    locks: ClassVar[dict[int, Process]] = {}


@contextlib.contextmanager
def mounted(*disks: Disk) -> Iterator[None]:
    """Stand between Python and its files for the time of a block; what is on none of these disks is left alone."""
    _Disks.mounted = disks
    for name in _NAMES:
        setattr(os, name, globals()[f"_{name}"])
    fcntl.flock = _flock
    try:
        yield
    finally:
        for name, function in _real.items():
            setattr(os, name, function)
        fcntl.flock = _real_flock
        _Disks.mounted = ()
        _Disks.locks.clear()


def _disk_of(path: Any) -> Disk | None:
    if not _Disks.mounted or isinstance(path, int):
        return None
    text = os.fspath(path)
    return next((disk for disk in _Disks.mounted if disk.holds(text)), None)


def _disk_with(descriptor: int) -> Disk | None:
    return next((disk for disk in _Disks.mounted if descriptor in disk.open_files), None)


def _step(disk: Disk | None, *, grows: bool = False) -> None:
    """Be killed, if it is time; be refused, if there is no room."""
    process = current_process()
    if disk is not None and process is not None:
        process.step()
        if grows and disk.is_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _open(path: Any, flags: int, mode: int = 0o777, **options: Any) -> int:
    disk = _disk_of(path)
    _step(disk, grows=bool(flags & os.O_CREAT))
    descriptor = int(_real["open"](path, flags, mode, **options))
    if disk is not None:
        disk.opened(os.fspath(path), descriptor, flags)
    return descriptor


def _close(descriptor: int) -> None:
    if (disk := _disk_with(descriptor)) is not None:
        del disk.open_files[descriptor]
    _Disks.locks.pop(descriptor, None)
    _real["close"](descriptor)


def _pwrite(descriptor: int, data: Any, offset: int) -> int:
    disk = _disk_with(descriptor)
    _step(disk, grows=True)
    written = int(_real["pwrite"](descriptor, data, offset))
    if disk is not None:
        disk.written(descriptor, offset, bytes(data[:written]))
    return written


def _ftruncate(descriptor: int, size: int) -> None:
    disk = _disk_with(descriptor)
    _step(disk)
    _real["ftruncate"](descriptor, size)
    if disk is not None:
        disk.truncated(descriptor, size)


def _fsync(descriptor: int) -> None:
    disk = _disk_with(descriptor)
    _step(disk)
    if disk is None:
        _real["fsync"](descriptor)
    else:
        disk.synced(descriptor)


_fdatasync = _fsync


def _mkdir(path: Any, mode: int = 0o777, **options: Any) -> None:
    disk = _disk_of(path)
    _step(disk, grows=True)
    _real["mkdir"](path, mode, **options)
    if disk is not None:
        disk.made_folder(os.fspath(path))


def _unlink(path: Any, **options: Any) -> None:
    disk = _disk_of(path)
    _step(disk)
    _real["unlink"](path, **options)
    if disk is not None:
        disk.removed(os.fspath(path))


def _rename(source: Any, target: Any, **options: Any) -> None:
    disk = _disk_of(source)
    _step(disk)
    _real["rename"](source, target, **options)
    if disk is not None:
        disk.moved(os.fspath(source), os.fspath(target))


_replace = _rename


def _statvfs(path: Any) -> Any:
    disk = _disk_of(path)
    if disk is None:
        return _real["statvfs"](path)
    free = 0 if disk.is_full else _FREE_PAGES
    return SimpleNamespace(f_bavail=free, f_bfree=free, f_blocks=_FREE_PAGES, f_frsize=4096)


def _flock(descriptor: int, operation: int) -> None:
    """Lock as the kernel does, which frees what a process held when it ends."""
    _real_flock(descriptor, operation)
    process = current_process()
    if process is not None:
        _Disks.locks[descriptor] = process
        process.on_death.append(lambda: _unlock(descriptor, process))


def _unlock(descriptor: int, process: Process) -> None:
    if _Disks.locks.get(descriptor) is process:
        _real_flock(descriptor, fcntl.LOCK_UN)


def _write_out(folder: Folder, place: Path) -> None:
    for name, node in folder.now.items():
        if isinstance(node, File):
            (place / name).write_bytes(node.now)
        else:
            (place / name).mkdir()
            _write_out(node, place / name)
