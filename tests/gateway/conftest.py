"""Data paths of real processes, ended with the test."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from datapath import DataPath, Mosquitto, passing_on_commits


@pytest.fixture
async def mosquitto_path(tmp_path: Path, nats_server: Any) -> AsyncIterator[tuple[DataPath, Mosquitto]]:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    mosquitto.start()
    # With nats-server as broker it is paho, so both receivers are killed and cut off.
    path = DataPath(tmp_path, nats_server, mosquitto.port, receiver="fast")
    async with passing_on_commits(nats_server.url):
        yield path, mosquitto
    path.stop()
    mosquitto.end()


@pytest.fixture
async def nats_path(tmp_path: Path, nats_mqtt_server: Any) -> AsyncIterator[DataPath]:
    path = DataPath(tmp_path, nats_mqtt_server, nats_mqtt_server.mqtt_port)
    yield path
    path.stop()
