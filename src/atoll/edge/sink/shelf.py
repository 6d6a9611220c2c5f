"""All datasets on one volume: which version takes a reading, and how far each Stream is.

Owns the choice of the version and the order of commits, so that no checkpoint claims what is not in files. Its calls
block on the disk; those on one Stream take turns, and so do those on one dataset.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from atoll.edge.sink.arrival import Arrival
from atoll.edge.sink.contiguity import Progress, furthest, restore
from atoll.edge.sink.ledger import VersionLedger, load, newest
from atoll.edge.sink.sealing import seal
from atoll.edge.sink.stating import StreamKey
from atoll.edge.sink.version import GrowingVersion, successor
from atoll.edge.sink.volume import Volume
from atoll.edge.sink.writing import tidy
from atoll.federation.bus.data_messages import CommitOrder
from atoll.federation.durable import sync_folder

# What all Streams together hold back in memory; at more, each Stream commits what it holds before its time.
HELD_BYTES = 512_000_000


@dataclass
class _Place:
    """How far one Stream was taken in, and per dataset that holds some of it back how far it was before that."""

    taken: Progress
    since: dict[str, Progress] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def held_since(self, *, without: str = "") -> Progress | None:
        """Give how far all of it is in files while something is held back; None if nothing is, but by one dataset."""
        return next((progress for dataset, progress in list(self.since.items()) if dataset != without), None)


class Shelf:
    """The datasets of one namespace in one cluster."""

    def __init__(
        self, volume: Volume, *, clock: Callable[[], float] = time.monotonic, held_bytes: int = HELD_BYTES
    ) -> None:
        self._volume, self._clock, self._held_bytes = volume, clock, held_bytes
        self._growing: dict[str, GrowingVersion] = {}
        self._locks: dict[str, threading.Lock] = {}
        self.ledgers: dict[str, VersionLedger] = {}
        self._places: dict[StreamKey, _Place] = {}

    def scan(self) -> None:
        """Read the ledgers: what is there, and how far the Streams are.

        Raises:
            Internal: a ledger is damaged.
        """
        sync_folder(self._volume.root)
        for dataset in self._volume.datasets():
            self._volume.keep(dataset)
            ledger = newest(self._volume, dataset)
            if ledger is None:
                continue
            if ledger.erased_at is None:
                self.ledgers[dataset] = ledger
            if not ledger.complete:
                tidy(self._volume.version(dataset, ledger.version), ledger)
            for key, progress in restore(self._last_fed(dataset).checkpoints).items():
                known = self._places.get(key)
                self._places[key] = _Place(progress if known is None else furthest(known.taken, progress))

    def progress(self, gateway: str, stream: str) -> Progress:
        """Tell how far a Stream was taken in."""
        return self._place(gateway, stream).taken

    def committed(self, gateway: str, stream: str) -> Progress:
        """Tell how far all of a Stream is in files."""
        place = self._place(gateway, stream)
        return place.held_since() or place.taken

    def held(self, gateway: str, stream: str) -> list[str]:
        """Name the datasets that hold some of a Stream back."""
        return list(self._place(gateway, stream).since)

    def describe(self, error: Exception) -> str:
        """Say what stands in the way of a write, and where to look."""
        return self._volume.describe(error) if isinstance(error, OSError) else str(error)

    def place(self, progress: Progress) -> None:
        """Set another place in the log, for a Stream of which nothing is held back."""
        self._place(progress.gateway, progress.stream).taken = progress

    def _place(self, gateway: str, stream: str) -> _Place:
        return self._places.setdefault((gateway, stream), _Place(Progress(gateway, stream)))

    def append(self, batch: Sequence[Arrival], progress: Progress) -> list[VersionLedger]:
        """Take in consecutive envelopes of one Stream; give the ledgers that changed.

        Raises:
            OSError: the volume took not all; what it took is known by its marks. Append the same batch again.
            Internal: a dataset's files are damaged.
        """
        place, groups, changed = self._place(progress.gateway, progress.stream), split(batch), list[VersionLedger]()
        with place.lock:
            for number, group in enumerate(groups, 1):
                # Only with the last group is everything before `progress` in files, or held.
                after = progress if number == len(groups) else place.taken
                changed += self._append_group(group, place, after)
            place.taken = progress
        return changed

    def roll(self, gateway: str, stream: str, *, at_once: bool = False) -> list[VersionLedger]:
        """Commit what of a Stream has been held back long enough, or all of it. Raises as `append`."""
        place, changed = self._place(gateway, stream), list[VersionLedger]()
        with place.lock:
            for dataset in list(place.since):
                with self._lock_of(dataset):
                    growing = self._growing.get(dataset)
                    if growing is not None and (at_once or growing.is_due((gateway, stream))):
                        changed += self._commit(growing, (gateway, stream), place.taken)
        return changed

    def _lock_of(self, dataset: str) -> threading.Lock:
        return self._locks.setdefault(dataset, threading.Lock())

    def _append_group(self, group: Sequence[Arrival], place: _Place, after: Progress) -> list[VersionLedger]:
        dataset, key = group[0].envelope.dataset, (after.gateway, after.stream)
        with self._lock_of(dataset):
            growing = self._current(dataset) or self._open(dataset, group)
            if growing is not None:
                self._growing[dataset] = growing
                growing.take(group)
            if growing is None or key not in growing.growths:  # it has them all
                return [self.ledgers[dataset]] if dataset in self.ledgers else []
            place.since.setdefault(dataset, place.taken)
            if growing.is_due(key) or self._is_crowded():
                return self._commit(growing, key, after)
            return []

    def _is_crowded(self) -> bool:
        growths = [growth for growing in list(self._growing.values()) for growth in list(growing.growths.values())]
        return sum(growth.size for growth in growths) > self._held_bytes

    def _commit(self, growing: GrowingVersion, key: StreamKey, after: Progress) -> list[VersionLedger]:
        """Commit a Stream's part of a version, and all of it if it ends; the caller has the dataset's lock."""
        dataset, progresses = growing.ledger.dataset, dict[StreamKey, Progress]()
        for stream in growing.streams_to_commit(key):
            place = self._place(*stream)
            progresses[stream] = place.held_since(without=dataset) or (after if stream == key else place.taken)
        if not progresses:
            return []
        ledger = growing.commit(progresses)
        for stream in progresses:
            self._place(*stream).since.pop(dataset, None)
        if ledger.complete:
            del self._growing[dataset]
        self.ledgers[dataset] = ledger
        return [ledger]

    def _current(self, dataset: str) -> GrowingVersion | None:
        """Give the version that grows; none if somebody has deleted it: what it held goes into the next one."""
        growing = self._growing.get(dataset)
        if growing is None or growing.is_there:
            return growing
        del self._growing[dataset]
        self.ledgers.pop(dataset, None)
        ledger = self._last_fed(dataset)
        if ledger.complete:
            ledger = successor(ledger)
        renewed = GrowingVersion.open(self._volume.version(dataset, ledger.version), ledger, self._clock)
        renewed.growths = growing.growths
        return renewed

    def _open(self, dataset: str, group: Sequence[Arrival]) -> GrowingVersion | None:
        """Open the version that takes these; None if a complete one has them all already."""
        ledger = newest(self._volume, dataset)
        if ledger is None:
            empty = VersionLedger(dataset=dataset, version=1)
        elif not ledger.complete:
            empty = ledger
        else:
            fed = self._last_fed(dataset)
            if all(_is_marked(fed, arrival) for arrival in group):
                return None
            empty = successor(ledger.model_copy(update={"marks": fed.marks, "checkpoints": fed.checkpoints}))
        return GrowingVersion.open(self._volume.version(dataset, empty.version), empty, self._clock)

    def _last_fed(self, dataset: str) -> VersionLedger:
        """Give the newest version that Streams fed: a version made by a run or copied here knows no envelopes."""
        ledger = None
        for version in reversed(self._volume.versions(dataset)):
            ledger = load(self._volume.version(dataset, version)) or ledger
            if ledger is not None and ledger.marks:
                return ledger
        return ledger or VersionLedger(dataset=dataset, version=1)

    def seal(self, order: CommitOrder) -> VersionLedger:
        """Make what a run wrote a version. Raises as `sealing.seal`."""
        with self._lock_of(order.dataset):
            ledger = seal(self._volume, order)
            known = self.ledgers.get(order.dataset)
            if known is None or known.version <= ledger.version:
                self.ledgers[order.dataset] = ledger
            return ledger


def split(batch: Sequence[Arrival]) -> list[list[Arrival]]:
    """Group a batch by version: one group per dataset, and a new one after each end of a run. Pure."""
    groups: list[list[Arrival]] = []
    current: dict[str, list[Arrival]] = {}
    for arrival in batch:
        dataset = arrival.envelope.dataset
        if dataset not in current:
            current[dataset] = []
            groups.append(current[dataset])
        current[dataset].append(arrival)
        if arrival.envelope.end_of_run:
            del current[dataset]
    return groups


def _is_marked(ledger: VersionLedger, arrival: Arrival) -> bool:
    envelope = arrival.envelope
    key = (envelope.gateway, envelope.stream, envelope.outbox)
    return any(
        (mark.gateway, mark.stream, mark.outbox) == key and mark.envelope >= envelope.number for mark in ledger.marks
    )
