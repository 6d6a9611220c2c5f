"""Lab logs: makes room in a gateway's log, so that it is not full for good of what is in files already.

Owns what is deleted from the log that the gateways controller makes. Below the fill mark nothing is: what is in files
may have to be sent again. Above it goes what Streams' home sinks have committed, and, if that is not enough, what was
left by Streams that are deleted: nobody will ever commit it. What a Stream still waits for is never deleted.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import structlog

from atoll.federation.bus.data_messages import CommittedReport
from atoll.federation.bus.extent import StreamExtent
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.subjects import lab_prefix, lab_stream, lab_subject, to_key
from atoll.federation.errors import NotFound
from atoll.federation.resources import Gateway, Stream
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.runtime import DONE, Key, Messages, Objects, Outcome, RequeueAfter, Source, own_key
from atoll.hub.members import Path

log = structlog.get_logger(__name__)

# Lower, and a sink that lost its volume finds less to read again; higher, and a burst meets a full log.
FILL_MARK = 0.5


def is_filled(extent: StreamExtent) -> bool:
    """Tell whether a log needs room."""
    return extent.bytes > extent.max_bytes * FILL_MARK


def plan_trims(
    gateway: str, extent: StreamExtent, streams: Iterable[Stream], reports: Iterable[CommittedReport]
) -> dict[str, int]:
    """Give per subject the sequence of this log up to which everything is in files.

    Only a Stream's home speaks for it; for one that is deleted, any sink that had it does. A position that was in
    another log, or lies beyond this one's end, says nothing.
    """
    homes = {(stream.metadata.namespace, stream.metadata.name): stream.spec.home for stream in streams}
    trims: dict[str, int] = {}
    for report in reports:
        for commit in report.commits:
            is_here = commit.log_created == extent.created and 0 < commit.log_sequence <= extent.last_sequence
            if is_here and homes.get((report.namespace, commit.stream), report.cluster) == report.cluster:
                subject = lab_subject(gateway, report.namespace, commit.stream)
                trims[subject] = max(commit.log_sequence, trims.get(subject, 0))
    return trims


def find_orphans(gateway: str, subjects: Iterable[str], streams: Iterable[Stream]) -> list[str]:
    """Give the subjects that no Stream of this gateway has."""
    wanted = {lab_subject(gateway, stream.metadata.namespace or "", stream.metadata.name) for stream in streams}
    return sorted(set(subjects) - wanted)


class LabLogController:
    """Trims the log of each gateway."""

    name = "lab-logs"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._trimmed: dict[str, tuple[str, int]] = {}  # subject → log and sequence, so that nothing is asked twice
        self._orphaned_at: dict[str, dict[str, datetime]] = {}  # gateway → subject → when this hub first saw it so

    def sources(self) -> Sequence[Source]:
        """Watch gateways, whose status changes while readings flow, and how far sinks are."""
        context = self._context
        return (Objects(context.client, Gateway, own_key), Messages(context.observed, _committed_key))

    async def reconcile(self, key: Key) -> Outcome:
        """Make room in one gateway's log if it needs some. The log of a deleted Gateway is left as it is."""
        context, name = self._context, key[1]
        gateway = await context.client.get(Gateway, None, name)
        if gateway is None:
            return DONE
        trimmer = LogTrimmer(context.bus, lab_stream(name))
        try:
            extent = await trimmer.extent()
        except NotFound:  # not made yet
            return DONE
        if is_filled(extent):
            await self._trim(name, trimmer, extent)
            return await self._drop_orphans(gateway, trimmer)
        self._orphaned_at.pop(name, None)
        return DONE

    async def _trim(self, gateway: str, trimmer: LogTrimmer, extent: StreamExtent) -> None:
        observed = self._context.observed
        reports = (observed.read(CommittedReport, path) for path in observed.paths("gateway", gateway, "committed"))
        known = [report for report in reports if report is not None]
        for subject, through in plan_trims(gateway, extent, await self._streams(gateway), known).items():
            if self._trimmed.get(subject) != (extent.created, through):
                count = await trimmer.drop(subject, through=through)
                self._trimmed[subject] = extent.created, through
                log.debug("trimmed a log", gateway=gateway, subject=subject, envelopes=count)

    async def _drop_orphans(self, gateway: Gateway, trimmer: LogTrimmer) -> Outcome:
        """Delete what deleted Streams left, if they stay away: one may be replaced, or deleted by mistake."""
        context, name = self._context, gateway.metadata.name
        extent = await trimmer.extent()
        if not is_filled(extent):
            return DONE
        now, known = context.clock(), self._orphaned_at.get(name, {})
        orphans = find_orphans(name, await trimmer.subjects(), await self._streams(name))
        self._orphaned_at[name] = since = {subject: known.get(subject, now) for subject in orphans}
        keep = context.orphan_keep_seconds
        for subject in orphans:
            if (now - since[subject]).total_seconds() >= keep:
                await self._drop_orphan(gateway, trimmer, subject, extent.last_sequence)
        return _next_look(since, now, keep)

    async def _drop_orphan(self, gateway: Gateway, trimmer: LogTrimmer, subject: str, through: int) -> None:
        count = await trimmer.drop(subject, through=through)
        if count:
            stream = to_key(subject.removeprefix(f"{lab_prefix(gateway.metadata.name)}."))
            message = f"{count} envelopes of Stream {stream} were dropped: it is deleted, and the log needed their room"
            await self._context.events.record(gateway, "EnvelopesDropped", message, is_warning=True)

    async def _streams(self, gateway: str) -> list[Stream]:
        return [stream for stream in await self._context.client.list(Stream) if stream.spec.gateway == gateway]


def _next_look(since: Mapping[str, datetime], now: datetime, keep_seconds: float) -> Outcome:
    """Come back when the next orphan's time is over."""
    left = (keep_seconds - (now - at).total_seconds() for at in since.values())
    soonest = min((seconds for seconds in left if seconds > 0), default=None)
    return RequeueAfter(soonest) if soonest is not None else DONE


async def _committed_key(path: Path) -> Iterable[Key]:
    return [("", path.member)] if path.kind == "gateway" and path.topic == "committed" else []
