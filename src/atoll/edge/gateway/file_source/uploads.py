"""Keeps large files going to the hub, one after the other, over a connection that nothing else uses.

Owns what is sent next, what is sent once more because a sink lacks it, and what the hub is told of uploads that nobody
needs any more.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Protocol

import structlog

from atoll.edge.gateway.database import OutboxDamaged
from atoll.edge.gateway.file_source.catalogue import Catalogue
from atoll.edge.gateway.file_source.problems import Problems
from atoll.edge.gateway.file_source.progress import Progress
from atoll.edge.gateway.file_source.reading import FileChanged, FileGone, FileUnreadable
from atoll.edge.gateway.file_source.records import Entry
from atoll.edge.gateway.file_source.sending import Sender
from atoll.edge.gateway.file_source.streams import FileStreams
from atoll.edge.gateway.file_source.waiting import wait_for
from atoll.federation.bus.chunks import Upload
from atoll.federation.bus.file_messages import FilesReport
from atoll.federation.errors import AtollError, InvalidInput

log = structlog.get_logger(__name__)

# Each attempt reads a file from its start: while the hub is full that must not go on all the time.
_RETRY_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 30.0
# Of one Stream that are looked at for one that can be sent now.
_LOOKED_AT = 256
# Uploads that are stored and not in a dataset yet: beyond it the sink is what is slow, and the hub's disk fills.
_KEPT_UPLOADS = 512


class Reporter(Protocol):
    """Where it is said which uploads are needed."""

    async def put(self, key: str, value: bytes) -> object:
        """Say it."""
        ...


class Uploads:
    """The large files of one gateway. `problem` says why nothing goes now."""

    def __init__(
        self, catalogue: Catalogue, streams: FileStreams, problems: Problems, *, on_stored: Callable[[], None]
    ) -> None:
        self._catalogue, self._streams, self._problems, self._on_stored = catalogue, streams, problems, on_stored
        self._wake = asyncio.Event()
        self._disowned: list[Upload] = []
        self.progress = Progress()
        self.problem = ""

    def wake(self) -> None:
        """Say that there may be something to send."""
        self._wake.set()

    def disown(self, upload: Upload) -> None:
        """Note that a sink wants an upload of which nothing is known here."""
        self._disowned.append(upload)

    async def run(self, sender: Sender) -> None:
        """Send until cancelled; whatever happens to the hub, go on from what it has."""
        pause = _RETRY_SECONDS
        while True:
            self._wake.clear()
            try:
                is_busy = await self._send_again(sender) or await self._send_next(sender)
            except OutboxDamaged:
                raise
            except AtollError as error:
                if str(error) != self.problem:
                    log.warning("sending files has stopped and will be tried again", reason=str(error))
                self.problem = str(error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                continue
            self.problem, pause = "", _RETRY_SECONDS
            if not is_busy:
                await wait_for(self._wake, self._problems.seconds_until_due())

    async def _send_next(self, sender: Sender) -> bool:
        """Send the next large file of each Stream; tell whether there was one."""
        if len((await asyncio.to_thread(self._catalogue.kept_uploads))[1]) >= _KEPT_UPLOADS:
            return False
        is_busy = False
        for key in list(self._streams.orders):
            entries = await asyncio.to_thread(self._catalogue.to_send, key, limit=_LOOKED_AT)
            entry = next((entry for entry in entries if self._problems.is_due(key, entry.path)), None)
            if entry is not None:
                is_busy = await self._send_one(sender, entry) or is_busy
        return is_busy

    async def _send_one(self, sender: Sender, entry: Entry) -> bool:
        place = self._streams.place(entry.stream)
        if place is None:
            return False
        entry = await asyncio.to_thread(self._catalogue.begin_upload, entry.id, chunk_bytes=sender.chunk_bytes)
        try:
            sha256 = await sender.send(entry, place[0], place[1].folder, self._streams.pace(entry.stream))
        except (FileGone, FileChanged, FileUnreadable) as reason:
            await asyncio.to_thread(set_aside, self._catalogue, self._problems, entry, reason)
            return True
        except InvalidInput as error:
            self._problems.note(entry.stream, entry.path, str(error))
            return True
        finally:
            self.progress.ended()
        self._problems.clear(entry.stream, entry.path)
        await asyncio.to_thread(self._catalogue.stored, entry.id, sha256)
        self._on_stored()
        return True

    async def _send_again(self, sender: Sender) -> bool:
        """Send what a sink lacks once more, or say that it cannot be had any more; tell whether there was any."""
        while self._disowned:
            await sender.give_up(self._disowned[-1], "its gateway has lost its catalogue of files")
            self._disowned.pop()
        entries = await asyncio.to_thread(self._catalogue.wanted)
        for entry in entries:
            reason = await self._try_again(sender, entry)
            if reason:
                await sender.give_up(sender.upload_of(entry), reason)
                self._problems.lost(entry.stream, entry.path, reason)
            await asyncio.to_thread(self._catalogue.sent_again, entry.id)
        return bool(entries)

    async def _try_again(self, sender: Sender, entry: Entry) -> str:
        """Send a file's chunks once more; say why that is not possible, empty if it was."""
        place = self._streams.place(entry.stream)
        if place is None:
            return "its Stream or its root is not there any more"
        try:
            sha256 = await sender.send(entry, place[0], place[1].folder, self._streams.pace(entry.stream))
        except InvalidInput as error:
            return str(error)
        except FileUnreadable as reason:
            return f"it cannot be read any more: {reason}"
        except (FileGone, FileChanged):
            return "it was deleted or changed before the sink had all of it"
        finally:
            self.progress.ended()
        return "" if sha256 == entry.sha256 else "it was changed before the sink had all of it"

    async def report_needs(self, reporter: Reporter, *, period_seconds: float) -> None:
        """Keep the hub informed of the uploads that are needed, until cancelled."""
        told: FilesReport | None = None
        while True:
            following, kept = await asyncio.to_thread(self._catalogue.kept_uploads)
            if told is None or (told.following, told.kept) != (following, kept):
                now = datetime.now(UTC)
                needs = FilesReport(catalogue=self._catalogue.ident, following=following, kept=kept, at=now)
                with suppress(AtollError):
                    await reporter.put("files", needs.encode())
                    told = needs
            await asyncio.sleep(period_seconds)


def set_aside(catalogue: Catalogue, problems: Problems, entry: Entry, reason: Exception) -> None:
    """Deal with a file that cannot be sent as it was found. Blocks on the disk."""
    if isinstance(reason, FileUnreadable):
        problems.note(entry.stream, entry.path, f"cannot be read: {reason}")
        return
    if isinstance(reason, FileGone):
        problems.lost(entry.stream, entry.path, "was deleted before it was sent")
    catalogue.forget([entry.id])  # one that has changed is found again
