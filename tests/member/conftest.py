"""A simulated cluster, an agent in it, and the hub's side of the bus."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.member.kube import Kube
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.connection import Bus
from member.harness import CLUSTER, HubSide, running_agent
from member.world import Cluster, running_cluster


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as cluster:
        yield cluster


@pytest.fixture
async def kube(cluster: Cluster) -> AsyncIterator[Kube]:
    door = await Kube.connect(cluster.kubeconfig)
    yield door
    await door.close()


@pytest.fixture
def settings(cluster: Cluster, nats_server: Any, tmp_path: Path) -> MemberSettings:
    return MemberSettings(
        cluster=CLUSTER,
        nats_url=nats_server.url,
        state_dir=tmp_path / "agent",
        kubeconfig=cluster.kubeconfig,
        heartbeat_seconds=0.5,
    )


@pytest.fixture
async def agent(settings: MemberSettings) -> AsyncIterator[None]:
    async with running_agent(settings):
        yield


@pytest.fixture
def hub(bus: Bus) -> HubSide:
    return HubSide(bus)
