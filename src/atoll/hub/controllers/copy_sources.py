"""Whom a copy is made from: the replica that the decision counted with, else one that can still be read.

Owns the order of preference, and which holders of a dataset are out of reach. It must not weigh rates or prices: the
score did (federation/placement/case.py), and what it chose stands in the decision record.
"""

from collections.abc import Mapping
from typing import Any

from atoll.federation.placement import recorded_source
from atoll.federation.resources import Cluster, Dataset
from atoll.hub.client import Client

# Of others nothing can be copied now; as `ClusterView.is_heard`, which the score goes by.
_HEARD = frozenset({"Ready", "Degraded"})


def copy_source(
    dataset: Dataset,
    version: int,
    *,
    destination: str,
    record: Mapping[str, Any],
    unheard: frozenset[str] = frozenset(),
) -> str | None:
    """Choose whom to copy a version from; None if no cluster holds it any more.

    The one that was decided, the home, then the others by name; of those, the first that is heard. If none is, the
    first all the same: its mover is asked again until it answers.
    """
    holders = holders_of(dataset, version) - {destination}
    decided = recorded_source(record, destination, dataset.key)
    ranked = sorted(holders, key=lambda name: (name != decided, name != dataset.spec.home, name))
    return next((name for name in ranked if name not in unheard), ranked[0] if ranked else None)


def holders_of(dataset: Dataset, version: int) -> frozenset[str]:
    """Name the clusters that have a version; of one that is not listed, older movers' say, it is believed at home."""
    status, home = dataset.status, dataset.spec.home
    listed = next((each for each in status.versions if each.version == version and each.complete), None)
    if listed is not None and listed.clusters:
        return frozenset(listed.clusters)
    holders = frozenset(replica.cluster for replica in status.replicas if replica.version == version)
    return frozenset({home}) if not holders and home and status.version > version else holders


async def unheard_holders(client: Client, dataset: Dataset, version: int) -> frozenset[str]:
    """Name the clusters that have a version and are gone, or not heard."""
    found = {name: await client.get(Cluster, None, name) for name in holders_of(dataset, version)}
    return frozenset(name for name, each in found.items() if each is None or each.status.phase not in _HEARD)
