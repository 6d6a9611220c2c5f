"""How much of the federation a queue has, and had: dominant shares, and use that is forgotten with a half-life. Pure.

A share is of the resource of which the queue has the largest part (dominant-resource fairness: Ghodsi et al., NSDI
2011), divided by its weight, and compared only among queues of one parent, as in YARN's and Volcano's trees. Past use
is added to what is held now, so that a queue which held much goes later for a while: Slurm's multifactor plugin forgets
it the same way (PriorityDecayHalfLife).
"""

from dataclasses import dataclass
from datetime import datetime

from atoll.federation.resources import QueueStatus
from atoll.federation.resources.queue import PastUse

Past = tuple[float, float, float]
NOTHING: Past = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Measure:
    """What shares are of: the capacity of all clusters (CPU, memory, GPUs)."""

    capacity: tuple[int, int, int]

    def share(self, used: list[int], past: Past = NOTHING) -> float:
        """Give the dominant share of what is held now and was held on average."""
        largest: float | None = None
        for at, whole in enumerate(self.capacity):
            if whole > 0:  # a resource that no cluster has, nobody has a part of
                part = (used[at] + past[at]) / whole
                largest = part if largest is None or part > largest else largest
        return 0.0 if largest is None else largest


def past_at(status: QueueStatus, now: datetime) -> Past:
    """Give the average of what a queue held until now, from what its status says of an earlier moment.

    Between the two it has held `status.used`, so the average tends to that: the answer is exact, however old the
    status is. A clock that went back adds nothing.
    """
    old = status.past
    if old is None:
        return NOTHING
    kept = 0.5 ** (max(0.0, (now - old.at).total_seconds()) / old.half_life_seconds)
    held = (status.used.millicores, status.used.memory_bytes, status.used.gpus)
    before = (old.millicores, old.memory_bytes, old.gpus)
    cpu, memory, gpus = (was * kept + has * (1 - kept) for was, has in zip(before, held, strict=True))
    return (cpu, memory, gpus)


def past_use(past: Past, now: datetime, half_life_seconds: float) -> PastUse:
    """Write averages as a status has them."""
    cpu, memory, gpus = past
    return PastUse(at=now, half_life_seconds=half_life_seconds, millicores=cpu, memory_bytes=memory, gpus=gpus)
