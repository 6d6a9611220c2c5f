"""What is known of volumes: reads the scope for volume_plan.py, and remembers which datasets say something of theirs.

Few do, among thousands that change twice a second: those that do not are passed over as they are seen.
"""

from collections import defaultdict
from collections.abc import Sequence

from atoll.federation.bus.data_messages import VolumeReport
from atoll.federation.bus.inventory_messages import StorageReport
from atoll.federation.bus.messages import ServiceOrder
from atoll.federation.resources import Cluster, Dataset
from atoll.hub.controllers.context import Context
from atoll.hub.controllers.service_users import needs_of
from atoll.hub.controllers.volume_plan import VolumeScope, claim_of, says_something
from atoll.hub.members import Path
from atoll.hub.reports import Reports

_STORAGE = "inventory/storage"


class Wishes:
    """Remembers, per namespace, which datasets say something of their volume."""

    def __init__(self) -> None:
        self._named: defaultdict[str, set[str]] = defaultdict(set)

    def note(self, dataset: Dataset) -> None:
        """Take in a dataset as it is now."""
        named = self._named[dataset.metadata.namespace or ""]
        if says_something(dataset.spec):
            named.add(dataset.metadata.name)
        else:
            named.discard(dataset.metadata.name)

    def of(self, namespace: str) -> Sequence[str]:
        """Name those of a namespace."""
        return sorted(self._named.get(namespace, ()))


class Volumes:
    """Reads what is known of volumes; a cluster's storage classes once per report of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._storage = Reports(context.observed, StorageReport, _STORAGE)

    async def scope(self, cluster: Cluster, namespace: str, names: Sequence[str]) -> VolumeScope:
        """Read what is known of the volume of a namespace in a cluster; `names` are of datasets with wishes."""
        context, where = self._context, cluster.metadata.name
        found = [await context.client.get(Dataset, namespace, name) for name in names]
        here = [each for each in found if each is not None and where in needs_of(each)]
        storage = self._storage.of(where)
        return VolumeScope(
            cluster=cluster,
            datasets=sorted(here, key=lambda each: (str(each.metadata.creation_timestamp), each.metadata.name)),
            classes=storage.classes if storage is not None else (),
            standing=claim_of(context.desired.read(ServiceOrder, Path("cluster", where, f"service/{namespace}"))),
            volume=context.observed.read(VolumeReport, Path("cluster", where, f"volume/{namespace}")),
        )
