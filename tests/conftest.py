"""What every test may use: a real nats-server on a port of its own, and a connected bus."""

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from atoll.federation.bus.connection import Bus
from atoll.federation.bus.subjects import (
    DESIRED_PREFIX,
    DESIRED_STREAM,
    OBSERVED_PREFIX,
    OBSERVED_STREAM,
    STATE_PREFIX,
    STATE_STREAM,
)
from nats_servers import NatsServer

pytest_plugins = ["real_kube"]

# These tests start hundreds of processes, and one that may not keep bytecode compiles all of its modules anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes says how busy the machine is. `pytest --hypothesis-profile=deep` looks longer.
settings.register_profile("suite", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", settings.get_profile("suite"), max_examples=2000)
settings.load_profile("suite")


@pytest.fixture(scope="session", autouse=True)
def nobodys_kubeconfig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No test reads or writes the kubeconfig of who runs it."""
    path = tmp_path_factory.mktemp("kubeconfig") / "config"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(path))
        yield path


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
    for stream, prefix in tables:
        await bus.ensure_table(stream, prefix, is_hubs_own=stream == STATE_STREAM)
    return bus


@pytest.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """A connected bus whose tables exist."""
    connection = await connect_with_tables(nats_server.url)
    yield connection
    await connection.close()
