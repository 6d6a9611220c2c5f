"""One TransferOrder, from its first report to its last: whom the version is copied from, and when it is tried again.

Owns the choice among the sources of an order, and what is reported of it. A source that falls silent is left for the
next one; one whose files are not what they should be is not asked again.
"""

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog

from atoll.edge.mover.copying import Copy, SourceDamaged
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import TransferOrder, TransferReport, TransferSource
from atoll.federation.bus.datasets import DatasetReader
from atoll.federation.bus.table import Table
from atoll.federation.errors import AtollError, Conflict, InvalidInput, Unavailable
from atoll.federation.resources.transfer import TransferPhase

log = structlog.get_logger(__name__)

_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 1.0
_HOPELESS = (Conflict, InvalidInput)


@dataclass(frozen=True)
class Parts:
    """What every transfer of a mover works with."""

    bus: Bus
    volume: Volume
    observed: Table


class Running:
    """One transfer under way."""

    def __init__(self, parts: Parts, order: TransferOrder) -> None:
        self._parts, self.order = parts, order
        self._sources = (TransferSource(cluster=order.source, token=order.source_token), *order.others)
        self._damaged: dict[str, str] = {}
        self._source: str | None = None
        self._started_at: datetime | None = None
        self._message = ""
        self._copy: Copy | None = None

    async def run(self, places: asyncio.Semaphore, stage: asyncio.Lock) -> None:
        """Copy, whatever happens to the source and the network; report until the outcome is known to the hub."""
        await self._report("Pending")
        async with stage, places:
            self._started_at = datetime.now(UTC)
            progress = asyncio.create_task(self._report_progress())
            try:
                ledger, problem = await self._insist()
            finally:
                progress.cancel()
                await asyncio.gather(progress, return_exceptions=True)
        self._message = problem
        is_told = False
        while not is_told:
            is_told = await self._report("Failed" if ledger is None else "Succeeded", ledger)
            await asyncio.sleep(0 if is_told else _RETRY_SECONDS)

    async def _insist(self) -> tuple[VersionLedger | None, str]:
        """Ask the sources in turn until it is done or hopeless; give the ledger, or None and why."""
        order, turn, failed = self.order, 0, ""
        while len(self._damaged) < len(self._sources):
            source = self._sources[turn % len(self._sources)]
            turn += 1
            if source.cluster in self._damaged:
                continue
            try:
                self._copy = self._copy or Copy(self._parts.volume, order)
                self._source = source.cluster
                reader = DatasetReader(self._parts.bus, source.cluster, order.namespace, token=source.token)
                return await self._copy.run(reader, source.cluster), ""
            except SourceDamaged as error:
                self._damaged[source.cluster] = str(error)
                self._wait_for(source.cluster, error)
                continue
            except _HOPELESS as error:
                log.error("a transfer failed", transfer=order.transfer, problem=str(error))
                return None, str(error)
            except (AtollError, OSError) as error:
                if self._copy is not None and isinstance(error, Unavailable) and failed == source.cluster:
                    self._copy.slow_down()
                failed = source.cluster
                self._wait_for(source.cluster, error)
            await asyncio.sleep(_RETRY_SECONDS)
        return None, "; ".join(f"{cluster}: {problem}" for cluster, problem in self._damaged.items())

    def _wait_for(self, source: str, error: Exception) -> None:
        message = f"{source}: {error}"
        if message != self._message:
            log.warning("a source gives nothing now", transfer=self.order.transfer, problem=message)
        self._message = message
        if self._copy is not None:
            self._copy.fetched_bytes = 0

    async def _report_progress(self) -> None:
        while True:
            if self._copy is not None and self._copy.fetched_bytes:
                self._message = ""  # it moves again
            await self._report("Copying")
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _report(self, phase: TransferPhase, ledger: VersionLedger | None = None) -> bool:
        """Report; tell whether the report is out."""
        copy, order = self._copy, self.order
        now = datetime.now(UTC)
        report = TransferReport(
            namespace=order.namespace,
            transfer=order.transfer,
            phase=phase,
            message=self._message,
            total_bytes=copy.total_bytes if copy else 0,
            copied_bytes=copy.copied_bytes if copy else 0,
            bytes_per_second=copy.bytes_per_second if copy else 0.0,
            source=self._source,
            manifest_sha256=ledger.manifest_sha256 if ledger else "",
            started_at=self._started_at,
            finished_at=now if phase in ("Succeeded", "Failed") else None,
            at=now,
        )
        try:
            await self._parts.observed.put(f"transfer/{order.namespace}/{order.transfer}", report.encode())
        except AtollError as error:
            log.debug("a report was lost", transfer=order.transfer, problem=str(error))
            return False
        return True
