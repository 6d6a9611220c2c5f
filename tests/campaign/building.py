"""Starts a federation: each process behind wires that may go wrong, some on disks that may, members on hosts that may.

Owns what is started, with which settings and in which order. It knows no fault: those are `wreaking.py`'s.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from atoll.sandbox.forms import sandbox_clusters
from atoll.sandbox.settings import HUB, NATS, SandboxSettings, port_names
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import STATE_FILE, read_state, write_kubeconfig
from campaign.children import Child, Tender
from campaign.clock import Skew
from campaign.nats_trio import SecuredNode, launch_secured_cluster
from campaign.whole import START_SECONDS, Cluster, Federation, Lab, Member, Size
from exactly_once.disks import Disk, Surface, may_mount
from gateway.datapath import Mosquitto
from hub.support import manifest, path_of
from nats_servers import free_port
from rig.forgetful_disk import ForgetfulDisk, why_not
from rig.hosts import Centre, Host
from rig.wire import Protocol, Target, Wire

# Shorter than in earnest, so that a campaign of minutes sees leases end; longer than two busy cores make a loop wait.
TIMES = {
    "lease_seconds": 3.0,
    "heartbeat_timeout_seconds": 8.0,
    "run_lease_seconds": 12.0,
    "run_lease_margin_seconds": 8.0,
    "credential_seconds": 90.0,
}


@contextlib.contextmanager
def open_federation(home: Path, size: Size, *, centre: Centre | None = None) -> Iterator[Federation]:
    """Start everything and wait until every member has proven to the hub that it is there.

    With a centre, in which this process must be, every hub and member has a network namespace of its own around it.
    """
    with contextlib.ExitStack() as stack:
        nodes = launch_secured_cluster(home / "nats", is_for_hosts=centre is not None)
        for node in nodes:
            stack.callback(node.kill9)
        tender = stack.enter_context(Tender())
        client = stack.enter_context(httpx.Client(timeout=15))
        balancer = stack.enter_context(Wire.laid(*(node.port for node in nodes)))
        builder = _Builder(home, size, stack, nodes=nodes, balancer=balancer.port, centre=centre)
        hubs, clocks = builder.hubs()
        urls = [f"http://{address}:{port}" for address, port in builder.hub_targets]
        federation = Federation(home, size, tender, nodes, hubs, urls, clocks, client, builder.hosts)
        tender.start(*hubs)
        _wait("a hub serves", lambda: federation.ask("GET", "/readyz"), home)
        federation.clusters = builder.clusters(tender)
        federation.labs = [builder.lab(f"lab-{number}", number) for number in range(size.gateways)]
        for cluster in federation.clusters:
            federation.create(manifest("Cluster", cluster.name, _cluster_spec(cluster.spec)))
        for lab in federation.labs:
            federation.create(manifest("Gateway", lab.name, {"site": "lab"}))
        for member in federation.members:
            federation.invite(member.kind, member.name, member.token)
        tender.start(*(member.child for member in federation.members))
        for cluster in federation.clusters:
            path = path_of(manifest("Cluster", cluster.name))
            _wait(f"{cluster.name} is Ready", lambda: _phase(federation, path) == "Ready", home)  # noqa: B023
        yield federation


def _phase(federation: Federation, path: str) -> str:
    return str(federation.get(path).get("status", {}).get("phase", ""))


def _wait(claim: str, is_so: Callable[[], Any], home: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not is_so():
        assert time.monotonic() < end, f"not so after {START_SECONDS:g} s: {claim}; logs are in {home}"
        time.sleep(0.1)


def _cluster_spec(spec: ClusterSpec) -> dict[str, Any]:
    return {"mesh": {"id": spec.mesh_id}, "residency": list(spec.residency), "storageClass": spec.storage.class_name}


@dataclass
class _Builder:
    """Builds the parts of one federation."""

    home: Path
    size: Size
    stack: contextlib.ExitStack
    nodes: Sequence[SecuredNode]
    balancer: int
    """The port that members are told of: that of all NATS servers. Every one has a way of its own in its place."""
    centre: Centre | None
    hub_targets: list[tuple[str, int]] = field(default_factory=list)
    hosts: dict[str, Host] = field(default_factory=dict)

    def hubs(self) -> tuple[list[Child], list[Skew]]:
        found = [self._hub(f"hub-{number}") for number in range(self.size.hubs)]
        return [child for child, _ in found], [clock for _, clock in found]

    def _hub(self, name: str) -> tuple[Child, Skew]:
        folder = self.home / name
        folder.mkdir()
        network = self._network(name, *(node.port for node in self.nodes))
        address, port = self.hosts[name].address if network else self._address, free_port()
        self.hub_targets.append((address, port))
        settings = {
            "nats_url": ",".join(f"nats://{self._address}:{node.port}" for node in self.nodes),
            "member_nats_url": f"nats://127.0.0.1:{self.balancer}",
            "keys": self.nodes[0].keys,
            "folder": folder,
            "host": address,
            "port": port,
            "nats_replicas": 3,
            "data_command": [sys.executable, "-m", "atoll.cli"],
            **TIMES,
            **self._own("hub", folder),
            **network,
        }
        return Child(name, "hub", settings, folder / "log"), Skew(folder / "clock")

    def clusters(self, tender: Tender) -> list[Cluster]:
        """Start the simulated clusters, then build their agents."""
        specs = [replace(spec, kinds=()) for spec in sandbox_clusters(self.size.clusters)]
        to_hubs = self.stack.enter_context(Wire.laid(*self.hub_targets))
        processes = [self._sandbox(spec, to_hubs.port) for spec in specs]
        tender.start(*processes)
        for process in processes:
            _wait(f"{process.name} is up", (process.log.parent / STATE_FILE).exists, self.home)
        return [self._cluster(spec, process) for spec, process in zip(specs, processes, strict=True)]

    def _sandbox(self, spec: ClusterSpec, hub: int) -> Child:
        home = self.home / spec.name
        home.mkdir()
        settings = SandboxSettings(
            home,
            (spec,),
            {name: free_port() for name in port_names(spec.name)},
            alone=frozenset({spec.name}),
            upstreams={HUB: hub, NATS: self.balancer},
        )
        config = home / "settings.json"
        config.write_bytes(settings.to_json())
        return Child(f"cluster {spec.name}", "cluster", {"config": config}, home / "log")

    def _cluster(self, spec: ClusterSpec, process: Child) -> Cluster:
        found = read_state(process.log.parent)
        state = found.cluster(spec.name)
        api = self._wire(state.port, protocol="http")
        folder = self.home / spec.name / "agent"
        folder.mkdir()
        write_kubeconfig(folder / "kubeconfig", spec.name, f"http://{api.authority}")
        settings = {
            "cluster": spec.name,
            "kubeconfig": folder / "kubeconfig",
            "cilium_socket": state.cilium_socket,
            "heartbeat_seconds": 1.0,
        }
        agent = self._member(spec.name, "agent", folder, settings)
        return Cluster(spec, process, state, api, agent, found.admin_socket)

    def lab(self, name: str, number: int) -> Lab:
        """Start a broker and build its gateway, on a disk that may be full or one that forgets in turns."""
        mosquitto = Mosquitto(self.home / f"{name}-mosquitto")
        mosquitto.start()
        self.stack.callback(mosquitto.end)
        to_broker = self._wire(mosquitto.port)
        folder = self.home / name
        folder.mkdir()
        settings = {
            "gateway": name,
            "broker": f"mqtt://{to_broker.authority}",
            "receiver": "fast" if number % 2 else "paho",
            "heartbeat_seconds": 1.0,
        }
        return Lab(
            self._member(name, "gateway", folder, settings, disk=self._disk(folder, number)), mosquitto, to_broker
        )

    def _disk(self, folder: Path, number: int) -> Surface | None:
        disk: Surface | None = None
        if number % 2 == 0 and not why_not():
            disk = ForgetfulDisk(folder / "disk")
        elif may_mount():
            disk = Disk(folder / "disk")
        if disk is not None:
            disk.mount()
            self.stack.callback(disk.unmount)
        return disk

    def _member(
        self, name: str, role: str, folder: Path, settings: Mapping[str, Any], *, disk: Surface | None = None
    ) -> Member:
        to_nats, to_hub = self._nats_wire(), self._wire(*self.hub_targets)
        token, state_dir = folder / "token", (disk.path if disk else folder) / "state"
        enrolment = {
            "hub_url": f"http://{to_hub.authority}",
            "token_file": token,
            "routes": [f"127.0.0.1:{self.balancer}={to_nats.authority}"],
        }
        own = {**self._own(role, folder), **self._network(name, to_nats.port, to_hub.port)}
        given = {**settings, "state_dir": state_dir, "enrolment": enrolment, **own}
        clock = Skew(folder / "clock")
        return Member(name, Child(name, role, given, folder / "log"), to_nats, to_hub, clock, token, state_dir, disk)

    def _own(self, role: str, folder: Path) -> dict[str, Any]:
        planted = {"planted": self.size.planted} if role in self.size.victims else {}
        return {"clock": folder / "clock", **planted}

    def _network(self, name: str, *ports: int) -> dict[str, Any]:
        """Give a process a host of its own, where that may be; packets to these ports of the centre may suffer."""
        if self.centre is None:
            return {}
        self.hosts[name] = self.centre.host(ports)
        return {"network": self.hosts[name].namespace.path}

    @property
    def _address(self) -> str:
        """Where processes reach what listens beside this one."""
        return self.centre.address if self.centre else "127.0.0.1"

    def _nats_wire(self) -> Wire:
        return self._wire(*(node.port for node in self.nodes), protocol="nats")

    def _wire(self, *targets: Target, protocol: Protocol = "") -> Wire:
        return self.stack.enter_context(Wire.laid(*targets, protocol=protocol, address=self._address))
