"""One Stream from its gateway's log into files, from where the files say that it is.

Owns the reading position and the doubt: if readings are missing, or the log is not the one it was, the log is read
again from its start before anything is counted as a gap. What is in files already is known by its marks.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import structlog

from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.reports import Reports
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.version import Arrival
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import Envelope, MalformedEnvelope, decode
from atoll.federation.bus.log import LogEntry, LogReader
from atoll.federation.bus.subjects import lab_stream, lab_subject
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
# How often it is checked that the log is still the one that the position is in.
_IDENTITY_SECONDS = 5.0


class _ReadAgainError(Exception):
    """The log must be read again from its start."""


class StreamIngest:
    """Reads one Stream. `order` may be replaced while it runs."""

    def __init__(self, bus: Bus, shelf: Shelf, reports: Reports, order: StreamOrder) -> None:
        self.order = order
        self._bus, self._shelf, self._reports = bus, shelf, reports
        gateway = order.spec.gateway
        self._reader = LogReader(bus, lab_stream(gateway), lab_subject(gateway, order.namespace, order.name))
        self._progress = shelf.progress(gateway, order.name)
        self._accepted_gap: tuple[str, int] | None = None
        self._missing = self._repeated = 0  # noticed, and not yet in a ledger
        self._log = log.bind(gateway=gateway, stream=order.name)

    async def run(self) -> None:
        """Take in until cancelled."""
        self._reports.committed(self._progress)
        again = False
        while True:
            try:
                await self._read(again=again)
                again = False
            except _ReadAgainError as doubt:
                self._log.warning("reads the log again from its start", reason=str(doubt))
                again = True
            except AtollError as error:  # the log does not exist yet, or NATS is away
                self._log.debug("cannot read the log", reason=str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _read(self, *, again: bool) -> None:
        created, end = self.order.log_created, await self._reader.end()
        position = self._progress
        is_other = position.log_created != created or end < position.log_sequence
        if is_other and position.log_created:
            self._log.warning("the log is not the one of before; reads it from its start", log_created=created)
        if is_other:
            self._progress = position.at(0, created)
            self._reports.committed(self._progress)  # the old position must not trim what is new here
        after = 0 if is_other or again else position.log_sequence
        reading = asyncio.create_task(self._take_all(after))
        watching = asyncio.create_task(self._watch(created))
        try:
            await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, watching):
                task.cancel()
            await asyncio.wait({reading, watching})
        for task in (reading, watching):
            if not task.cancelled():
                task.result()

    async def _watch(self, created: str) -> None:
        """Return when the log is another one, or has lost its end: the reader would wait at its position for ever."""
        while True:
            await asyncio.sleep(_IDENTITY_SECONDS)
            try:
                end = await self._reader.end()
            except AtollError:
                continue
            if self.order.log_created != created or end < self._progress.log_sequence:
                return

    async def _take_all(self, after: int) -> None:
        async with contextlib.aclosing(self._reader.read(after)) as batches:
            async for entries in batches:
                await self._take(entries)

    async def _take(self, entries: Sequence[LogEntry]) -> None:
        """Commit a batch of entries; return when it is in files."""
        progress, batch = self._progress, []
        for entry in entries:
            envelope = self._open(entry)
            if envelope is None:
                continue
            arrival = self._judge(progress, envelope, is_replay=entry.sequence <= self._progress.log_sequence)
            progress = progress.after(envelope)
            if arrival is not None:
                batch.append(arrival)
        progress = progress.at(max(entries[-1].sequence, progress.log_sequence), progress.log_created)
        await self._commit(batch, progress)
        self._progress = progress
        self._reports.committed(progress)

    def _open(self, entry: LogEntry) -> Envelope | None:
        """Unpack an entry; one that cannot be read is left out, and its readings are counted as a gap."""
        try:
            envelope = decode(entry.payload)
        except MalformedEnvelope as error:
            self._log.error("left out a damaged envelope", log_sequence=entry.sequence, problem=str(error))
            return None
        expected = (self.order.spec.gateway, self.order.namespace, self.order.name)
        if (envelope.gateway, envelope.namespace, envelope.stream) != expected:
            self._log.error(
                "left out an envelope that lies under another Stream's subject", log_sequence=entry.sequence
            )
            return None
        return envelope

    def _judge(self, progress: Progress, envelope: Envelope, *, is_replay: bool) -> Arrival | None:
        verdict = progress.judge(envelope)
        if not verdict.is_new:
            # At a new place in the log it was sent twice; at an old one it is only read again.
            self._repeated += 0 if is_replay else len(envelope.readings)
            return None
        if verdict.missing and self._accepted_gap != (envelope.outbox, envelope.first):
            self._accepted_gap = (envelope.outbox, envelope.first)
            raise _ReadAgainError(f"{verdict.missing} readings are missing before reading {envelope.first}")
        self._missing += verdict.missing
        if not envelope.readings and not envelope.end_of_run:  # it stands for readings that rotted in the outbox
            return None
        arrival = Arrival(envelope, self.order.spec.format, self._missing, self._repeated)
        self._missing = self._repeated = 0
        return arrival

    async def _commit(self, batch: Sequence[Arrival], progress: Progress) -> None:
        """Bring a batch into files, however long the volume refuses; nothing more is read meanwhile."""
        problem = ""
        while True:
            try:
                self._reports.datasets(await asyncio.to_thread(self._shelf.append, batch, progress))
                break
            except (OSError, AtollError) as error:
                if str(error) != problem:
                    self._log.error("cannot write; tries again until it can", problem=str(error))
                problem = str(error)
                self._report_problem(batch, problem)
                await asyncio.sleep(_RETRY_SECONDS)
        if problem:
            self._log.info("writes again")

    def _report_problem(self, batch: Sequence[Arrival], problem: str) -> None:
        for dataset in {arrival.envelope.dataset for arrival in batch}:
            ledger = self._shelf.ledgers.get(dataset) or VersionLedger(dataset=dataset, version=1)
            self._reports.dataset(ledger, error=problem)
