"""Which GPU of a node a container has, by index, and never two containers one.

Owns the assignment in memory; must not know processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

GPU = "nvidia.com/gpu"


class DevicesExhausted(Exception):
    """A container asks for more devices than its node has free."""


class Devices:
    """The GPUs of all nodes of one cluster."""

    def __init__(self) -> None:
        """Assign nothing."""
        self._held: dict[str, dict[int, str]] = {}  # node -> index -> uid of the pod

    def assign(self, node: str, pod_uid: str, *, count: int, total: int) -> tuple[int, ...]:
        """Give a pod the `count` lowest free indexes of a node's `total`. Raises DevicesExhausted, giving none."""
        held = self._held.setdefault(node, {})
        free = [index for index in range(total) if index not in held][:count]
        if len(free) < count:
            raise DevicesExhausted(f"{GPU}: {count} requested on {node}, {len(free)} of {total} free")
        for index in free:
            held[index] = pod_uid
        return tuple(free)

    def release(self, node: str, pod_uid: str) -> None:
        """Take back everything that a pod has on a node."""
        held = self._held.get(node, {})
        self._held[node] = {index: owner for index, owner in held.items() if owner != pod_uid}


def gpus_of(container: Mapping[str, Any]) -> int:
    """Return how many whole GPUs a container is limited to; for extended resources limits and requests are one."""
    resources = container.get("resources", {})
    return int(resources.get("limits", {}).get(GPU, resources.get("requests", {}).get(GPU, 0)))


def visible(indexes: tuple[int, ...]) -> dict[str, str]:
    """Return the environment by which CUDA and the NVIDIA runtime show a process its GPUs; none must show none."""
    listed = ",".join(map(str, indexes))
    return {"CUDA_VISIBLE_DEVICES": listed, "NVIDIA_VISIBLE_DEVICES": listed or "void"}
