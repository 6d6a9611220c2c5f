"""One growing dataset version: takes readings in, and commits them by its ledger.

A commit is: write and sync what grows behind its committed length; write each sealed segment beside, sync it, rename it
into place; sync the folders; then replace the ledger. So a crash at any moment leaves files whose committed part is
whole. What lies behind it is written over, and a segment that no ledger names is removed when a sink begins. Calls
block on the disk and must not overlap.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.columns import ColumnKind
from atoll.edge.sink.contents import Contents
from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.growth import Growth
from atoll.edge.sink.ledger import LEDGER, VersionLedger, load, save
from atoll.edge.sink.stating import StreamKey, state
from atoll.edge.sink.writing import Writing, tidy
from atoll.federation.bus.data_messages import ManifestFile
from atoll.federation.durable import make_folder


class GrowingVersion:
    """A version that is not complete. `ledger` is what is committed, `growths` what is held of each Stream."""

    def __init__(self, folder: Path, ledger: VersionLedger, clock: Callable[[], float] = time.monotonic) -> None:
        self.folder, self.ledger = folder, ledger
        self.growths: dict[StreamKey, Growth] = {}
        self._clock = clock
        self._contents = Contents.of(folder, ledger)
        self._columns: dict[StreamKey, dict[str, ColumnKind]] = {}
        self._newest: dict[StreamKey, int] = _newest(ledger)

    @classmethod
    def open(cls, folder: Path, empty: VersionLedger, clock: Callable[[], float] = time.monotonic) -> "GrowingVersion":
        """Open a version's folder, or begin it with an empty ledger.

        Raises:
            Internal: the files do not hold what the ledger says is committed. OSError: the volume is not readable.
        """
        make_folder(folder)
        ledger = load(folder) or empty
        tidy(folder, ledger)
        return cls(folder, ledger, clock)

    @property
    def is_there(self) -> bool:
        """Tell whether the version is still on the volume; one that was never committed is."""
        return not self.ledger.files or (self.folder / LEDGER).exists()

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Hold envelopes of one Stream for the next commit; one that this version has already is passed over.

        Args:
            arrivals: in order; only the last may end the run.
        """
        committed = {(mark.gateway, mark.stream, mark.outbox): mark.envelope for mark in self.ledger.marks}
        for arrival in arrivals:
            envelope = arrival.envelope
            key = envelope.gateway, envelope.stream
            growth = self.growths.get(key)
            held = growth.marks.get(envelope.outbox, 0) if growth is not None else 0
            if envelope.number > max(held, committed.get((*key, envelope.outbox), 0)):
                (growth or self._begin(key, arrival)).take(arrival)

    def _begin(self, key: StreamKey, arrival: Arrival) -> Growth:
        known = self._columns.setdefault(key, {})
        newest = self._newest.get(key, 0)
        growth = self.growths[key] = Growth(*key, self._clock(), arrival.form, known, newest)
        return growth

    def is_due(self, key: StreamKey) -> bool:
        """Tell whether what is held of a Stream is to be committed now."""
        growth = self.growths.get(key)
        return growth is not None and growth.is_due(self._clock())

    def streams_to_commit(self, key: StreamKey) -> list[StreamKey]:
        """Name the Streams that a commit of one takes along: all others where that one ends the version."""
        growth = self.growths.get(key)
        if growth is None:
            return []
        return list(self.growths) if growth.is_ended else [key]

    def commit(self, progresses: dict[StreamKey, Progress]) -> VersionLedger:
        """Bring what is held of these Streams into files.

        Args:
            progresses: per Stream what is recorded as its checkpoint: how far all of it is in files with this.

        Raises:
            OSError: the volume took not all of it. Nothing was committed, and all is held still: commit again.
        """
        growths = [self.growths[key] for key in progresses]
        writing = Writing(self.folder, self._contents.copy(), self._placed())
        for growth in growths:
            writing.write(growth)
        writing.finish()
        ledger = state(self.ledger, writing.contents, growths, progresses)
        save(self.folder, ledger)
        for key in progresses:
            self._newest[key] = max(self._newest.get(key, 0), self.growths.pop(key).newest_ns)
        self._contents, self.ledger = writing.contents, ledger
        return ledger

    def _placed(self) -> dict[str, ManifestFile]:
        """Give the files that were placed for a commit that has not come to its end: their names are taken."""
        filed = (item for growth in self.growths.values() for group in growth.filed for item in group)
        return {item.file.path: item.file for item in filed if item.file is not None and not item.is_repeated}


def successor(ledger: VersionLedger) -> VersionLedger:
    """Give the empty ledger of the next version: it knows the envelopes that went into the ones before."""
    return VersionLedger(
        dataset=ledger.dataset, version=ledger.version + 1, marks=ledger.marks, checkpoints=ledger.checkpoints
    )


def _newest(ledger: VersionLedger) -> dict[StreamKey, int]:
    """Tell how far the time of each Stream is, by the segments that are there; no further than what arrived."""
    found: dict[StreamKey, int] = {}
    for segment in ledger.segments:
        at = min(segment.last_at, ledger.ledger.last_at or segment.last_at)
        key, at_ns = (segment.gateway, segment.stream), round(at.timestamp() * 1e6) * 1000
        found[key] = max(found.get(key, 0), at_ns)
    return found
