"""The ends of logs whose pods are gone, on the agent's disk: for whoever asks why a run was stopped, or what it said.

Owns a folder with a file for each pod. It is a courtesy, not a record: at most 1,000 logs of 64 KiB are kept, 50 of a
run, and the oldest go first. A disk that takes nothing loses a log, never a run. It must not know pods or the cluster.
"""

import hashlib
from collections import defaultdict
from pathlib import Path

import structlog

from atoll.federation.bus.messages import Message
from atoll.federation.errors import Internal

log = structlog.get_logger(__name__)

LONGEST_BYTES = 64 * 1024
MOST_OF_A_RUN = 50
_MOST = 1000
_SUFFIX = ".log"


class KeptLog(Message):
    """Of which pod a log is; `is_cut`: it began before what is kept. `created_at` orders the pods of a run."""

    namespace: str
    run: str
    pod: str
    uid: str
    task: int | None = None
    created_at: str = ""
    is_cut: bool = False

    @property
    def key(self) -> str:
        """The run, as `namespace/name`."""
        return f"{self.namespace}/{self.run}"


class KeptLogs:
    """The logs that are kept. One process at a time uses the folder: see shelf.lock."""

    def __init__(self, folder: Path, *, most: int = _MOST) -> None:
        self._folder, self._most = folder, most
        self._paths: dict[str, KeptLog] = {}  # by name of the file, oldest first
        self._of_run: dict[str, set[str]] = defaultdict(set)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            found = sorted(folder.glob(f"*{_SUFFIX}"), key=lambda path: path.stat().st_mtime)
        except OSError as error:
            log.warning("the kept logs cannot be read", folder=str(folder), reason=error.strerror)
            return
        for path in found:
            self._recall(path)

    def put(self, about: KeptLog, text: bytes) -> None:
        """Keep a log, instead of what was kept of the same pod, and drop the oldest ones that are too many."""
        name = _file_name(about)
        beside = self._folder / f"{name}.tmp"
        try:
            beside.write_bytes(about.encode() + b"\n" + text[-LONGEST_BYTES:])
            beside.replace(self._folder / name)
        except OSError as error:
            log.warning("a log was not kept", run=about.key, pod=about.pod, reason=error.strerror)
            return
        self._note(name, about)
        of_run = self._of_run[about.key]
        if len(of_run) > MOST_OF_A_RUN:
            self._drop(next(each for each in self._paths if each in of_run))
        while len(self._paths) > self._most:
            self._drop(next(iter(self._paths)))

    def of(self, namespace: str, run: str) -> list[tuple[KeptLog, bytes]]:
        """Give what is kept of a run, oldest pod first."""
        found = []
        for name in self._of_run.get(f"{namespace}/{run}", ()):
            try:
                _, _, text = (self._folder / name).read_bytes().partition(b"\n")
            except OSError as error:
                log.warning("a kept log cannot be read", file=name, reason=error.strerror)
                continue
            found.append((self._paths[name], text))
        return sorted(found, key=lambda each: (each[0].created_at, each[0].pod))

    def forget(self, key: str) -> None:
        """Drop what is kept of a run (`namespace/name`): another one may come to have its name."""
        for name in tuple(self._of_run.get(key, ())):
            self._drop(name)

    def _recall(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._note(path.name, KeptLog.decode(file.readline()))
        except (OSError, Internal):  # half written when the power went, or of another version: nobody will miss it
            path.unlink(missing_ok=True)

    def _note(self, name: str, about: KeptLog) -> None:
        self._paths.pop(name, None)
        self._paths[name] = about
        self._of_run[about.key].add(name)

    def _drop(self, name: str) -> None:
        about = self._paths.pop(name)
        self._of_run[about.key].discard(name)
        if not self._of_run[about.key]:
            del self._of_run[about.key]
        (self._folder / name).unlink(missing_ok=True)


def _file_name(about: KeptLog) -> str:
    return hashlib.sha256(f"{about.key}/{about.uid}".encode()).hexdigest()[:40] + _SUFFIX
