"""Make what a run wrote under `.runs/` a dataset version: hash, ledger, fsync, one rename.

The rename is the commit: before it no version exists, after it the version is whole. Only regular files in folders
become a dataset. A run that left anything else (a link, a socket, a device) is refused, since a version that silently
lacked what its run wrote would be worse; so is a file name that is no UTF-8 or holds control characters. `.atoll` at
the top is Atoll's: what a run put there is removed.
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from atoll.edge.sink.hashing import sha256_of
from atoll.edge.sink.ledger import VersionLedger, load, manifest_sha256, save
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.bus.data_messages import CommitOrder, ManifestFile
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Conflict, InvalidInput, NotFound


def seal(volume: Volume, order: CommitOrder) -> VersionLedger:
    """Commit a run's output as the version that the order names; doing it again changes nothing.

    Raises:
        Conflict: the version exists and another run, or another epoch of this one, made it.
        NotFound: the run's folder is not there.
        InvalidInput: the output holds something that no dataset may hold.
    """
    target = volume.version(order.dataset, order.version)
    if target.exists():
        sync_folder(target.parent)  # whoever made it may have been killed before that
        return _existing(target, order)
    source = volume.run_output(order.run, order.epoch, order.dataset)
    if not source.is_dir() or source.is_symlink():
        raise NotFound(f"{source.relative_to(volume.root)}: the run left no such folder")
    _clear_reserved(source)
    files = tuple(
        ManifestFile(path=path, bytes=size, sha256=digest)
        for path in sorted(regular_files(source))
        for size, digest in [sha256_of(source / path, sync=True)]
    )
    ledger = VersionLedger(
        dataset=order.dataset,
        version=order.version,
        complete=True,
        completed_at=datetime.now(UTC),
        produced_by=order.run,
        run_epoch=order.epoch,
        files=files,
        manifest_sha256=manifest_sha256(files),
    )
    save(source, ledger)
    for folder, _, _ in os.walk(source):
        sync_folder(Path(folder))
    make_folder(target.parent)
    source.rename(target)
    sync_folder(target.parent)
    return ledger


def _existing(target: Path, order: CommitOrder) -> VersionLedger:
    ledger = load(target)
    if ledger and ledger.complete and (ledger.produced_by, ledger.run_epoch) == (order.run, order.epoch):
        return ledger
    owner = f"made by {ledger.produced_by} epoch {ledger.run_epoch}" if ledger else "not committed"
    raise Conflict(
        f"{order.dataset} version {order.version} exists, {owner}; epoch {order.epoch} of {order.run} is not committed"
    )


def regular_files(folder: Path, prefix: str = "") -> Iterator[str]:
    """Give the paths of all files below a folder, with `/` between names.

    Raises:
        InvalidInput: something is neither a file nor a folder, or its name is not acceptable.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            path = f"{prefix}{entry.name}"
            if not entry.name.isprintable():  # surrogates of undecodable bytes are not printable either
                raise InvalidInput(f"{path!r}: a file name must be UTF-8 without control characters")
            if entry.is_dir(follow_symlinks=False):
                yield from regular_files(Path(entry.path), f"{path}/")
            elif entry.is_file(follow_symlinks=False):
                yield path
            else:
                raise InvalidInput(f"{path}: a dataset holds regular files only, no links, pipes or devices")


def _clear_reserved(source: Path) -> None:
    reserved = source / RESERVED
    if reserved.is_symlink() or reserved.is_file():
        reserved.unlink()
    elif reserved.exists():
        shutil.rmtree(reserved)
