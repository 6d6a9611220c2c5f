"""A hub and a member that most tests do with."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.federation.bus.connection import Bus
from hub.support import LAB, HubClient, Member, joined, manifest, running_hub


@pytest.fixture
async def hub(nats_server: Any, tmp_path: Path) -> AsyncIterator[HubClient]:
    """A hub with a namespace and a queue."""
    async with running_hub(nats_server.url, tmp_path) as client:
        await client.apply(manifest("Namespace", LAB), manifest("Queue", "lab"))
        yield client


@pytest.fixture
async def member(bus: Bus) -> AsyncIterator[Member]:
    """A cluster named onprem, which is there before the hub is."""
    async with joined(bus, "onprem") as running:
        yield running
