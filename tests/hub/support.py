"""What the hub's tests share: a running hub, manifests, and a member that does what orders say, in memory."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from atoll.federation.bus.changes import Change
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import CommitOrder, DatasetReport, TransferOrder, TransferReport
from atoll.federation.bus.farewell import FAREWELL, FarewellOrder, FarewellReport
from atoll.federation.bus.messages import Heartbeat, InventoryReport, MeshReport, Message, RunOrder, RunReport
from atoll.federation.bus.subjects import DESIRED_STREAM, OBSERVED_STREAM, desired_prefix, observed_prefix
from atoll.federation.resources import Inventory, MeshLink, NodeShape
from atoll.federation.resources.cluster import GpuShape, StorageClassInfo
from atoll.hub.app import Hub
from atoll.hub.main import running
from atoll.hub.settings import HubSettings

T = TypeVar("T")
API = "/apis/atoll.dev/v1alpha1"
SECONDS = 20.0
GPU = "NVIDIA-A100-SXM4-40GB"
GIB = 1024**3
LAB = "seismology"


def now() -> datetime:
    return datetime.now(UTC)


async def eventually(check: Callable[[], Awaitable[T]], *, seconds: float = SECONDS) -> T:
    """Wait until a check gives something true; the last thing it gave is in the failure."""
    last: Any = None
    try:
        async with asyncio.timeout(seconds):
            while not (last := await check()):
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"did not happen within {seconds:g} s; last seen: {last!r}") from None
    return last


def settings(nats_url: str, folder: Path, **changes: Any) -> HubSettings:
    """Give the settings of a hub that lets everybody in, unless changed: access has tests of its own."""
    defaults: dict[str, Any] = {
        "nats_url": nats_url,
        "state_dir": folder / "hub",
        "port": 0,
        "lease_seconds": 1.0,
        "insecure_http": True,
        "no_auth": True,
    }
    return HubSettings(**{**defaults, **changes})


class HubClient:
    """A running hub and an HTTP client of it."""

    def __init__(self, hub: Hub, url: str, http: httpx.AsyncClient) -> None:
        self.hub, self.url, self.http = hub, url, http

    async def apply(self, *manifests: Mapping[str, Any]) -> None:
        for manifest in manifests:
            answer = await self.http.post(collection(manifest), json=manifest)
            assert answer.status_code == 201, answer.text

    async def get(self, path: str) -> dict[str, Any]:
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def status(self, path: str) -> dict[str, Any]:
        return dict((await self.get(path)).get("status", {}))

    async def phase(self, path: str, *wanted: str) -> dict[str, Any]:
        """Wait until an object's phase is one of those wanted, and give its status."""

        async def check() -> dict[str, Any] | None:
            answer = await self.http.get(path)
            status = answer.json().get("status", {}) if answer.status_code == 200 else {}
            seen[0] = status
            return status if status.get("phase") in wanted else None

        seen: list[Any] = [None]
        try:
            found = await eventually(check)
        except AssertionError:
            raise AssertionError(f"{path} never was {wanted}: {seen[0]}") from None
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def running_hub(nats_url: str, folder: Path, **changes: Any) -> AsyncIterator[HubClient]:
    async with (
        running(settings(nats_url, folder, **changes)) as started,
        httpx.AsyncClient(base_url=started.url, timeout=20) as http,
    ):
        yield HubClient(started.hub, started.url, http)
        for task in started.tasks:
            assert not task.done(), f"a task of the hub ended: {task}"


def collection(manifest: Mapping[str, Any]) -> str:
    """Give the path that a manifest is posted to."""
    kind = manifest["kind"]
    if kind == "Namespace":
        return "/api/v1/namespaces"
    plural = {"Gateway": "gateways", "Dataset": "datasets"}.get(kind, f"{kind.lower()}s")
    namespace = manifest["metadata"].get("namespace")
    return f"{API}/namespaces/{namespace}/{plural}" if namespace else f"{API}/{plural}"


def path_of(manifest: Mapping[str, Any]) -> str:
    return f"{collection(manifest)}/{manifest['metadata']['name']}"


def manifest(
    kind: str, name: str, spec: Mapping[str, Any] | None = None, namespace: str | None = None
) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    if kind == "Namespace":
        return {"apiVersion": "v1", "kind": kind, "metadata": metadata}
    return {"apiVersion": "atoll.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": dict(spec or {})}


def job_spec(**changes: Any) -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["true"]}
    return {
        "queue": "lab",
        "workload": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "spec": {"template": {"spec": {"containers": [container]}}},
        },
        **changes,
    }


def inventory() -> Inventory:
    """Give one node with two A100."""
    shape = NodeShape(
        nodes=1,
        free_millicores=8000,
        free_memory_bytes=64 * GIB,
        free_gpus=2,
        gpu_model=GPU,
        gpu_memory_bytes=40 * GIB,
    )
    gpus = (GpuShape(model=GPU, memory_bytes=40 * GIB, count=2),)
    return Inventory(
        version="v1.33.0",
        nodes=1,
        nodes_ready=1,
        millicores=8000,
        memory_bytes=64 * GIB,
        gpus=gpus,
        free_gpus=gpus,
        shapes=(shape,),
        cni="cilium",
        cni_version="1.19.2",
        storage_classes=(StorageClassInfo(name="standard", provisioner="csi.test", is_default=True),),
    )


