"""The home folder of what Atoll runs on this machine: its layout, its lock, its ports and the state others read.

Owns the paths and their atomic writing. It starts and stops no process.
"""

import contextlib
import errno
import fcntl
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import orjson
from pydantic import ValidationError

from atoll.federation.errors import Conflict, Unavailable

if TYPE_CHECKING:
    from atoll.local.state import State  # loads all models; most who have a home do not ask what runs in it
HOME_VARIABLE = "ATOLL_HOME"


@dataclass(frozen=True)
class Home:
    """One folder, one federation."""

    root: Path

    @classmethod
    def at(cls, folder: str) -> Self:
        """Give the home in a folder that a person named."""
        return cls(Path(folder).expanduser().absolute())

    @property
    def logs(self) -> Path:
        """Where each process writes its log."""
        return self.root / "logs"

    @property
    def state_file(self) -> Path:
        """What runs here: written by the supervisor, read by every other command."""
        return self.root / "state.json"

    @property
    def lock_file(self) -> Path:
        """Locked while a supervisor lives; the kernel lets go of it however the supervisor ends."""
        return self.root / "lock"

    @property
    def ports_file(self) -> Path:
        """The ports that this home was given; they stay, so that clients find it after a restart."""
        return self.root / "ports.json"

    @property
    def kubeconfig(self) -> Path:
        """How clients reach this home's hub as its administrator."""
        return self.root / "kubeconfig"

    @property
    def previous_context(self) -> Path:
        """Names the context of the user's kubeconfig that was the current one before this home's hub was."""
        return self.root / "previous-context"

    def hold_file(self, process: str) -> Path:
        """While this file is there, the supervisor does not start a process again that has ended."""
        return self.root / "held" / process

    def folder(self, name: str) -> Path:
        """Make a folder of this home that one process owns."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def is_running(self) -> bool:
        """Tell whether a supervisor holds this home right now."""
        if not self.lock_file.exists():
            return False
        with self.lock_file.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def read_state(self) -> "State | None":
        """Read what was last written; None if nothing (readable) is there."""
        from atoll.local.state import State

        try:
            return State.model_validate_json(self.state_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def write_state(self, state: "State") -> None:
        """Replace the state in one step: a reader sees the old or the new one."""
        write_atomically(self.state_file, orjson.dumps(state.wire(), option=orjson.OPT_INDENT_2))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold this home for one supervisor.

        Raises:
            Conflict: another supervisor holds it; the message says which and how to stop it.
        Unavailable: the folder cannot be made or written.
        """
        with self._opened_lock() as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(self._occupied()) from None
            yield

    def _opened_lock(self) -> BinaryIO:
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            return self.lock_file.open("ab")
        except OSError as error:
            why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror or str(error)
            message = f"the home folder {self.root} cannot be used: {why}; choose another one with --home"
            raise Unavailable(message) from error

    def _occupied(self) -> str:
        state = self.read_state()
        command = state.stop_command if state else "atoll down"
        where = ""
        if self not in (Home(default_home()), Home(default_home() / "sandbox"), Home(default_home() / "demo")):
            where = f" and --home {shlex.quote(str(self.root))},"
        who = f" (process {state.pid})" if state else ""
        return f"already running in {self.root}{who}: stop it with '{command}'{where} or use another folder with --home"


def default_home() -> Path:
    """Give $ATOLL_HOME, or ~/.atoll."""
    configured = os.environ.get(HOME_VARIABLE)
    return Path(configured).expanduser() if configured else Path.home() / ".atoll"


def running_homes(root: Path) -> list[Home]:
    """Find the homes in use under a root: the hub's own, the sandbox's and that of a demo that was kept."""
    candidates = (Home(root), Home(root / "sandbox"), Home(root / "demo"))
    return [home for home in candidates if home.is_running()]


def write_atomically(path: Path, content: bytes, *, mode: int | None = None, durable: bool = False) -> None:
    """Write a file so that no reader ever sees half of it.

    Args:
        path: the file; it is replaced.
        content: all of it.
        mode: its permissions, exactly; None means those that the process gives to new files.
        durable: return only when it would survive a power loss, which costs an fsync.

    Raises:
        Unavailable: the file system refuses, for instance because it is full.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if mode else 0o666), "wb") as file:
            if mode is not None:
                os.fchmod(file.fileno(), mode)
            file.write(content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        remedy = "; free some space there, or choose another folder with --home" if error.errno == errno.ENOSPC else ""
        raise Unavailable(f"cannot write {path}: {error.strerror or error}{remedy}") from error
