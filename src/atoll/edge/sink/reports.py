"""Tell the hub and the gateways what is in files. Level-based: the newest truth per key, tried until it is out.

Owns what is reported when. A growing dataset is reported at most twice a second; completion at once. What was told
shortly before a connection broke is told again: a write that was given up on may have come after its successor.
"""

import asyncio
import contextlib
import random
from collections.abc import Iterable
from datetime import UTC, datetime

import structlog

from atoll.edge.sink.contiguity import Progress
from atoll.edge.sink.intervals import shortened
from atoll.edge.sink.ledger import VersionLedger
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, DatasetReport, StreamCommit
from atoll.federation.bus.envelope import Envelope
from atoll.federation.bus.file_messages import WantedUpload
from atoll.federation.bus.messages import Message
from atoll.federation.bus.subjects import OBSERVED_STREAM, observed_prefix
from atoll.federation.errors import AtollError
from atoll.federation.resources.dataset import Ledger

log = structlog.get_logger(__name__)

_PERIOD_SECONDS = 0.5
_RETRY_SECONDS = 1.0
# Longer than NATS holds a write that nobody waits for any more: it elects a leader within seconds.
_RECENT_SECONDS = 120.0
# All sinks of a federation come back at once when NATS does.
_SPREAD_SECONDS = 2.0
# A value in a table has at most 512 KiB; a source takes about 300 bytes, a feed with its intervals 900. The volume's
# ledger has them all.
_REPORTED_SOURCES, _REPORTED_FEEDS, _REPORTED_INTERVALS = 1000, 100, 8


_Key = tuple[str, str]  # subject prefix and key


class Reports:
    """The reports of one sink."""

    def __init__(self, bus: Bus, *, cluster: str, namespace: str, token: str) -> None:
        self._bus, self._cluster, self._namespace, self._token = bus, cluster, namespace, token
        self._pending: dict[_Key, Message] = {}
        self._told: dict[_Key, tuple[float, Message]] = {}  # when, by the loop's clock; the oldest first
        self._commits: dict[str, dict[str, StreamCommit]] = {}  # gateway → Stream → how far it is
        self._wanted: dict[str, dict[str, tuple[WantedUpload, ...]]] = {}  # gateway → Stream → what its sink lacks
        self._wake = asyncio.Event()
        self._urgent = asyncio.Event()

    def dataset(self, ledger: VersionLedger, *, error: str = "") -> None:
        """Report a version, and what is wrong with it if `error` is not empty."""
        report = DatasetReport(
            namespace=self._namespace,
            dataset=ledger.dataset,
            version=ledger.version,
            complete=ledger.complete,
            bytes=ledger.bytes,
            files=len(ledger.files),
            manifest_sha256=ledger.manifest_sha256,
            ledger=_shortened(ledger.ledger),
            produced_by=ledger.produced_by,
            error=error,
            at=datetime.now(UTC),
        )
        key = f"dataset/{self._namespace}/{ledger.dataset}"
        self._put(observed_prefix("cluster", self._cluster, self._token), key, report)
        if ledger.complete or error:
            self._urgent.set()

    def datasets(self, ledgers: Iterable[VersionLedger]) -> None:
        """Report several versions."""
        for ledger in ledgers:
            self.dataset(ledger)

    def committed(self, progress: Progress, *, problem: str = "") -> None:
        """Tell a gateway how far one of its Streams is in files, and what stops it there if something does."""
        streams = self._commits.setdefault(progress.gateway, {})
        if not progress.outboxes and not problem:
            return
        commit = _commit(progress, problem)
        if streams.get(progress.stream) == commit:
            return
        streams[progress.stream] = commit
        self._report_to(progress.gateway)

    def wanted(self, envelope: Envelope, uploads: tuple[WantedUpload, ...]) -> None:
        """Tell a gateway what of a Stream's files has to be sent once more; empty when nothing."""
        streams = self._wanted.setdefault(envelope.gateway, {})
        if streams.get(envelope.stream, ()) != uploads:
            streams[envelope.stream] = uploads
            self._report_to(envelope.gateway)

    def _report_to(self, gateway: str) -> None:
        report = CommittedReport(
            namespace=self._namespace,
            cluster=self._cluster,
            commits=tuple(self._commits.get(gateway, {}).values()),
            wanted=tuple(wanted for items in self._wanted.get(gateway, {}).values() for wanted in items),
            at=datetime.now(UTC),
        )
        key = f"committed/{self._namespace}/{self._cluster}"
        self._put(observed_prefix("gateway", gateway, self._token), key, report)

    def _put(self, prefix: str, key: str, report: Message) -> None:
        self._pending[prefix, key] = report
        self._wake.set()

    async def run(self) -> None:
        """Send what is pending until cancelled."""
        with self._bus.on_reconnect(self._come_back):
            while True:
                await self._wake.wait()
                self._wake.clear()
                self._urgent.clear()
                pending, self._pending = self._pending, {}
                await asyncio.gather(*(self._send(key, report) for key, report in pending.items()))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_PERIOD_SECONDS):
                        await self._urgent.wait()

    def _come_back(self) -> None:
        delay = random.uniform(0.0, _SPREAD_SECONDS)  # noqa: S311 - no secret
        asyncio.get_running_loop().call_later(delay, self._repeat_recent)

    def _repeat_recent(self) -> None:
        for key, (_, report) in self._told.items():
            self._again(key, report)

    def _again(self, key: _Key, report: Message) -> None:
        """Have a report sent once more, unless there is a newer one."""
        self._pending.setdefault(key, report)
        self._wake.set()

    async def _send(self, key: _Key, report: Message) -> None:
        self._note(key, report)
        prefix, name = key
        try:
            await self._bus.own_table(OBSERVED_STREAM, prefix).put(name, report.encode())
        except AtollError as error:
            log.debug("a report will be sent again", key=name, problem=str(error))
            await asyncio.sleep(_RETRY_SECONDS)
            self._again(key, report)

    def _note(self, key: _Key, report: Message) -> None:
        now = asyncio.get_running_loop().time()
        self._told.pop(key, None)
        self._told[key] = (now, report)
        while next(iter(self._told.values()))[0] < now - _RECENT_SECONDS:
            del self._told[next(iter(self._told))]


def _commit(progress: Progress, problem: str) -> StreamCommit:
    outbox, envelope, sequence = progress.outboxes[-1] if progress.outboxes else ("", 0, 0)
    return StreamCommit(
        stream=progress.stream,
        outbox=outbox,
        envelope=envelope,
        sequence=sequence,
        log_sequence=progress.log_sequence,
        log_created=progress.log_created,
        problem=problem,
    )


def _shortened(ledger: Ledger) -> Ledger:
    feeds = tuple(shortened(feed, _REPORTED_INTERVALS) for feed in ledger.feeds[:_REPORTED_FEEDS])
    return ledger.model_copy(update={"sources": ledger.sources[:_REPORTED_SOURCES], "feeds": feeds})
