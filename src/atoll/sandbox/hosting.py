"""The clusters of one sandbox while they run: each started, served on its ports and sockets, and ended by itself.

Owns the composition of one cluster's surroundings and the task that it lives in; what may break is told to faults/.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from atoll.federation.errors import NotFound
from atoll.kubeapi.http.local_only import LocalOnly
from atoll.local.certificates import Pair, issue_server, new_key
from atoll.local.home import Home
from atoll.sandbox.cilium import commands
from atoll.sandbox.cilium import objects as mesh_objects
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cluster import SimulatedCluster, simulated
from atoll.sandbox.faults.agents import Agent
from atoll.sandbox.faults.api_server import ApiServer, Port
from atoll.sandbox.faults.book import Knobs
from atoll.sandbox.faults.relay import Relay
from atoll.sandbox.kubelet.account import Surroundings
from atoll.sandbox.serving import Identity, listen, listen_unix, serving
from atoll.sandbox.settings import HUB, NATS, SECURE, SandboxSettings, port_name
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import ClusterState, write_kubeconfig

AGENT_SOCKET, HEALTH_SOCKET = "cilium.sock", "health.sock"
_LOOPBACK = "127.0.0.1"
_SERVICE_NAMES = (_LOOPBACK, "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True)
class Grounds:
    """What all clusters of a sandbox stand on.

    Attributes:
        isolation: how containers see their mounts, and why not better, from probe_isolation().
        authority: the CA of the mesh and of the API servers' secure ports.
    """

    settings: SandboxSettings
    sockets: Path
    isolation: tuple[str, str]
    authority: Pair
    links: Links
    clock: Callable[[], datetime]

    @property
    def home(self) -> Path:
        """The sandbox's own folder."""
        return self.settings.home.absolute()


@dataclass(frozen=True)
class Site:
    """One cluster that runs."""

    cluster: SimulatedCluster
    cilium: CiliumAgent
    knobs: Knobs
    state: ClusterState


@dataclass
class _Ports:
    """The listening sockets of a cluster, closed with it."""

    stack: contextlib.AsyncExitStack
    settings: SandboxSettings
    cluster: str
    numbers: dict[str, int] = field(default_factory=dict)

    def listen(self, purpose: str = "") -> socket.socket:
        listener = listen(self.settings.ports.get(port_name(self.cluster, purpose), 0))
        self.stack.callback(listener.close)
        self.numbers[purpose] = int(listener.getsockname()[1])
        return listener


