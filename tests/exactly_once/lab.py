"""A laboratory of real processes: instruments, Mosquitto, gateway, NATS, hub and sink; links and disks that may fail.

Nothing here asks the program whether it did well: what was published stands here, what arrived stands in files.
"""

import contextlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import paho.mqtt.client as paho

from atoll.federation.durable import make_folder
from bus.nats_cluster import launch_cluster
from exactly_once.cable import Link
from exactly_once.disks import Disk, Surface
from gateway.datapath import Mosquitto, Process, edge_process
from hub.processes import HubProcess
from hub.support import collection, manifest, path_of
from nats_servers import NatsServer
from rig.forgetful_disk import ForgetfulDisk

CLUSTER, STREAM = "onprem", "readings"
INSTRUMENTS = 20
_SECONDS = 60.0


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
        self._client.on_publish = None


@dataclass
class Site:
    """What laboratories share: instruments, their broker, NATS and the hub. Opened by `open_site`."""

    home: Path
    nodes: Sequence[NatsServer]
    mosquitto: Mosquitto
    hub: HubProcess
    client: httpx.Client
    nats_disk: Surface | None = None
    instruments: Sequence[Instrument] = ()
    turn: int = 0

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict[str, Any]:
        """Give an object as the hub serves it; an empty one while the hub is away or has none."""
        path = path_of(manifest(kind, name, {}, namespace))
        with contextlib.suppress(httpx.HTTPError):
            answer = self.client.get(f"{self.hub.url}{path}")
            if answer.status_code == 200:
                return dict(answer.json())
        return {}

    def create(self, *manifests: Mapping[str, Any]) -> None:
        for wanted in manifests:
            answer = self.client.post(f"{self.hub.url}{collection(wanted)}", json=wanted)
            assert answer.status_code == 201, answer.text

    def kill_node(self) -> None:
        """Kill a NATS server, another one each time."""
        self.turn += 1
        self.nodes[self.turn % len(self.nodes)].kill9()

    def start_node(self) -> None:
        """Start the one that was killed last."""
        self.nodes[self.turn % len(self.nodes)].start()


@dataclass
class Lab:
    """A gateway and a sink on a site, their links and disks. Opened by `open_lab`."""

    name: str
    site: Site
    gateway: Process
    sink: Process
    to_broker: Link
    uplink: Link
    sink_link: Link
    gateway_disk: Surface
    volume: Surface
    published: dict[str, list[bytes]] = field(default_factory=dict)

    def topic(self, run: str, instrument: int) -> str:
        return f"{self.name}/{run}/i{instrument:02d}/data"

    def folder(self, run: str) -> Path:
        """Give the folder of a run's files."""
        return self.volume.path / "data" / f"run.{run}" / "v1"

    def dataset(self, run: str) -> dict[str, Any]:
        """Give the status of a run's Dataset, as the hub tells it; empty while there is none."""
        return dict(self.site.get("Dataset", f"run.{run}", self.name).get("status", {}))

    def publish_run(
        self, run: str, *, readings: int, pause_seconds: float, enough: threading.Event | None = None
    ) -> None:
        """Let every instrument publish its numbered readings of a run; return when the broker has all of them.

        Once it is `enough`, no more are published.
        """
        for number in range(readings):
            if enough is not None and enough.is_set():
                break
            for instrument in self.site.instruments:
                topic = self.topic(run, instrument.number)
                payload = f"{topic} {number:06d} {'x' * (number * 7 % 50)}\n".encode()
                self.published.setdefault(topic, []).append(payload)
                instrument.publish(topic, payload)
            time.sleep(pause_seconds)
        for instrument in self.site.instruments:
            instrument.wait()

    def end_run(self, run: str) -> None:
        """Publish the marker that closes a run's dataset."""
        self.site.instruments[0].publish(f"{self.name}/{run}/end", b"end")
        self.site.instruments[0].wait()

    def logs(self) -> str:
        """Give the ends of all processes' logs, for the message of a failure."""
        found = [*self.site.home.glob(f"{self.name}-*.log"), self.site.home / "hub/log"]
        return "\n".join(f"--- {path.name}\n{path.read_text()[-3000:]}" for path in found)


