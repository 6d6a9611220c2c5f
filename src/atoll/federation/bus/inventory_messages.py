"""The parts of an agent's inventory beside the summary (`InventoryReport`): one message per observed key. No I/O.

Each is whole and level-based, changes at its own pace, and stays below 512 KiB for 5,000 nodes (docs/adr/0016).
"""

from datetime import datetime

from pydantic import Field

from atoll.federation.bus.messages import Message
from atoll.federation.resources.base import Labels, NonNegative
from atoll.federation.resources.inventory import (
    ClusterQueueInfo,
    DeviceClassInfo,
    DevicePool,
    FlavorInfo,
    NodeGroup,
    OwnedEvent,
    StorageClassDetail,
)
from atoll.federation.resources.labelsets import LabelSet


class NodesReport(Message):
    """observed: inventory/nodes. `omitted_nodes` are in groups too many to be told, the smallest ones."""

    groups: tuple[NodeGroup, ...] = ()
    omitted_nodes: NonNegative = 0
    at: datetime


class DevicesReport(Message):
    """observed: inventory/devices. What DRA drivers offer."""

    pools: tuple[DevicePool, ...] = ()
    classes: tuple[DeviceClassInfo, ...] = ()
    at: datetime


class StorageReport(Message):
    """observed: inventory/storage."""

    classes: tuple[StorageClassDetail, ...] = ()
    at: datetime


class QueuesReport(Message):
    """observed: inventory/queues. The member's own batch queues (Kueue)."""

    flavors: tuple[FlavorInfo, ...] = ()
    queues: tuple[ClusterQueueInfo, ...] = ()
    at: datetime


class NetworkReport(Message):
    """observed: inventory/network. Which addresses the cluster uses, as few networks as say the same."""

    pod_cidrs: tuple[str, ...] = ()
    node_cidrs: tuple[str, ...] = ()
    cilium_nodes: NonNegative = 0
    at: datetime


class WorkloadsReport(Message):
    """observed: inventory/workloads/<chunk>. What runs in some namespaces, as policies see it."""

    namespaces: dict[str, Labels] = Field(default_factory=dict)
    sets: tuple[LabelSet, ...] = ()
    omitted_sets: NonNegative = 0
    omitted_pods: NonNegative = 0
    at: datetime


class EventsReport(Message):
    """observed: events. Warnings about what Atoll owns, the newest first."""

    events: tuple[OwnedEvent, ...] = ()
    at: datetime
