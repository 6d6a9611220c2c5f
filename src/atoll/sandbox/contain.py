"""Runs one container's command as a process: its mounts, its signals, and that nothing of it outlives the kubelet.

Started by file path with `-I -S` for each container, so it imports only what costs nothing: no pathlib, json, typing.
Owns the process from fork to exit code; must not know pods. Two processes: the supervisor (this one) waits, passes
SIGTERM on, kills everything on SIGUSR1 or when the kubelet is gone (the other end of its lifeline pipe closes, however
the kubelet died), and adopts what the container's own processes leave behind. The child makes the mounts and execs.

Isolation `mounts` gives the child a mount namespace (in a user namespace unless root) whose root is a tmpfs with every
entry of the machine's root bound into it and the container's volumes bound at their mountPaths, read-only where asked.
It separates paths, it is no security boundary. Isolation `none` is for containers without mounts and for machines that
refuse namespaces, where the kubelet rewrites mountPaths into host paths instead.
"""

# pathlib and contextlib triple the start-up time; the launch file is the kubelet's own.
# ruff: noqa: PTH102, PTH108, PTH110, PTH112, PTH115, PTH118, PTH120, PTH123, PTH211, SIM105, S302

from __future__ import annotations

import ctypes
import marshal
import os
import select
import signal
import stat
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

CANNOT_START, NOT_EXECUTABLE, NOT_FOUND = 128, 126, 127  # exit codes as of shells and container runtimes

_IS_LINUX = sys.platform == "linux"
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000  # linux/sched.h
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 32, 4096, 16384  # linux/mount.h
_MS_PRIVATE, _MS_RELATIME = 1 << 18, 1 << 21
_ST_RELATIME = 4096  # statvfs has the other kept flags at the bits of mount(2)
_ST_SAME_BITS = 2 | 4 | 8 | 1024 | 2048  # nosuid, nodev, noexec, noatime, nodiratime
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, *, flags: int, filesystem: str = "", data: str = "") -> None:
    result = _libc().mount(
        source.encode(), target.encode(), filesystem.encode() or None, ctypes.c_ulong(flags), data.encode() or None
    )
    _check(result, f"mount {target}")


def _enter_namespaces() -> None:
    """Get a private mount namespace; only root may without a user namespace."""
    if os.geteuid() == 0 and _libc().unshare(_CLONE_NEWNS) == 0:
        return
    uid, gid = os.getuid(), os.getgid()
    _check(_libc().unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
    for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(text)


class PrivateRoot:
    """A root of our own with the machine's in it, in which directories can be made that the machine does not have."""

    def __init__(self, folder: str) -> None:
        """Become the only one who sees `folder` as the root, after this process has entered its namespaces."""
        _mount("none", "/", flags=_MS_REC | _MS_PRIVATE)
        self._made = {"/"}
        machine = os.open("/", os.O_PATH | os.O_DIRECTORY)
        self._scratch(folder)
        self._mirror(machine, folder)
        os.close(machine)
        os.chroot(folder)
        os.chdir("/")

    def bind(self, source: int, target: str, *, is_read_only: bool) -> None:
        """Show what the descriptor `source` is open on at the path `target`."""
        is_directory = stat.S_ISDIR(os.fstat(source).st_mode)
        self._make_directories(target if is_directory else os.path.dirname(target))
        if not is_directory and not os.path.exists(target):
            self._touch(target)
        _mount(f"/proc/self/fd/{source}", target, flags=_MS_BIND | _MS_REC)
        if is_read_only:
            found = os.statvfs(target).f_flag
            kept = (found & _ST_SAME_BITS) | (_MS_RELATIME if found & _ST_RELATIME else 0)
            _mount("none", target, flags=_MS_REMOUNT | _MS_BIND | _MS_RDONLY | kept)
            self._made.discard(target)
        elif is_directory:
            self._made.add(target)  # as container runtimes do, a mount below it gets its folder in the volume itself

    def _make_directories(self, path: str) -> None:
        parent = "/"
        for name in path.strip("/").split("/"):
            below = os.path.join(parent, name)
            if not os.path.isdir(below):
                self._own(parent)
                os.mkdir(below, 0o755)
                self._made.add(below)
            parent = below

    def _touch(self, path: str) -> None:
        self._own(os.path.dirname(path))
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))

    def _own(self, directory: str) -> None:
        """Cover a directory of the machine by a copy that we may add to: nothing is ever made on the machine itself."""
        if directory in self._made:
            return
        original = os.open(directory, os.O_PATH | os.O_DIRECTORY)
        self._scratch(directory)
        self._mirror(original, directory)
        os.close(original)
        self._made.add(directory)

    def _scratch(self, directory: str) -> None:
        _mount("tmpfs", directory, flags=_MS_NOSUID | _MS_NODEV, filesystem="tmpfs", data="mode=755")

    def _mirror(self, original: int, directory: str) -> None:
        source = f"/proc/self/fd/{original}"
        for entry in os.scandir(source):
            target = f"{directory}/{entry.name}"
            if entry.is_symlink():
                os.symlink(os.readlink(f"{source}/{entry.name}"), target)
                continue
            if entry.is_dir():
                os.mkdir(target, 0o755)
            else:
                os.close(os.open(target, os.O_CREAT | os.O_WRONLY, 0o644))
            try:
                _mount(f"{source}/{entry.name}", target, flags=_MS_BIND | _MS_REC)
            except OSError:
                pass  # what the kernel lets nobody bind stays empty


