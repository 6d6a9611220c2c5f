"""Amounts of resources: by name as Kubernetes lists them, and as the vector of those that placement weighs.

Owns their arithmetic, component by component. It must not know who asks for them or has them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from atoll.federation.capacity.quantities import parse_bytes, parse_millicores

GPU_RESOURCE = "nvidia.com/gpu"


@dataclass(frozen=True)
class ResourceVector:
    """An amount of every resource that placement weighs."""

    millicores: int = 0
    memory_bytes: int = 0
    gpus: int = 0

    def __add__(self, other: "ResourceVector") -> "ResourceVector":
        """Add component by component."""
        return ResourceVector(
            self.millicores + other.millicores, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus
        )

    def __sub__(self, other: "ResourceVector") -> "ResourceVector":
        """Subtract component by component; a component may become negative."""
        return ResourceVector(
            self.millicores - other.millicores, self.memory_bytes - other.memory_bytes, self.gpus - other.gpus
        )

    def __mul__(self, times: int) -> "ResourceVector":
        """Multiply every component."""
        return ResourceVector(self.millicores * times, self.memory_bytes * times, self.gpus * times)

    def covers(self, other: "ResourceVector") -> bool:
        """Tell whether `other` fits into this amount in every component."""
        return (
            (self.gpus >= other.gpus or other.gpus <= 0)
            and (self.millicores >= other.millicores or other.millicores <= 0)
            and (self.memory_bytes >= other.memory_bytes or other.memory_bytes <= 0)
        )

    def times(self, other: "ResourceVector", at_most: int) -> int:
        """Count how many times `other` fits into this amount, never more than `at_most`, never less than 0."""
        most = at_most  # spelt out: a cycle over a thousand clusters counts this a million times
        if other.gpus > 0 and (fit := self.gpus // other.gpus) < most:
            most = fit
        if other.millicores > 0 and (fit := self.millicores // other.millicores) < most:
            most = fit
        if other.memory_bytes > 0 and (fit := self.memory_bytes // other.memory_bytes) < most:
            most = fit
        return most if most > 0 else 0

    def at_least(self, other: "ResourceVector") -> "ResourceVector":
        """Take the larger of each component."""
        return ResourceVector(
            max(self.millicores, other.millicores),
            max(self.memory_bytes, other.memory_bytes),
            max(self.gpus, other.gpus),
        )


# Amounts by resource name: cpu in millicores, everything else in bytes or pieces.
Amounts = Mapping[str, int]


def amounts_of(resources: Mapping[str, Any]) -> dict[str, int]:
    """Read a resource list such as a container's requests or a node's allocatable.

    Raises:
        InvalidInput: a quantity is malformed or negative.
    """
    return {
        name: parse_millicores(quantity) if name == "cpu" else parse_bytes(quantity)
        for name, quantity in resources.items()
    }


def vector_of(amounts: Amounts) -> ResourceVector:
    """Take what placement weighs out of amounts."""
    return ResourceVector(amounts.get("cpu", 0), amounts.get("memory", 0), amounts.get(GPU_RESOURCE, 0))
