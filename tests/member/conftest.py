"""A cluster, simulated or real, an agent in it, and the hub's side of the bus."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from atoll.edge.enrolment import EnrolmentSettings
from atoll.edge.member.kube import Kube
from atoll.edge.member.settings import MemberSettings
from atoll.federation.bus.connection import Bus
from member.harness import CLUSTER, HubSide, running_agent
from member.real_cluster import RealCluster, real_cluster
from member.world import Cluster, running_cluster


@pytest.fixture
async def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Cluster | RealCluster]:
    """A simulated cluster; tests that `harness.on_any_cluster` marks run on a real API server too."""
    if getattr(request, "param", "simulated") == "real":
        async with real_cluster(request.getfixturevalue("real_server"), tmp_path) as real:
            yield real
    else:
        async with running_cluster(tmp_path) as simulated:
            yield simulated


@pytest.fixture
async def kube(cluster: Cluster | RealCluster) -> AsyncIterator[Kube]:
    door = await Kube.connect(cluster.kubeconfig)
    yield door
    await door.close()


@pytest.fixture
async def lab(cluster: Cluster | RealCluster) -> Cluster | RealCluster:
    """A cluster with the namespace `lab`."""
    await cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "lab"}})
    return cluster


@pytest.fixture
def settings(cluster: Cluster | RealCluster, nats_server: Any, tmp_path: Path) -> MemberSettings:
    return MemberSettings(
        cluster=CLUSTER,
        enrolment=EnrolmentSettings(nats_server.url),
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