def isolate(folder: str, mounts: list[list[Any]]) -> None:
    """Make the mounts `[source, target, is_read_only]` for this process and its children."""
    _enter_namespaces()
    opened = [(os.open(source, os.O_PATH), target, read_only) for source, target, read_only in mounts]
    root = PrivateRoot(folder)
    for source, target, read_only in sorted(opened, key=lambda mount: str(mount[1]).count("/")):
        root.bind(source, target, is_read_only=read_only)
        os.close(source)


def probe(folder: str) -> str:
    """Return `mounts` if isolate() works here, `rewrite` with the reason if not. `folder` is an empty directory."""
    if not _IS_LINUX:
        return f"rewrite: {sys.platform} has no mount namespaces"
    root, volume = f"{folder}/root", f"{folder}/volume"
    os.mkdir(root)
    os.mkdir(volume)
    try:
        isolate(root, [[volume, "/.atoll-probe/writable", False], [volume, "/.atoll-probe/fixed", True]])
        os.mkdir("/.atoll-probe/writable/a")
    except OSError as error:
        return f"rewrite: {error}"
    try:
        os.mkdir("/.atoll-probe/fixed/b")
    except OSError:
        return "mounts"
    return "rewrite: read-only mounts can be written"


def start(launch: dict[str, Any], supervisor: int) -> NoReturn:
    """Become the container's command, in the forked child."""
    try:
        _lead(has_terminal=launch["terminal"])
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGCHLD, signal.SIGPIPE):
            signal.signal(number, signal.SIG_DFL)
        if launch["isolation"] == "mounts":
            isolate(launch["root"], launch["mounts"])
        if _IS_LINUX:  # after isolate(): gaining capabilities clears the setting
            _libc().prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor:
                os._exit(CANNOT_START)
        os.chdir(launch["cwd"])
        os.execvpe(launch["argv"][0], launch["argv"], launch["env"])  # noqa: S606 - running the command is the point
    except FileNotFoundError as error:
        _give_up(error, NOT_FOUND)
    except PermissionError as error:
        _give_up(error, NOT_EXECUTABLE)
    except OSError as error:
        _give_up(error, CANNOT_START)


def _lead(*, has_terminal: bool) -> None:
    """Lead a process group of one's own; with a terminal, a session whose terminal that is, as shells need it."""
    if not has_terminal:
        os.setpgid(0, 0)
        return
    import fcntl
    import termios

    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _give_up(error: OSError, code: int) -> NoReturn:
    os.write(2, f"sandbox: the container cannot start: {error}\n".encode())
    os._exit(code)


def supervise(child: int, lifeline: int, signals: int) -> int:
    """Wait for the child's end; leave no process behind. Returns the exit code, 128 + n for death by signal n."""
    while True:
        ready, _, _ = select.select([lifeline, signals], [], [])
        if lifeline in ready:
            return _kill_all(child)
        for number in os.read(signals, 64):
            if number == signal.SIGTERM:
                _signal_group(child, signal.SIGTERM)
            elif number == signal.SIGUSR1:
                return _kill_all(child)
        ended = _reap(child)
        if ended is not None:
            _kill_all(child)
            return ended


def _reap(child: int) -> int | None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == child:
            return _exit_code(status)


def _signal_group(child: int, number: int) -> None:
    try:
        os.killpg(child, number)
    except (ProcessLookupError, PermissionError):
        pass  # it has ended


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _kill_all(child: int) -> int:
    """Kill the child's group and, on Linux, whatever else it started: as their subreaper we inherit the orphans."""
    code = 128 + signal.SIGKILL
    while True:
        _signal_group(child, signal.SIGKILL)
        for pid in _children(child):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            pid, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return code
        if pid == child:
            code = _exit_code(status)


def _children(child: int) -> list[int]:
    try:
        with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return [child]


def main() -> int:
    """Run the launch that the file argv[1] describes, or answer `--probe FOLDER`."""
    if sys.argv[1] == "--probe":
        sys.stdout.write(probe(sys.argv[2]))
        return 0
    with open(sys.argv[1], "rb") as file:
        launch = marshal.load(file)
    os.unlink(sys.argv[1])
    os.set_inheritable(launch["lifeline"], False)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C at a terminal is the kubelet's to handle
    if _IS_LINUX:
        _libc().prctl(_PR_SET_CHILD_SUBREAPER, 1)
    supervisor = os.getpid()
    child = os.fork()
    if child == 0:
        start(launch, supervisor)
    if not launch["terminal"]:  # the leader of a group cannot begin a session
        try:
            os.setpgid(child, child)  # in both, as shells do: a signal to the group must not come before the group
        except OSError:
            pass  # the child was faster
    return supervise(child, launch["lifeline"], reader)


if __name__ == "__main__":
    sys.exit(main())
