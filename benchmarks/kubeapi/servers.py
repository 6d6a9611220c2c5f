"""The servers that are measured: a hub on nats-server, the same API in memory, and kube-apiserver on etcd.

Owns their processes and folders, which are gone when the block ends.

    python benchmarks/kubeapi/servers.py PORT      serve the hub's kinds from memory
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import uvicorn
from client import Connection, Server, until_ready
from jobs import crd, memory_store, parents

from atoll.federation.bus.connection import Bus
from atoll.federation.resources import KINDS
from atoll.hub.leader import Lease
from atoll.kubeapi.http import create_app
from atoll.local import pki
from atoll.local.home import Home
from atoll.local.nats import NatsSettings, find_server, write_config
from atoll.local.ports import LOOPBACK

_HERE = Path(__file__).parent
_PLURALS = {kind.name: kind.plural for kind in KINDS}


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Give a folder for the time of a block, on the disk that /var/tmp is on: /tmp may be memory."""
    path = Path(tempfile.mkdtemp(prefix="atoll-bench-", dir="/var/tmp"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def process(command: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the time of a block; it is killed at its end."""
    with log.open("ab") as output, subprocess.Popen(command, stdout=output, stderr=output) as running:
        try:
            yield running
        finally:
            running.kill()


@contextlib.contextmanager
def nats(home: Path) -> Iterator[tuple[str, int]]:
    """Run nats-server as `atoll up` does: every acknowledged write is on disk. Gives its URL and process id."""
    settings = NatsSettings(free_port(), home / "store")
    write_config(settings, home / "nats.conf")
    with process([find_server(), "-c", home / "nats.conf"], home / "nats.log") as running:
        yield settings.url, running.pid


@contextlib.asynccontextmanager
async def hub(
    home: Path, nats_url: str, *, with_tls: bool = False, beside: Sequence[int] = ()
) -> AsyncIterator[Server]:
    """Run a hub on NATS.

    Args:
        beside: processes whose CPU time counts as the server's: nats-server.
    """
    port = free_port()
    command = ["atoll", "hub", "serve", "--nats", nats_url, "--state-dir", str(home / "hub"), "--port", str(port)]
    tls = None
    if with_tls:
        keys = pki.ensure(Home(home), now=datetime.now(UTC))
        command += ["--tls-cert", str(keys.server.certificate), "--tls-key", str(keys.server.key)]
        command += ["--client-ca", str(keys.ca.certificate)]
        tls = ssl.create_default_context(cafile=keys.ca.certificate)
        tls.load_cert_chain(keys.admin.certificate, keys.admin.key)
    else:
        command += ["--insecure-http", "--no-auth"]
    command[0] = str(Path(sys.executable).with_name("atoll"))
    with process(command, home / "hub.log") as running:
        scheme = "https" if with_tls else "http"
        server = Server(f"hub, {scheme}", f"{scheme}://127.0.0.1:{port}", tls, pids=(running.pid, *beside))
        await until_ready(server)
        yield server


@contextlib.asynccontextmanager
async def held_lease(url: str) -> AsyncIterator[None]:
    """Hold the lease of the hubs on a NATS for the time of a block, so that none of them leads."""
    bus = await Bus.connect(url, name="bench")
    lease = await Lease.open(bus, seconds=1)  # renewed six times a second; a hub waits 3 s for it
    await lease.acquire()
    holder = asyncio.create_task(lease.hold())
    yield
    holder.cancel()
    await bus.close()


@contextlib.asynccontextmanager
async def memory(home: Path) -> AsyncIterator[Server]:
    """Serve the hub's kinds from memory, in a process of its own."""
    port = free_port()
    with process([sys.executable, _HERE / "servers.py", str(port)], home / "memory.log") as running:
        server = Server("memory", f"http://127.0.0.1:{port}", pids=(running.pid,))
        await until_ready(server)
        yield server


@contextlib.asynccontextmanager
async def kube(home: Path) -> AsyncIterator[Server | None]:
    """Run kube-apiserver and etcd from KUBEBUILDER_ASSETS, with our Jobs as custom resources; None without them."""
    sys.path.insert(0, str(_HERE.parents[1] / "tests"))
    import real_kube

    if real_kube.why_missing():
        yield None
        return
    tls = ssl.create_default_context()
    tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE  # it signs a certificate for itself
    with real_kube.running(home, is_durable=True) as running:
        pids = tuple(_children(("etcd", "kube-apiserver"), home))
        server = Server("kube-apiserver", running.url, tls, real_kube.TOKEN, pids)
        connection = await Connection.open(server)
        await connection.request("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd())
        await until_ready(server, "/apis/atoll.dev/v1alpha1/jobs")
        yield server


def _children(names: Sequence[str], home: Path) -> Iterator[int]:
    """Find the processes of these names that were started with files of a folder."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            command = (entry / "cmdline").read_bytes().decode() if entry.name.isdigit() else ""
            if str(home) in command and Path(command.split("\0", 1)[0]).name in names:
                yield int(entry.name)


async def prepare(server: Server) -> None:
    """Create the namespace and, where they are served, the queues that Jobs need."""
    connection = await Connection.open(server)
    for obj in parents():
        if obj["kind"] == "Namespace":
            await connection.request("POST", "/api/v1/namespaces", obj)
        elif server.name != "kube-apiserver":
            await connection.request("POST", f"/apis/{obj['apiVersion']}/{_PLURALS[obj['kind']]}", obj)
    connection.close()


async def _serve_memory(port: int) -> None:
    store = await memory_store(empty=True)
    version = {"major": "1", "minor": "0", "gitVersion": "v1.0.0"}
    app = create_app(store, store.registry, version=version)
    await uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", lifespan="off", ws="none")).serve()


if __name__ == "__main__":
    asyncio.run(_serve_memory(int(sys.argv[1])))
