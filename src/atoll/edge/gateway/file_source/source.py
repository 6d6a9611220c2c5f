"""Files as a source of a gateway: its parts, and the loops that keep files moving.

Owns which loop does what when: folders are looked into, small files announced and files tidied up with or without a
hub; large ones are sent while there is one. It must not know MQTT.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from atoll.edge.gateway.database import OutboxDamaged, OutboxUnavailable
from atoll.edge.gateway.drafts import Packed
from atoll.edge.gateway.file_source.afterwards import tidy_up
from atoll.edge.gateway.file_source.announcing import AT_ONCE, Announcer, Content
from atoll.edge.gateway.file_source.catalogue import open_catalogue
from atoll.edge.gateway.file_source.looking import END_OF_RUN, Looker, announced_path
from atoll.edge.gateway.file_source.pace import Link
from atoll.edge.gateway.file_source.problems import Problems
from atoll.edge.gateway.file_source.reading import FileChanged, FileGone, FileUnreadable, opened
from atoll.edge.gateway.file_source.records import Counts, Entry
from atoll.edge.gateway.file_source.roots import Roots
from atoll.edge.gateway.file_source.sending import Sender
from atoll.edge.gateway.file_source.streams import FileStreams
from atoll.edge.gateway.file_source.uploads import Reporter, Uploads, set_aside
from atoll.edge.gateway.file_source.waiting import wait_for
from atoll.edge.gateway.memory import StreamKey
from atoll.edge.gateway.outbox import Outbox
from atoll.federation.bus.chunks import ChunkWriter, Upload
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, StreamCommit, StreamOrder
from atoll.federation.bus.file_messages import INLINE_BYTES
from atoll.federation.bus.subjects import OPEN_TOKEN
from atoll.federation.capacity.quantities import parse_duration
from atoll.federation.errors import AtollError, InvalidInput
from atoll.federation.resources.stream_files import StreamFiles

DATABASE = "files.db"
_RETRY_SECONDS = 1.0
_REPORT_SECONDS = 1.0
# A look may take this share of a processor: a folder of a hundred thousand files is looked into more seldom.
_LOOK_SHARE = 0.05
_SHORTEST_SLEEP_SECONDS, _LONGEST_SLEEP_SECONDS = 0.05, 1.0


class FileIntake:
    """The files of all Streams of one gateway."""

    def __init__(
        self, outbox: Outbox, state_dir: Path, roots: Roots, *, link: Link | None, on_stored: Callable[[], None]
    ) -> None:
        """Open the catalogue in the state folder.

        Args:
            outbox: that of the readings.
            state_dir: the gateway's.
            roots: what may be read.
            link: what files share with readings.
            on_stored: is called when the outbox has something new.
        """
        self._on_stored = on_stored
        self._catalogue, self._loss = open_catalogue(state_dir / DATABASE)
        self._problems, self._streams = Problems(), FileStreams(roots, link)
        self._looker = Looker(self._catalogue, roots, self._problems)
        self._announcer = Announcer(self._catalogue, outbox)
        self._announcer.recover()
        self._due: dict[StreamKey, float] = {}
        self._changed, self._to_tidy = asyncio.Event(), asyncio.Event()
        self._uploads = Uploads(self._catalogue, self._streams, self._problems, on_stored=self._changed.set)
        self._commits: dict[StreamKey, StreamCommit] = {}
        self._problem = ""

    def close(self) -> None:
        """Close the catalogue; what was noted stays."""
        self._catalogue.close()

    @property
    def problem(self) -> str:
        """Why files do not go on now, or what was lost; empty if all is well."""
        return self._problem or self._uploads.problem or self._loss

    async def are_wanted(self) -> None:
        """Return while there is a Stream with files, or when there comes one."""
        await self._streams.are_any.wait()

    def follow(self, streams: Sequence[StreamOrder]) -> None:
        """Take these Streams as the whole list from now on."""
        for key in self._streams.follow(streams):
            self._looker.forget(key)
            self._due.pop(key, None)
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._to_tidy.set()
        self._uploads.wake()

    async def run(self) -> None:
        """Look into folders, announce and tidy up until cancelled, with or without a hub.

        Raises:
            OutboxDamaged: the outbox or the catalogue must be replaced.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._look())
            tasks.create_task(self._announce())
            tasks.create_task(self._tidy())

    async def send(self, bus: Bus, gateway: str, *, token: str, reporter: Reporter) -> None:
        """Send large files until cancelled, and say which uploads are needed.

        Args:
            bus: a connection that nothing else uses.
            gateway: the name under which the hub keeps the chunks.
            token: the one under which it takes them in.
            reporter: the gateway's own table of reports.
        """
        sender = Sender(
            ChunkWriter(bus, gateway, token=token or OPEN_TOKEN),
            self._catalogue.ident,
            progress=self._uploads.progress.sent,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._uploads.run(sender))
            tasks.create_task(self._uploads.report_needs(reporter, period_seconds=_REPORT_SECONDS))

    # --- from folders into the catalogue

    async def _look(self) -> None:
        while True:
            for key, order in list(self._streams.orders.items()):
                if self._due.get(key, 0.0) <= time.monotonic():
                    await self._look_into(key, order)
            next_look = min((self._due.get(key, 0.0) for key in self._streams.orders), default=float("inf"))
            pause = min(_LONGEST_SLEEP_SECONDS, next_look - time.monotonic())
            await asyncio.sleep(max(_SHORTEST_SLEEP_SECONDS, pause))

    async def _look_into(self, key: StreamKey, order: StreamOrder) -> None:
        started = time.monotonic()
        poll = parse_duration(order.spec.files.poll) if order.spec.files is not None else _RETRY_SECONDS
        self._due[key] = started + poll  # before the look: a message that comes meanwhile asks for another one
        try:
            if await asyncio.to_thread(self._looker.look, order):
                self._wake()
        except OutboxDamaged:
            raise
        except AtollError as error:  # the disk is full: the folder keeps its files meanwhile
            self._problems.note(key, b"", str(error))
        if key in self._due:
            self._due[key] = time.monotonic() + max(poll, (time.monotonic() - started) / _LOOK_SHARE)

    def hear(self, packed: Packed) -> None:
        """Keep what MQTT messages say of files; when it returns, they may be acknowledged. Blocks.

        Raises:
            OutboxUnavailable: the disk does not take it; try again.
        """
        rows = []
        for key, payload in packed.announcements:
            rule = self._streams.rule(key)
            if rule is not None:
                try:
                    rows.append((key, announced_path(self._streams.roots, rule, payload)))
                except InvalidInput as error:
                    self._problems.lost(key, b"", str(error))
        rows += [(key, END_OF_RUN) for key in packed.ended if self._streams.rule(key) is not None]
        self._catalogue.announce(rows)
        for key, _ in rows:
            self._due.pop(key, None)

    # --- from the catalogue into the outbox

    async def _announce(self) -> None:
        while True:
            self._changed.clear()
            try:
                found = [await asyncio.to_thread(self._announce_of, key) for key in list(self._streams.orders)]
                ends = await asyncio.to_thread(self._announcer.end_runs)
            except OutboxDamaged:
                raise
            except AtollError as error:
                self._problem = str(error)
                await asyncio.sleep(_RETRY_SECONDS)
                await self._recover()
                continue
            if any(found) or ends:
                self._on_stored()
                self._to_tidy.set()
                continue
            await wait_for(self._changed, self._problems.seconds_until_due())

    async def _recover(self) -> None:
        with suppress(AtollError):
            await asyncio.to_thread(self._announcer.recover)
            self._problem = ""

    def _announce_of(self, key: StreamKey) -> int:
        """Announce the next files of a Stream; give how many."""
        contents: dict[int, Content] = {}
        entries = []
        for entry in self._catalogue.to_announce(key, limit=AT_ONCE):
            content = (entry.sha256, b"") if entry.state == "Stored" else self._read(entry)
            if content is not None:
                contents[entry.id] = content
                entries.append(entry)
        if entries:
            self._announcer.announce(key, entries, lambda entry: contents[entry.id])
            self._settle_commits(key)  # of files that were in their dataset before it was noted that they are announced
        return len(entries)

    def _read(self, entry: Entry) -> Content | None:
        """Read a small file; None if it cannot be sent now."""
        place = self._streams.place(entry.stream)
        if place is None or not self._problems.is_due(entry.stream, entry.path):
            return None
        try:
            with opened(place[0], place[1].folder, entry) as file:
                content = file.read_whole(INLINE_BYTES)
                if len(content) != entry.signature.size:
                    raise FileChanged
                file.check()
                self._problems.clear(entry.stream, entry.path)
                return file.digest().hex(), content
        except (FileGone, FileChanged, FileUnreadable) as reason:
            set_aside(self._catalogue, self._problems, entry, reason)
            return None

    # --- when they are in datasets

    def commit(self, report: CommittedReport) -> None:
        """Take in what a sink has in files, and what it lacks. Blocks; call `heard` afterwards."""
        for commit in report.commits:
            key = StreamKey(report.namespace, commit.stream)
            self._commits[key] = commit
            self._settle_commits(key)
        for wanted in report.wanted:
            ident, _, number = wanted.upload.partition("-")
            if ident == self._catalogue.ident:
                self._catalogue.want(int(number), wanted.attempt)
            else:
                self._uploads.disown(Upload(report.namespace, wanted.stream, wanted.upload, 0))

    def _settle_commits(self, key: StreamKey) -> None:
        commit = self._commits.get(key)
        if commit is not None:
            self._catalogue.committed(key, outbox=commit.outbox, envelope=commit.envelope)

    def heard(self) -> None:
        """Have the loops do what a commit asks for."""
        self._to_tidy.set()
        self._uploads.wake()

    async def _tidy(self) -> None:
        while True:
            self._to_tidy.clear()
            with suppress(OutboxUnavailable):
                for entry in await asyncio.to_thread(self._catalogue.entries, "Committed"):
                    if self._problems.is_due(entry.stream, entry.path):
                        await asyncio.to_thread(self._tidy_one, entry)
            await wait_for(self._to_tidy, self._problems.seconds_until_due())

    def _tidy_one(self, entry: Entry) -> None:
        place = self._streams.place(entry.stream)
        try:
            is_gone = place is not None and tidy_up(*place, entry)
        except OSError as error:
            self._problems.note(entry.stream, entry.path, f"is in its dataset and cannot be removed: {error.strerror}")
            return
        self._problems.clear(entry.stream, entry.path)
        if is_gone:
            self._catalogue.forget([entry.id])
        else:
            self._catalogue.done([entry.id])

    # --- what is said of it

    def report(self) -> tuple[StreamFiles, ...]:
        """Say where the files of each Stream are on their way. Blocks."""
        counts = self._catalogue.counts()
        return tuple(self._report_of(key, counts.get(key, Counts())) for key in sorted(self._streams.orders))

    def _report_of(self, key: StreamKey, counts: Counts) -> StreamFiles:
        problems, last = self._problems.counts(key)
        return StreamFiles(
            stream=str(key),
            waiting=counts.waiting + self._looker.waiting(key),
            sending=self._uploads.progress.sending(key),
            sent=counts.sent,
            committed=counts.committed,
            committed_bytes=counts.committed_bytes,
            bytes_per_second=self._uploads.progress.rate(key),
            problems=problems,
            last_problem=last or self.problem,
        )
