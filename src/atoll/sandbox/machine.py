"""This machine as one simulated cluster: its cores, its memory and its disk, and nothing it does not have."""

import os
import shutil
from pathlib import Path

from atoll.sandbox.spec import GIB, ClusterSpec, NodeSpec, Storage, Uplink

NAME = "local"
# Nothing leaves the machine: what a loopback carries without effort, so that placement sees no cost in it.
_LOOPBACK = Uplink(bytes_per_second=1_000_000_000, round_trip_seconds=0.001)


def this_machine(folder: Path) -> ClusterSpec:
    """Describe this machine; the cluster's volumes have the space that is free on the disk of a folder."""
    return ClusterSpec(
        name=NAME,
        mesh_id=1,
        version="v1.34.2",
        cilium_version="1.20.0",
        nodes=(NodeSpec(NAME, _cores(), max(_memory_bytes() // GIB, 1)),),
        storage=Storage("local-rwx", shutil.disk_usage(_existing(folder)).free),
        uplink=_LOOPBACK,
        labels={"site": "local"},
    )


def _cores() -> int:
    """Count the cores that this process may use, where the system tells them from those that are there."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
