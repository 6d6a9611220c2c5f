"""The gateway process: puts its parts together and keeps them running.

Owns composition, the order that it follows, the commits that it trims by, and the heartbeat. Taking in readings never
waits for the hub: without one the gateway works from the order it saved.
"""

import asyncio
from itertools import count

import structlog

from atoll.edge.enrolment import Enrolled
from atoll.edge.gateway.buffers import Rules
from atoll.edge.gateway.file_source.source import FileIntake
from atoll.edge.gateway.files import OpenedOutbox, StateDir
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.memory import Memory, StreamKey
from atoll.edge.gateway.mqtt import Broker, BrokerAddress, Session
from atoll.edge.gateway.outbox import OutboxDamaged, OutboxUnavailable
from atoll.edge.gateway.packing import Packer
from atoll.edge.gateway.recent import RecentPackets
from atoll.edge.gateway.settings import GatewaySettings
from atoll.edge.gateway.status import Connection, Status
from atoll.edge.gateway.topics import subscriptions
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, GatewayOrder, GatewayReport
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    OPEN_TOKEN,
    desired_prefix,
    observed_prefix,
)
from atoll.federation.bus.table import Table
from atoll.federation.errors import AtollError, Internal, InvalidInput

log = structlog.get_logger(__name__)

# How often the outbox looks at ages and at trims that are owed.
_TIDY_SECONDS = 5.0


async def run(settings: GatewaySettings) -> None:
    """Be a gateway until cancelled.

    Raises:
        Conflict: another gateway has the state folder. InvalidInput: the folder or the broker's URL is unusable.
    """
    if settings.broker.url is not None:
        settings.broker.address(None)
    state = StateDir(settings.state_dir)
    damage = ""
    try:
        while True:
            opened = await asyncio.to_thread(state.open_outbox, settings.gateway, damage=damage)
            try:
                await _Gateway(settings, state, opened).run()
            except* OutboxDamaged as group:
                damage = str(_first(group))
            finally:
                opened.outbox.close()
    finally:
        state.close()