@contextlib.contextmanager
def open_site(home: Path, *, is_clustered: bool = False, forgets: bool = False) -> Iterator[Site]:
    """Start what laboratories share.

    Args:
        home: an empty folder.
        is_clustered: whether NATS is three servers that keep everything together.
        forgets: whether the power of NATS's disk can be cut.
    """
    with contextlib.ExitStack() as stack:
        # nats-server syncs files and no folders: it relies on a file system that keeps the names of synced files.
        disk = ForgetfulDisk(home / "nats/store", names_follow=True) if forgets else None
        if disk is not None:
            disk.mount()
            stack.callback(disk.unmount)
        nodes = launch_cluster(home / "nats") if is_clustered else [NatsServer.launch(home / "nats")]
        for node in nodes:
            stack.callback(node.kill9)
        mosquitto = Mosquitto(home / "mosquitto")
        mosquitto.start()
        stack.callback(mosquitto.end)
        client = stack.enter_context(httpx.Client(timeout=20))
        site = Site(
            home, nodes, mosquitto, HubProcess(_urls([node.port for node in nodes]), home / "hub"), client, disk
        )
        site.hub.start()
        stack.callback(site.hub.kill9)
        site.create(manifest("Cluster", CLUSTER, {}))
        site.instruments = [Instrument(mosquitto.port, number) for number in range(INSTRUMENTS)]
        for instrument in site.instruments:
            stack.callback(instrument.close)
        yield site


@contextlib.contextmanager
def open_lab(
    site: Site, name: str, *, planted: str = "", receiver: str = "fast", disk: Callable[[Path], Surface] = Disk
) -> Iterator[Lab]:
    """Start a laboratory on a site and wait until its gateway listens.

    Args:
        name: the Gateway, the namespace, and the first level of the topics.
        planted: the name of a bug (bugs.py) that gateway and sink are to have; empty for none.
        receiver: the MQTT client of the gateway, paho or fast.
        disk: what gateway and sink have their files on.
    """
    with contextlib.ExitStack() as stack:
        disks = [disk(site.home / f"{name}-gateway"), disk(site.home / f"{name}-volume")]
        for one in disks:
            one.mount()
            stack.callback(one.unmount)
        lab = _build(site, name, stack, disks, {"planted": planted} if planted else {}, receiver=receiver)
        spec = {
            "gateway": name,
            "topics": [f"{name}/+/+/data"],
            "dataset": "run.{topic[1]}",
            "home": CLUSTER,
            "endOfRun": {"topic": f"{name}/+/end"},
        }
        site.create(manifest("Namespace", name), manifest("Gateway", name, {}), manifest("Stream", STREAM, spec, name))
        for process in (lab.gateway, lab.sink):
            process.start()
            stack.callback(process.end)
        _wait_until_subscribed(lab)
        yield lab


def _build(
    site: Site,
    name: str,
    stack: contextlib.ExitStack,
    disks: Sequence[Surface],
    common: Mapping[str, Any],
    *,
    receiver: str,
) -> Lab:
    ports = [node.port for node in site.nodes]
    to_broker, uplink, sink_link = (
        stack.enter_context(Link.laid(*targets)) for targets in ([site.mosquitto.port], ports, ports)
    )
    gateway = edge_process(
        "gateway",
        site.home,
        log=f"{name}-gateway",
        gateway=name,
        nats_url=_urls(uplink.ports),
        state_dir=disks[0].path / "state",
        broker=f"mqtt://127.0.0.1:{to_broker.ports[0]}",
        receiver=receiver,
        heartbeat_seconds=0.5,
        **common,
    )
    root, url = disks[1].path / "data", _urls(sink_link.ports)
    make_folder(root)  # a mount point: what mounts it has it for good
    sink = edge_process(
        "sink", site.home, log=f"{name}-sink", cluster=CLUSTER, namespace=name, nats_url=url, root=root, **common
    )
    return Lab(name, site, gateway, sink, to_broker, uplink, sink_link, *disks)


def _urls(ports: Sequence[int]) -> str:
    return ",".join(f"nats://127.0.0.1:{port}" for port in ports)


def _wait_until_subscribed(lab: Lab) -> None:
    """From then on the broker keeps everything for the gateway, whatever becomes of it."""
    end = time.monotonic() + _SECONDS
    while not lab.site.get("Gateway", lab.name).get("status", {}).get("ledger"):
        assert time.monotonic() < end, f"the gateway does not listen: {lab.logs()}"
        time.sleep(0.1)


def has_mosquitto() -> bool:
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin") is not None
