"""What is on the volume, told to the hub; and what becomes of it as ordered: versions deleted, folders registered.

Owns HeldReport and VolumeReport, and the carrying out of DatasetOrder: one dataset's work at a time, tried again until
it is done. What there is to do is read from the volume each time, so a restart goes on where it was.
"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import NoReturn

import structlog

from atoll.edge.mover.erasing import erase
from atoll.edge.mover.holdings import Holdings, Room, VolumeName, taken_over
from atoll.edge.mover.registering import register
from atoll.edge.mover.threads import in_thread
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.changes import Change
from atoll.federation.bus.data_messages import DatasetOrder, HeldReport, HeldVersion, VolumeReport
from atoll.federation.bus.messages import Message
from atoll.federation.bus.table import Table
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput

log = structlog.get_logger(__name__)

# How soon the hub knows of a version that it was not told of otherwise. A scan takes some 20 µs per version.
_SCAN_SECONDS = 2.0
_RETRY_SECONDS = 2.0
# Free room is news when it has changed by this much of the volume, for each report is stored.
_NEWS_OF_ROOM = 0.005


class Keeper:
    """The datasets of one namespace in one cluster."""

    def __init__(self, volume: Volume, namespace: str, *, desired: Table, observed: Table) -> None:
        self._volume, self._namespace = volume, namespace
        self._desired, self._observed = desired, observed
        self._holdings = Holdings(volume)
        self._orders: dict[str, DatasetOrder] = {}
        self._works: dict[str, asyncio.Task[None]] = {}
        self._problems: dict[str, str] = {}
        self._doings: dict[str, str] = {}
        self._told: dict[str, tuple[object, ...]] = {}
        self._told_room: Room | None = None
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Something has changed on the volume: tell it now."""
        self._wake.set()

    async def run(self) -> NoReturn:
        """Follow the orders and tell what is here until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(tasks))
            tasks.create_task(self._tell())
        raise AssertionError("a keeper runs for ever")

    # --- orders

    async def _follow(self, tasks: asyncio.TaskGroup) -> None:
        async for item in self._desired.follow(f"dataset/{self._namespace}"):
            if isinstance(item, Change):
                self._want(item, tasks)
            else:
                for key in self._orders.keys() - {key.rpartition("/")[2] for key in item.keys}:
                    self._leave(key)

    def _want(self, change: Change, tasks: asyncio.TaskGroup) -> None:
        dataset = change.key.rpartition("/")[2]
        if change.value is None:
            self._leave(dataset)
            return
        try:
            order = DatasetOrder.decode(change.value)
        except Internal as error:
            log.error("ignored an order", key=change.key, problem=str(error))
            return
        if self._orders.get(dataset) == order and dataset in self._works:
            return
        before = self._works.get(dataset)
        self._orders[dataset] = order
        self._works[dataset] = tasks.create_task(self._work(order, before))

    def _leave(self, dataset: str) -> None:
        self._orders.pop(dataset, None)
        work = self._works.pop(dataset, None)
        if work is not None:
            work.cancel()
        self._problems.pop(dataset, None)
        self._doings.pop(dataset, None)
        self.look()

    async def _work(self, order: DatasetOrder, before: asyncio.Task[None] | None) -> None:
        """Carry out an order; the one that it takes the place of has ended then, for both move the same folders."""
        if before is not None:
            before.cancel()
            await asyncio.gather(before, return_exceptions=True)
        while True:
            problem = await self._try(order)
            if problem != self._problems.get(order.dataset, ""):
                log.warning("an order for a dataset waits", dataset=order.dataset, problem=problem or "none any more")
            self._problems[order.dataset] = problem
            self._doings.pop(order.dataset, None)
            self.look()
            if not problem:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _try(self, order: DatasetOrder) -> str:
        """Do what an order says; give what stands in the way, empty if it is done."""
        try:
            for version in order.erase:
                self._doings[order.dataset] = f"deleting version {version}"
                await in_thread(erase, self._volume, order.dataset, version, keep_files=order.keep_files)
            if order.register_path:
                await in_thread(self._register, order)
        except (AtollError, OSError) as error:
            reason = error.reason if isinstance(error, Conflict | InvalidInput | Internal) else type(error).__name__
            return f"{reason}: {error}"
        return ""

    def _register(self, order: DatasetOrder) -> None:
        def said(count: int) -> None:
            self._doings[order.dataset] = f"registering {order.register_path}: {count} bytes read"

        said(0)
        register(self._volume, order.dataset, order.register_path, said=said)

    # --- reports

    async def _tell(self) -> None:
        """Report what has changed; at the beginning everything, and the volume once all else is out."""
        name = await in_thread(taken_over, self._volume)
        while True:
            self._wake.clear()
            # Dated before the look: what a sink told of later may have come after it.
            at = datetime.now(UTC)
            try:
                held = await asyncio.to_thread(self._holdings.scan)
                await self._tell_datasets(name, held, at)
                await self._tell_room(name, await asyncio.to_thread(self._holdings.room, held), at)
            except (AtollError, OSError) as error:
                log.warning("what is on the volume could not be told", problem=str(error))
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SCAN_SECONDS):
                    await self._wake.wait()

    async def _tell_datasets(self, name: VolumeName, held: dict[str, tuple[HeldVersion, ...]], at: datetime) -> None:
        for dataset in sorted({*held, *self._told, *self._orders}):
            versions = held.get(dataset, ())
            problem, doing = self._problems.get(dataset, ""), self._doings.get(dataset, "")
            if not versions and dataset not in self._orders:
                if self._told.pop(dataset, None) is not None:
                    await self._observed.delete(f"held/{self._namespace}/{dataset}")
                continue
            told = (versions, problem, doing)
            if self._told.get(dataset) != told:
                report = HeldReport(
                    namespace=self._namespace, dataset=dataset, turn=name.turn, versions=versions,
                    problem=problem, doing=doing, at=at,
                )  # fmt: skip
                await self._put(f"held/{self._namespace}/{dataset}", report)
                self._told[dataset] = told

    async def _tell_room(self, name: VolumeName, room: Room, at: datetime) -> None:
        told, step = self._told_room, max(1.0, room.total_bytes * _NEWS_OF_ROOM)
        if told is not None and told.used_bytes == room.used_bytes and abs(told.free_bytes - room.free_bytes) < step:
            return
        report = VolumeReport(
            namespace=self._namespace, turn=name.turn, made_at=name.made_at, total_bytes=room.total_bytes,
            free_bytes=room.free_bytes, used_bytes=room.used_bytes, at=at,
        )  # fmt: skip
        await self._put(f"volume/{self._namespace}", report)
        self._told_room = room

    async def _put(self, key: str, report: Message) -> None:
        await self._observed.put(key, report.encode())
