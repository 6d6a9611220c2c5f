"""What is measured: a hub and its nats-server with accounts, both as `atoll up` runs them, in a folder of their own.

Owns the two processes: they can be killed, started again on the same ports, and are gone when the block ends.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import httpx
import orjson

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.nats_keys import HUB, SYSTEM, Keys
from atoll.hub.field.keys import Signer
from atoll.local import pki
from atoll.local.home import Home
from atoll.local.nats import Accounts, NatsSettings, find_server, is_serving, write_config
from atoll.local.ports import LOOPBACK

_POLL_SECONDS = 0.02
_START_SECONDS = 120.0


@dataclass(frozen=True)
class Usage:
    """What a process has computed since it started, and its resident memory."""

    cpu_seconds: float
    rss_mb: float

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Read it from /proc."""
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return cls(cpu, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6)


@dataclass
class Process:
    """A program that can be killed and started again."""

    command: tuple[str | Path, ...]
    log: Path
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Start it; its output is added to its log."""
        with self.log.open("ab") as output:
            self.running = subprocess.Popen(self.command, stdout=output, stderr=output)

    def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        if self.running is not None:
            self.running.terminate()
            self.running.wait()
            self.running = None

    def kill(self) -> None:
        """End it as a crash would."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None

    def usage(self) -> Usage:
        """Give what it uses."""
        assert self.running is not None, f"{self.command[0]} does not run"
        return Usage.of(self.running.pid)

    def check(self) -> None:
        """Stop the benchmark if it has ended by itself."""
        if self.running is not None and self.running.poll() is not None:
            raise SystemExit(f"{self.command[0]} has ended:\n{self.log.read_text()[-3000:]}")


class Federation:
    """A hub and its NATS, with the certificates and keys of a home."""

    def __init__(self, home: Path, members: Path) -> None:
        """Make keys, certificates and configuration; start nothing."""
        self.home, self.members = home, members
        self._pki = pki.ensure(Home(home), now=datetime.now(UTC))
        self._nats_port, self._hub_port = _free_port(), _free_port()
        keys = home / "nats-keys"
        server = self._pki.server
        accounts = Accounts(Keys.ensure(keys), home / "nats-accounts", server.certificate, server.key)
        settings = NatsSettings(self._nats_port, home / "store", accounts)
        write_config(settings, home / "nats.conf")
        self.nats_url, self.hub_url = settings.url, f"https://{LOOPBACK}:{self._hub_port}"
        self._signer = Signer.load(keys, self.ca)
        self.nats = Process((find_server(), "-c", home / "nats.conf"), home / "nats.log")
        self.hub = Process(self._hub_command(keys), home / "hub.log")

    def _hub_command(self, keys: Path) -> tuple[str | Path, ...]:
        return (
            sys.executable, "-m", "atoll.cli", "hub", "serve",
            "--nats", self.nats_url, "--nats-keys", keys, "--nats-ca", self.ca,
            "--host", LOOPBACK, "--port", str(self._hub_port), "--state-dir", self.home / "hub",
            "--tls-cert", self._pki.server.certificate, "--tls-key", self._pki.server.key, "--client-ca", self.ca,
        )  # fmt: skip

    def hub_log(self) -> str:
        """Give the end of what the hub has logged."""
        return self.hub.log.read_text()[-3000:]

    @property
    def ca(self) -> Path:
        """The CA of the hub's and NATS's certificates."""
        return self._pki.ca.certificate

    def admin(self) -> httpx.AsyncClient:
        """Give a client of the hub's API that shows the administrator's certificate."""
        tls = ssl.create_default_context(cafile=str(self.ca))
        tls.load_cert_chain(self._pki.admin.certificate, self._pki.admin.key)
        limits = httpx.Limits(max_connections=None)
        return httpx.AsyncClient(base_url=self.hub_url, verify=tls, trust_env=False, timeout=60, limits=limits)

    async def own_bus(self) -> Bus:
        """Connect to NATS as the hub does."""
        return await Bus.connect(self.nats_url, name="benchmark", login=self._signer.login(HUB))

    async def connections_made(self) -> int:
        """Ask NATS how many connections it has taken since it started, those of this question included."""
        bus = await Bus.connect(self.nats_url, name="benchmark", login=self._signer.login(SYSTEM))
        try:
            answer = orjson.loads(await bus.request("$SYS.REQ.SERVER.PING.VARZ", b"", timeout_seconds=10))
        finally:
            await bus.close()
        return int(answer["data"]["total_connections"])

    async def start_nats(self) -> None:
        """Start nats-server and wait until it greets."""
        self.nats.start()
        async with asyncio.timeout(_START_SECONDS):
            while not await is_serving(self._nats_port):
                self.nats.check()
                await asyncio.sleep(_POLL_SECONDS)

    async def start_hub(self) -> None:
        """Start the hub and wait until it says that it is ready."""
        self.hub.start()
        async with asyncio.timeout(_START_SECONDS), self.admin() as http:
            while not await _is_ready(http):
                self.hub.check()
                await asyncio.sleep(_POLL_SECONDS)


@contextlib.contextmanager
def federation() -> Iterator[Federation]:
    """Give a federation for the time of a block, on the disk that /var/tmp is on: /tmp may be memory.

    The members' files are in memory where that can be: in life they are on other machines' disks.
    """
    home = Path(tempfile.mkdtemp(prefix="atoll-bench-", dir="/var/tmp"))
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    members = Path(tempfile.mkdtemp(prefix="atoll-bench-", dir=memory))
    made = Federation(home, members)
    try:
        yield made
    finally:
        made.hub.kill()
        made.nats.kill()
        for folder in (home, members):
            shutil.rmtree(folder, ignore_errors=True)


async def _is_ready(http: httpx.AsyncClient) -> bool:
    try:
        return (await http.get("/readyz")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.create_server((LOOPBACK, 0)) as probe:
        return int(probe.getsockname()[1])
