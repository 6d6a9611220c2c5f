"""What upkeep of a dataset is decided about, and what is decided: values that reading, planning and writing share."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from atoll.federation.bus.data_messages import DatasetOrder
from atoll.federation.resources import Cluster, Condition, Dataset, Transfer
from atoll.hub.controllers.dataset_copies import Copies
from atoll.hub.controllers.replica_plan import Wanted

# What waits for jobs to end, or for a cluster to be heard, is looked at again.
BLOCKED_SECONDS = 15.0


@dataclass(frozen=True)
class Needs:
    """What unfinished work reads of a dataset: versions that runs have pinned, where, and jobs that name it."""

    pinned: frozenset[tuple[str, int]] = field(default_factory=frozenset)
    readers: tuple[str, ...] = ()

    @property
    def versions(self) -> frozenset[int]:
        """Give the versions that runs read."""
        return frozenset(version for _, version in self.pinned)


@dataclass(frozen=True)
class Scope:
    """All that is known of one dataset at one moment; its status is what the copies make.

    `wanted` is by version, for complete ones. `needs` None: not looked up, since nothing was to be deleted. `feeders`
    are the streams that write its growing version.
    """

    dataset: Dataset
    copies: Copies
    clusters: Mapping[str, Cluster]
    wanted: Mapping[int, Wanted] = field(default_factory=dict)
    needs: Needs | None = None
    feeders: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upkeep:
    """What to write. An order that is not in `orders` is taken back. `is_gone`: the object may go."""

    orders: Mapping[str, DatasetOrder] = field(default_factory=dict)
    transfers: tuple[Transfer, ...] = ()
    discard: tuple[Transfer, ...] = ()
    conditions: tuple[Condition, ...] = ()
    is_gone: bool = False
    again_seconds: float | None = None
