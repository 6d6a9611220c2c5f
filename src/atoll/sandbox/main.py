"""Hosts the simulated clusters of a sandbox in one process.

Owns the composition and its end: when run() returns, no server listens and no process of a pod is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime

import structlog

from atoll.federation.errors import InvalidInput
from atoll.sandbox.admin import Admin
from atoll.sandbox.cilium import objects as mesh_objects
from atoll.sandbox.cilium.links import Links
from atoll.sandbox.faults.book import FAULTS_FILE, FaultBook
from atoll.sandbox.hosting import AGENT_SOCKET, Grounds, Host
from atoll.sandbox.kubelet.process import probe_isolation
from atoll.sandbox.running import Sandbox
from atoll.sandbox.serving import listen_unix, serving, socket_folder
from atoll.sandbox.settings import SandboxSettings, port_names
from atoll.sandbox.state import STATE_FILE

log = structlog.get_logger()

_ADMIN_SOCKET = "admin.sock"


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
    try:
        async with contextlib.AsyncExitStack() as stack:
            group = await stack.enter_async_context(asyncio.TaskGroup())
            sandbox = await _start(settings, group, stack)
            stack.callback((home / STATE_FILE).unlink, missing_ok=True)
            log.info("The sandbox was started.", clusters=list(sandbox.host.names), home=str(home))
            await asyncio.Event().wait()
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from failures


async def _start(settings: SandboxSettings, group: asyncio.TaskGroup, stack: contextlib.AsyncExitStack) -> Sandbox:
    home = settings.home.absolute()
    longest = max((*(f"{spec.name}/{AGENT_SOCKET}" for spec in settings.clusters), _ADMIN_SOCKET), key=len)
    sockets = stack.enter_context(socket_folder(home / "sockets", longest))
    links, isolation = Links((), _now), await probe_isolation()
    host = Host(Grounds(settings, sockets, isolation, mesh_objects.new_authority(_now()), links, _now), group)
    stack.push_async_callback(host.stop_all)
    await host.start_all(settings.clusters, alone=settings.alone)
    faults = FaultBook(home / FAULTS_FILE, links, host.knobs, clock=_now)
    await faults.enforce()
    sandbox = Sandbox(settings, host, faults, links, sockets / _ADMIN_SOCKET, isolation[0])
    await stack.enter_async_context(serving(Admin(sandbox).app(), listen_unix(sandbox.admin_socket)))
    sandbox.write()
    return sandbox


def _now() -> datetime:
    return datetime.now(UTC)


def _check(settings: SandboxSettings) -> None:
    names = [spec.name for spec in settings.clusters]
    ids = [spec.mesh_id for spec in settings.clusters]
    if not names:
        raise InvalidInput("clusters: a sandbox needs at least one")
    if len(set(names)) < len(names) or len(set(ids)) < len(ids):
        raise InvalidInput("clusters: every cluster needs its own name and mesh id")
    unknown = set(settings.ports) - {port for name in names for port in port_names(name)}
    if unknown:
        raise InvalidInput(f"ports: there is no cluster {', '.join(sorted(unknown))}")
