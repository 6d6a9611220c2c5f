"""Make files that are on the volume already a version: scan, hash, ledger, fsync, one rename.

Owns what may be registered: a folder below the volume's own, reached through no link, that is not Atoll's already.
Doing it again changes nothing: the version says which folder it was made of.
"""

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

from atoll.edge.mover.erasing import KEPT
from atoll.edge.sink.hashing import sha256_of
from atoll.edge.sink.ledger import VersionLedger, load, manifest_sha256, save
from atoll.edge.sink.sealing import regular_files
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.errors import Conflict, InvalidInput, NotFound
from atoll.federation.resources.dataset import origin_of


def register(volume: Volume, dataset: str, path: str, *, said: Callable[[int], None]) -> VersionLedger:
    """Make the folder `path` the dataset's next version.

    Args:
        volume: the namespace's volume in this cluster.
        dataset: whose version it becomes.
        path: relative to the volume's folder.
        said: told how many bytes have been read, after each file.

    Raises:
        NotFound: there is no such folder, yet. InvalidInput: it may not be registered. Conflict: the dataset grows.
    """
    versions = {number: load(volume.version(dataset, number)) for number in volume.versions(dataset)}
    for ledger in versions.values():
        if ledger is not None and ledger.produced_by == origin_of(path) and ledger.erased_at is None:
            return ledger
    growing = [number for number, ledger in versions.items() if ledger is not None and not ledger.complete]
    if growing:
        raise Conflict(f"dataset {dataset} version {growing[0]} still grows: nothing can be registered beside it")
    source = _folder(volume, path)
    target = _target(volume, dataset, source, versions)
    ledger = _ledger(source, path, said=said)
    ledger = ledger.model_copy(update={"dataset": dataset, "version": int(target.name[1:])})
    save(source, ledger)
    for folder, _, _ in os.walk(source):
        sync_folder(Path(folder))
    if source != target:
        _move(source, target)
    return ledger


def _folder(volume: Volume, path: str) -> Path:
    """Find the folder without following a link, and without leaving the volume."""
    parts = PurePosixPath(path).parts
    if not parts or "/".join(parts) != path or any(part.startswith(".") or part == "/" for part in parts):
        raise InvalidInput(f"path {path[:80]!r}: name a folder below the volume's own, such as imports/2024")
    folder = volume.root
    for part in parts:
        folder /= part
        if folder.is_symlink():
            raise InvalidInput(f"path {path}: {part!r} is a link; only folders of the volume itself can be registered")
        if not folder.is_dir():
            raise NotFound(f"path {path}: there is no such folder on the volume")
        ledger = load(folder)
        # One of this very folder is of an attempt that died before its rename; those in KEPT were given up.
        if ledger is not None and ledger.produced_by != origin_of(path) and parts[0] != KEPT:
            raise InvalidInput(f"path {path}: is in version {ledger.version} of dataset {ledger.dataset} already")
    return folder


def _target(volume: Volume, dataset: str, source: Path, versions: dict[int, VersionLedger | None]) -> Path:
    """Choose the version: the next one, or the one in whose place the files were put."""
    for number, ledger in versions.items():
        if ledger is None and volume.version(dataset, number) == source:
            return source
    return volume.version(dataset, max(versions, default=0) + 1)


def _ledger(source: Path, path: str, *, said: Callable[[int], None]) -> VersionLedger:
    files: list[ManifestFile] = []
    read = 0
    for name in sorted(regular_files(source)):
        if name.startswith(f"{RESERVED}/"):
            continue  # of an attempt before this one
        if f"/{RESERVED}/" in name:
            raise InvalidInput(f"path {path}: {name} belongs to a version that Atoll keeps; register other folders")
        size, digest = sha256_of(source / name, sync=True)
        files.append(ManifestFile(path=name, bytes=size, sha256=digest))
        read += size
        said(read)
    return VersionLedger(
        dataset="", version=1, complete=True, completed_at=datetime.now(UTC), produced_by=origin_of(path),
        files=tuple(files), manifest_sha256=manifest_sha256(files),
    )  # fmt: skip


def _move(source: Path, target: Path) -> None:
    make_folder(target.parent)
    try:
        source.rename(target)
    except OSError as error:
        raise Conflict(f"{target.parent.name} {target.name} could not be put in place: {error.strerror}") from error
    sync_folder(target.parent)
    sync_folder(source.parent)
