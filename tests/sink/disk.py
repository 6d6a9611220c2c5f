"""A disk that loses power: at the chosen write everything stops, and what was not synced is gone."""

import os
from pathlib import Path
from typing import Any

import pytest


class PowerLossError(BaseException):
    """The process is gone. No code may handle this."""


class FlakyDisk:
    """Counts the writes of this process; at number `fails_at` it dies, or refuses once with `error`.

    Nothing is really synced: what a sync saves is remembered here. With `forgets_names` a name that was made or renamed
    is gone as well unless its folder was synced after it; without, a file system has kept it by chance.
    """

    def __init__(self, patch: pytest.MonkeyPatch, root: Path, *, forgets_names: bool = False) -> None:
        self.root, self.forgets_names = str(root), forgets_names
        self.fails_at = 0
        self.count = 0
        self.error: OSError | None = None
        self._synced: dict[str, bytes] = {}
        self._dirty: set[str] = set()
        self._renames: list[tuple[str, bytes | None]] = []  # target, and what was there before
        self._real = {name: getattr(os, name) for name in ("pwrite", "fsync", "ftruncate", "replace", "open")}
        patch.setattr(os, "pwrite", self._pwrite)
        patch.setattr(os, "fsync", self._fsync)
        patch.setattr(os, "ftruncate", self._ftruncate)
        patch.setattr(os, "open", self._open)
        patch.setattr(Path, "replace", lambda path, target: self._rename(str(path), str(target)))

    def arm(self, fails_at: int, error: OSError | None = None) -> None:
        self.fails_at, self.error, self.count = fails_at, error, 0

    def lose_power(self) -> None:
        """Bring the files back to what was synced."""
        self.fails_at = 0
        for path in self._dirty:
            if Path(path).exists():
                Path(path).write_bytes(self._synced.get(path, b""))
        self._dirty.clear()
        for target, before in reversed(self._renames) if self.forgets_names else ():
            if before is None:
                Path(target).unlink(missing_ok=True)
            else:
                Path(target).write_bytes(before)
        self._renames.clear()

    def _step(self) -> bool:
        """Tell whether this write is the one that fails (after half of it)."""
        self.count += 1
        return self.count == self.fails_at

    def _fail(self) -> None:
        if self.error is not None:
            raise self.error
        raise PowerLossError

    def _path(self, descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    def _open(self, path: Any, flags: int, mode: int = 0o777, **rest: Any) -> int:
        is_new = flags & os.O_CREAT and str(path).startswith(self.root) and not Path(path).exists()
        descriptor: int = self._real["open"](path, flags, mode, **rest)
        if is_new:
            self._renames.append((str(path), None))
        return descriptor

    def _pwrite(self, descriptor: int, data: Any, offset: int) -> int:
        path = self._path(descriptor)
        if not path.startswith(self.root):
            return self._real["pwrite"](descriptor, data, offset)
        self._dirty.add(path)
        if self._step():
            self._real["pwrite"](descriptor, data[: len(data) // 2], offset)
            self._fail()
        return self._real["pwrite"](descriptor, data, offset)

    def _ftruncate(self, descriptor: int, length: int) -> None:
        self._dirty.add(self._path(descriptor))
        if self._step():
            self._fail()
        self._real["ftruncate"](descriptor, length)

    def _fsync(self, descriptor: int) -> None:
        if self._step():
            self._fail()
        path = self._path(descriptor)
        if Path(path).is_file():
            self._synced[path] = Path(path).read_bytes()
            self._dirty.discard(path)
        else:
            self._renames = [(target, before) for target, before in self._renames if str(Path(target).parent) != path]

    def _rename(self, source: str, target: str) -> None:
        if self._step():
            self._fail()
        before = self._synced.get(target) if Path(target).exists() else None
        self._real["replace"](source, target)
        self._renames = [(path, old) for path, old in self._renames if path != source]
        self._renames.append((target, before))
        self._synced[target] = self._synced.pop(source, b"")
        if source in self._dirty:
            self._dirty.discard(source)
            self._dirty.add(target)
