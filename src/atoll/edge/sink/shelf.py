"""All datasets on one volume: which version takes a reading, and how far each Stream is.

Owns the choice of the version and the order of commits, so that no checkpoint claims what is not in files. Its calls
block on the disk; those on one dataset take turns.
"""

import threading
from collections.abc import Sequence

from atoll.edge.sink.contiguity import Progress, furthest, restore
from atoll.edge.sink.ledger import VersionLedger, load, newest
from atoll.edge.sink.sealing import seal
from atoll.edge.sink.version import Arrival, GrowingVersion, successor
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.data_messages import CommitOrder


class Shelf:
    """The datasets of one namespace in one cluster."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._growing: dict[str, GrowingVersion] = {}
        self._locks: dict[str, threading.Lock] = {}
        self.ledgers: dict[str, VersionLedger] = {}
        self._progress: dict[tuple[str, str], Progress] = {}

    def scan(self) -> None:
        """Read the ledgers: what is there, and how far the Streams are.

        Raises:
            Internal: a ledger is damaged.
        """
        for dataset in self._volume.datasets():
            ledger = newest(self._volume, dataset)
            if ledger is None:
                continue
            self.ledgers[dataset] = ledger
            for key, progress in restore(self._last_fed(dataset).checkpoints).items():
                self._progress[key] = furthest(self._progress.get(key, progress), progress)

    def progress(self, gateway: str, stream: str) -> Progress:
        """Tell how far a Stream is in files."""
        return self._progress.get((gateway, stream), Progress(gateway, stream))

    def append(self, batch: Sequence[Arrival], progress: Progress) -> list[VersionLedger]:
        """Commit consecutive envelopes of one Stream and then its new progress; give the ledgers that changed.

        Raises:
            OSError: the volume took not all; what it took is known by its marks. Append the same batch again.
            Internal: a dataset's files are damaged.
        """
        groups = split(batch)
        changed = []
        for number, group in enumerate(groups, 1):
            # Only with the last group is everything before `progress` in files.
            changed.append(self._append_group(group, progress if number == len(groups) else None))
        self._progress[progress.gateway, progress.stream] = progress
        return changed

    def _lock_of(self, dataset: str) -> threading.Lock:
        return self._locks.setdefault(dataset, threading.Lock())

    def _append_group(self, group: Sequence[Arrival], progress: Progress | None) -> VersionLedger:
        dataset = group[0].envelope.dataset
        with self._lock_of(dataset):
            growing = self._growing.get(dataset) or self._open(dataset, group)
            if growing is None:
                return self.ledgers[dataset]
            self._growing[dataset] = growing
            ledger = growing.append(group, progress)
            if ledger.complete:
                del self._growing[dataset]
            self.ledgers[dataset] = ledger
            return ledger

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
        return GrowingVersion.open(self._volume.version(dataset, empty.version), empty)

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
