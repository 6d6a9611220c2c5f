"""Many agents without clusters in one process: what a real agent says and hears, and nothing of Kubernetes.

    python benchmarks/fleet/light_agents.py HUB_URL HUB_CA FOLDER

Enrolment, credentials, connection, orders and reports are those of the real agent, with its files on disk; only what
it would read in its cluster is made up. Says when it is ready, reads commands, and says what it did, as JSON by lines:

    {"join": NAME, "token": TOKEN}          → {"event": "enrolled", "name": NAME, "at": SECONDS}
    {"change": [NAME…], "gpus": N, "pause": SECONDS}
                                            → {"event": "changed", "name": NAME, "gpus": N, "at": SECONDS} for each

`at` is of the machine's monotonic clock, which all processes share. Nothing here is measured.
"""

from __future__ import annotations

import asyncio
import random
import sys
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import structlog

from atoll.edge.enrolment import Enrolled, EnrolmentSettings
from atoll.edge.member.data_credentials import DataCredentials
from atoll.edge.member.desired import Orders
from atoll.edge.member.lease import HEARTBEAT, SavedLease
from atoll.edge.member.recency import Recency
from atoll.edge.member.reporter import Reporter
from atoll.edge.member.shelf import Shelf
from atoll.edge.member.uplink import Calls, Uplink
from atoll.federation.bus.inventory_messages import NetworkReport, NodesReport, StorageReport
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.messages import Heartbeat, InventoryReport
from atoll.federation.resources.cluster import GpuShape, Inventory, NodeShape, StorageClassInfo

# As many as one hub's desk has to serve at once when whole sites come in; more only wait for each other.
_JOINS_AT_ONCE = 16
# An agent lets changes of its pods gather this long (edge/member/pulse.py).
_SETTLE_SECONDS = 0.1
_HEARTBEAT_SECONDS = 10.0
_GIB = 2**30
_A100 = "NVIDIA-A100-SXM4-80GB"


class _Told(Enrolled):
    """The real way in, which tells when it is gone."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.done = asyncio.Event()

    async def membership(self) -> Membership:
        found = await super().membership()
        self.done.set()
        return found


class LightAgent:
    """One agent."""

    def __init__(self, name: str, folder: Path, settings: EnrolmentSettings) -> None:
        """Be nobody yet."""
        self._name, self._started_at = name, datetime.now(UTC)
        self.reporter = Reporter()
        self.orders = Orders(Shelf(folder / "orders"), Shelf(folder / "store"))
        lease = SavedLease(Shelf(folder / "lease"), boot="", shortest=lambda: None)  # it has no runs that depend on one
        self._enrolled = _Told(folder / "membership", settings, kind="cluster", name=name)
        self._uplink = Uplink(
            name,
            self.orders,
            reporter=self.reporter,
            calls=Calls(),
            recall=lambda _key, _value: None,
            data_credentials=DataCredentials(None, name),  # type: ignore[arg-type] # nobody asks it for any
            lease=lease,
            recency=Recency(lease.lease.clock),
        )

    async def is_enrolled(self) -> None:
        """Wait until the agent has come in, by the token."""
        await self._enrolled.done.wait()

    async def run(self) -> None:
        """Be connected, and report, for ever."""
        self.change(gpus=32)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._uplink.run(self._enrolled))
            group.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            beat = Heartbeat(
                agent_version="light", started_at=self._started_at, api_reachable=True, message="", at=datetime.now(UTC)
            )
            self.reporter.refresh(HEARTBEAT, beat)
            await asyncio.sleep(_HEARTBEAT_SECONDS)

    def change(self, *, gpus: int) -> None:
        """Have so many free GPUs."""
        now = datetime.now(UTC)
        self.reporter.report("inventory", InventoryReport(inventory=_inventory(gpus), at=now))
        self.reporter.report("inventory/nodes", NodesReport(at=now))
        self.reporter.report("inventory/storage", StorageReport(at=now))
        self.reporter.report("inventory/network", NetworkReport(pod_cidrs=("10.0.0.0/16",), at=now))


def _inventory(gpus: int) -> Inventory:
    """Describe a cluster of 20 nodes of three sorts."""
    kinds = ((12, 16_000, 64 * _GIB, 0), (4, 64_000, 512 * _GIB, 4), (4, 128_000, 1024 * _GIB, 8))
    return Inventory(
        version="v1.34.1",
        distribution="kubeadm",
        nodes=20,
        nodes_ready=20,
        millicores=960_000,
        memory_bytes=6912 * _GIB,
        gpus=(GpuShape(model=_A100, memory_bytes=80 * _GIB, count=48),),
        free_gpus=(GpuShape(model=_A100, memory_bytes=80 * _GIB, count=gpus),),
        shapes=tuple(
            NodeShape(
                nodes=nodes, free_millicores=cores // 2, free_memory_bytes=memory // 2, free_gpus=count // 2,
                allocatable_millicores=cores, allocatable_memory_bytes=memory, allocatable_gpus=count,
                gpu_model=_A100 if count else None, gpu_memory_bytes=80 * _GIB if count else 0,
                labels={"kubernetes.io/arch": "amd64"},
            )
            for nodes, cores, memory, count in kinds
        ),
        counted_runs=(),
        storage_classes=(StorageClassInfo(name="csi", provisioner="csi.example", is_default=True, free_bytes=10**13),),
        cni="Cilium",
        cni_version="1.18.1",
        node_states={"Ready": 20},
        kubelet_versions={"v1.34.1": 20},
    )  # fmt: skip


class Crowd:
    """All agents of this process."""

    def __init__(self, hub_url: str, hub_ca: Path, folder: Path) -> None:
        """Have no agent yet."""
        self._hub_url, self._hub_ca, self._folder = hub_url, hub_ca, folder
        self._agents: dict[str, LightAgent] = {}
        self._gate = asyncio.Semaphore(_JOINS_AT_ONCE)

    async def obey(self) -> None:
        """Do what standard input says, until it ends."""
        say("ready")
        async with asyncio.TaskGroup() as group:
            async for command in commands():
                if "join" in command:
                    group.create_task(self._join(group, command["join"], command["token"]))
                else:
                    group.create_task(self._change(command["change"], command["gpus"], command["pause"]))
            raise SystemExit  # ends the agents, too

    async def _join(self, group: asyncio.TaskGroup, name: str, token: str) -> None:
        folder = self._folder / name
        folder.mkdir(parents=True)
        file = folder / "token"
        file.write_text(token)
        async with self._gate:
            agent = self._agents[name] = LightAgent(
                name, folder, EnrolmentSettings("", self._hub_url, self._hub_ca, file)
            )
            group.create_task(agent.run())
            await agent.is_enrolled()
        say("enrolled", name=name)

    async def _change(self, names: list[str], gpus: int, pause: float) -> None:
        for name in names:
            asyncio.get_running_loop().call_later(_SETTLE_SECONDS, lambda one=self._agents[name]: one.change(gpus=gpus))
            say("changed", name=name, gpus=gpus)
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))


async def commands() -> AsyncIterator[dict[str, Any]]:
    """Give what standard input says, line by line."""
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        yield orjson.loads(line)


def say(event: str, **about: object) -> None:
    """Say what happened, and when."""
    print(orjson.dumps({"event": event, "at": time.monotonic(), **about}).decode(), flush=True)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    asyncio.run(Crowd(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])).obey())
