"""A mover on a folder of its own, and datasets to put there."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from atoll.edge.mover.main import run
from atoll.edge.mover.settings import MoverSettings
from atoll.edge.sink.ledger import load, save
from atoll.edge.sink.sealing import seal
from atoll.edge.sink.volume import Volume
from atoll.federation.bus.connection import Bus
from atoll.federation.bus.data_messages import (
    CommitOrder,
    DatasetOrder,
    HeldReport,
    TransferOrder,
    TransferReport,
    VolumeReport,
)
from atoll.federation.bus.datasets import DatasetReader
from atoll.federation.bus.membership import Membership
from atoll.federation.bus.subjects import DESIRED_STREAM, OBSERVED_STREAM, desired_prefix, observed_prefix


async def until(question: Callable[[], Any], seconds: float = 30) -> Any:
    """Wait for a true answer."""
    async with asyncio.timeout(seconds):
        while not (answer := await question()):
            await asyncio.sleep(0.05)
    return answer


def make_dataset(root: Path, files: dict[str, bytes], dataset: str = "picks", version: int = 1) -> None:
    volume = Volume(root)
    order = CommitOrder(namespace="ns", dataset=dataset, version=version, run="job-1", epoch=1)
    folder = volume.run_output(order.run, order.epoch, dataset)
    folder.mkdir(parents=True)
    for path, data in files.items():
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
    seal(volume, order)


def feed(root: Path, marks: tuple[Any, ...], dataset: str = "picks", version: int = 1) -> None:
    """Make a version look as if streams had fed it."""
    folder = root / dataset / f"v{version}"
    ledger = load(folder)
    assert ledger is not None
    save(folder, ledger.model_copy(update={"marks": marks}))


class Site:
    """A mover that can be started, stopped and asked."""

    def __init__(self, bus: Bus, url: str, root: Path, cluster: str, namespace: str = "ns") -> None:
        self.bus, self.cluster, self.root, self.namespace = bus, cluster, root, namespace
        root.mkdir(exist_ok=True)
        self.settings = MoverSettings(cluster, namespace, Membership(url), root)
        self._task: asyncio.Task[Any] | None = None
        self._desired = bus.table(DESIRED_STREAM, desired_prefix("cluster", cluster))
        self._observed = bus.table(OBSERVED_STREAM, observed_prefix("cluster", cluster))

    def start(self) -> None:
        self._task = asyncio.create_task(run(self.settings))

    async def stop(self) -> None:
        while self._task is not None:
            self._task.cancel()  # again: nats-py's connect, with Python 3.11's wait_for, may lose one
            done, _ = await asyncio.wait({self._task}, timeout=1)
            if done:
                with contextlib.suppress(asyncio.CancelledError):
                    self._task.result()
                self._task = None

    @property
    def reader(self) -> DatasetReader:
        return DatasetReader(self.bus, self.cluster, self.namespace)

    async def order(self, transfer: str = "copy", **changes: Any) -> None:
        fields: dict[str, Any] = {"dataset": "picks", "version": 1, "source": "far"} | changes
        order = TransferOrder(namespace=self.namespace, transfer=transfer, **fields)
        await self._desired.put(f"transfer/{self.namespace}/{transfer}", order.encode())

    async def withdraw(self, key: str) -> None:
        await self._desired.delete(key)

    async def keep(self, dataset: str = "picks", **fields: Any) -> None:
        order = DatasetOrder(namespace=self.namespace, dataset=dataset, **fields)
        await self._desired.put(f"dataset/{self.namespace}/{dataset}", order.encode())

    async def transfer(self, transfer: str = "copy") -> TransferReport | None:
        return await self._read(TransferReport, f"transfer/{self.namespace}/{transfer}")

    async def held(self, dataset: str = "picks") -> HeldReport | None:
        return await self._read(HeldReport, f"held/{self.namespace}/{dataset}")

    async def volume(self) -> VolumeReport | None:
        return await self._read(VolumeReport, f"volume/{self.namespace}")

    async def holds(self, *versions: int, dataset: str = "picks") -> HeldReport:
        """Wait until the mover tells of exactly these versions."""

        async def told() -> Any:
            report = await self.held(dataset)
            return report if report and [each.version for each in report.versions] == list(versions) else None

        found: HeldReport = await until(told)
        return found

    async def complains(self, dataset: str = "picks") -> str:
        async def told() -> Any:
            report = await self.held(dataset)
            return report.problem if report is not None else ""

        return str(await until(told))

    async def outcome(self, phase: str, transfer: str = "copy", seconds: float = 30) -> TransferReport:
        async def reached() -> Any:
            report = await self.transfer(transfer)
            return report if report and report.phase == phase else None

        found: TransferReport = await until(reached, seconds)
        return found

    async def _read(self, model: Any, key: str) -> Any:
        change = await self._observed.get(key)
        return model.decode(change.value) if change and change.value is not None else None
