"""What several controllers of the agent share: doors, orders, records, reports. Owns nothing but their making."""

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path

from atoll.edge.member.cilium import CiliumAgent
from atoll.edge.member.data_credentials import DataCredentials
from atoll.edge.member.desired import Orders
from atoll.edge.member.fence import Leases
from atoll.edge.member.inventory.view import ClusterView
from atoll.edge.member.kept_logs import KeptLogs
from atoll.edge.member.kube import Kube
from atoll.edge.member.last_words import LastWords
from atoll.edge.member.lease import SavedLease, boot_id
from atoll.edge.member.mesh.pulse import MeshPulse
from atoll.edge.member.mesh.services import SharedServices
from atoll.edge.member.mesh.settings import MeshSettings
from atoll.edge.member.mesh.sources import MeshSource, PodSource, SocketSource
from atoll.edge.member.ordered import KnownRuns
from atoll.edge.member.recency import Recency
from atoll.edge.member.records import DriftsRecord, PolicyRecord, Records, RunRecord, ServiceRecord
from atoll.edge.member.reporter import Reporter
from atoll.edge.member.run_pods import RunPods
from atoll.edge.member.settings import MemberSettings
from atoll.edge.member.shelf import Shelf
from atoll.edge.member.work import Worker


def now() -> datetime:
    """Give the time of this machine."""
    return datetime.now(UTC)


class Parts:
    """The parts of one agent that others are made with."""

    def __init__(self, settings: MemberSettings, kube: Kube) -> None:
        """Make them; what they remember is in the state folder."""
        self.settings, self.kube = settings, kube
        self.orders = Orders(self._shelf("orders"), self._shelf("store"))
        self.run_records = Records(self._shelf("runs"), RunRecord)
        self.policy_records = Records(self._shelf("policysets"), PolicyRecord)
        self.drift_records = Records(self._shelf("drifts"), DriftsRecord)
        self.service_records = Records(self._shelf("services"), ServiceRecord)
        self.leases = Leases(self.orders)
        self.lease = SavedLease(self._shelf("lease"), boot=boot_id(), shortest=self.leases.shortest)
        self.recency = Recency(self.lease.lease.clock)
        self.reporter = Reporter()
        self.view = ClusterView(kube, has_order=self.orders.has)
        self.data_credentials = DataCredentials(kube, settings.cluster)
        self.known = KnownRuns(self.orders, self.run_records)
        self.pods = RunPods(kube, self.known)
        self.kept_logs = KeptLogs(self.folder("logs"))
        self.words = LastWords(kube, self.pods, self.kept_logs)
        self.mesh_source = self._source_of_mesh()
        self.mesh_pulse = MeshPulse(
            self.mesh_source, MeshSettings(kube), SharedServices(kube), reports=self.reporter, now=now
        )

    def folder(self, name: str) -> Path:
        """Name a folder below the agent's own."""
        return self.settings.state_dir / name

    def _shelf(self, name: str) -> Shelf:
        return Shelf(self.folder(name))

    def _source_of_mesh(self) -> MeshSource | None:
        if self.settings.cilium_socket is not None:
            return SocketSource(CiliumAgent(self.settings.cilium_socket))
        return PodSource(self.kube) if self.settings.cilium_exec else None

    def add_all(self, kind: str, worker: Worker) -> None:
        """Have a worker look at all orders of a kind."""
        for key in self.orders.keys(kind):
            worker.add(key)

    async def end_leftovers(self, records: Iterable[str], worker: Worker) -> None:
        """Finish removals that a crash cut off; not before the hub has spoken, since an order may be lost on disk."""
        await self.orders.has_synced.wait()
        for key in records:
            worker.add(key)


async def all_of(*work: Coroutine[None, None, None]) -> None:
    """Run several things until one of them breaks."""
    async with asyncio.TaskGroup() as group:
        for part in work:
            group.create_task(part)
