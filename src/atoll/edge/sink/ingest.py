"""One Stream from its gateway's log into files, from where the files say that it is.

Owns the reading position and the doubt: if readings are missing, or the log is not the one it was, the log is read
again from its start before anything is counted as a gap. What is in files already is known by its marks. What is held
back for a segment is not in files: the log must not be trimmed by it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence

import structlog

from atoll.edge.sink.arrival import Absent, Arrival
from atoll.edge.sink.contiguity import Progress, Verdict, absences
from atoll.edge.sink.form import Form
from atoll.edge.sink.landing import Landing
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.reports import Reports
from atoll.edge.sink.shelf import Shelf
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.cursor import CATCH_UP_SECONDS
from atoll.federation.bus.data_messages import StreamOrder
from atoll.federation.bus.envelope import Envelope, MalformedEnvelope, decode
from atoll.federation.bus.log import LogEntry, LogReader
from atoll.federation.bus.subjects import lab_stream, lab_subject
from atoll.federation.errors import AtollError

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 1.0
# How often it is checked that the log is still the one that the position is in.
_IDENTITY_SECONDS = 5.0
# How often it is looked whether something has been held back long enough.
_ROLL_SECONDS = 0.5


class _ReadAgainError(Exception):
    """The log must be read again from its start."""


class StreamIngest:
    """Reads one Stream. `order` may be replaced while it runs."""

    def __init__(self, bus: Bus, shelf: Shelf, reports: Reports, order: StreamOrder, *, landing: Landing) -> None:
        self.order = order
        self._bus, self._shelf, self._reports, self._landing = bus, shelf, reports, landing
        gateway = order.spec.gateway
        self._reader = LogReader(bus, lab_stream(gateway), lab_subject(gateway, order.namespace, order.name))
        self._progress = shelf.progress(gateway, order.name)
        # How far everything is that no note is left of: a new process begins there, and notes the same again.
        self._told = self._progress
        # How far everything was when another log took the place of the last; nothing while that has not happened.
        self._before_log = Progress(gateway, order.name)
        self._accepted_gap: tuple[str, int] | None = None
        self._absent: tuple[Absent, ...] = ()  # noticed, and not yet in a ledger
        self._repeated = 0
        self._log = log.bind(gateway=gateway, stream=order.name)

    async def run(self) -> None:
        """Take in until cancelled."""
        order = self.order
        self._report()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._roll())
            tasks.create_task(self._take_in())
            if order.spec.files is not None:
                tasks.create_task(self._landing.ahead(order.spec.gateway, order.namespace, order.name).run())

    async def leave(self) -> None:
        """Bring into files what is held back, after `run` was cancelled: nobody will go on with it."""
        await self._insist(lambda: self._shelf.roll(*self._key, at_once=True), ())

    async def _roll(self) -> None:
        """Commit what has been held back long enough, also while nothing comes."""
        while True:
            await asyncio.sleep(_ROLL_SECONDS)
            if self._shelf.held(*self._key):
                await self._insist(lambda: self._shelf.roll(*self._key), ())
            self._report()  # another Stream's end may have brought into files what this one held

    async def _take_in(self) -> None:
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
        created, end = self.order.log_created, await self._end()
        position = self._progress
        is_other = position.log_created != created or end < position.log_sequence
        if is_other and position.log_created:
            self._log.warning("the log is not the one of before; reads it from its start", log_created=created)
        if is_other:
            await self._insist(lambda: self._shelf.roll(*self._key, at_once=True), ())
            self._progress = self._told = self._before_log = position.at(0, created)
            self._shelf.place(self._progress)
            self._report()  # the old position must not trim what is new here
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

    async def _end(self) -> int:
        """Give the log's newest sequence. Of a log that should have more, several replicas are asked for a while.

        Who answers is one of them, and may be behind after a change of leaders: taken at its word, all that is in files
        would be read again, and counted as received twice.
        """
        deadline = asyncio.get_running_loop().time() + CATCH_UP_SECONDS
        while (end := await self._reader.end()) < self._progress.log_sequence and self._is_log_of_before:
            if asyncio.get_running_loop().time() > deadline:
                break
            await asyncio.sleep(_RETRY_SECONDS)
        return end

    @property
    def _is_log_of_before(self) -> bool:
        return self._progress.log_created == self.order.log_created

    async def _watch(self, created: str) -> None:
        """Return when the log is another one, or has lost its end: the reader would wait at its position for ever."""
        while True:
            await asyncio.sleep(_IDENTITY_SECONDS)
            try:
                end = await self._end()
            except AtollError:
                continue
            if self.order.log_created != created or end < self._progress.log_sequence:
                return

    async def _take_all(self, after: int) -> None:
        async with contextlib.aclosing(self._reader.read(after)) as batches:
            async for entries in batches:
                await self._take(entries)

    async def _take(self, entries: Sequence[LogEntry]) -> None:
        """Take in a batch of entries; return when it is in files or held back.

        Raises:
            _ReadAgainError: something is missing before one of them. Those before it are taken in.
        """
        progress, told, doubt = self._progress, self._told, ""
        batch: list[Arrival] = []
        for entry in entries:
            envelope = self._open(entry)
            if envelope is not None:
                verdict = progress.judge(envelope)
                doubt = self._doubt(verdict, envelope)
                if doubt:
                    break
                self._note(verdict, envelope, is_replay=entry.sequence <= self._progress.log_sequence)
                progress = progress.after(envelope)
                batch += self._arrival(verdict, envelope)
            progress = progress.at(max(progress.log_sequence, entry.sequence), progress.log_created)
            if not (self._absent or self._repeated):
                told = progress
        batch = [await self._with_files(arrival) for arrival in batch]
        datasets = {arrival.envelope.dataset for arrival in batch}
        await self._insist(lambda: self._shelf.append(batch, told), datasets)
        self._progress, self._told = progress, told
        self._report()
        if doubt:
            raise _ReadAgainError(doubt)

    async def _with_files(self, arrival: Arrival) -> Arrival:
        """Bring the files that an envelope stands for; nothing more is read meanwhile."""
        if not arrival.envelope.holds_files:
            return arrival
        datasets = (arrival.envelope.dataset,)
        files = await self._landing.insist(arrival.envelope, lambda problem: self._report_problem(datasets, problem))
        return arrival._replace(files=files)

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

    def _doubt(self, verdict: Verdict, envelope: Envelope) -> str:
        """Say why the log must be read again before readings are taken for missing; empty if it need not be."""
        if not verdict.missing or self._accepted_gap == (envelope.outbox, envelope.first):
            return ""
        self._accepted_gap = (envelope.outbox, envelope.first)
        return f"{verdict.missing} readings are missing before reading {envelope.first}"

    def _note(self, verdict: Verdict, envelope: Envelope, *, is_replay: bool) -> None:
        """Remember what no ledger has yet: what is missing, and what came twice."""
        if verdict.is_new:
            self._absent += absences(verdict, envelope)
        elif not is_replay and self._before_log.judge(envelope).is_new:
            # At a new place in the log it was sent twice; at an old one it is only read again. What came again with
            # another log is not counted: a log that is full of it would wait for a new reading to be told with.
            self._repeated += len(envelope.readings)

    def _arrival(self, verdict: Verdict, envelope: Envelope) -> list[Arrival]:
        is_empty = not (envelope.readings or envelope.end_of_run or envelope.shed)
        if not verdict.is_new or is_empty or not envelope.dataset:  # what is noted is told with the next one
            return []
        arrival = Arrival(envelope, Form.of(self.order.spec), self._absent, self._repeated)
        self._absent, self._repeated = (), 0
        return [arrival]

    @property
    def _key(self) -> tuple[str, str]:
        return self._progress.gateway, self._progress.stream

    def _report(self, problem: str = "") -> None:
        self._reports.committed(self._shelf.committed(*self._key), problem=problem)

    async def _insist(self, work: Callable[[], list[VersionLedger]], datasets: Iterable[str]) -> None:
        """Bring something into files, however long the volume refuses; nothing more is read meanwhile."""
        problem = ""
        while True:
            try:
                self._reports.datasets(await asyncio.to_thread(work))
                break
            except (OSError, AtollError) as error:
                refusal = self._shelf.describe(error)
                if refusal != problem:
                    self._log.error("cannot write; tries again until it can", problem=refusal)
                problem = refusal
                self._report_problem(datasets, problem)
                await asyncio.sleep(_RETRY_SECONDS)
        if problem:
            self._log.info("writes again")

    def _report_problem(self, datasets: Iterable[str], problem: str) -> None:
        self._report(problem)
        for dataset in {*datasets, *self._shelf.held(*self._key)}:
            ledger = self._shelf.ledgers.get(dataset) or VersionLedger(dataset=dataset, version=1)
            self._reports.dataset(ledger, error=problem)
