"""Prove a version from its files alone: recompute everything that its ledger states. Changes nothing."""

from pathlib import Path

from atoll.edge.sink.hashing import sha256_of
from atoll.edge.sink.ledger import VersionLedger, load, manifest_sha256
from atoll.edge.sink.sealing import regular_files
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.bus.data_messages import ManifestFile, VerifyReport
from atoll.federation.errors import InvalidInput, NotFound


def verify(root: Path, dataset: str, version: int) -> VerifyReport:
    """Read every file of a version again and compare with the ledger.

    Raises:
        NotFound: there is no such version. InvalidInput: the dataset's name is none. Internal: the ledger is damaged.
    """
    folder = Volume(root).version(dataset, version)
    ledger = load(folder)
    if ledger is None:
        raise NotFound(f"dataset {dataset} has no version {version} here")
    problems = [*_file_problems(folder, ledger), *_unexpected(folder, ledger), *_ledger_problems(ledger)]
    return VerifyReport(
        dataset=dataset,
        version=version,
        complete=ledger.complete,
        bytes=ledger.bytes,
        files=len(ledger.files),
        received=ledger.ledger.received,
        gaps=ledger.ledger.gaps,
        duplicates=ledger.ledger.duplicates,
        manifest_sha256=manifest_sha256(ledger.files),
        problems=tuple(problems),
    )


def _file_problems(folder: Path, ledger: VersionLedger) -> list[str]:
    return [problem for file in ledger.files if (problem := _file_problem(folder, file, ledger.complete))]


def _file_problem(folder: Path, file: ManifestFile, complete: bool) -> str:
    path = folder / file.path
    try:
        # What lies behind the committed part of a growing version is a write under way.
        size, digest = sha256_of(path, limit=None if complete else file.bytes)
    except OSError as error:
        return f"{file.path}: cannot be read: {error.strerror}"
    if size != file.bytes:
        return f"{file.path}: has {size} bytes, the ledger says {file.bytes}"
    return "" if digest == file.sha256 else f"{file.path}: its SHA-256 is {digest}, the ledger says {file.sha256}"


def _unexpected(folder: Path, ledger: VersionLedger) -> list[str]:
    if not ledger.complete:
        return []
    known = {file.path for file in ledger.files}
    try:
        found = {path for path in regular_files(folder) if not path.startswith(f"{RESERVED}/")}
    except InvalidInput as error:
        return [str(error)]
    return [f"{path}: is not in the ledger" for path in sorted(found - known)]


def _ledger_problems(ledger: VersionLedger) -> list[str]:
    """Compare the ledger's numbers with each other."""
    problems = []
    if ledger.complete and manifest_sha256(ledger.files) != ledger.manifest_sha256:
        problems.append("the ledger's manifest hash is not that of its files")
    sources = ledger.ledger.sources
    if sum(source.received for source in sources) != ledger.ledger.received:
        problems.append("the readings per source do not add up to what was received")
    hashes = {file.path: (file.bytes, file.sha256) for file in ledger.files}
    problems += [
        f"{source.file}: source {source.source} states another size or hash than the file list"
        for source in sources
        if hashes.get(source.file) != (source.bytes, source.sha256)
    ]
    return problems
