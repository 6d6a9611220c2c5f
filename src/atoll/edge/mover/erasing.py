"""Take files off a volume: versions that are to go, and copies that nobody wants any more.

    .trash/<dataset>.v<version>.<number>/       a version on its way out; emptied when a mover starts
    _kept/<dataset>/v<version>/                 a version that was given up, with its files kept for people

A version that Streams fed leaves its ledger with `erased_at` set and no files: it holds how far those Streams are, and
without that what a gateway's log still has would be written a second time. Must not decide what goes.
"""

import os
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path

from atoll.edge.sink.ledger import LEDGER, VersionLedger, load, save
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Internal

# KEPT is no dataset's name, and no hidden folder either: people shall find it, and may register what is in it.
TRASH, KEPT, TRANSFERS = ".trash", "_kept", ".transfers"


def erase(volume: Volume, dataset: str, version: int, *, keep_files: bool = False) -> None:
    """Take one version away; one that is gone is fine. A crash at any moment is mended by doing it again.

    Raises:
        OSError: the volume does not let it. InvalidInput: the dataset's name is none.
    """
    folder = volume.version(dataset, version)
    if not folder.is_dir():
        return
    stub = _stub_of(folder)
    if stub is not None and (folder / LEDGER).is_file() and _is_erased(folder):
        _clear(folder)
        return
    if keep_files:
        _keep(volume, folder, dataset)
    elif stub is not None:
        save(folder, stub)  # from here on the version is gone for whoever asks
        _clear(folder)
        return
    else:
        _discard(volume, folder, f"{dataset}.v{version}")
    if stub is not None:
        save(folder, stub)
    _drop_if_empty(folder.parent)


def empty_trash(volume: Volume) -> None:
    """Finish what a mover before this one had begun to delete."""
    shutil.rmtree(volume.root / TRASH, ignore_errors=True)


def clean_transfers(volume: Volume, wanted: Collection[tuple[str, int]]) -> list[str]:
    """Delete the copies under way of versions that are not wanted; give what was deleted."""
    root, cleaned = volume.root / TRANSFERS, []
    if not root.is_dir():
        return []
    wanted_folders = {volume.transfer(dataset, version) for dataset, version in wanted}
    for dataset in [Path(entry.path) for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]:
        for stage in [Path(entry.path) for entry in os.scandir(dataset)]:
            if stage not in wanted_folders:
                shutil.rmtree(stage, ignore_errors=True)
                cleaned.append(f"{dataset.name}/{stage.name}")
        _drop_if_empty(dataset)
    return cleaned


def _stub_of(folder: Path) -> VersionLedger | None:
    """Give what must outlive the files; None if nothing must. Of a damaged ledger nothing can be kept."""
    try:
        ledger = load(folder)
    except Internal:
        return None
    if ledger is None or not (ledger.marks or ledger.checkpoints):
        return None
    return VersionLedger(
        dataset=ledger.dataset,
        version=ledger.version,
        complete=True,
        completed_at=ledger.completed_at or datetime.now(UTC),
        erased_at=ledger.erased_at or datetime.now(UTC),
        produced_by=ledger.produced_by,
        marks=ledger.marks,
        checkpoints=ledger.checkpoints,
    )


def _is_erased(folder: Path) -> bool:
    ledger = load(folder)
    return ledger is not None and ledger.erased_at is not None


def _clear(folder: Path) -> None:
    """Delete all but the ledger."""
    for entry in [Path(item.path) for item in os.scandir(folder)]:
        if entry.name == RESERVED:
            for other in [Path(item.path) for item in os.scandir(entry)]:
                if f"{RESERVED}/{other.name}" != LEDGER:
                    _remove(other)
        else:
            _remove(entry)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _keep(volume: Volume, folder: Path, dataset: str) -> None:
    place = volume.root / KEPT / dataset / folder.name
    make_folder(place.parent)
    number = 1
    while place.exists():
        number += 1
        place = place.with_name(f"{folder.name}-{number}")
    folder.rename(place)
    sync_folder(place.parent)
    sync_folder(folder.parent)


def _discard(volume: Volume, folder: Path, name: str) -> None:
    """Move a version out of sight by one rename, then delete it: nobody sees half of it."""
    trash = volume.root / TRASH
    make_folder(trash)
    number = 0
    while (place := trash / f"{name}.{number}").exists():
        number += 1
    folder.rename(place)
    sync_folder(folder.parent)
    shutil.rmtree(place)


def _drop_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:  # it holds other versions, or somebody has just put one there
        return
