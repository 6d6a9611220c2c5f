"""One dataset and one gateway seen closely: what their pages read and show.

Owns these two pages. Who may not list a kind in a namespace is told that there is no such thing.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from atoll.federation.resources import Dataset, Gateway, Stream
from atoll.hub.dashboard.actions import Action, offered
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.data.clustermap import NARROW, WIDE, ClusterMap, dataset_marks, draw
from atoll.hub.dashboard.data.dataset import Detail, destinations_of, detail_of
from atoll.hub.dashboard.data.deeds import DEEDS
from atoll.hub.dashboard.data.lanes import Lane, lane_of
from atoll.hub.dashboard.data.shelves import STREAMS, TRANSFERS, visible
from atoll.hub.dashboard.data.transfers import TransferRow, flows_of
from atoll.hub.dashboard.fleet.clusters import CLUSTERS, ClusterRow
from atoll.hub.dashboard.page import NoSuchThing
from atoll.hub.dashboard.sources import Sources


@dataclass(frozen=True)
class DatasetScope:
    """A dataset with the copies and clusters beside it."""

    dataset: Dataset
    transfers: Mapping[str, TransferRow]
    clusters: Mapping[str, ClusterRow]


@dataclass(frozen=True)
class DatasetPage:
    """What the page of a dataset shows."""

    detail: Detail
    maps: tuple[ClusterMap, ...]
    actions: tuple[Action, ...]


@dataclass(frozen=True)
class GatewayScope:
    """A gateway with its Streams that the user may see."""

    gateway: Gateway
    streams: Mapping[str, Stream]


@dataclass(frozen=True)
class GatewayPage:
    """What the page of a gateway shows."""

    lane: Lane
    gateway: Gateway
    broker: str


async def fetch_dataset(sources: Sources, ask: Ask) -> DatasetScope:
    """Read a dataset and what belongs to it.

    Raises:
        NoSuchThing: there is none, or it is not for this user.
    """
    namespace, name = ask.params["namespace"], ask.params["name"]
    found = await sources.get(Dataset, namespace, name) if ask.rights.sees("datasets", namespace) else None
    if found is None:
        raise NoSuchThing(f"dataset {namespace}/{name} does not exist", f"atoll dataset list -n {namespace}")
    transfers = visible(await sources.rows(TRANSFERS), ask.rights, "transfers")
    return DatasetScope(found, transfers, visible(await sources.rows(CLUSTERS), ask.rights, "clusters"))


def view_dataset(scope: DatasetScope, ask: Ask) -> DatasetPage:
    """Make the page of a dataset."""
    detail = detail_of(scope.dataset, scope.transfers.values())
    under_way = [copy for copy in detail.copies if copy.phase in ("Copying", "Pending")]
    marks, flows = dataset_marks(detail.row, under_way), flows_of(under_way)
    clusters = scope.clusters.values()
    options = {"replicate": destinations_of(scope.dataset, clusters)}
    return DatasetPage(
        detail=detail,
        maps=tuple(draw(clusters, marks, flows, width=width) for width in (WIDE, NARROW)),
        actions=offered(ask, DEEDS, scope.dataset.wire(), options=options),
    )


async def fetch_gateway(sources: Sources, ask: Ask) -> GatewayScope:
    """Read a gateway and its Streams.

    Raises:
        NoSuchThing: there is none, or it is not for this user.
    """
    name = ask.params["name"]
    found = await sources.get(Gateway, None, name) if ask.rights.sees("gateways") else None
    if found is None:
        raise NoSuchThing(f"gateway {name} does not exist", "atoll gateway list")
    return GatewayScope(found, visible(await sources.rows(STREAMS), ask.rights, "streams"))


def view_gateway(scope: GatewayScope, _ask: Ask) -> GatewayPage:
    """Make the page of a gateway."""
    name = scope.gateway.metadata.name
    mine = [stream for stream in scope.streams.values() if stream.spec.gateway == name]
    return GatewayPage(lane_of(scope.gateway, mine), scope.gateway, scope.gateway.spec.broker or "as it was started")
