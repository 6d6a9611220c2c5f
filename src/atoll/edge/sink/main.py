"""The sink process: one per cluster and namespace, with the namespace's dataset volume mounted.

Owns composition, which Streams are read, and which run outputs are committed. Nothing is kept but the files.
"""

import asyncio
import gc
from typing import NoReturn

import structlog

from atoll.edge.sink.ingest import StreamIngest
from atoll.edge.sink.landing import Landing
from atoll.edge.sink.ledger import VersionLedger
from atoll.edge.sink.reports import Reports
from atoll.edge.sink.settings import SinkSettings
from atoll.edge.sink.shelf import Shelf
from atoll.edge.sink.volume import Volume, locked
from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommitOrder, StreamOrder
from atoll.federation.bus.subjects import DESIRED_STREAM, desired_prefix
from atoll.federation.errors import AtollError, Conflict, Internal, InvalidInput

log = structlog.get_logger(__name__)

_RETRY_SECONDS = 2.0
# Readings are many objects that live for a batch and hold no cycles. At Python's own 700 the collector looks at them
# again and again, which takes as long as the work itself (benchmarks/ingest/sink.py).
_COLLECT_AT = 200_000


async def run(settings: SinkSettings) -> NoReturn:
    """Be a sink until cancelled.

    Raises:
        InvalidInput: the root is no folder. Internal: a ledger on the volume is damaged.
    """
    if not settings.root.is_dir():
        raise InvalidInput(f"root {settings.root}: not a folder; mount the namespace's dataset volume there")
    gc.set_threshold(_COLLECT_AT)
    volume = Volume(settings.root)
    async with locked(volume, "sink"):
        shelf = Shelf(volume)
        await asyncio.to_thread(shelf.scan)
        member = settings.membership
        name = f"sink {settings.cluster}/{settings.namespace}"
        bus = await Bus.await_server(member.nats_url, name=name, login=member.login)
        try:
            await _Sink(settings, shelf, bus).run()
        finally:
            await bus.close()


class _Sink:
    """The parts around one volume."""

    def __init__(self, settings: SinkSettings, shelf: Shelf, bus: Bus) -> None:
        self._settings, self._shelf, self._bus = settings, shelf, bus
        token = settings.membership.token
        self._reports = Reports(bus, cluster=settings.cluster, namespace=settings.namespace, token=token)
        self._landing = Landing(bus, Volume(settings.root), self._reports.wanted)
        self._table = bus.own_table(DESIRED_STREAM, desired_prefix("cluster", settings.cluster, token))
        self._streams: dict[str, tuple[StreamIngest, asyncio.Task[None]]] = {}
        self._seals: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> NoReturn:
        self._reports.datasets(self._shelf.ledgers.values())
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._reports.run())
            tasks.create_task(self._follow_streams(tasks))
            tasks.create_task(self._follow_commits(tasks))
        raise AssertionError("the tasks of a sink run for ever")

    async def _follow_streams(self, tasks: asyncio.TaskGroup) -> None:
        """Read exactly the Streams that are wanted."""
        async for item in self._table.follow(f"stream/{self._settings.namespace}"):
            if isinstance(item, Change):
                self._want(item, tasks)
            else:
                for key in self._streams.keys() - item.keys:
                    self._leave(key, tasks)

    def _want(self, change: Change, tasks: asyncio.TaskGroup) -> None:
        if change.value is None:
            self._leave(change.key, tasks)
            return
        try:
            order = StreamOrder.decode(change.value)
        except Internal as error:
            log.error("ignored an order", key=change.key, problem=str(error))
            return
        known = self._streams.get(change.key)
        if known is not None and _source(known[0].order) == _source(order):
            known[0].order = order
            return
        self._leave(change.key, tasks)
        ingest = StreamIngest(self._bus, self._shelf, self._reports, order, landing=self._landing)
        self._streams[change.key] = ingest, tasks.create_task(ingest.run())
        log.info("reads a Stream", stream=order.name, gateway=order.spec.gateway)

    def _leave(self, key: str, tasks: asyncio.TaskGroup) -> None:
        known = self._streams.pop(key, None)
        if known is not None:
            known[1].cancel()
            tasks.create_task(_put_away(*known))

    async def _follow_commits(self, tasks: asyncio.TaskGroup) -> None:
        async for item in self._table.follow(f"commit/{self._settings.namespace}"):
            if not isinstance(item, Change):
                continue
            running = self._seals.pop(item.key, None)
            if running is not None:
                running.cancel()
            if item.value is not None:
                self._seals[item.key] = tasks.create_task(self._seal(item.value))

    async def _seal(self, value: bytes) -> None:
        """Commit a run's output; what stands in the way is reported, and tried again if it may pass."""
        try:
            order = CommitOrder.decode(value)
        except Internal as error:
            log.error("ignored an order", problem=str(error))
            return
        problem = ""
        while True:
            try:
                self._reports.dataset(await asyncio.to_thread(self._shelf.seal, order))
                return
            except (OSError, AtollError) as error:
                if str(error) != problem:
                    problem = str(error)
                    log.error("did not commit a run's output", dataset=order.dataset, run=order.run, problem=problem)
                self._report_refusal(order, str(error))
                if isinstance(error, Conflict | InvalidInput):
                    return
            await asyncio.sleep(_RETRY_SECONDS)

    def _report_refusal(self, order: CommitOrder, problem: str) -> None:
        known = self._shelf.ledgers.get(order.dataset)
        missing = VersionLedger(dataset=order.dataset, version=order.version, produced_by=order.run)
        self._reports.dataset(known if known and known.version >= order.version else missing, error=problem)


def _source(order: StreamOrder) -> tuple[str, bool]:
    """Give what a Stream is read by: while it stays the same, its reader does."""
    return order.spec.gateway, order.spec.files is None


async def _put_away(ingest: StreamIngest, task: asyncio.Task[None]) -> None:
    """Bring into files what is held back of a Stream that nobody wants any more."""
    await asyncio.wait({task})
    await ingest.leave()
