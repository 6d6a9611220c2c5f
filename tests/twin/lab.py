"""Laboratories in one process on virtual time: instruments, brokers, gateways, NATS and a sink.

Owns the composition of such a history, and what it notes beside: how much the sink had promised whenever it died. What
must have held is judged in lab_judge.py, by files.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Self

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.gateway import bandwidth, files, status
from atoll.edge.gateway import main as gateway_main
from atoll.edge.gateway.mqtt import BrokerSettings
from atoll.edge.gateway.settings import GatewaySettings
from atoll.edge.sink import main as sink_main
from atoll.edge.sink import reports, sealing, stating
from atoll.edge.sink.settings import SinkSettings
from atoll.federation.bus import link
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.membership import Membership
from twin import shims
from twin.broker import Broker
from twin.disk import Disk, mounted
from twin.history import History
from twin.lab_faults import LabBreaker
from twin.lab_hub import CLUSTER, NAMESPACE, LabHub
from twin.lab_judge import are_complete, kept, promised
from twin.lab_story import BEGIN, HUB, SINK, LabStory, Series
from twin.machine import current_process
from twin.nats_client import TwinClient
from twin.network import Network
from twin.programs import NATS_URL, Program

_HEARTBEAT_SECONDS = 3.0


class Lab(History):
    """One history of laboratories."""

    story: LabStory

    def __init__(self, story: LabStory, folder: Path) -> None:
        super().__init__(story, folder)
        self.published: dict[str, list[bytes]] = {}
        self.deaths, self.broken_promises = 0, list[str]()

    def _prepare(self) -> None:
        shims.tell_time_to(bandwidth, files, status, reports, sealing, stating)
        link.NatsClient = TwinClient  # type: ignore[misc,assignment]

    def live(self) -> Self:
        self.disks = {name: Disk(self.folder / name) for name in (SINK, *self.story.shapes)}
        with mounted(*self.disks.values()):
            return super().live()

    @property
    def volume(self) -> Path:
        return self.disks[SINK].root

    async def _begin(self) -> None:
        self.open_nats()
        self.brokers = {name: Broker(Network(self.loop, self.chance)) for name in self.story.shapes}
        self.loop.dial = self._dial  # type: ignore[method-assign]
        self.run([self._hub(), self._sink(), *(self._gateway(name) for name in self.story.shapes)])
        while not all(broker.has_subscriber() for broker in self.brokers.values()):
            await asyncio.sleep(0.5)
        assert self.clock.now < BEGIN, "gateways listen before instruments and faults begin"

    def _hub(self) -> Program:
        async def main(_program: Program) -> None:
            await LabHub(await Bus.await_server(NATS_URL, name=HUB), self.story).run()

        return Program(HUB, self.machine(HUB), main)

    def _sink(self) -> Program:
        settings = SinkSettings(CLUSTER, NAMESPACE, Membership(NATS_URL), self.volume)

        async def main(_program: Program) -> None:
            await sink_main.run(settings)

        return Program(SINK, self.machine(SINK), main)

    def _gateway(self, name: str) -> Program:
        settings = GatewaySettings(
            gateway=name,
            enrolment=EnrolmentSettings(NATS_URL),
            state_dir=self.disks[name].root,
            broker=BrokerSettings(url="mqtt://broker", receiver="fast"),
            heartbeat_seconds=_HEARTBEAT_SECONDS,
        )

        async def main(_program: Program) -> None:
            await gateway_main.run(settings)

        return Program(name, self.machine(name), main)

    async def _dial(self, protocol_factory: Any) -> Any:
        gateway = current_process()
        assert gateway is not None
        return await self.brokers[gateway.name].dial(protocol_factory)

    def _happenings(self) -> list[Coroutine[Any, Any, None]]:
        breaker = LabBreaker(self)
        runs = {(series.gateway, series.run) for series in self.story.work}
        return [
            *(self._work(*run) for run in sorted(runs)),
            *(breaker.let_happen(fault) for fault in self.story.faults),
        ]

    async def _work(self, gateway: str, run: str) -> None:
        """Let the instruments of a run publish, then say that it is over."""
        async with asyncio.TaskGroup() as tasks:
            for series in self.story.work:
                if (series.gateway, series.run) == (gateway, run):
                    tasks.create_task(self._publish(series))
        self.brokers[gateway].publish(f"{gateway}/{run}/end", b"end")

    async def _publish(self, series: Series) -> None:
        await asyncio.sleep(series.at - self.clock.now)
        for number in range(series.count):
            self.published.setdefault(series.topic, []).append(series.payload(number))
            self.brokers[series.gateway].publish(series.topic, series.payload(number))
            if number % series.burst == series.burst - 1:
                await asyncio.sleep(series.pause)

    def _is_done(self) -> bool:
        if not all(broker.is_idle for broker in self.brokers.values()):
            return False
        is_all = sum(kept(self.volume).values()) >= sum(map(len, self.published.values()))
        return is_all and are_complete(self.volume)

    def look_after_death(self) -> None:
        """Hold what a sink left, dead, against what it had said is in files: gateways may have forgotten that."""
        self.deaths += 1
        held = kept(self.volume)
        for stream, count in promised(self.journal.entries).items():
            if held[stream] < count:
                told = f"{stream[1]}: {count} readings were said to be in files, {held[stream]} are"
                self.broken_promises.append(f"{told} at {self.clock.now:.2f} s")
