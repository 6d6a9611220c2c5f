"""One growing dataset version: appends readings to its files and commits them by its ledger.

A commit is: write behind the committed length, fsync, then replace the ledger. So a crash at any moment leaves files
whose committed part is whole, and what lies behind it is written over. Calls block on the disk and must not overlap.
"""

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.formats import Format, encode, file_name, format_of
from atoll.edge.sink.ledger import Checkpoint, Mark, VersionLedger, load, manifest_sha256, save
from atoll.edge.sink.volume import make_folder, sync_folder, write_at
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.bus.envelope import Envelope
from atoll.federation.errors import Internal
from atoll.federation.resources.dataset import Ledger, SourceLedger

_READ_BYTES = 1 << 20


class Arrival(NamedTuple):
    """An envelope on its way into a version; `missing` and `repeated` readings of its Stream were noticed before it."""

    envelope: Envelope
    form: Format
    missing: int = 0
    repeated: int = 0


class _SourceKey(NamedTuple):
    gateway: str
    stream: str
    topic: str
    form: Format


@dataclass(frozen=True)
class _Source:
    """One file: its committed length and the running hash over it."""

    file: str
    received: int = 0
    bytes: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


@dataclass
class _Growth:
    """What a batch adds, before anything is written."""

    data: dict[_SourceKey, list[bytes]] = field(default_factory=dict)
    marks: dict[tuple[str, str, str], int] = field(default_factory=dict)
    instants: list[int] = field(default_factory=list)
    gaps: int = 0
    duplicates: int = 0
    is_ended: bool = False


