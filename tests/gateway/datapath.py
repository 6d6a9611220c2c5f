"""A whole data path of real processes for tests: broker, gateway, NATS, sink, and instruments that publish."""

import asyncio
import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import DatasetReport, GatewayOrder, GatewayReport, StreamOrder
from atoll.federation.bus.log import LogTrimmer
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    desired_prefix,
    lab_prefix,
    lab_stream,
    observed_prefix,
    uplink_prefix,
)
from atoll.federation.errors import Unavailable
from atoll.federation.resources.stream import StreamSpec
from rig.nursery import Nursery, nursery

GATEWAY, CLUSTER, NAMESPACE, STREAM, DATASET = "lab", "onprem", "ns", "anmo", "anmo.run"
LOG_BYTES = 1 << 28


class Process:
    """A process that can be killed and started again."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None

    @property
    def pid(self) -> int:
        """Its number while it runs."""
        assert self._process is not None
        return self._process.pid

    @property
    def output(self) -> str:
        return self._log.read_text()


class EdgeProcess(Process):
    """A gateway, sink or mover, forked from a process that has imported them."""

    def __init__(self, room: str, text: str, log: Path) -> None:
        super().__init__([room, text], log)
        self._pid: int | None = None

    def start(self) -> None:
        self._pid = edges().begin("gateway.run_edge", *self._command, log=self._log)

    def end(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self._pid is not None:
            edges().end(self._pid, number)
            self._pid = None

    @property
    def pid(self) -> int:
        assert self._pid is not None
        return self._pid


def edges() -> Nursery:
    return nursery("gateway.run_edge", *(f"atoll.edge.{room}.main" for room in ("gateway", "sink", "mover")))


def edge_process(room: str, home: Path, *, log: str = "", **settings: Any) -> EdgeProcess:
    """Make a gateway, sink or mover process."""
    return EdgeProcess(room, json.dumps(settings, default=str), home / f"{log or room}.log")


class Mosquitto(Process):
    """A mosquitto that keeps sessions and messages over restarts."""

    def __init__(self, home: Path) -> None:
        binary = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if binary is None:
            pytest.skip("needs the mosquitto broker (apt-get install mosquitto)")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        home.mkdir()
        config = home / "mosquitto.conf"
        config.write_text(
            f"user {getpass.getuser()}\nlistener {self.port} 127.0.0.1\nallow_anonymous true\npersistence true\n"
            f"persistence_location {home}/\nmax_inflight_messages 0\nmax_queued_messages 0\n"
        )
        super().__init__([binary, "-c", str(config)], home / "mosquitto.log")

    def start(self) -> None:
        super().start()
        wait_for_port(self.port)


def wait_for_port(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=0.5).close()
            return
        except OSError:
            time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


@dataclass
class Instruments:
    """Publishes numbered readings on several topics, each until the broker has acknowledged it."""

    port: int
    topics: list[str]
    per_topic: int
    pause_seconds: float = 0.0
    sent: dict[str, list[bytes]] = field(default_factory=dict)

    def payload(self, topic: str, number: int) -> bytes:
        return f"{topic} {number:06d} {'x' * (number % 50)}\n".encode()

    def publish_all(self) -> None:
        """Publish everything, the topics interleaved; return when all of it is acknowledged."""
        with ThreadPoolExecutor(len(self.topics)) as pool:
            for published in [pool.submit(self._publish, topic) for topic in self.topics]:
                published.result()

    def _publish(self, topic: str) -> None:
        sent = self.sent.setdefault(topic, [])
        with Publisher(self.port, topic.replace("/", "-")) as publisher:
            for number in range(self.per_topic):
                sent.append(self.payload(topic, number))
                # One at a time: paho does not keep the order of what it sends again after a lost connection.
                publisher.send(topic, sent[-1])
                publisher.wait()
                time.sleep(self.pause_seconds)

    @property
    def total(self) -> int:
        return self.per_topic * len(self.topics)


class Publisher:
    """An MQTT client that repeats what it sends until the broker has acknowledged it; leaving waits for that."""

    def __init__(self, port: int, name: str) -> None:
        self._sent, self._acknowledged = 0, 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, clean_session=False)
        self._client.reconnect_delay_set(1, 1)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_publish(self, *_: Any) -> None:
        self._acknowledged += 1

    def send(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)
        self._sent += 1

    def __enter__(self) -> "Publisher":
        return self

    def wait(self) -> None:
        """Return when all that was sent is acknowledged."""
        deadline = time.monotonic() + 60
        while self._acknowledged < self._sent:
            assert time.monotonic() < deadline, "the broker does not acknowledge"
            time.sleep(0.001)

    def __exit__(self, *_: object) -> None:
        try:
            self.wait()
        finally:
            self._client.disconnect()
            self._client.loop_stop()
            self._client.on_publish = None  # no cycle: paho closes what it woke its thread with when it is forgotten


def publish(port: int, topic: str, *payloads: bytes, name: str = "publisher") -> None:
    """Publish some messages and wait for their acknowledgements."""
    with Publisher(port, name) as publisher:
        for payload in payloads:
            publisher.send(topic, payload)


def stream_order(**changes: Any) -> StreamOrder:
    spec: dict[str, Any] = {
        "gateway": GATEWAY,
        "topics": ("lab/+/data",),
        "dataset": DATASET,
        "home": CLUSTER,
        "end_of_run": {"topic": "lab/end"},
    }
    return StreamOrder(namespace=NAMESPACE, name=STREAM, spec=StreamSpec(**(spec | changes)))


async def order_streams(bus: Bus, *orders: StreamOrder, outbox_bytes: int = 10**9) -> None:
    """Do what the hub does for Streams: the log, the gateway's order, the sink's orders."""
    await bus.ensure_log(lab_stream(GATEWAY), lab_prefix(GATEWAY), max_bytes=LOG_BYTES, taken_in=uplink_prefix(GATEWAY))
    gateway = GatewayOrder(outbox_bytes=outbox_bytes, streams=orders)
    await bus.table(DESIRED_STREAM, desired_prefix("gateway", GATEWAY)).put("streams", gateway.encode())
    desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", CLUSTER))
    created = (await LogTrimmer(bus, lab_stream(GATEWAY)).extent()).created
    for order in orders:
        told = order.model_copy(update={"log_created": created})
        await desired.put(f"stream/{order.namespace}/{order.name}", told.encode())


@contextlib.asynccontextmanager
async def passing_on_commits(url: str) -> AsyncIterator[None]:
    """Do what the hub does with the reports of sinks: tell the gateway what they have in files."""
    bus = await Bus.connect(url, name="passes commits on")
    await bus.ensure_table(DESIRED_STREAM, DESIRED_PREFIX)
    await bus.ensure_table(OBSERVED_STREAM, OBSERVED_PREFIX)
    observed = bus.table(OBSERVED_STREAM, observed_prefix("gateway", GATEWAY))
    desired = bus.table(DESIRED_STREAM, desired_prefix("gateway", GATEWAY))

    async def pass_on() -> None:
        async for item in observed.follow("committed"):
            if isinstance(item, Change) and item.value is not None:
                await insist(item.key, item.value)

    async def insist(key: str, value: bytes) -> None:
        while True:
            with contextlib.suppress(Unavailable):
                await desired.put(key, value)
                return

    task = asyncio.create_task(pass_on())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await bus.close()


async def dataset_report(bus: Bus, dataset: str = DATASET) -> DatasetReport | None:
    change = await bus.table(OBSERVED_STREAM, observed_prefix("cluster", CLUSTER)).get(f"dataset/{NAMESPACE}/{dataset}")
    return DatasetReport.decode(change.value) if change and change.value is not None else None


async def gateway_report(bus: Bus) -> GatewayReport | None:
    change = await bus.table(OBSERVED_STREAM, observed_prefix("gateway", GATEWAY)).get("heartbeat")
    return GatewayReport.decode(change.value) if change and change.value is not None else None


async def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait until an async question has a true answer, and give it."""
    deadline = time.monotonic() + seconds
    while not (answer := await what()):
        assert time.monotonic() < deadline, f"not within {seconds} s"
        await asyncio.sleep(0.1)
    return answer


