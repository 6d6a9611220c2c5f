"""All that was seen of a cluster at one moment: the values that every report is made of. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from atoll.edge.member.inventory.dra import DeviceId, SliceFacts
from atoll.edge.member.inventory.kinds import Served
from atoll.edge.member.inventory.network import CiliumNodeFacts
from atoll.edge.member.inventory.nodes import NodeFacts, form_of
from atoll.edge.member.inventory.pods import PodTally
from atoll.edge.member.inventory.storage import CapacityFacts, StorageClassFacts, VolumeClaimFacts
from atoll.federation.resources.inventory import (
    BatchQueue,
    ClusterForm,
    ClusterQueueInfo,
    DeviceClassInfo,
    FlavorInfo,
    OwnedEvent,
)


@dataclass(frozen=True)
class ClusterFacts:
    """What each informer holds, by the objects' names; `runs` are the keys of the runs that are ordered.

    `drivers` says by name whether a CSI driver tells its free capacity; `stale_kinds` cannot be followed just now.
    `served` is None until the API server has told it.
    """

    nodes: Mapping[str, NodeFacts]
    pods: PodTally = field(default_factory=PodTally)
    storage_classes: Mapping[str, StorageClassFacts] = field(default_factory=dict)
    drivers: Mapping[str, bool] = field(default_factory=dict)
    capacities: Mapping[str, CapacityFacts] = field(default_factory=dict)
    volume_claims: Mapping[str, VolumeClaimFacts] = field(default_factory=dict)
    slices: Mapping[str, SliceFacts] = field(default_factory=dict)
    device_claims: Mapping[str, tuple[DeviceId, ...]] = field(default_factory=dict)
    device_classes: Mapping[str, DeviceClassInfo] = field(default_factory=dict)
    flavors: Mapping[str, FlavorInfo] = field(default_factory=dict)
    queues: Mapping[str, ClusterQueueInfo] = field(default_factory=dict)
    local_queues: Mapping[str, BatchQueue] = field(default_factory=dict)
    volcano_queues: Mapping[str, BatchQueue] = field(default_factory=dict)
    cilium_nodes: Mapping[str, CiliumNodeFacts] = field(default_factory=dict)
    events: Mapping[str, OwnedEvent] = field(default_factory=dict)
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    runs: frozenset[str] = frozenset()
    stale_kinds: tuple[str, ...] = ()
    version: str = ""
    cilium_version: str = ""
    served: Served | None = None

    @cached_property
    def form(self) -> ClusterForm:
        """What sort of cluster it is."""
        return form_of(self.nodes.values())
