"""The gateway process: puts its parts together and keeps them running.

Owns composition, the order that it follows, the commits that it trims by, and the heartbeat. Taking in readings never
waits for the hub: without one the gateway works from the order it saved.
"""

import asyncio
import time
from datetime import UTC, datetime
from importlib.metadata import version

import structlog

from atoll.edge.enrolment import Enrolled
from atoll.edge.gateway.files import OpenedOutbox, StateDir
from atoll.edge.gateway.intake import Intake
from atoll.edge.gateway.mqtt import Broker, BrokerAddress
from atoll.edge.gateway.outbox import OutboxDamaged, OutboxFull, StreamCounts
from atoll.edge.gateway.packing import Packer, RecentPackets, StreamKey
from atoll.edge.gateway.settings import GatewaySettings
from atoll.edge.gateway.topics import subscriptions
from atoll.edge.gateway.uplink import Uplink
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommittedReport, GatewayOrder, GatewayReport
from atoll.federation.bus.subjects import (
    DESIRED_STREAM,
    OBSERVED_STREAM,
    OPEN_TOKEN,
    desired_prefix,
    observed_prefix,
)
from atoll.federation.bus.table import Change, Table
from atoll.federation.errors import AtollError, Internal, InvalidInput
from atoll.federation.resources.gateway import StreamLedger

log = structlog.get_logger(__name__)


async def run(settings: GatewaySettings) -> None:
    """Be a gateway until cancelled.

    Raises:
        Conflict: another gateway has the state folder. InvalidInput: the folder or the broker's URL is unusable.
    """
    if settings.broker is not None:
        BrokerAddress.parse(settings.broker)
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
        self._outbox, self._loss = opened.outbox, opened.loss
        self._order = GatewayOrder(outbox_bytes=opened.outbox.limit_bytes)
        recent = RecentPackets(self._outbox.recent_packets())
        self._packer = Packer(recent=recent, opened=self._outbox.open_datasets())
        self._uplink = Uplink(self._outbox, gateway=settings.gateway)
        self._enrolled = Enrolled(
            settings.state_dir / "membership", settings.enrolment, kind="gateway", name=settings.gateway
        )
        self._token = OPEN_TOKEN
        self._intake = Intake(self._outbox, self._packer, on_stored=self._uplink.wake)
        self._broker: Broker | None = None
        self._broker_changed = asyncio.Event()
        self._broker_problem = ""
        self._has_order = False
        saved = state.load_order()
        if saved is not None:
            self._follow(saved)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._take_in())
            tasks.create_task(self._work_with_hub())

    # --- the broker's side

    @property
    def _broker_url(self) -> str | None:
        return self._order.broker or self._settings.broker

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
        try:
            address = self._address(url)
        except InvalidInput as error:
            self._broker_problem = str(error)
            await asyncio.Event().wait()
            return
        self._broker_problem = ""
        broker = Broker(address, client_id=f"atoll-gateway-{self._settings.gateway}")
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
        return BrokerAddress.parse(url or "", ca_file=self._settings.broker_ca_file)

    def _follow(self, order: GatewayOrder) -> None:
        """Take an order as what should be from now on."""
        is_first, self._has_order = not self._has_order, True
        before, self._order = self._broker_url, order
        self._packer.follow(order.streams)
        self._outbox.limit_bytes = order.outbox_bytes
        if is_first or self._broker_url != before:
            self._broker_changed.set()
        elif self._broker is not None:
            self._broker.subscribe(subscriptions(order.streams))

    # --- the hub's side

    async def _work_with_hub(self) -> None:
        member, name = await self._enrolled.membership(), f"gateway {self._settings.gateway}"
        self._token = member.token
        bus = await Bus.await_server(member.nats_url, name=name, login=member.login)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._enrolled.keep(bus, member))
                tasks.create_task(self._uplink.run(bus, token=member.service_token))
                tasks.create_task(self._follow_orders(bus))
                tasks.create_task(self._follow_commits(bus))
                tasks.create_task(self._beat(bus))
        finally:
            await bus.close()

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
                await self._trim(CommittedReport.decode(item.value))
            except (Internal, OutboxFull) as error:
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
                await table.put("heartbeat", (await asyncio.to_thread(self._report)).encode())
            except AtollError as error:
                if isinstance(error, OutboxDamaged):
                    raise
                log.debug("a heartbeat was lost", problem=str(error))
            await asyncio.sleep(self._settings.heartbeat_seconds)

    def _report(self) -> GatewayReport:
        oldest = self._outbox.oldest_stored_at()
        return GatewayReport(
            outbox_readings=self._outbox.readings,
            outbox_bytes=self._outbox.bytes,
            lag_seconds=max(0.0, time.time() - oldest) if oldest is not None else 0.0,
            broker_connected=self._broker is not None and self._broker.is_connected,
            reason=self._reason(),
            ledger=tuple(self._ledger_of(key) for key in sorted(self._known_streams())),
            agent_version=version("atoll"),
            at=datetime.now(UTC),
        )

    def _known_streams(self) -> set[StreamKey]:
        """Give the Streams that have readings here, and those that the broker has confirmed to send."""
        known = set(self._outbox.streams)
        if self._broker is not None and self._broker.is_subscribed:
            known |= {StreamKey(order.namespace, order.name) for order in self._order.streams}
        return known

    def _reason(self) -> str:
        """Give what a person should know first; empty if all is well."""
        broker = self._broker
        disconnected = broker.problem if broker is not None and not broker.is_connected else ""
        refused = f"{self._intake.refused} readings refused, the last: {self._intake.last_refusal}"
        reasons = (
            self._intake.problem,
            self._loss,
            self._broker_problem or disconnected,
            self._uplink.problem,
            refused if self._intake.refused else "",
            self._uplink.notice,
        )
        return next((reason for reason in reasons if reason), "")

    def _ledger_of(self, key: StreamKey) -> StreamLedger:
        counts = self._outbox.streams.get(key, StreamCounts())
        return StreamLedger(
            stream=str(key),
            received=counts.received,
            duplicates=counts.duplicates,
            forwarded=max(self._uplink.forwarded.get(key, 0), counts.committed),
            committed=counts.committed,
        )