async def in_thread(work: Callable[[], None]) -> None:
    """Run blocking work beside the event loop, in a thread of its own that the test waits for."""
    with ThreadPoolExecutor(1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, work)


async def connected(bus: Bus) -> Any:
    """Wait until the gateway holds its subscriptions: from then on the broker keeps everything for it."""

    async def is_subscribed() -> bool:
        report = await gateway_report(bus)
        return report is not None and report.broker_connected and bool(report.ledger)

    await until(is_subscribed)


class DataPath:
    """Gateway and sink around a NATS server and a broker."""

    def __init__(self, home: Path, nats: Any, broker_port: int, *, receiver: str = "paho") -> None:
        self.home, self.nats, self.broker_port = home, nats, broker_port
        self.root = home / "volume"
        self.root.mkdir()
        broker = f"mqtt://127.0.0.1:{broker_port}"
        self.gateway = edge_process(
            "gateway", home, gateway=GATEWAY, nats_url=nats.url, state_dir=home / "gateway", broker=broker,
            receiver=receiver, heartbeat_seconds=0.2,
        )  # fmt: skip
        self.sink = edge_process("sink", home, cluster=CLUSTER, namespace=NAMESPACE, nats_url=nats.url, root=self.root)

    def start(self) -> None:
        self.gateway.start()
        self.sink.start()

    def stop(self) -> None:
        self.gateway.end()
        self.sink.end()


class Server(Process):
    """The NATS server of the fixture, killed and started like the others."""

    def __init__(self, server: Any) -> None:
        self._server = server

    def end(self, *_: Any) -> None:
        self._server.kill9()

    def start(self) -> None:
        self._server.start()
        wait_for_port(self._server.mqtt_port if self._server.with_mqtt else self._server.port)