def _first(error: BaseException) -> BaseException:
    """Give the first error inside groups of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class _Gateway:
    """The parts around one outbox."""

    def __init__(self, settings: GatewaySettings, state: StateDir, opened: OpenedOutbox) -> None:
        self._settings, self._state = settings, state
        self._outbox = opened.outbox
        self._order = GatewayOrder(outbox_bytes=opened.outbox.limit_bytes)
        recent = RecentPackets(self._outbox.recent_packets())
        self._packer = Packer(recent=recent, opened=self._outbox.open_datasets(), memory=Memory(self._outbox.memory()))
        self._uplink = Uplink(self._outbox, gateway=settings.gateway)
        self._enrolled = Enrolled(
            settings.state_dir / "membership", settings.enrolment, kind="gateway", name=settings.gateway
        )
        self._token = OPEN_TOKEN
        self._files = FileIntake(
            self._outbox,
            settings.state_dir,
            settings.files,
            link=self._uplink.allowance,
            on_stored=self._uplink.wake,
        )
        self._intake = Intake(self._outbox, self._packer, on_stored=self._uplink.wake, on_files=self._files.hear)
        self._status = Status(self._outbox, self._uplink, self._intake, tallies=self._packer.tallies, loss=opened.loss)
        self._broker: Broker | None = None
        self._connections = count(1)
        self._broker_changed = asyncio.Event()
        self._broker_problem = ""
        self._has_order = False
        saved = state.load_order()
        if saved is not None:
            self._bound(saved)
            self._follow(saved)

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._take_in())
                tasks.create_task(self._files.run())
                tasks.create_task(self._tidy())
                tasks.create_task(self._work_with_hub())
        finally:
            self._files.close()

    # --- the broker's side

    @property
    def _broker_url(self) -> str | None:
        return self._order.broker or self._settings.broker.url

    async def _take_in(self) -> None:
        """Take in from the broker that is wanted now."""
        while True:
            self._broker_changed.clear()
            reception = asyncio.create_task(self._receive_from(self._broker_url))
            change = asyncio.create_task(self._broker_changed.wait())
            try:
                await asyncio.wait({reception, change}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                change.cancel()
                if not reception.done():
                    reception.cancel()
                await asyncio.wait({reception, change})
            if not reception.cancelled():
                reception.result()

    async def _receive_from(self, url: str | None) -> None:
        if not self._needs_broker:
            self._broker_problem = ""
            await asyncio.Event().wait()
        try:
            address = self._address(url)
        except InvalidInput as error:
            self._broker_problem = str(error)
            await asyncio.Event().wait()
            return
        self._broker_problem = ""
        session = Session.of(self._settings.gateway, self._order.mqtt)
        broker = Broker(address, session, receiver=self._settings.broker.receiver, numbers=self._connections)
        self._broker = broker
        broker.subscribe(subscriptions(self._order.streams))
        broker.start()
        try:
            await self._intake.run(broker)
        finally:
            self._broker = None
            await broker.close()

    def _address(self, url: str | None) -> BrokerAddress:
        # A broker may hold readings of an earlier life of this gateway: before its Streams are known they would match
        # none, be acknowledged and be lost.
        if not self._has_order:
            raise InvalidInput("waits for the hub to say which Streams this gateway has")
        return self._settings.broker.address(url)

    def _bound(self, order: GatewayOrder) -> None:
        """Have the outbox follow an order's bounds; waits for a commit that is under way."""
        self._outbox.follow(Rules.of(order), is_compressed=order.uplink.compression == "Zstd")

    def _follow(self, order: GatewayOrder) -> None:
        """Take an order as what should be from now on."""
        is_first, self._has_order = not self._has_order, True
        before, self._order = (self._broker_url, self._order.mqtt, self._needs_broker), order
        self._packer.follow(order.streams)
        self._files.follow(order.streams)
        self._uplink.allowance.uplink = order.uplink
        if is_first or (self._broker_url, order.mqtt, self._needs_broker) != before:
            self._broker_changed.set()
        elif self._broker is not None:
            self._broker.subscribe(subscriptions(order.streams))

    # --- the hub's side

    async def _work_with_hub(self) -> None:
        member, name = await self._enrolled.membership(), f"gateway {self._settings.gateway}"
        self._token = member.token
        async with self._enrolled.waiting(member):
            bus = await Bus.await_server(member.nats_url, name=name, login=member.login)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._enrolled.keep(bus, member))
                tasks.create_task(self._uplink.run(bus, token=member.service_token))
                tasks.create_task(self._send_files(bus, member))
                tasks.create_task(self._follow_orders(bus))
                tasks.create_task(self._follow_commits(bus))
                tasks.create_task(self._beat(bus))
        finally:
            await bus.close()

    async def _send_files(self, bus: Bus, member: Membership) -> None:
        """Send large files on a connection of their own, so that readings never queue behind them."""
        await self._files.are_wanted()
        gateway = self._settings.gateway
        own = await Bus.await_server(member.nats_url, name=f"gateway {gateway} files", login=member.login)
        reports = bus.own_table(OBSERVED_STREAM, observed_prefix("gateway", gateway, self._token))
        try:
            await self._files.send(own, gateway, token=member.service_token, reporter=reports)
        finally:
            await own.close()

    async def _follow_orders(self, bus: Bus) -> None:
        async for item in self._orders(bus).follow():
            # A hub that has no order (yet, or any more) is no reason to unsubscribe: only a deletion is.
            if isinstance(item, Change) and item.key == "streams":
                await self._obey(item.value)

    def _orders(self, bus: Bus) -> Table:
        return bus.own_table(DESIRED_STREAM, desired_prefix("gateway", self._settings.gateway, self._token))

    async def _obey(self, value: bytes | None) -> None:
        try:
            order = (
                GatewayOrder.decode(value) if value is not None else GatewayOrder(outbox_bytes=self._order.outbox_bytes)
            )
        except Internal as error:
            log.error("ignored an order", problem=str(error))
            return
        await asyncio.to_thread(self._bound, order)
        self._follow(order)
        try:
            await asyncio.to_thread(self._state.save_order, order)
        except OSError as error:
            log.error("could not save the order; it is followed all the same", problem=str(error))
        log.info("follows an order", streams=len(order.streams))

    async def _follow_commits(self, bus: Bus) -> None:
        """Trim the outbox by what the sinks say they have in files, as the hub passes it on."""
        async for item in self._orders(bus).follow("committed"):
            if not isinstance(item, Change) or item.value is None:
                continue
            try:
                await self._trim(report := CommittedReport.decode(item.value))
                await asyncio.to_thread(self._files.commit, report)
                self._files.heard()
            except (Internal, OutboxUnavailable) as error:
                if isinstance(error, OutboxDamaged):
                    raise
                log.warning("did not trim the outbox", key=item.key, problem=str(error))

    async def _trim(self, report: CommittedReport) -> None:
        for commit in report.commits:
            if commit.outbox == self._outbox.ident:
                stream = StreamKey(report.namespace, commit.stream)
                await asyncio.to_thread(self._outbox.trim, stream, number=commit.envelope, sequence=commit.sequence)

    async def _beat(self, bus: Bus) -> None:
        table = bus.own_table(OBSERVED_STREAM, observed_prefix("gateway", self._settings.gateway, self._token))
        while True:
            try:
                report = await asyncio.to_thread(self._report)
                await table.put("heartbeat", report.encode())
            except AtollError as error:
                if isinstance(error, OutboxDamaged):
                    raise
                log.debug("a heartbeat was lost", problem=str(error))
            await asyncio.sleep(self._settings.heartbeat_seconds)

    def _report(self) -> GatewayReport:
        report = self._status.report(self._connection())
        return report.model_copy(update={"files": self._files.report(), "broker_needed": self._needs_broker})

    @property
    def _needs_broker(self) -> bool:
        """Whether any Stream has to do with MQTT; files alone need no broker."""
        return not self._has_order or not self._order.streams or bool(subscriptions(self._order.streams))

    def _connection(self) -> Connection:
        """Say how the broker's side is."""
        broker = self._broker
        is_subscribed = broker is not None and broker.is_subscribed
        streams = self._order.streams if is_subscribed else ()
        return Connection(
            is_connected=broker is not None and broker.is_connected,
            problem=self._broker_problem or (broker.problem if broker is not None else ""),
            streams=frozenset(StreamKey(stream.namespace, stream.name) for stream in streams),
        )

    async def _tidy(self) -> None:
        """Have the outbox do what is due now and then."""
        while True:
            await asyncio.sleep(_TIDY_SECONDS)
            try:
                await asyncio.to_thread(self._outbox.tidy)
            except OutboxUnavailable as error:
                log.debug("could not tidy the outbox", reason=str(error))
