"""A laboratory of real processes: instruments, Mosquitto, gateway, NATS, hub and sink; links and disks that may fail.

Nothing here asks the program whether it did well: what was published stands here, what arrived stands in files.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho

from bus.nats_cluster import launch_cluster
from exactly_once.cable import Link
from gateway.datapath import Mosquitto, Process, edge_process
from hub.processes import HubProcess
from hub.support import collection, manifest, path_of
from nats_servers import NatsServer

GATEWAY, CLUSTER, NAMESPACE, STREAM = "lab", "onprem", "ns", "readings"
INSTRUMENTS = 20
# A gateway wants 64 MB of its disk free before it takes anything in.
_DISK_BYTES = 96 << 20
_SECONDS = 60.0


def topic_of(run: str, instrument: int) -> str:
    return f"lab/{run}/i{instrument:02d}/data"


class Instrument:
    """An MQTT client that publishes and counts what the broker has acknowledged."""

    def __init__(self, port: int, number: int) -> None:
        self.number, self._acknowledged, self._sent = number, 0, 0
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, f"instrument-{number}")
        self._client.max_inflight_messages_set(1)  # order is the broker's to keep only one at a time (MQTT 5, 4.6)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_publish(self, *_: Any) -> None:
        self._acknowledged += 1

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, qos=1)
        self._sent += 1

    def wait(self) -> None:
        """Return when everything published is acknowledged."""
        end = time.monotonic() + _SECONDS
        while self._acknowledged < self._sent:
            assert time.monotonic() < end, "the broker does not acknowledge"
            time.sleep(0.005)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@dataclass
class Disk:
    """A folder on a small file system of its own, which can be filled to its last byte; a plain folder elsewhere."""

    path: Path
    is_small: bool = False

    def mount(self) -> None:
        """Mount it where this user may; only root may on most machines."""
        self.path.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(self.path)]
        with contextlib.suppress(OSError):
            self.is_small = subprocess.run(command, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """Leave no room."""
        with contextlib.suppress(OSError), (self.path / "ballast").open("wb") as file:
            while True:
                file.write(bytes(1 << 20))
                file.flush()
        with contextlib.suppress(OSError), (self.path / "ballast").open("ab", buffering=0) as file:
            while file.write(bytes(512)):
                pass

    def free(self) -> None:
        """Give the room back."""
        (self.path / "ballast").unlink(missing_ok=True)

    def unmount(self) -> None:
        if self.is_small:
            subprocess.run(["umount", "--lazy", str(self.path)], check=True)


@dataclass
class Lab:
    """All of it. Started by `open_lab`."""

    home: Path
    nodes: Sequence[NatsServer]
    mosquitto: Mosquitto
    hub: HubProcess
    gateway: Process
    sink: Process
    to_broker: Link
    uplink: Link
    sink_link: Link
    gateway_disk: Disk
    volume: Disk
    instruments: list[Instrument] = field(default_factory=list)
    published: dict[str, list[bytes]] = field(default_factory=dict)
    turn: int = 0

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Give an object as the hub serves it; an empty one while the hub is away or has none."""
        path = path_of(manifest(kind, name, {}, namespace))
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(f"{self.hub.url}{path}", timeout=5)
            if answer.status_code == 200:
                return dict(answer.json())
        return {}

    def kill_node(self) -> None:
        """Kill a NATS server, another one each time."""
        self.turn += 1
        self.nodes[self.turn % len(self.nodes)].kill9()

    def start_node(self) -> None:
        """Start the one that was killed last."""
        self.nodes[self.turn % len(self.nodes)].start()

    def start_hub(self) -> None:
        """Start the hub as a Deployment would: again, if it gives up because NATS has not found a leader yet."""
        for _ in range(4):
            with contextlib.suppress(AssertionError):
                self.hub.start()
                return
        self.hub.start()

    def create(self, wanted: Mapping[str, Any]) -> None:
        answer = httpx.post(f"{self.hub.url}{collection(wanted)}", json=wanted, timeout=20)
        assert answer.status_code == 201, answer.text

    def publish_run(
        self, run: str, *, readings: int, pause_seconds: float, enough: threading.Event | None = None
    ) -> None:
        """Let every instrument publish its numbered readings of a run; return when the broker has all of them.

        Once it is `enough`, no more are published.
        """
        for number in range(readings):
            if enough is not None and enough.is_set():
                break
            for instrument in self.instruments:
                topic = topic_of(run, instrument.number)
                payload = f"{topic} {number:06d} {'x' * (number * 7 % 50)}\n".encode()
                self.published.setdefault(topic, []).append(payload)
                instrument.publish(topic, payload)
            time.sleep(pause_seconds)
        for instrument in self.instruments:
            instrument.wait()

    def end_run(self, run: str) -> None:
        """Publish the marker that closes a run's dataset."""
        self.instruments[0].publish(f"lab/{run}/end", b"end")
        self.instruments[0].wait()

    def logs(self) -> str:
        """Give the ends of all processes' logs, for the message of a failure."""
        found = [*self.home.glob("*.log"), *self.home.glob("hub/log")]
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in found)


