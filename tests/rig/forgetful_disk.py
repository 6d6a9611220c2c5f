"""A mounted file system that a test can cut the power of: what was not synced is lost, as `forgetful_tree` says.

Owns the mount, by libfuse in a process of its own, and the cut. Who uses the file system must be dead before the cut:
a program that sees its files change under it has seen what no power loss shows.
`python forgetful_disk.py MOUNTPOINT NAMES_FOLLOW` mounts, and after each unmount waits for a line: `HOW SEED` cuts the
power and mounts again.
"""

import contextlib
import errno
import importlib
import os
import random
import signal
import stat
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from rig.forgetful_tree import Cut, File, Folder, Node, Tree

_SECONDS = 20.0
# libfuse gives a file that is removed while it is open such a name until it is closed. No other file system does.
_HIDDEN = ".fuse_hidden"


@dataclass
class ForgetfulDisk:
    """A folder on such a file system.

    Attributes:
        names_follow: an fsync keeps all names of before it too, as ext4 and xfs do; POSIX does not promise it.
    """

    path: Path
    names_follow: bool = False
    is_small: bool = False
    _process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def _log(self) -> Path:
        return self.path.with_name(f"{self.path.name}.fuse.log")

    def mount(self) -> None:
        """Mount it.

        Raises:
            OSError: this machine has no FUSE, or this user may not mount; the message says which.
        """
        if why := why_not():
            raise OSError(why)
        self.path.mkdir(parents=True)
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, __file__, str(self.path), "names follow" if self.names_follow else ""]
        with self._log.open("wb") as log:  # a pipe that nobody reads would stop it once it is full
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log, env=environment)
        self._wait()

    def cut(self, how: Cut, seed: int) -> None:
        """Cut the power and come back. Nobody may have a file of it open."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._leave()
        self._process.stdin.write(f"{seed} {how}\n".encode())
        self._process.stdin.flush()
        self._wait()

    def fail(self) -> None:
        """Be a disk that is broken: whatever is asked of it from now on is an error."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def hang(self) -> None:
        """Be a disk that answers nothing, until it goes on."""
        self._send(signal.SIGSTOP)

    def go_on(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def unmount(self) -> None:
        """Take it away for good."""
        if self._process is not None:
            assert self._process.stdin is not None
            with contextlib.suppress(subprocess.CalledProcessError):
                self._leave("--lazy")
            self._process.kill()  # it holds nothing that anybody wants
            self._process.wait()
            self._process.stdin.close()
            self._process = None

    def _leave(self, *options: str) -> None:
        """Unmount; who was killed a moment ago may still be closing its files.

        A mount namespace that was made meanwhile, such as a container's, has a copy of the mount, and would keep the
        file system alive.
        """
        device = self._device()
        end = time.monotonic() + _SECONDS
        while (
            done := subprocess.run(["umount", *options, str(self.path)], capture_output=True, check=False)
        ).returncode:
            assert time.monotonic() < end, f"{self.path} is in use: {done.stderr.decode()}"
            time.sleep(0.02)
        self._abort(device)

    def _abort(self, device: int) -> None:
        """End the kernel's connection to the file system by its device's number, where it is not over already."""
        door = self.path.with_name(f"{self.path.name}.fusectl")
        door.mkdir(exist_ok=True)
        subprocess.run(["mount", "-t", "fusectl", "none", str(door)], capture_output=True, check=False)
        with contextlib.suppress(OSError):
            (door / str(device) / "abort").write_text("1")
        subprocess.run(["umount", "--lazy", str(door)], capture_output=True, check=False)
        door.rmdir()

    def _device(self) -> int:
        """Give the number of the mounted device; 0, which is none, if the file system has failed."""
        try:
            return os.minor(self.path.stat().st_dev)
        except OSError:
            return 0

    def _wait(self) -> None:
        assert self._process is not None
        end = time.monotonic() + _SECONDS
        while not self.path.is_mount():
            if self._process.poll() is not None:
                raise OSError(f"{self.path} cannot be mounted: {self._log.read_text()[-500:]}")
            assert time.monotonic() < end, f"{self.path} was not mounted: {self._log.read_text()[-500:]}"
            time.sleep(0.01)


def why_not() -> str:
    """Say why no file system can be mounted here; empty if one can, as far as can be told without trying."""
    if sys.platform != "linux" or not Path("/dev/fuse").exists():
        return "needs Linux with /dev/fuse"
    if os.geteuid() != 0:
        return "needs root to mount a file system"
    try:
        importlib.import_module("mfusepy")
    except (ImportError, OSError, AttributeError) as error:
        return f"needs libfuse (apt-get install fuse3): {error}"
    return ""


class _Calls:
    """What the kernel asks, in terms of the tree. Without `lock` and `xattr`: the kernel does these by itself."""

    use_ns = True

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._open: dict[int, tuple[File, bool]] = {}
        self._times: dict[Node, int] = {}

    def init(self, path: str) -> None:
        pass

    def getattr(self, path: str, info: Any = None) -> dict[str, Any]:
        node = self._find(path)
        size = len(node.now) if isinstance(node, File) else 4096
        at = self._times.get(node, 0)
        links = 1 if isinstance(node, File) else 2
        times = {"st_atime": at, "st_mtime": at, "st_ctime": at}
        return {"st_mode": node.mode, "st_size": size, "st_nlink": links, "st_blocks": -(-size // 512), **times}

    def readdir(self, path: str, handle: int) -> list[str]:
        return [".", "..", *_visible(self._folder(path))]

    def statfs(self, path: str) -> dict[str, int]:
        blocks = 1 << 28
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": blocks, "f_bfree": blocks, "f_bavail": blocks,
                "f_files": blocks, "f_ffree": blocks, "f_favail": blocks, "f_namemax": 255}  # fmt: skip

    def mkdir(self, path: str, mode: int) -> int:
        return self._add(path, Folder(stat.S_IFDIR | mode))

    def create(self, path: str, mode: int, info: Any) -> int:
        self._add(path, File(stat.S_IFREG | mode))
        return self.open(path, info)

    def open(self, path: str, info: Any) -> int:
        node = self._find(path)
        if isinstance(node, Folder):
            raise OSError(errno.EISDIR, path)
        info.fh = next(number for number in range(1, 1 << 20) if number not in self._open)
        self._open[info.fh] = node, bool(info.flags & (os.O_SYNC | os.O_DSYNC))
        if info.flags & os.O_TRUNC:
            self._tree.truncate(node, 0)
        return 0

    def release(self, path: str, info: Any) -> int:
        del self._open[info.fh]
        return 0

    def read(self, path: str, size: int, offset: int, info: Any) -> bytes:
        return bytes(self._open[info.fh][0].now[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, info: Any) -> int:
        file, is_synced = self._open[info.fh]
        self._tree.write(file, offset, bytes(data))
        self._times[file] = time.time_ns()
        if is_synced:
            self._tree.sync(file)
        return len(data)

    def truncate(self, path: str, length: int, info: Any = None) -> int:
        node = self._open[info.fh][0] if info is not None else self._find(path)
        if isinstance(node, Folder):
            raise OSError(errno.EISDIR, path)
        self._tree.truncate(node, length)
        self._times[node] = time.time_ns()
        return 0

    def fsync(self, path: str, datasync: int, info: Any) -> int:
        self._tree.sync(self._open[info.fh][0])
        return 0

    def fsyncdir(self, path: str, datasync: int, handle: int) -> int:
        self._tree.sync(self._folder(path))
        return 0

    def unlink(self, path: str) -> int:
        folder, name = self._place(path)
        self._find(path)
        self._change((folder, name, None))
        return 0

    def rmdir(self, path: str) -> int:
        if _visible(self._folder(path)):
            raise OSError(errno.ENOTEMPTY, path)
        return self.unlink(path)

    def rename(self, old: str, new: str, flags: int = 0) -> int:
        node, (source, name), (target, other) = self._find(old), self._place(old), self._place(new)
        there = target.now.get(other)
        if isinstance(there, Folder) and _visible(there):
            raise OSError(errno.ENOTEMPTY, new)
        self._change((source, name, None), (target, other, node))
        return 0

    def chmod(self, path: str, mode: int, info: Any = None) -> int:
        node = self._find(path)
        node.mode = stat.S_IFMT(node.mode) | stat.S_IMODE(mode)
        return 0

    def chown(self, path: str, user: int, group: int, info: Any = None) -> int:
        self._find(path)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None, info: Any = None) -> int:
        self._times[self._find(path)] = times[1] if times is not None else time.time_ns()
        return 0

    def _change(self, *entries: tuple[Folder, str, Node | None]) -> None:
        """Change names. One that is libfuse's own for a removed file is not kept, whatever is synced."""
        hidden = [entry for entry in entries if entry[1].startswith(_HIDDEN)]
        for folder, name, node in hidden:
            if node is None:
                folder.now.pop(name, None)
            else:
                folder.now[name] = node
        if real := [entry for entry in entries if entry not in hidden]:
            self._tree.change(*real)

    def _add(self, path: str, node: Node) -> int:
        folder, name = self._place(path)
        if name in folder.now:
            raise OSError(errno.EEXIST, path)
        self._times[node] = time.time_ns()
        self._change((folder, name, node))
        return 0

    def _place(self, path: str) -> tuple[Folder, str]:
        parent, _, name = path.rpartition("/")
        return self._folder(parent or "/"), name

    def _folder(self, path: str) -> Folder:
        node = self._find(path)
        if isinstance(node, File):
            raise OSError(errno.ENOTDIR, path)
        return node

    def _find(self, path: str) -> Node:
        node: Node = self._tree.root
        for name in filter(None, path.split("/")):
            if not isinstance(node, Folder) or name not in node.now:
                raise OSError(errno.ENOENT, path)
            node = node.now[name]
        return node


def _visible(folder: Folder) -> list[str]:
    return [name for name in folder.now if not name.startswith(_HIDDEN)]


def main(mountpoint: str, names_follow: str) -> None:
    """Be mounted until the standard input ends; between two mounts forget."""
    fuse = importlib.import_module("mfusepy")
    tree = Tree(names_follow=bool(names_follow))
    calls = type("Calls", (_Calls, fuse.Operations), {})
    while True:
        fuse.FUSE(calls(tree), mountpoint, raw_fi=True, foreground=True, nothreads=True, big_writes=True)
        line = sys.stdin.readline()
        if not line:
            return
        seed, _, how = line.strip().partition(" ")
        tree.cut(cast(Cut, how), random.Random(int(seed)))


if __name__ == "__main__":
    main(*sys.argv[1:])
