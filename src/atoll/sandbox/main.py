"""Hosts the simulated clusters of a sandbox in one process.

Owns the composition and its end: when run() returns, no server listens and no process of a pod is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from atoll.federation.errors import InvalidInput
from atoll.sandbox.admin import Admin
from atoll.sandbox.cilium import objects as mesh_objects
from atoll.sandbox.cilium.agent import CiliumAgent
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.cluster import SimulatedCluster, simulated
from atoll.sandbox.kubelet.process import probe_isolation
from atoll.sandbox.serving import listen, listen_unix, serving, socket_folder
from atoll.sandbox.settings import SandboxSettings
from atoll.sandbox.spec import ClusterSpec
from atoll.sandbox.state import STATE_FILE, ClusterState, SandboxState, write_kubeconfig, write_state

log = structlog.get_logger()

_ADMIN_SOCKET = "admin.sock"
_AGENT_SOCKET, _HEALTH_SOCKET = "cilium.sock", "health.sock"


@dataclass(frozen=True)
class _Isolation:
    mode: str
    reason: str


async def run(settings: SandboxSettings) -> None:
    """Run the sandbox until cancelled. Its home has a `clusters.json` while everything is ready.

    Raises:
        InvalidInput: two clusters share a name or a mesh id, or a port is given for no cluster.
        Unavailable: a port is taken.
    """
    _check(settings)
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    (home / STATE_FILE).unlink(missing_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        state = await _start(settings, home, stack)
        write_state(home, state)
        stack.callback((home / STATE_FILE).unlink, missing_ok=True)
        log.info("The sandbox was started.", clusters=[cluster.name for cluster in state.clusters], home=str(home))
        await asyncio.Event().wait()


async def _start(settings: SandboxSettings, home: Path, stack: contextlib.AsyncExitStack) -> SandboxState:
    specs = {spec.name: spec for spec in settings.clusters}
    listeners = {name: listen(settings.ports.get(name, 0)) for name in specs}
    for listener in listeners.values():
        stack.callback(listener.close)
    longest = max((f"{name}/{_AGENT_SOCKET}" for name in specs), key=len)
    sockets = stack.enter_context(socket_folder(home / "sockets", longest))
    isolation = _Isolation(*await probe_isolation())
    links, authority = Links(tuple(specs), _now), mesh_objects.new_authority(_now())
    clusters: dict[str, SimulatedCluster] = {}
    agents: dict[str, CiliumAgent] = {}
    for name, spec in specs.items():
        cluster = await stack.enter_async_context(
            simulated(spec, home / name, clock=_now, isolation=isolation.mode, reason=isolation.reason)
        )
        clusters[name] = cluster
        agents[name] = CiliumAgent(spec, specs, links, cluster.store)
        await stack.enter_async_context(serving(cluster.app, listeners[name]))
        agent_socket = _agent_socket(sockets, name)
        for app, path in (
            (agents[name].app(), agent_socket),
            (agents[name].health_app(), agent_socket.with_name(_HEALTH_SOCKET)),
        ):
            await stack.enter_async_context(serving(app, listen_unix(path)))
        await mesh_objects.connect(cluster.store, spec, specs.values(), ca=authority, now=_now())
    admin_socket = sockets / _ADMIN_SOCKET
    await stack.enter_async_context(serving(Admin(clusters, agents, links).app(), listen_unix(admin_socket)))
    states = tuple(_state(spec, home, sockets, listeners[name]) for name, spec in specs.items())
    return SandboxState(os.getpid(), str(admin_socket), isolation.mode, states)


def _state(spec: ClusterSpec, home: Path, sockets: Path, listener: socket.socket) -> ClusterState:
    port = int(listener.getsockname()[1])
    server = f"http://127.0.0.1:{port}"
    kubeconfig = home / spec.name / "kubeconfig"
    write_kubeconfig(kubeconfig, spec.name, server)
    return ClusterState(
        name=spec.name,
        server=server,
        port=port,
        kubeconfig=str(kubeconfig),
        cilium_socket=str(_agent_socket(sockets, spec.name)),
        storage_root=str(home / spec.name / "storage"),
        storage_class=spec.storage.class_name,
        version=spec.version,
    )


def _agent_socket(sockets: Path, name: str) -> Path:
    return sockets / name / _AGENT_SOCKET


def _now() -> datetime:
    return datetime.now(UTC)


def _check(settings: SandboxSettings) -> None:
    names = [spec.name for spec in settings.clusters]
    ids = [spec.mesh_id for spec in settings.clusters]
    if not names:
        raise InvalidInput("clusters: a sandbox needs at least one")
    if len(set(names)) < len(names) or len(set(ids)) < len(ids):
        raise InvalidInput("clusters: every cluster needs its own name and mesh id")
    unknown = set(settings.ports) - set(names)
    if unknown:
        raise InvalidInput(f"ports: there is no cluster {', '.join(sorted(unknown))}")
