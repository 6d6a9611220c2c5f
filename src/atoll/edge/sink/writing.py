"""Writes what a commit adds to a version, in an order that a power loss cannot harm. Blocks on the disk.

Owns the files up to the ledger, which must only be replaced once all of this is done.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.contents import Contents, instant
from atoll.edge.sink.filing import Filed, place
from atoll.edge.sink.form import Form
from atoll.edge.sink.growing import GrowingFile, append
from atoll.edge.sink.growth import Added, Growth, SourceKey
from atoll.edge.sink.index import Placed, records
from atoll.edge.sink.intervals import FeedGrowth
from atoll.edge.sink.ledger import Segment, VersionLedger
from atoll.edge.sink.names import file_name, segment_name, segment_number
from atoll.edge.sink.segments import Sealed, SegmentKey
from atoll.edge.sink.volume import RESERVED, put_whole
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.durable import make_folder, sync_folder
from atoll.federation.resources.dataset import FeedLedger, SourceLedger

_SEALING, _LEFT = f"{RESERVED}/sealing", f"{RESERVED}/left"


class Writing:
    """One commit under way: `contents` is what the version is made of once it is done."""

    def __init__(self, folder: Path, contents: Contents, placed: Mapping[str, ManifestFile]) -> None:
        """`placed` are files that lie in the folder for a commit that has not come to its end."""
        self.folder, self.contents = folder, contents
        self._placed = placed
        self._records: list[bytes] = []
        self._changed: set[Path] = set()

    def write(self, growth: Growth) -> None:
        """Write what one Stream adds."""
        feeds = {
            outbox: replace(feed, received=list(feed.received), gaps=list(feed.gaps))
            for outbox, feed in growth.feeds.items()
        }
        for key, form, added in growth.appends():
            self._append(key, form, added)
        for segment, held in growth.held.items():
            for sealed in held.seal():
                self._seal(segment, sealed, held.suffix)
        for number, arrival in enumerate(growth.files):
            if number == len(growth.filed):
                growth.filed.append(place(self.folder, arrival.files, self._taken()))
            self._file(arrival, growth.filed[number], feeds[arrival.envelope.outbox])
        for topic, (readings, size) in growth.rows.items():
            row = growth.gateway, growth.stream, topic
            old_readings, old_size = self.contents.rows.get(row, (0, 0))
            self.contents.rows[row] = old_readings + readings, old_size + size
        for outbox, feed in feeds.items():
            name = growth.gateway, growth.stream, outbox
            old = self.contents.feeds.get(name) or FeedLedger(gateway=name[0], stream=name[1], outbox=name[2])
            self.contents.feeds[name] = feed.added_to(old)

    def finish(self) -> None:
        """Write the index, and make all new names durable."""
        if self._records:
            self.contents.index = append(self.folder, self.contents.index, b"".join(self._records), received=0)
            self._changed.add(self.folder / RESERVED)
        for folder in sorted(self._changed):
            sync_folder(folder)

    def _taken(self) -> dict[str, ManifestFile]:
        return {file.path: file for file in self.contents.files()} | dict(self._placed)

    def _append(self, key: SourceKey, form: Form, added: Added) -> None:
        contents, first_ns = self.contents, int(added.placed.received_ns[0])
        file = contents.growing.get(key)
        if file is not None and file.bytes and _is_full(file, form, first_ns):
            contents.close(key)
            file = None
        if file is None:
            part = contents.parts[key] = contents.parts.get(key, 0) + 1
            taken = [*contents.paths(), *self._placed]
            path = file_name(key.topic, key.format, taken, part=part, window=key.window)
            file = GrowingFile(path, first_ns=first_ns)
            self._changed.add((self.folder / path).parent)
        self._index(file.path, added.outbox, added.placed, file.bytes)
        contents.growing[key] = append(self.folder, file, added.data, received=len(added.placed.sizes))

    def _index(self, path: str, outbox: str, placed: Placed, offset: int) -> None:
        self.contents.indexed, file = _numbered(self.contents.indexed, path)
        self.contents.outboxes, number = _numbered(self.contents.outboxes, outbox)
        self._records.append(records(placed, offset=offset, file=file, outbox=number))

    def _seal(self, key: SegmentKey, sealed: Sealed, suffix: str) -> None:
        contents = self.contents
        contents.numbered += 1
        path = f"{key.window}{segment_name(key.stream, contents.numbered, suffix, is_late=key.is_late)}"
        target = self.folder / path
        make_folder(target.parent)
        make_folder(self.folder / RESERVED)
        put_whole(self.folder / _SEALING, target, sealed.data)
        self._changed.add(target.parent)
        digest = hashlib.sha256(sealed.data).hexdigest()
        contents.fixed[path] = ManifestFile(path=path, bytes=len(sealed.data), sha256=digest)
        segment = Segment(
            path=path,
            gateway=key.gateway,
            stream=key.stream,
            outbox=key.outbox,
            readings=sealed.readings,
            first=sealed.first,
            last=sealed.last,
            first_at=instant(sealed.first_ns),
            last_at=instant(sealed.last_ns),
            is_late=key.is_late,
        )
        contents.segments = (*contents.segments, segment)

    def _file(self, arrival: Arrival, filed: Sequence[Filed], feed: FeedGrowth) -> None:
        """Count the files of an envelope, which are in their places: each is one reading."""
        envelope = arrival.envelope
        for item, number, reading in zip(filed, envelope.numbers, envelope.readings, strict=True):
            if item.file is None:
                feed.gaps.append((number, number))
            elif item.is_repeated:
                feed.duplicates += 1
            else:
                feed.received.append((number, number))
                self.contents.fixed[item.file.path] = item.file
                self.contents.closed.append(_landed(arrival, item.source, item.file))
                placed = Placed(*(np.array([value]) for value in (number, reading.received_at_ns, item.file.bytes)))
                self._index(item.file.path, envelope.outbox, placed, 0)


def tidy(folder: Path, ledger: VersionLedger) -> None:
    """Clear a growing version of what its ledger does not name: it is left of a commit that did not come to its end.

    Segments are removed, since the next one would be numbered likewise. Other files are set aside: the readings in them
    come again, perhaps into another version, and whoever reads all files of this one would read them twice.
    """
    (folder / _SEALING).unlink(missing_ok=True)
    known = {file.path for file in ledger.files}
    for root, _, names in os.walk(folder):
        for name in names:
            path = Path(root) / name
            relative, number = path.relative_to(folder), segment_number(name)
            if relative.parts[0] == RESERVED or str(relative) in known:
                continue
            if number is not None and number > ledger.numbered:
                path.unlink()
            else:
                make_folder((folder / _LEFT / relative).parent)
                path.rename(folder / _LEFT / relative)


def _landed(arrival: Arrival, source: str, file: ManifestFile) -> SourceLedger:
    return SourceLedger(
        gateway=arrival.envelope.gateway,
        stream=arrival.envelope.stream,
        source=source,
        file=file.path,
        received=1,
        bytes=file.bytes,
        sha256=file.sha256,
        is_file=True,
    )


def _numbered(names: tuple[str, ...], name: str) -> tuple[tuple[str, ...], int]:
    """Find a name in a list, which gets it if it has not; a name that came lately is found soon."""
    for number in range(len(names) - 1, -1, -1):
        if names[number] == name:
            return names, number
    return (*names, name), len(names)


def _is_full(file: GrowingFile, form: Form, now_ns: int) -> bool:
    age_ns = 0 if file.first_ns is None else now_ns - file.first_ns
    return form.roll_due(file.bytes, age_ns / 1e9)