STREAM_SPEC = {
    "gateway": GATEWAY,
    "topics": ["lab/+/+/data"],
    "dataset": "run.{topic[1]}",
    "home": CLUSTER,
    "endOfRun": {"topic": "lab/+/end"},
}


@contextlib.contextmanager
def open_lab(home: Path, *, planted: str = "", is_clustered: bool = False, receiver: str = "fast") -> Iterator[Lab]:
    """Start a laboratory and wait until its gateway listens.

    Args:
        home: an empty folder.
        receiver: the MQTT client of the gateway, paho or fast.
        is_clustered: whether NATS is three servers that keep everything together.
        planted: the name of a bug (bugs.py) that gateway and sink are to have; empty for none.
    """
    with contextlib.ExitStack() as stack:
        common = {"planted": planted} if planted else {}
        nodes = _start_nats(home, stack, is_clustered=is_clustered)
        lab = _build(home, nodes, stack, common, {"receiver": receiver})
        lab.hub.start()
        stack.callback(lab.hub.kill9)
        for wanted in (
            manifest("Namespace", NAMESPACE),
            manifest("Cluster", CLUSTER, {}),
            manifest("Gateway", GATEWAY, {}),
            manifest("Stream", STREAM, STREAM_SPEC, NAMESPACE),
        ):
            lab.create(wanted)
        for process in (lab.gateway, lab.sink):
            process.start()
            stack.callback(process.end)
        _wait_until_subscribed(lab)
        for number in range(INSTRUMENTS):
            lab.instruments.append(Instrument(lab.mosquitto.port, number))
            stack.callback(lab.instruments[-1].close)
        yield lab


def _start_nats(home: Path, stack: contextlib.ExitStack, *, is_clustered: bool) -> Sequence[NatsServer]:
    nodes = launch_cluster(home / "nats") if is_clustered else [NatsServer.launch(home / "nats")]
    for node in nodes:
        stack.callback(node.kill9)
    return nodes


def _build(
    home: Path,
    nodes: Sequence[NatsServer],
    stack: contextlib.ExitStack,
    common: Mapping[str, Any],
    own: Mapping[str, Any],
) -> Lab:
    mosquitto = Mosquitto(home / "mosquitto")
    mosquitto.start()
    stack.callback(mosquitto.end)
    ports = [node.port for node in nodes]
    to_broker, uplink, sink_link = (
        stack.enter_context(Link.laid(*targets)) for targets in ([mosquitto.port], ports, ports)
    )
    disks = [Disk(home / "gateway-disk"), Disk(home / "volume")]
    for disk in disks:
        disk.mount()
        stack.callback(disk.unmount)
    gateway = edge_process(
        "gateway",
        home,
        gateway=GATEWAY,
        nats_url=_urls(uplink.ports),
        state_dir=disks[0].path / "state",
        broker=f"mqtt://127.0.0.1:{to_broker.ports[0]}",
        heartbeat_seconds=0.5,
        **common,
        **own,
    )
    sink_url = _urls(sink_link.ports)
    sink = edge_process(
        "sink", home, cluster=CLUSTER, namespace=NAMESPACE, nats_url=sink_url, root=disks[1].path / "data", **common
    )
    (disks[1].path / "data").mkdir()
    hub = HubProcess(_urls(ports), home / "hub")
    return Lab(home, nodes, mosquitto, hub, gateway, sink, to_broker, uplink, sink_link, *disks)


def _urls(ports: Sequence[int]) -> str:
    return ",".join(f"nats://127.0.0.1:{port}" for port in ports)


def _wait_until_subscribed(lab: Lab) -> None:
    """From then on the broker keeps everything for the gateway, whatever becomes of it."""
    end = time.monotonic() + _SECONDS
    while not lab.get("Gateway", GATEWAY).get("status", {}).get("ledger"):
        assert time.monotonic() < end, f"the gateway does not listen: {lab.logs()}"
        time.sleep(0.1)


def has_mosquitto() -> bool:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is not None


def may_mount() -> bool:
    """Tell whether small file systems can be mounted, without which no disk is ever full."""
    return sys.platform == "linux" and os.geteuid() == 0 and shutil.which("mount") is not None
