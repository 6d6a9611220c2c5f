"""Puts files into the outbox: each as one reading whose payload is its manifest, with the content of a small one.

Owns that a file is announced once, whatever happens between the catalogue and the outbox: before it writes there the
catalogue says behind which envelope to look for the file, if nobody remembers having written it. Blocks on the disk.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime

from atoll.edge.gateway.drafts import Draft, Packed
from atoll.edge.gateway.file_source.catalogue import Catalogue
from atoll.edge.gateway.file_source.records import Entry
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.federation.bus.envelope import Envelope, MalformedEnvelope, Reading, decode
from atoll.federation.bus.file_messages import FileManifest, unpack
from atoll.federation.bus.file_names import original_of, safe_path
from atoll.federation.errors import Internal

_READ_ENVELOPES = 16
# Of one Stream at once: what goes into one commit of the outbox, at most 16 MB of small files.
AT_ONCE = 256

Content = tuple[str, bytes]


class Announcer:
    """Announces files and ends of runs."""

    def __init__(self, catalogue: Catalogue, outbox: Outbox) -> None:
        self._catalogue, self._outbox = catalogue, outbox

    def announce(self, stream: StreamKey, entries: Sequence[Entry], content_of: Callable[[Entry], Content]) -> None:
        """Announce files of one Stream, in order.

        Args:
            stream: theirs.
            entries: what the hub has the chunks of, or what is small.
            content_of: gives a file's hash, and its content if it is small.

        Raises:
            OutboxUnavailable: there is no room; call `recover` and try again. OutboxDamaged.
        """
        drafts: dict[str, list[Draft]] = {}
        for entry in entries:
            reading = self._reading(entry, *content_of(entry))
            of_dataset = drafts.setdefault(entry.dataset, [])
            if not of_dataset or not of_dataset[-1].has_room(len(reading.payload)):
                of_dataset.append(Draft(stream, entry.dataset, holds_files=True))
            of_dataset[-1].readings.append(reading)
            of_dataset[-1].payload_bytes += len(reading.payload)
        ids, outbox = [entry.id for entry in entries], self._outbox.ident
        self._catalogue.announcing(ids, outbox=outbox, after=self._outbox.last_number)
        number = self._store([draft for of_dataset in drafts.values() for draft in of_dataset])
        self._catalogue.announced(ids, outbox=outbox, envelope=number)

    def end_runs(self) -> int:
        """Announce the ends of runs whose files are announced; give how many. Raises as `announce`."""
        ends = self._catalogue.ends()
        for end in ends:
            is_told = end.outbox == self._outbox.ident and any(
                envelope.end_of_run and envelope.dataset == end.dataset
                for envelope in self._envelopes(end.envelope, end.stream)
            )
            if not is_told:
                self._catalogue.ending(end.id, outbox=self._outbox.ident, after=self._outbox.last_number)
                self._store([Draft(end.stream, end.dataset, end_of_run=True)])
            self._catalogue.ended(end.id)
        return len(ends)

    def recover(self) -> None:
        """Find out of each file that may or may not be in the outbox whether it is."""
        doubtful = self._catalogue.entries("Announcing")
        # Of an outbox that is no more nobody knows what went out. Sent twice a file is known by its path and hash.
        lost = [e for e in self._catalogue.entries("Announced") if e.outbox != self._outbox.ident]
        mine = [entry for entry in doubtful if entry.outbox == self._outbox.ident]
        for stream in {entry.stream for entry in mine}:
            of_stream = [entry for entry in mine if entry.stream == stream]
            first = min(entry.envelope for entry in of_stream)
            found = {number: at for at, numbers in self._announced_after(first, stream) for number in numbers}
            for entry in of_stream:
                if entry.id in found:
                    self._catalogue.announced([entry.id], outbox=entry.outbox, envelope=found[entry.id])
        left = {entry.id for entry in self._catalogue.entries("Announcing")}
        self._catalogue.not_announced([*(entry for entry in doubtful if entry.id in left), *lost])

    def _reading(self, entry: Entry, sha256: str, content: bytes) -> Reading:
        path, mtime_ns = safe_path(entry.path), entry.signature.mtime_ns
        manifest = FileManifest(
            number=entry.id,
            path=path,
            size=entry.signature.size,
            sha256=sha256,
            modified_at=datetime.fromtimestamp(mtime_ns / 1e9, UTC),
            upload=f"{self._catalogue.ident}-{entry.upload}" if entry.upload else None,
            chunk_bytes=entry.chunk_bytes or None,
            original=original_of(entry.path, path),
        )
        return Reading(time.time_ns(), path, manifest.pack(content), mtime_ns)

    def _store(self, drafts: list[Draft]) -> int:
        return self._outbox.store(Packed(drafts=drafts), now=time.time())

    def _envelopes(self, after: int, stream: StreamKey) -> Iterable[Envelope]:
        while stored := self._outbox.read(after, limit=_READ_ENVELOPES):
            for item in stored:
                if item.stream == stream:
                    try:
                        yield decode(item.data)
                    except MalformedEnvelope:  # it rotted: what it held is lost, and its files go again
                        continue
            after = stored[-1].number

    def _announced_after(self, after: int, stream: StreamKey) -> Iterable[tuple[int, list[int]]]:
        for envelope in self._envelopes(after, stream):
            if envelope.holds_files:
                yield envelope.number, [_number(reading) for reading in envelope.readings]


def _number(reading: Reading) -> int:
    try:
        return unpack(reading.payload).manifest.number
    except Internal:
        return 0
