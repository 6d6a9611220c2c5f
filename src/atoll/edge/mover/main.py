"""The mover process: hands out this namespace's datasets and fetches those that transfers bring here.

Owns composition and the life of transfers: which run, what is reported of them, when they are tried again.
"""

import asyncio
from datetime import UTC, datetime
from typing import NoReturn

import structlog

from atoll.edge.mover.copying import Copy, SourceDamaged
from atoll.edge.mover.serving import ReadService
from atoll.edge.mover.settings import MoverSettings
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.volume import Volume, locked
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import TransferOrder, TransferReport
from atoll.federation.bus.datasets import DatasetReader
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    data_subject,
    desired_prefix,
    observed_prefix,
    verify_subject,
)
from atoll.federation.bus.table import Change, Table
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput
from atoll.federation.resources.transfer import TransferPhase

log = structlog.get_logger(__name__)

_PROGRESS_SECONDS = 1.0
_RETRY_SECONDS = 1.0
# More at once would only split the same link; one would let a huge copy hold up all small ones.
_PARALLEL_TRANSFERS = 3
_HOPELESS = (Conflict, InvalidInput, SourceDamaged)


async def run(settings: MoverSettings) -> NoReturn:
    """Be a mover until cancelled.

    Raises:
        InvalidInput: the root is no folder.
    """
    if not settings.root.is_dir():
        raise InvalidInput(f"root {settings.root}: not a folder; mount the namespace's dataset volume there")
    member, name = settings.membership, f"mover {settings.cluster}/{settings.namespace}"
    bus = await Bus.await_server(member.nats_url, name=name, login=member.login)
    try:
        await _Mover(settings, bus).run()
    finally:
        await bus.close()


class _Mover:
    """The parts around one volume."""

    def __init__(self, settings: MoverSettings, bus: Bus) -> None:
        self._settings, self._bus = settings, bus
        self._volume = Volume(settings.root)
        self._places = asyncio.Semaphore(_PARALLEL_TRANSFERS)
        token = settings.membership.token
        self._observed = bus.own_table(OBSERVED_STREAM, observed_prefix("cluster", settings.cluster, token))
        self._desired = bus.own_table(DESIRED_STREAM, desired_prefix("cluster", settings.cluster, token))
        self._transfers: dict[str, tuple[bytes, asyncio.Task[None]]] = {}
        self._stages: dict[tuple[str, int], asyncio.Lock] = {}  # two transfers of one version share a folder

    async def run(self) -> NoReturn:
        service, settings = ReadService(self._volume), self._settings
        place = (settings.cluster, settings.namespace, settings.membership.service_token)
        reads = await self._bus.serve(data_subject(*place), service.read)
        proofs = await self._bus.serve_many(verify_subject(*place), service.verify)
        try:
            async with locked(self._volume, "mover"), asyncio.TaskGroup() as tasks:
                await self._follow(tasks)
        finally:
            await reads.stop()
            await proofs.stop()
        raise AssertionError("a table is followed for ever")

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Run exactly the transfers that are wanted."""
        async for item in self._desired.follow(f"transfer/{self._settings.namespace}"):
            if isinstance(item, Change):
                self._want(item, tasks)
            else:
                for key in self._transfers.keys() - item.keys:
                    self._leave(key)

    def _want(self, change: Change, tasks: asyncio.TaskGroup) -> None:
        known = self._transfers.get(change.key)
        if change.value is None:
            self._leave(change.key)
        elif known is None or known[0] != change.value:
            self._leave(change.key)
            try:
                order = TransferOrder.decode(change.value)
            except Internal as error:
                log.error("ignored an order", key=change.key, problem=str(error))
                return
            stage = self._stages.setdefault((order.dataset, order.version), asyncio.Lock())
            transfer = _Transfer(self._bus, self._volume, self._observed, order)
            self._transfers[change.key] = change.value, tasks.create_task(transfer.run(self._places, stage))

    def _leave(self, key: str) -> None:
        """End a transfer. What it has copied stays until the copy is asked for again or the volume is cleaned."""
        known = self._transfers.pop(key, None)
        if known is not None:
            known[1].cancel()


class _Transfer:
    """One TransferOrder, from its first report to its last."""

    def __init__(self, bus: Bus, volume: Volume, observed: Table, order: TransferOrder) -> None:
        self._order, self._observed = order, observed
        self._bus, self._volume = bus, volume
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
        """Try until it is done or hopeless; give the ledger, or None and why."""
        order = self._order
        reader = DatasetReader(self._bus, order.source, order.namespace, token=order.source_token)
        while True:
            try:
                if self._copy is None:
                    self._copy = Copy(self._volume, reader, self._order)
                return await self._copy.run(), ""
            except _HOPELESS as error:
                log.error("a transfer failed", transfer=self._order.transfer, problem=str(error))
                return None, str(error)
            except (AtollError, OSError) as error:
                if str(error) != self._message:
                    log.warning("a transfer waits", transfer=self._order.transfer, problem=str(error))
                self._message = str(error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def _report_progress(self) -> None:
        while True:
            await self._report("Copying")
            await asyncio.sleep(_PROGRESS_SECONDS)

    async def _report(self, phase: TransferPhase, ledger: VersionLedger | None = None) -> bool:
        """Report; tell whether the report is out."""
        copy, order = self._copy, self._order
        now = datetime.now(UTC)
        report = TransferReport(
            namespace=order.namespace,
            transfer=order.transfer,
            phase=phase,
            message=self._message,
            total_bytes=copy.total_bytes if copy else 0,
            copied_bytes=copy.copied_bytes if copy else 0,
            bytes_per_second=copy.bytes_per_second if copy else 0.0,
            manifest_sha256=ledger.manifest_sha256 if ledger else "",
            started_at=self._started_at,
            finished_at=now if phase in ("Succeeded", "Failed") else None,
            at=now,
        )
        try:
            await self._observed.put(f"transfer/{order.namespace}/{order.transfer}", report.encode())
        except AtollError as error:
            log.debug("a report was lost", transfer=order.transfer, problem=str(error))
            return False
        return True
