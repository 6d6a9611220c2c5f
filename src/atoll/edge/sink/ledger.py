"""The ledger of a dataset version: what is committed in its files. Kept beside them; it is the only checkpoint.

Owns the form of `.atoll/ledger.json` and the manifest hash. It must not know how the files are written.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Literal

import orjson
from pydantic import ValidationError

from atoll.edge.sink.index import INDEX
from atoll.edge.sink.volume import RESERVED, Volume, replace_durably
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.durable import make_folder
from atoll.federation.errors import Internal
from atoll.federation.resources.base import Model, NonNegative
from atoll.federation.resources.dataset import Ledger

LEDGER = f"{RESERVED}/ledger.json"


class Mark(Model):
    """The newest envelope of one outbox's Stream that is in *this dataset*; a later one is new to it."""

    gateway: str
    stream: str
    outbox: str
    envelope: NonNegative


class Checkpoint(Model):
    """How far one outbox's Stream is in files, *over all datasets*, and where in the log that is.

    `log_created` names the log; in another one `log_sequence` means nothing.
    """

    gateway: str
    stream: str
    outbox: str
    envelope: NonNegative
    sequence: NonNegative
    log_sequence: NonNegative
    log_created: str


class Segment(Model):
    """One sealed file: which readings of one outbox it holds. `files` has its size and hash."""

    path: str
    gateway: str
    stream: str
    outbox: str
    readings: NonNegative
    first: NonNegative
    last: NonNegative
    first_at: datetime
    last_at: datetime
    is_late: bool = False


class Index(Model):
    """The file that says where each reading of growing files lies (index.py); its records count into these lists."""

    bytes: NonNegative = 0
    sha256: str = hashlib.sha256().hexdigest()
    files: tuple[str, ...] = ()
    outboxes: tuple[str, ...] = ()


class VersionLedger(Model):
    """Everything that is known of one version. A file's bytes beyond what is stated here do not count."""

    format: Literal[1] = 1
    dataset: str
    version: int
    complete: bool = False
    completed_at: datetime | None = None
    # Set once the files are deleted: what stays is how far Streams are, so that nothing comes a second time.
    erased_at: datetime | None = None
    produced_by: str = ""
    run_epoch: int | None = None
    files: tuple[ManifestFile, ...] = ()
    ledger: Ledger = Ledger()
    manifest_sha256: str = ""
    # How many segments were ever numbered, and those that are there.
    numbered: NonNegative = 0
    segments: tuple[Segment, ...] = ()
    index: Index | None = None
    marks: tuple[Mark, ...] = ()
    checkpoints: tuple[Checkpoint, ...] = ()

    @property
    def bytes(self) -> int:
        """Size of all committed content."""
        return sum(file.bytes for file in self.files)

    def proven_files(self) -> tuple[ManifestFile, ...]:
        """Give the files and the index: what a whole copy has beside the ledger, and the Merkle root is over."""
        if self.index is None:
            return self.files
        return (*self.files, ManifestFile(path=INDEX, bytes=self.index.bytes, sha256=self.index.sha256))


def manifest_sha256(files: Iterable[ManifestFile]) -> str:
    """Give one hash over paths, sizes and contents, independent of their order."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.path):
        digest.update(f"{file.path}\0{file.bytes}\0{file.sha256}\n".encode())
    return digest.hexdigest()


def load(folder: Path) -> VersionLedger | None:
    """Read the ledger of a version's folder; None if it has none yet.

    Raises:
        Internal: the ledger is damaged.
    """
    try:
        return VersionLedger.model_validate_json((folder / LEDGER).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValidationError as error:
        raise Internal(f"{folder / LEDGER} is damaged: {error.error_count()} fields are not readable") from error


def save(folder: Path, ledger: VersionLedger) -> None:
    """Commit a version: from here on it is what this ledger says, also after a power loss."""
    make_folder(folder / RESERVED)
    replace_durably(folder / LEDGER, as_text(ledger))


def as_text(ledger: VersionLedger) -> bytes:
    """Give a ledger as it stands in its file. TypeError if a number in it has more than 64 bits: no sink wrote it."""
    return orjson.dumps(ledger.wire(), option=orjson.OPT_INDENT_2)


def newest(volume: Volume, dataset: str) -> VersionLedger | None:
    """Read the ledger of the newest version that has one."""
    for version in reversed(volume.versions(dataset)):
        ledger = load(volume.version(dataset, version))
        if ledger is not None:
            return ledger
    return None