class GrowingVersion:
    """A version that is not complete. `ledger` is what is committed."""

    def __init__(self, folder: Path, ledger: VersionLedger) -> None:
        self._folder = folder
        self.ledger = ledger
        self._sources = {
            _SourceKey(item.gateway, item.stream, item.source, format_of(item.file)): _check(folder, item)
            for item in ledger.ledger.sources
        }

    @classmethod
    def open(cls, folder: Path, empty: VersionLedger) -> "GrowingVersion":
        """Open a version's folder, or begin it with an empty ledger.

        Raises:
            Internal: the files do not hold what the ledger says is committed. OSError: the volume is not readable.
        """
        make_folder(folder)
        return cls(folder, load(folder) or empty)

    def append(self, arrivals: Sequence[Arrival], progress: Progress | None) -> VersionLedger:
        """Commit a batch; an envelope that this version has already is passed over.

        Args:
            arrivals: in order; only the last may end the run, which completes the version.
            progress: recorded as checkpoint of its Stream, when with this batch all of it is in files.

        Raises:
            OSError: the volume took not all of it. Nothing was committed: append the same batch again.
        """
        growth = self._growth(arrivals)
        sources = dict(self._sources)
        for key, pieces in growth.data.items():
            old = sources.get(key) or _Source(file_name(key.topic, key.form, [s.file for s in sources.values()]))
            sources[key] = self._write(old, pieces)
        if sources.keys() != self._sources.keys():
            sync_folder(self._folder)
        ledger = self._commit_of(sources, growth, progress)
        save(self._folder, ledger)
        self._sources, self.ledger = sources, ledger
        return ledger

    def _growth(self, arrivals: Iterable[Arrival]) -> _Growth:
        growth = _Growth(marks={(m.gateway, m.stream, m.outbox): m.envelope for m in self.ledger.marks})
        for envelope, form, missing, repeated in arrivals:
            growth.duplicates += repeated
            mark = (envelope.gateway, envelope.stream, envelope.outbox)
            if growth.marks.get(mark, 0) >= envelope.number:
                continue
            growth.marks[mark] = envelope.number
            growth.gaps += missing
            growth.is_ended = growth.is_ended or envelope.end_of_run
            for sequence, reading in enumerate(envelope.readings, envelope.first):
                key = _SourceKey(envelope.gateway, envelope.stream, reading.topic, form)
                growth.data.setdefault(key, []).append(encode(reading, sequence, form))
                growth.instants.append(reading.received_at_ns)
        return growth

    def _write(self, source: _Source, pieces: Sequence[bytes]) -> _Source:
        data = b"".join(pieces)
        descriptor = os.open(self._folder / source.file, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            write_at(descriptor, data, source.bytes)
            os.ftruncate(descriptor, source.bytes + len(data))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        digest = source.digest.copy()
        digest.update(data)
        return _Source(source.file, source.received + len(pieces), source.bytes + len(data), digest)

    def _commit_of(
        self, sources: dict[_SourceKey, _Source], growth: _Growth, progress: Progress | None
    ) -> VersionLedger:
        old = self.ledger
        files = tuple(
            ManifestFile(path=source.file, bytes=source.bytes, sha256=source.digest.hexdigest())
            for source in sorted(sources.values(), key=lambda source: source.file)
        )
        return old.model_copy(
            update={
                "complete": growth.is_ended,
                "completed_at": datetime.now(UTC) if growth.is_ended else None,
                "produced_by": old.produced_by or next((key.stream for key in sources), ""),
                "files": files,
                "ledger": _counts(old.ledger, sources, growth),
                "manifest_sha256": manifest_sha256(files),
                "marks": tuple(
                    Mark(gateway=gateway, stream=stream, outbox=outbox, envelope=envelope)
                    for (gateway, stream, outbox), envelope in growth.marks.items()
                ),
                "checkpoints": _with_progress(old.checkpoints, progress),
            }
        )


def successor(ledger: VersionLedger) -> VersionLedger:
    """Give the empty ledger of the next version: it knows the envelopes that went into the ones before."""
    return VersionLedger(
        dataset=ledger.dataset, version=ledger.version + 1, marks=ledger.marks, checkpoints=ledger.checkpoints
    )


def _counts(old: Ledger, sources: dict[_SourceKey, _Source], growth: _Growth) -> Ledger:
    instants = (
        [datetime.fromtimestamp(ns / 1e9, UTC) for ns in (min(growth.instants), max(growth.instants))]
        if growth.instants
        else []
    )
    return Ledger(
        received=old.received + len(growth.instants),
        gaps=old.gaps + growth.gaps,
        duplicates=old.duplicates + growth.duplicates,
        shed=old.shed,
        first_at=min((at for at in (old.first_at, *instants) if at is not None), default=None),
        last_at=max((at for at in (old.last_at, *instants) if at is not None), default=None),
        sources=tuple(
            SourceLedger(
                gateway=key.gateway,
                stream=key.stream,
                source=key.topic,
                file=source.file,
                received=source.received,
                bytes=source.bytes,
                sha256=source.digest.hexdigest(),
            )
            for key, source in sources.items()
        ),
    )


def _with_progress(checkpoints: tuple[Checkpoint, ...], progress: Progress | None) -> tuple[Checkpoint, ...]:
    if progress is None:
        return checkpoints
    key = (progress.gateway, progress.stream)
    return (*(item for item in checkpoints if (item.gateway, item.stream) != key), *progress.checkpoints())


def _check(folder: Path, item: SourceLedger) -> _Source:
    """Read the committed part of a file again and drop what lies behind it."""
    path = folder / item.file
    digest, left = hashlib.sha256(), item.bytes
    try:
        with path.open("r+b") as file:
            while left and (data := file.read(min(left, _READ_BYTES))):
                digest.update(data)
                left -= len(data)
            if not left:
                file.truncate(item.bytes)
    except FileNotFoundError as error:
        raise Internal(f"{path} is gone; its ledger says {item.bytes} bytes") from error
    if left or digest.hexdigest() != item.sha256:
        raise Internal(f"{path} is not what its ledger says: {item.bytes} bytes with SHA-256 {item.sha256}")
    return replace(_Source(item.file), received=item.received, bytes=item.bytes, digest=digest)
