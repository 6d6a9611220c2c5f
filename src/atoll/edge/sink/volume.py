"""The layout of a dataset volume, and writes that survive a power loss.

    <dataset>/v<version>/<files…>               a version, growing or complete
    <dataset>/v<version>/.atoll/ledger.json     what of it is committed
    <dataset>/v<version>/.atoll/index.bin       where each reading of files that grow lies (see index)
    <dataset>/v<version>/.atoll/sealing         the segment that is being written
    <dataset>/v<version>/.atoll/left/<files…>   what a sink that was killed had begun and not committed
    .runs/<run>-e<epoch>/<dataset>/<files…>     what a run writes before it is committed
    .transfers/<dataset>/v<version>/…           a copy under way (see mover)
    .atoll/sink.lock, .atoll/mover.lock         one writer of each kind at a time

Owns paths: every name that comes from outside is checked here before it becomes one.
"""

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import structlog

from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import InvalidInput
from atoll.federation.resources.dataset import DATASET_CLAIM

log = structlog.get_logger(__name__)

_LOCK_SECONDS = 0.5
RESERVED = ".atoll"
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_VERSION = re.compile(r"v([1-9][0-9]*)")


class Volume:
    """One mounted dataset volume."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def version(self, dataset: str, version: int) -> Path:
        """Folder of one version.

        Raises:
            InvalidInput: the dataset's name is no DNS-1123 subdomain.
        """
        return self.root / _checked("dataset", dataset) / f"v{version}"

    def run_output(self, run: str, epoch: int, dataset: str) -> Path:
        """Folder in which a run wrote what is to become a version. Raises InvalidInput as `version`."""
        return self.root / ".runs" / f"{_checked('run', run)}-e{epoch}" / _checked("dataset", dataset)

    def transfer(self, dataset: str, version: int) -> Path:
        """Folder in which a copy grows until it is whole. Raises InvalidInput as `version`."""
        return self.root / ".transfers" / _checked("dataset", dataset) / f"v{version}"

    def datasets(self) -> list[str]:
        """Names of the datasets that have a folder."""
        return sorted(entry.name for entry in os.scandir(self.root) if entry.is_dir() and _NAME.fullmatch(entry.name))

    def versions(self, dataset: str) -> list[int]:
        """Versions of a dataset that have a folder, ascending."""
        folder = self.root / _checked("dataset", dataset)
        if not folder.is_dir():
            return []
        found = (_VERSION.fullmatch(entry.name) for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
        return sorted(int(match[1]) for match in found if match)

    def keep(self, dataset: str) -> None:
        """Make the names survive that are seen of a dataset and its newest version.

        A process that was killed may have made them and not synced. Who sees them would take them for kept, and what a
        ledger says would be promised to gateways that then forget it.
        """
        sync_folder(self.root / _checked("dataset", dataset))
        for version in self.versions(dataset)[-1:]:
            for folder, _, _ in os.walk(self.version(dataset, version)):
                sync_folder(Path(folder))

    def describe(self, error: OSError) -> str:
        """Say why the volume refuses a write, and where to look."""
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            return f"volume {self.root}: {error}"
        total, _, free = shutil.disk_usage(self.root)
        return (
            f"volume {self.root} is full: {error.strerror}, {free:,} of {total:,} bytes free; readings wait in the "
            f"gateway's log and outbox. Make claim {DATASET_CLAIM} of this namespace larger, or delete datasets"
        )

    def try_lock(self, role: str) -> int | None:
        """Take the lock of a role (`sink`, `mover`); None while another process has it. The process's end frees it."""
        make_folder(self.root / RESERVED)
        lock = os.open(self.root / RESERVED / f"{role}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            return None
        return lock


@contextlib.asynccontextmanager
async def locked(volume: Volume, role: str) -> AsyncIterator[None]:
    """Hold a role's lock, waiting for it: when a Deployment replaces a pod, the old one may be there for a moment."""
    is_told = False
    while (lock := await asyncio.to_thread(volume.try_lock, role)) is None:
        if not is_told:
            log.warning("waits for another process on the same volume to end", role=role, root=str(volume.root))
        is_told = True
        await asyncio.sleep(_LOCK_SECONDS)
    try:
        yield
    finally:
        os.close(lock)


def _checked(what: str, name: str) -> str:
    if len(name) > 253 or not _NAME.fullmatch(name):
        raise InvalidInput(f"{what} {name[:80]!r}: not a DNS-1123 subdomain")
    return name


def replace_durably(path: Path, data: bytes) -> None:
    """Put bytes in a file's place: after a crash at any moment the file is the old one or the new one, whole."""
    put_whole(path.with_name(f"{path.name}.new"), path, data)
    sync_folder(path.parent)


def put_whole(temporary: Path, path: Path, data: Any) -> None:
    """Bring a file into its place at once, whole and synced; its name survives once its folder is synced."""
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    try:
        write_at(descriptor, data, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.replace(path)


def write_at(descriptor: int, data: Any, offset: int) -> None:
    """Write all bytes at an offset."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
