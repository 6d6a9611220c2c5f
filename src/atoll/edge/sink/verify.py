"""Prove a version from its files alone: recompute everything that its ledger states. Changes nothing."""

from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atoll.edge.sink.hashing import sha256_of
from atoll.edge.sink.index import read_index, spans
from atoll.edge.sink.ledger import VersionLedger, load, manifest_sha256
from atoll.edge.sink.merkle import merkle_root
from atoll.edge.sink.sealing import regular_files
from atoll.edge.sink.segments import numbers_in
from atoll.edge.sink.volume import RESERVED, Volume
from atoll.federation.bus.data_messages import ManifestFile, VerifyReport
from atoll.federation.errors import AtollError, InvalidInput, NotFound
from atoll.federation.resources.dataset import FeedLedger, SourceLedger

_Found = dict[tuple[str, str], list[npt.NDArray[Any]]]  # stream and outbox → numbers of readings


def verify(root: Path, dataset: str, version: int) -> VerifyReport:
    """Read every file of a version again and compare with the ledger.

    Raises:
        NotFound: there is no such version. InvalidInput: the dataset's name is none. Internal: the ledger is damaged.
    """
    folder = Volume(root).version(dataset, version)
    ledger = load(folder)
    if ledger is None or ledger.erased_at is not None:
        raise NotFound(f"dataset {dataset} has no version {version} here")
    problems = [*_file_problems(folder, ledger), *_unexpected(folder, ledger), *_ledger_problems(ledger)]
    readings = 0
    if not problems:  # where a file is damaged, numbers in it say nothing
        readings, problems = _reading_problems(folder, ledger)
    return VerifyReport(
        dataset=dataset,
        version=version,
        complete=ledger.complete,
        bytes=ledger.bytes,
        files=len(ledger.files),
        received=ledger.ledger.received,
        gaps=ledger.ledger.gaps,
        duplicates=ledger.ledger.duplicates,
        shed=ledger.ledger.shed,
        late=ledger.ledger.late,
        readings=readings,
        manifest_sha256=manifest_sha256(ledger.files),
        merkle_root=merkle_root(ledger.proven_files()),
        problems=tuple(problems),
    )


def _file_problems(folder: Path, ledger: VersionLedger) -> list[str]:
    return [problem for file in ledger.proven_files() if (problem := _file_problem(folder, file, ledger.complete))]


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
    problems, counts = [], ledger.ledger
    if ledger.complete and manifest_sha256(ledger.files) != ledger.manifest_sha256:
        problems.append("the ledger's manifest hash is not that of its files")
    if counts.merkle_root and merkle_root(ledger.proven_files()) != counts.merkle_root:
        problems.append("the ledger's Merkle root is not that of its files")
    if sum(source.received for source in counts.sources) != counts.received:
        problems.append("the readings per source do not add up to what was received")
    hashes = {file.path: (file.bytes, file.sha256) for file in ledger.files}
    problems += [
        f"{source.file}: source {source.source} states another size or hash than the file list"
        for source in counts.sources
        if source.file and hashes.get(source.file) != (source.bytes, source.sha256)
    ]
    for name in ("gaps", "shed", "duplicates"):
        if sum(getattr(feed, name) for feed in counts.feeds) > getattr(counts, name):
            problems.append(f"the {name} per outbox are more than those of the version")
    return problems


def _reading_problems(folder: Path, ledger: VersionLedger) -> tuple[int, list[str]]:
    """Count the readings in the files by their numbers, and compare with what the ledger says was received."""
    problems: list[str] = []
    found: _Found = defaultdict(list)
    _read_index(folder, ledger, found, problems)
    for segment in ledger.segments:
        try:
            numbers = numbers_in(folder / segment.path)
        except (AtollError, OSError) as error:
            problems.append(f"{segment.path}: its readings cannot be counted: {error}")
            continue
        found[segment.stream, segment.outbox].append(numbers)
        stated = (segment.readings, segment.first, segment.last)
        if not numbers.size or (numbers.size, numbers.min(), numbers.max()) != stated:
            problems.append(
                f"{segment.path}: has {numbers.size} readings, not {stated[0]} from {stated[1]} to {stated[2]}"
            )
    whole = {key: np.concatenate(parts) for key, parts in found.items()}
    for feed in ledger.ledger.feeds:
        problems += _feed_problems(feed, whole.pop((feed.stream, feed.outbox), np.empty(0, np.uint64)))
    problems += [f"the ledger does not know outbox {outbox} of stream {stream}" for stream, outbox in whole]
    return sum(part.size for parts in found.values() for part in parts), problems


def _read_index(folder: Path, ledger: VersionLedger, found: _Found, problems: list[str]) -> None:
    if ledger.index is None:
        return
    table = read_index(folder / f"{RESERVED}/index.bin", ledger.index.bytes)
    sources = {source.file: source for source in ledger.ledger.sources if source.file}
    for number, path in enumerate(ledger.index.files):
        records, source = table[table["file"] == number], sources.get(path)
        if source is None:
            problems.append(f"{path}: is in the index, and no source's")
            continue
        problems += _tiling_problems(path, source, records)
        for outbox in np.unique(records["outbox"]).tolist():
            own = records["sequence"][records["outbox"] == outbox]
            found[source.stream, ledger.index.outboxes[outbox]].append(own)


def _tiling_problems(path: str, source: SourceLedger, records: npt.NDArray[Any]) -> list[str]:
    """Records of a file follow each other up to its end, without a gap; before the first lies what old sinks wrote."""
    ends = records["offset"] + records["size"]
    is_tiled = records.size > 0 and bool(np.all(records["offset"][1:] == ends[:-1])) and int(ends[-1]) == source.bytes
    is_whole = records.size == source.received and int(records["offset"][0]) == 0 if records.size else False
    is_older = records.size < source.received and records.size > 0 and int(records["offset"][0]) > 0
    if is_tiled and (is_whole or is_older):
        return []
    return [
        f"{path}: the index has {records.size} readings that do not cover its {source.received} in {source.bytes} bytes"
    ]


def _feed_problems(feed: FeedLedger, numbers: npt.NDArray[Any]) -> list[str]:
    name = f"stream {feed.stream}, outbox {feed.outbox}"
    found = list(spans(numbers))
    if any(left[1] >= right[0] for left, right in pairwise(found)):
        return [f"{name}: a reading is there twice"]
    if numbers.size != feed.received or len(found) != feed.interval_count:
        stated = f"{feed.received} in {feed.interval_count}"
        return [f"{name}: {numbers.size} readings in {len(found)} intervals are there, not {stated}"]
    listed = [(interval.first, interval.last) for interval in feed.intervals]
    expected = [*found[: len(listed) - 1], *found[-1:]] if listed else []
    return [] if listed == expected else [f"{name}: other readings are there than the ledger says"]
