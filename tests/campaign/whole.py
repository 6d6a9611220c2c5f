"""A whole federation of real processes, each behind wires that may go wrong and some on disks that may.

Owns what is started, in which order, and where everything is. What goes wrong with it is `wreaking.py`'s, what it is
given to do `load/`'s, and whether it did well is judged elsewhere, out of files and other people's API servers.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from atoll.federation.bus.subjects import MemberKind
from atoll.sandbox.forms import sandbox_clusters
from atoll.sandbox.settings import HUB, NATS, SandboxSettings, port_names
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import STATE_FILE, ClusterState, read_state, write_kubeconfig
from campaign.children import Child, Tender
from campaign.clock import Skew
from campaign.nats_trio import SecuredNode, launch_secured_cluster
from exactly_once.disks import Disk, Surface, may_mount
from gateway.datapath import Mosquitto
from hub.support import collection, manifest, path_of
from nats_servers import free_port
from rig.forgetful_disk import ForgetfulDisk, why_not
from rig.wire import Wire

# Shorter than in earnest, so that a campaign of minutes sees leases end; longer than two busy cores make a loop wait.
TIMES = {
    "lease_seconds": 3.0,
    "heartbeat_timeout_seconds": 8.0,
    "run_lease_seconds": 12.0,
    "run_lease_margin_seconds": 8.0,
    "credential_seconds": 90.0,
}
_START_SECONDS = 180.0


@dataclass(frozen=True)
class Size:
    """How much is started. `planted` names a bug of `bugs.py` that processes of some roles are to have."""

    clusters: int = 8
    gateways: int = 4
    hubs: int = 2
    planted: str = ""
    victims: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return (
            f"{self.hubs} hubs, 3 NATS servers with accounts, {self.clusters} simulated clusters with an agent each, "
            f"{self.gateways} gateways, each with a Mosquitto, sinks and movers as pods, policies from Git"
        )


@dataclass
class Member:
    """An agent or a gateway: its process, its ways and its clock."""

    name: str
    child: Child
    to_nats: Wire
    to_hub: Wire
    clock: Skew
    token: Path
    state_dir: Path
    disk: Surface | None = None

    @property
    def kind(self) -> MemberKind:
        return "gateway" if self.child.role == "gateway" else "cluster"


@dataclass
class Cluster:
    """A simulated cluster, where it is, and its agent."""

    spec: ClusterSpec
    child: Child
    state: ClusterState
    api: Wire
    agent: Member
    admin_socket: str

    @property
    def name(self) -> str:
        return self.spec.name


@dataclass
class Lab:
    """A gateway with its broker."""

    gateway: Member
    mosquitto: Mosquitto
    to_broker: Wire

    @property
    def name(self) -> str:
        return self.gateway.name


@dataclass
class Federation:
    """Everything that runs."""

    home: Path
    size: Size
    tender: Tender
    nodes: Sequence[SecuredNode]
    hubs: Sequence[Child]
    hub_urls: Sequence[str]
    hub_clocks: Sequence[Skew]
    client: httpx.Client
    clusters: list[Cluster] = field(default_factory=list)
    labs: list[Lab] = field(default_factory=list)

    def ask(self, method: str, path: str, *, hub: int | None = None, **options: Any) -> httpx.Response | None:
        """Ask a hub, the first that answers unless one is named; None if nobody answers."""
        urls = self.hub_urls if hub is None else [self.hub_urls[hub]]
        for url in urls:
            with contextlib.suppress(httpx.HTTPError):
                answer = self.client.request(method, f"{url}{path}", **options)
                if answer.status_code not in (502, 503):
                    return answer
        return None

    def get(self, path: str) -> dict[str, Any]:
        """Give what a hub serves; empty if it is not there or nobody answers."""
        answer = self.ask("GET", path)
        return dict(answer.json()) if answer is not None and answer.status_code == 200 else {}

    def create(self, *manifests: Mapping[str, Any]) -> None:
        """Create objects, however often it takes; one that is there already is well."""
        for wanted in manifests:
            self.insist(lambda: self.ask("POST", collection(wanted), json=wanted), 201, 409)  # noqa: B023

    def insist(self, what: Callable[[], httpx.Response | None], *codes: int) -> httpx.Response:
        """Do it again until a hub answers with one of these codes."""
        end, answer = time.monotonic() + _START_SECONDS, None
        while (answer := what()) is None or answer.status_code not in codes:
            assert time.monotonic() < end, f"the hub does not do it: {answer.text if answer is not None else 'silent'}"
            time.sleep(0.2)
        return answer

    def invite(self, kind: str, name: str, token: Path) -> None:
        """Have the hub make a one-time token for a member, and leave it where the member looks."""
        body = {"kind": kind, "name": name}
        answer = self.insist(lambda: self.ask("POST", "/access/enrolments", json=body), 201)
        token.parent.mkdir(parents=True, exist_ok=True)
        token.write_text(answer.json()["token"])

    @property
    def members(self) -> list[Member]:
        return [*(cluster.agent for cluster in self.clusters), *(lab.gateway for lab in self.labs)]

    def cluster(self, name: str) -> Cluster:
        return next(each for each in self.clusters if each.name == name)


@contextlib.contextmanager
def open_federation(home: Path, size: Size = Size()) -> Iterator[Federation]:
    """Start everything and wait until every member has proven to the hub that it is there."""
    with contextlib.ExitStack() as stack:
        nodes = launch_secured_cluster(home / "nats")
        for node in nodes:
            stack.callback(node.kill9)
        tender = stack.enter_context(Tender())
        client = stack.enter_context(httpx.Client(timeout=15))
        ports = [free_port() for _ in range(size.hubs)]
        balancer = stack.enter_context(Wire.laid(*(node.port for node in nodes)))
        builder = _Builder(home, size, stack, nodes=nodes, hub_ports=ports, balancer=balancer.port)
        hubs, clocks = builder.hubs()
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        federation = Federation(home, size, tender, nodes, hubs, urls, clocks, client)
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
    end = time.monotonic() + _START_SECONDS
    while not is_so():
        assert time.monotonic() < end, f"not so after {_START_SECONDS:g} s: {claim}; logs are in {home}"
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
    hub_ports: Sequence[int]
    balancer: int
    """The port that members are told of: that of all NATS servers. Every one has a way of its own in its place."""

    def hubs(self) -> tuple[list[Child], list[Skew]]:
        urls = ",".join(node.url for node in self.nodes)
        found, clocks = [], []
        for number, port in enumerate(self.hub_ports):
            folder = self.home / f"hub-{number}"
            folder.mkdir()
            clocks.append(Skew(folder / "clock"))
            settings = {
                "nats_url": urls,
                "member_nats_url": f"nats://127.0.0.1:{self.balancer}",
                "keys": self.nodes[0].keys,
                "folder": folder,
                "port": port,
                "nats_replicas": 3,
                "data_command": [sys.executable, "-m", "atoll.cli"],
                **TIMES,
                **self._own("hub", folder),
            }
            found.append(Child(f"hub-{number}", "hub", settings, folder / "log"))
        return found, clocks

    def clusters(self, tender: Tender) -> list[Cluster]:
        """Start the simulated clusters, then build their agents."""
        specs = [replace(spec, kinds=()) for spec in sandbox_clusters(self.size.clusters)]
        processes = [self._sandbox(spec) for spec in specs]
        tender.start(*processes)
        for process in processes:
            _wait(f"{process.name} is up", (process.log.parent / STATE_FILE).exists, self.home)
        return [self._cluster(spec, process) for spec, process in zip(specs, processes, strict=True)]

    def _sandbox(self, spec: ClusterSpec) -> Child:
        home = self.home / spec.name
        home.mkdir()
        settings = SandboxSettings(
            home,
            (spec,),
            {name: free_port() for name in port_names(spec.name)},
            alone=frozenset({spec.name}),
            upstreams={HUB: self.hub_ports[0], NATS: self.balancer},
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
        write_kubeconfig(folder / "kubeconfig", spec.name, f"http://127.0.0.1:{api.port}")
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
            "broker": f"mqtt://127.0.0.1:{to_broker.port}",
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
        to_nats, to_hub = self._nats_wire(), self._wire(*self.hub_ports)
        token, state_dir = folder / "token", (disk.path if disk else folder) / "state"
        enrolment = {
            "hub_url": f"http://127.0.0.1:{to_hub.port}",
            "token_file": token,
            "routes": [f"127.0.0.1:{self.balancer}=127.0.0.1:{to_nats.port}"],
        }
        given = {**settings, "state_dir": state_dir, "enrolment": enrolment, **self._own(role, folder)}
        clock = Skew(folder / "clock")
        return Member(name, Child(name, role, given, folder / "log"), to_nats, to_hub, clock, token, state_dir, disk)

    def _own(self, role: str, folder: Path) -> dict[str, Any]:
        planted = {"planted": self.size.planted} if role in self.size.victims else {}
        return {"clock": folder / "clock", **planted}

    def _nats_wire(self) -> Wire:
        return self._wire(*(node.port for node in self.nodes), protocol="nats")

    def _wire(self, *ports: int, protocol: Any = "") -> Wire:
        return self.stack.enter_context(Wire.laid(*ports, protocol=protocol))
