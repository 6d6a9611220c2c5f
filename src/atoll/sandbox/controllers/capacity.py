"""How much room a cluster's storage has, and the CSIStorageCapacity object that says so.

Owns the storage root and its settable limit.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from atoll.kubeapi.errors import NotFound
from atoll.kubeapi.patch import Patch
from atoll.kubeapi.store import Store
from atoll.sandbox.kinds.catalog import CSI_CAPACITY

REPORT_SECONDS = 30.0
"""How often free space is read: a full disk is then known soon enough, and an idle cluster sleeps."""
_UNIT = 1 << 20  # reported in whole MiB, so that a log line written somewhere is no news


class Capacity:
    """The storage of one cluster: a folder, no more than the disk has, and no more than the limit."""

    def __init__(self, root: Path, limit_bytes: int) -> None:
        """Count what is under `root`."""
        self.root = root
        self.limit_bytes = limit_bytes
        self._changed = asyncio.Event()

    def free_bytes(self) -> int:
        """Return what is free now: the least of the disk's free space and what the limit leaves."""
        disk = os.statvfs(self.root)
        return max(0, min(disk.f_bavail * disk.f_frsize, self.limit_bytes - _used_bytes(self.root)))

    def set_limit(self, limit_bytes: int) -> None:
        """Change the limit, and report at once."""
        self.limit_bytes = limit_bytes
        self._changed.set()

    async def report(self, store: Store, storage_class: str) -> None:
        """Keep the cluster's CSIStorageCapacity true until cancelled."""
        name = f"csisc-{storage_class}"
        while True:
            self._changed.clear()
            free = f"{await asyncio.to_thread(self.free_bytes) // _UNIT}Mi"
            try:
                if (await store.get(CSI_CAPACITY, "kube-system", name)).get("capacity") != free:
                    await store.patch(CSI_CAPACITY, "kube-system", name, Patch("merge", {"capacity": free}))
            except NotFound:
                new = {"metadata": {"name": name, "namespace": "kube-system"}, "nodeTopology": {}}
                await store.create(CSI_CAPACITY, {**new, "storageClassName": storage_class, "capacity": free})
            try:
                async with asyncio.timeout(REPORT_SECONDS):
                    await self._changed.wait()
            except TimeoutError:
                continue


def _used_bytes(root: Path) -> int:
    used = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - many small files
            except FileNotFoundError:
                continue  # it went while we counted
    return used
