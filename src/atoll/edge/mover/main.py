"""The mover process: hands out this namespace's datasets, fetches those that transfers bring here, keeps the volume.

Owns composition and which transfers run; what becomes of one is in transfers.py, what of the volume in keeping.py.
"""

import asyncio
from typing import NoReturn

import structlog

from atoll.edge.mover.erasing import clean_transfers, empty_trash
from atoll.edge.mover.keeping import Keeper
from atoll.edge.mover.serving import ReadService
from atoll.edge.mover.settings import MoverSettings
from atoll.edge.mover.transfers import Parts, Running
from atoll.edge.sink.volume import Volume, locked
from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import TransferOrder
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    data_subject,
    desired_prefix,
    observed_prefix,
    verify_subject,
)
from atoll.federation.errors import Internal, InvalidInput

log = structlog.get_logger(__name__)

# More at once would only split the same link; one would let a huge copy hold up all small ones.
_PARALLEL_TRANSFERS = 3


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
        observed = bus.own_table(OBSERVED_STREAM, observed_prefix("cluster", settings.cluster, token))
        self._desired = bus.own_table(DESIRED_STREAM, desired_prefix("cluster", settings.cluster, token))
        self._parts = Parts(bus, self._volume, observed)
        self._keeper = Keeper(self._volume, settings.namespace, desired=self._desired, observed=observed)
        self._transfers: dict[str, tuple[bytes, Running, asyncio.Task[None]]] = {}
        self._stages: dict[tuple[str, int], asyncio.Lock] = {}  # two transfers of one version share a folder

    async def run(self) -> NoReturn:
        service, settings = ReadService(self._volume), self._settings
        place = (settings.cluster, settings.namespace, settings.membership.service_token)
        reads = await self._bus.serve(data_subject(*place), service.read)
        proofs = await self._bus.serve_many(verify_subject(*place), service.verify)
        try:
            async with locked(self._volume, "mover"), asyncio.TaskGroup() as tasks:
                await asyncio.to_thread(empty_trash, self._volume)
                tasks.create_task(self._keeper.run())
                await self._follow(tasks)
        finally:
            await reads.stop()
            await proofs.stop()
        raise AssertionError("a table is followed for ever")

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        """Run exactly the transfers that are wanted."""
        async for item in self._desired.follow(f"transfer/{self._settings.namespace}"):
            if isinstance(item, Change):
                await self._want(item, tasks)
            else:
                for key in self._transfers.keys() - item.keys:
                    await self._leave(key)
                await self._clean()

    async def _want(self, change: Change, tasks: asyncio.TaskGroup) -> None:
        known = self._transfers.get(change.key)
        if change.value is None:
            await self._leave(change.key)
            await self._clean()
        elif known is None or known[0] != change.value:
            await self._leave(change.key)
            try:
                order = TransferOrder.decode(change.value)
            except Internal as error:
                log.error("ignored an order", key=change.key, problem=str(error))
                return
            stage = self._stages.setdefault((order.dataset, order.version), asyncio.Lock())
            transfer = Running(self._parts, order)
            task = tasks.create_task(transfer.run(self._places, stage))
            task.add_done_callback(lambda _: self._keeper.look())
            self._transfers[change.key] = change.value, transfer, task

    async def _leave(self, key: str) -> None:
        """End a transfer, and wait until it has: who comes next works in the same folder."""
        known = self._transfers.pop(key, None)
        if known is not None:
            known[2].cancel()
            await asyncio.gather(known[2], return_exceptions=True)

    async def _clean(self) -> None:
        """Delete what was copied for transfers that nobody wants any more."""
        wanted = {(each.order.dataset, each.order.version) for _, each, _ in self._transfers.values()}
        cleaned = await asyncio.to_thread(clean_transfers, self._volume, wanted)
        if cleaned:
            log.info("deleted copies that are not wanted any more", copies=cleaned)
