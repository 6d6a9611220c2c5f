"""Lab files: the room in which chunks of a gateway's large files wait for their sink, and what leaves it.

Owns the chunk stream of a gateway that has Streams with files. An upload goes when its gateway says that it needs it no
more, which is when the file is in its dataset. What belongs to no Stream, or to a catalogue that is no more, goes when
the room is needed: nobody else will ever say so.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from atoll.federation.bus.chunks import ChunkTrimmer
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.file_messages import FilesReport
from atoll.federation.bus.subjects import chunks_prefix, chunks_stream, files_prefix, files_subject
from atoll.federation.errors import AtollError
from atoll.federation.resources import Gateway, Stream
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.gateways import with_streams
from atoll.hub.controllers.lab_logs import is_filled
from atoll.hub.controllers.runtime import DONE, Key, Messages, Outcome, RequeueAfter, Source
from atoll.hub.members import Path

log = structlog.get_logger(__name__)

StoredUpload = tuple[str, str]  # subject of its Stream, name


def plan_release(before: FilesReport, now: FilesReport) -> list[str]:
    """Name the uploads that a gateway needed, or may have begun, when it reported before, and does not need now."""
    if before.catalogue != now.catalogue:
        return []
    possible = {*before.kept, *range(before.following, now.following)}
    return [f"{now.catalogue}-{number}" for number in sorted(possible - set(now.kept))]


def is_released(upload: str, report: FilesReport) -> bool:
    """Tell whether a gateway's report says of a stored upload that it is not needed."""
    catalogue, _, number = upload.partition("-")
    if catalogue != report.catalogue or not number.isdigit():
        return False
    return int(number) < report.following and int(number) not in report.kept


def find_strays(stored: Iterable[StoredUpload], catalogue: str, subjects: Iterable[str]) -> set[StoredUpload]:
    """Give the uploads that nobody will release: of another catalogue, or of no Stream that there is."""
    known = set(subjects)
    return {item for item in stored if item[0] not in known or not item[1].startswith(f"{catalogue}-")}


class LabFileController:
    """Keeps the chunk stream of each gateway that needs one."""

    name = "lab-files"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._sizes: dict[str, int] = {}
        self._reports: dict[str, FilesReport] = {}  # what was acted upon
        self._strays: dict[str, Mapping[StoredUpload, datetime]] = {}  # since when this hub has seen them as such

    def sources(self) -> Sequence[Source]:
        """Watch gateways, the streams that name them, and what gateways say of uploads."""
        return (*with_streams(self._context), Messages(self._context.observed, _files_key))

    async def reconcile(self, key: Key) -> Outcome:
        """Make one gateway's room, and drop what is not needed from it. That of a deleted Gateway is left as it is."""
        context, name = self._context, key[1]
        gateway = await context.client.get(Gateway, None, name)
        if gateway is None:
            return DONE
        streams = [stream for stream in await context.client.list(Stream) if stream.spec.gateway == name]
        if not any(stream.spec.files is not None for stream in streams) and name not in self._sizes:
            return DONE
        await self._ensure_room(gateway)
        report = context.observed.read(FilesReport, Path("gateway", name, "files"))
        if report is None:
            return DONE
        trimmer = ChunkTrimmer(context.bus, name)
        await self._release(trimmer, name, report)
        return await self._drop_strays(trimmer, name, report, streams)

    async def _ensure_room(self, gateway: Gateway) -> None:
        name, size = gateway.metadata.name, gateway.spec.files_bytes
        if self._sizes.get(name) == size:
            return
        taken_in = chunks_prefix(name, self._context.capabilities.uplink(name))
        try:
            await self._context.bus.ensure_chunks(
                chunks_stream(name), files_prefix(name), max_bytes=size, taken_in=taken_in
            )
        except AtollError as error:
            message = f"NATS does not make room for {size} bytes of this gateway's files (spec.filesBytes): {error}"
            await self._context.events.record(gateway, "FilesRefused", message, is_warning=True)
            raise
        await self._context.events.clear(gateway, "FilesRefused")
        self._sizes[name] = size

    async def _release(self, trimmer: ChunkTrimmer, name: str, report: FilesReport) -> None:
        before = self._reports.get(name)
        if before is None or before.catalogue != report.catalogue:
            released = sorted({upload for _, upload in await trimmer.uploads() if is_released(upload, report)})
        else:
            released = plan_release(before, report)
        for upload in released:
            await trimmer.drop(upload)
        if released:
            log.debug("dropped chunks", gateway=name, uploads=len(released))
        self._reports[name] = report

    async def _drop_strays(
        self, trimmer: ChunkTrimmer, name: str, report: FilesReport, streams: Sequence[Stream]
    ) -> Outcome:
        if not is_filled(await StreamExtent.read(self._context.bus, chunks_stream(name))):
            self._strays.pop(name, None)
            return DONE
        subjects = [files_subject(name, stream.metadata.namespace or "", stream.metadata.name) for stream in streams]
        found = find_strays(await trimmer.uploads(), report.catalogue, subjects)
        known, now, keep = self._strays.get(name, {}), self._context.clock(), self._context.orphan_keep_seconds
        self._strays[name] = since = {item: known.get(item, now) for item in found}
        for subject, upload in sorted(item for item, at in since.items() if (now - at).total_seconds() >= keep):
            await trimmer.drop(upload, subject=subject)
            log.warning("dropped chunks that nobody needs", gateway=name, upload=upload)
        return RequeueAfter(keep) if found else DONE


async def _files_key(path: Path) -> Iterable[Key]:
    return [("", path.member)] if path.kind == "gateway" and path.topic == "files" else []