class Member:
    """A cluster in memory that follows its orders: runs succeed at once, commits and transfers are done at once.

    `holds_runs` leaves runs Running until `finish` is called; `stops_late` leaves it to the test when a run
    that is to stop has stopped; `nodes` is what it says first that it has.
    """

    def __init__(
        self,
        bus: Bus,
        name: str,
        *,
        heartbeat_seconds: float = 0.3,
        peers: tuple[str, ...] = (),
        nodes: Inventory | None = None,
    ) -> None:
        self.name = name
        self._nodes = nodes or inventory()
        self._desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", name))
        self._observed = bus.table(OBSERVED_STREAM, observed_prefix("cluster", name))
        self._heartbeat_seconds = heartbeat_seconds
        self._peers = peers
        self.started_at = now()
        self.holds_runs = False
        self.stops_late = False
        self.says_farewell = True
        self.has_mover = False  # a real one carries out what concerns files
        self.applied: dict[str, RunOrder] = {}
        self.starts: list[str] = []
        self.orders: dict[str, bytes] = {}
        self.api_reachable = True

    async def report(self, key: str, message: Message) -> None:
        await self._observed.put(key, message.encode())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._beat())
            group.create_task(self._follow())

    async def _beat(self) -> None:
        await self.report("inventory", InventoryReport(inventory=self._nodes, at=now()))
        links = tuple(
            MeshLink(peer=peer, is_connected=True, is_ready=True, last_proven_at=now()) for peer in self._peers
        )
        await self.report("mesh", MeshReport(links=links, at=now()))
        while True:
            beat = Heartbeat(
                agent_version="test", started_at=self.started_at, api_reachable=self.api_reachable, at=now()
            )
            await self.report("heartbeat", beat)
            await asyncio.sleep(self._heartbeat_seconds)

    async def _follow(self) -> None:
        async for item in self._desired.follow():
            if isinstance(item, Change):
                await self._take(item)

    async def _take(self, change: Change) -> None:
        topic = change.key.partition("/")[0]
        if change.value is None:
            self.orders.pop(change.key, None)
            if topic == "run" and self.applied.pop(change.key, None):
                await self._observed.delete(change.key)
            return
        self.orders[change.key] = change.value
        if topic == "run":
            await self._run(change.key, RunOrder.decode(change.value))
        elif topic == "commit":
            await self._commit(CommitOrder.decode(change.value))
        elif topic == "dataset" and not self.has_mover:
            await self._observed.delete(change.key)
        elif topic == "transfer" and not self.has_mover:
            await self._transfer(change.key, TransferOrder.decode(change.value))
        elif topic == FAREWELL and self.says_farewell:
            order = FarewellOrder.decode(change.value)
            await self.report(change.key, FarewellReport(id=order.id, is_done=True, at=now()))

    async def _run(self, key: str, order: RunOrder) -> None:
        known = self.applied.get(key)
        self.applied[key] = order
        if known is None or known.epoch != order.epoch:
            self.starts.append(f"{order.run}-e{order.epoch}")
        if order.cancelled and self.stops_late:
            return
        if order.cancelled:
            await self.tell(order, "Cancelled")
        elif self.holds_runs:
            await self.tell(order, "Running")
        else:
            await self.tell(order, "Succeeded")

    async def tell(self, order: RunOrder, phase: str, **more: Any) -> None:
        report = RunReport.model_validate(
            {
                "namespace": order.namespace,
                "run": order.run,
                "epoch": order.epoch,
                "phase": phase,
                "started_at": now(),
                "at": now(),
                **more,
            }
        )
        await self.report(f"run/{order.namespace}/{order.run}", report)

    async def _commit(self, order: CommitOrder) -> None:
        await self.dataset(order.namespace, order.dataset, version=order.version, produced_by=order.run)

    async def dataset(self, namespace: str, name: str, **more: Any) -> None:
        report = DatasetReport.model_validate(
            {
                "namespace": namespace,
                "dataset": name,
                "version": 1,
                "complete": True,
                "bytes": 10,
                "files": 1,
                "manifest_sha256": "ab" * 32,
                "at": now(),
                **more,
            }
        )
        await self.report(f"dataset/{namespace}/{name}", report)

    async def _transfer(self, key: str, order: TransferOrder) -> None:
        report = TransferReport(
            namespace=order.namespace,
            transfer=order.transfer,
            phase="Succeeded",
            total_bytes=10,
            copied_bytes=10,
            manifest_sha256="ab" * 32,
            started_at=now(),
            finished_at=now(),
            at=now(),
        )
        await self.report(key, report)


@contextlib.asynccontextmanager
async def joined(bus: Bus, name: str, **options: Any) -> AsyncIterator[Member]:
    """Run a member during the context."""
    member = Member(bus, name, **options)
    task = asyncio.create_task(member.run())
    try:
        yield member
    finally:
        task.cancel()
        await asyncio.wait({task})


@contextlib.asynccontextmanager
async def ready_cluster(
    hub: HubClient,
    bus: Bus,
    name: str,
    *,
    spec: Mapping[str, Any] | None = None,
    holds_runs: bool = False,
    **options: Any,
) -> AsyncIterator[Member]:
    """Run a member that is known to the hub and Ready during the context."""
    async with joined(bus, name, **options) as member:
        member.holds_runs = holds_runs
        await hub.apply(manifest("Cluster", name, spec))
        await hub.phase(f"{API}/clusters/{name}", "Ready")
        yield member
