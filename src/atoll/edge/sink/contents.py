"""What a growing version consists of, as values: files that grow, those that do not, and what is counted of them.

Owns the way from a ledger to this and back. Reads files only to make sure that they are what the ledger says.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from atoll.edge.sink.growing import GrowingFile, reopen
from atoll.edge.sink.growth import SourceKey
from atoll.edge.sink.index import INDEX
from atoll.edge.sink.ledger import Index, Segment, VersionLedger
from atoll.edge.sink.names import format_of, window_of
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.errors import Internal
from atoll.federation.resources.dataset import FeedLedger, SourceLedger

_MICROSECOND = 1000
FeedKey = tuple[str, str, str]  # gateway, stream, outbox


@dataclass
class Contents:
    """`growing` are the files that are appended to; `fixed` all others; `closed` the sources of these that have one."""

    growing: dict[SourceKey, GrowingFile] = field(default_factory=dict)
    parts: dict[SourceKey, int] = field(default_factory=dict)  # which file of its source the growing one is
    closed: list[SourceLedger] = field(default_factory=list)
    fixed: dict[str, ManifestFile] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    numbered: int = 0
    rows: dict[tuple[str, str, str], tuple[int, int]] = field(default_factory=dict)  # gateway, stream, topic
    feeds: dict[FeedKey, FeedLedger] = field(default_factory=dict)
    index: GrowingFile = field(default_factory=lambda: GrowingFile(INDEX))
    indexed: tuple[str, ...] = ()
    outboxes: tuple[str, ...] = ()

    @classmethod
    def of(cls, folder: Path, ledger: VersionLedger) -> "Contents":
        """Read a ledger, and again what of its files may yet grow.

        Raises:
            Internal: a file is not what the ledger says. OSError: the volume is not readable.
        """
        contents = cls(segments=ledger.segments, numbered=ledger.numbered)
        contents.feeds = {(item.gateway, item.stream, item.outbox): item for item in ledger.ledger.feeds}
        for key, item in contents._restore(ledger.ledger.sources).items():
            first_ns = None if item.first_at is None else round(item.first_at.timestamp() * 1e6) * _MICROSECOND
            file = GrowingFile(item.file, item.received, item.bytes, first_ns)
            contents.growing[key] = reopen(folder, file, item.sha256)
        if ledger.index is not None:
            contents.index = reopen(folder, replace(contents.index, bytes=ledger.index.bytes), ledger.index.sha256)
            contents.indexed, contents.outboxes = ledger.index.files, ledger.index.outboxes
        paths = {file.path for file in contents.growing.values()}
        contents.fixed = {file.path: file for file in ledger.files if file.path not in paths}
        for known in contents.fixed.values():
            _check_size(folder, known)
        return contents

    def _restore(self, sources: Iterable[SourceLedger]) -> dict[SourceKey, SourceLedger]:
        """Sort sources; give those whose file grows: the last one of each."""
        growing: dict[SourceKey, SourceLedger] = {}
        for item in sources:
            if not item.file:
                self.rows[item.gateway, item.stream, item.source] = item.received, item.bytes
                continue
            if item.is_file:
                self.closed.append(item)
                continue
            key = SourceKey(item.gateway, item.stream, item.source, format_of(item.file), window_of(item.file))
            if key in growing:
                self.closed.append(growing.pop(key))
            growing[key] = item
            self.parts[key] = self.parts.get(key, 0) + 1
        return growing

    def copy(self) -> "Contents":
        """Give one that can be changed without changing this one."""
        return replace(
            self,
            growing=dict(self.growing),
            parts=dict(self.parts),
            closed=list(self.closed),
            fixed=dict(self.fixed),
            rows=dict(self.rows),
            feeds=dict(self.feeds),
        )

    def close(self, key: SourceKey) -> None:
        """Let a file grow no more."""
        file = self.growing.pop(key)
        self.closed.append(_source(key, file))
        self.fixed[file.path] = _manifest(file)

    def paths(self) -> list[str]:
        """Give all paths that are taken."""
        return [*self.fixed, *(file.path for file in self.growing.values())]

    def files(self) -> tuple[ManifestFile, ...]:
        """Give all files, by path."""
        growing = (_manifest(file) for file in self.growing.values())
        return tuple(sorted([*self.fixed.values(), *growing], key=lambda file: file.path))

    def sources(self) -> tuple[SourceLedger, ...]:
        """Give what each instrument delivered; of one that had several files, in the order in which they were begun."""
        rows = (
            SourceLedger(
                gateway=gateway, stream=stream, source=topic, file="", received=received, bytes=size, sha256=""
            )
            for (gateway, stream, topic), (received, size) in self.rows.items()
        )
        return (*self.closed, *(_source(key, file) for key, file in self.growing.items()), *rows)

    def index_ledger(self) -> Index | None:
        """Give what the ledger says of the index; None while there is none."""
        if not self.index.bytes:
            return None
        return Index(bytes=self.index.bytes, sha256=self.index.sha256, files=self.indexed, outboxes=self.outboxes)


def _manifest(file: GrowingFile) -> ManifestFile:
    return ManifestFile(path=file.path, bytes=file.bytes, sha256=file.sha256)


def _source(key: SourceKey, file: GrowingFile) -> SourceLedger:
    return SourceLedger(
        gateway=key.gateway,
        stream=key.stream,
        source=key.topic,
        file=file.path,
        received=file.received,
        bytes=file.bytes,
        sha256=file.sha256,
        first_at=None if file.first_ns is None else instant(file.first_ns),
    )


def _check_size(folder: Path, file: ManifestFile) -> None:
    """Make sure that a file that does not grow is there: to read it all would hold up a start for hours."""
    try:
        size = (folder / file.path).stat(follow_symlinks=False).st_size
    except FileNotFoundError as error:
        raise Internal(f"{folder / file.path} is gone; its ledger says {file.bytes} bytes") from error
    if size != file.bytes:
        raise Internal(f"{folder / file.path} has {size} bytes; its ledger says {file.bytes}")


def instant(nanoseconds: int) -> datetime:
    """Give an instant, to the microsecond below."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // _MICROSECOND)


def earliest(instants: Iterable[datetime | None]) -> datetime | None:
    """Give the first of those that are there."""
    return min((at for at in instants if at is not None), default=None)


def latest(instants: Iterable[datetime | None]) -> datetime | None:
    """Give the last of those that are there."""
    return max((at for at in instants if at is not None), default=None)