class Host:
    """Runs clusters in tasks of a group, one each: a cluster that fails takes the sandbox down, loudly."""

    def __init__(self, grounds: Grounds, group: asyncio.TaskGroup) -> None:
        """Run nothing yet."""
        self._grounds, self._group = grounds, group
        self._mesh: dict[str, ClusterSpec] = {}
        self._agents: dict[str, CiliumAgent] = {}
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.sites: dict[str, Site] = {}
        self.knobs: dict[str, Knobs] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The clusters that run."""
        return tuple(self.sites)

    def site(self, name: str) -> Site:
        """Give a cluster that runs. Raises NotFound."""
        if name not in self.sites:
            raise NotFound(f"the sandbox has no cluster {name!r}: it has {', '.join(self.sites)}")
        return self.sites[name]

    async def start_all(self, specs: tuple[ClusterSpec, ...], *, alone: frozenset[str]) -> None:
        """Start clusters that know each other from the start, but for those that are `alone`."""
        self._mesh.update({spec.name: spec for spec in specs if spec.name not in alone})
        for spec in specs:
            await self._start(spec)

    async def start(self, spec: ClusterSpec, *, is_meshed: bool) -> Site:
        """Start one more cluster; those of the mesh are told of it if it is to be one of them."""
        if is_meshed:
            self._mesh[spec.name] = spec
            for name in self._mesh.keys() & self.sites.keys():
                await mesh_objects.introduce(self.sites[name].cluster.store, spec)
        return await self._start(spec)

    async def stop(self, name: str) -> None:
        """End a cluster with all its pods; its storage stays. Raises NotFound."""
        self.site(name)
        self._ends[name].set()
        await asyncio.wait([self._tasks[name]])
        if self._mesh.pop(name, None) is not None:
            self._grounds.links.remove(name)
            for other in self._mesh.keys() & self.sites.keys():
                await mesh_objects.forget(self.sites[other].cluster.store, name)

    async def stop_all(self) -> None:
        """End every cluster."""
        for end in self._ends.values():
            end.set()
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    async def _start(self, spec: ClusterSpec) -> Site:
        if spec.name in self._mesh and spec.name not in self._grounds.links.names:
            self._grounds.links.add(spec.name)
        started: asyncio.Future[Site] = asyncio.get_running_loop().create_future()
        self._ends[spec.name] = asyncio.Event()
        self._tasks[spec.name] = self._group.create_task(self._live(spec, started), name=f"cluster-{spec.name}")
        return await started

    async def _live(self, spec: ClusterSpec, started: asyncio.Future[Site]) -> None:
        """Run one cluster until it is to end. A start that fails is told to whoever asked for it."""
        async with contextlib.AsyncExitStack() as stack:
            try:
                site = await self._open(spec, stack)
            except Exception as error:  # noqa: BLE001 - it is raised where the cluster was asked for
                started.set_exception(error)
                return
            self.sites[spec.name], self.knobs[spec.name] = site, site.knobs
            stack.callback(self.sites.pop, spec.name)
            stack.callback(self.knobs.pop, spec.name)
            started.set_result(site)
            await self._ends[spec.name].wait()

    async def _open(self, spec: ClusterSpec, stack: contextlib.AsyncExitStack) -> Site:
        grounds, folder = self._grounds, self._grounds.home / spec.name
        ports = _Ports(stack, grounds.settings, spec.name)
        plain, secure = ports.listen(), ports.listen(SECURE)
        relays = await self._relays(ports, stack)
        surroundings = Surroundings(
            port=ports.numbers[SECURE],
            ca=grounds.authority.certificate,
            variables=self._routes(ports),
        )
        isolation, reason = grounds.isolation
        cluster = await stack.enter_async_context(
            simulated(spec, folder, clock=grounds.clock, isolation=isolation, reason=reason, surroundings=surroundings)
        )
        plain_app = LocalOnly(cluster.app, names=_SERVICE_NAMES)
        api = ApiServer(Port(plain, plain_app), Port(secure, cluster.secure_app, self._identity(folder)))
        stack.push_async_callback(api.close)
        await api.start()
        cilium = await self._cilium(cluster, stack)
        root = grounds.settings.federation
        agent = Agent(cluster, Home(root) if root is not None else None)
        return Site(cluster, cilium, Knobs(agent, api, relays), self._state(spec, ports))

    async def _relays(self, ports: _Ports, stack: contextlib.AsyncExitStack) -> tuple[Relay, ...]:
        relays = []
        for purpose, upstream in self._grounds.settings.upstreams.items():
            relay = Relay(upstream)
            await stack.enter_async_context(relay.serving(ports.listen(purpose)))
            relays.append(relay)
        return tuple(relays)

    def _routes(self, ports: _Ports) -> dict[str, str]:
        """Give the variable by which Atoll's programs in this cluster take its own way to the hub and to NATS."""
        routes = self._connect_to(ports)
        return {"ATOLL_CONNECT_TO": " ".join(routes)} if routes else {}

    def _connect_to(self, ports: _Ports) -> tuple[str, ...]:
        upstreams = self._grounds.settings.upstreams
        return tuple(
            f"{_LOOPBACK}:{upstreams[purpose]}={_LOOPBACK}:{ports.numbers[purpose]}"
            for purpose in (HUB, NATS)
            if purpose in upstreams
        )

    def _identity(self, folder: Path) -> Identity:
        """Make the certificate of a secure port, new at every start."""
        place, key = folder / "pki", new_key()
        place.mkdir(parents=True, exist_ok=True)
        certificate = issue_server(self._grounds.authority, key, names=_SERVICE_NAMES, now=self._grounds.clock())
        identity = Identity(place / "tls.crt", place / "tls.key")
        identity.certificate.write_bytes(certificate)
        identity.key.touch(mode=0o600)
        identity.key.write_bytes(key)
        return identity

    async def _cilium(self, cluster: SimulatedCluster, stack: contextlib.AsyncExitStack) -> CiliumAgent:
        spec, grounds = cluster.spec, self._grounds
        mesh = self._mesh if spec.name in self._mesh else {}
        agent = CiliumAgent(spec, mesh, grounds.links, cluster.store, agents=self._agents)
        self._agents[spec.name] = agent
        stack.callback(self._agents.pop, spec.name)
        commands.play(cluster.kubelet.stand_ins, agent)
        path = self._socket(spec.name)
        for app, place in ((agent.app(), path), (agent.health_app(), path.with_name(HEALTH_SOCKET))):
            await stack.enter_async_context(serving(app, listen_unix(place)))
        if mesh:
            await mesh_objects.connect(cluster.store, spec, mesh.values(), ca=grounds.authority, now=grounds.clock())
        return agent

    def _socket(self, name: str) -> Path:
        return self._grounds.sockets / name / AGENT_SOCKET

    def _state(self, spec: ClusterSpec, ports: _Ports) -> ClusterState:
        folder = self._grounds.home / spec.name
        server = f"http://{_LOOPBACK}:{ports.numbers['']}"
        write_kubeconfig(folder / "kubeconfig", spec.name, server)
        return ClusterState(
            name=spec.name,
            server=server,
            port=ports.numbers[""],
            kubeconfig=str(folder / "kubeconfig"),
            cilium_socket=str(self._socket(spec.name)),
            storage_root=str(folder / "storage"),
            storage_class=spec.storage.class_name,
            version=spec.version,
            connect_to=self._connect_to(ports),
        )
