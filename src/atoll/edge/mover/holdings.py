"""What is on a volume: every version of every dataset, read from the ledgers; and whose turn it is to tell of it.

Owns `.atoll/volume.json`: what an earlier mover told, and this one did not tell again, is not there any more; nor is
what was on the volume that this one has replaced. Reads only, but for that.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import structlog
from pydantic import ValidationError

from atoll.edge.sink.ledger import LEDGER, VersionLedger, load
from atoll.edge.sink.volume import RESERVED, Volume, replace_durably
from atoll.federation.bus.data_messages import HeldVersion
from atoll.federation.durable import make_folder
from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model

log = structlog.get_logger(__name__)

_NAME = f"{RESERVED}/volume.json"


class VolumeName(Model):
    """Since when this volume is, and which mover it has: each has a higher `turn` than those before it."""

    made_at: datetime
    turn: int


class Room(NamedTuple):
    """How much a volume holds: of its file system, and of datasets by their ledgers."""

    total_bytes: int
    free_bytes: int
    used_bytes: int


def taken_over(volume: Volume) -> VolumeName:
    """Take the next turn on a volume, of which the caller is the only mover."""
    path, now = volume.root / _NAME, datetime.now(UTC)
    try:
        before = VolumeName.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        before = VolumeName(made_at=now, turn=0)
    # By the clock, so that the first turn on a volume that was made anew is later than the last on the one before.
    name = VolumeName(made_at=before.made_at, turn=max(before.turn + 1, int(now.timestamp())))
    make_folder(path.parent)
    replace_durably(path, name.model_dump_json(by_alias=True).encode())
    return name


class Holdings:
    """The versions on one volume; a ledger is read again only when it was written again."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._known: dict[Path, tuple[tuple[int, int], HeldVersion | None]] = {}

    def scan(self) -> dict[str, tuple[HeldVersion, ...]]:
        """Give the versions of each dataset that has any, ascending. Raises OSError if the volume is not readable."""
        found = {dataset: tuple(self._versions(dataset)) for dataset in self._volume.datasets()}
        return {dataset: versions for dataset, versions in found.items() if versions}

    def room(self, held: dict[str, tuple[HeldVersion, ...]]) -> Room:
        """Measure the volume."""
        disk = os.statvfs(self._volume.root)
        used = sum(version.bytes for versions in held.values() for version in versions)
        return Room(disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize, used)

    def _versions(self, dataset: str) -> Iterator[HeldVersion]:
        for version in self._volume.versions(dataset):
            held = self._read(self._volume.version(dataset, version))
            if held is not None:
                yield held

    def _read(self, folder: Path) -> HeldVersion | None:
        try:
            stat = (folder / LEDGER).stat()
        except (FileNotFoundError, NotADirectoryError):
            self._known.pop(folder, None)
            return None
        # The inode too: a ledger is replaced, and two of one moment have the same time on some file systems.
        stamp, known = (stat.st_mtime_ns, stat.st_ino), self._known.get(folder)
        if known is None or known[0] != stamp:
            known = self._known[folder] = (stamp, _held(folder))
        return known[1]


def _held(folder: Path) -> HeldVersion | None:
    try:
        ledger = load(folder)
    except Internal as error:
        log.error("a ledger is damaged", folder=str(folder), problem=str(error))
        return None
    if ledger is None or ledger.erased_at is not None:
        return None
    return held_version(ledger)


def held_version(ledger: VersionLedger) -> HeldVersion:
    """Tell of a version what the hub is told of it."""
    return HeldVersion(
        version=ledger.version,
        complete=ledger.complete,
        bytes=ledger.bytes,
        files=len(ledger.files),
        manifest_sha256=ledger.manifest_sha256,
        produced_by=ledger.produced_by,
        completed_at=ledger.completed_at,
    )
