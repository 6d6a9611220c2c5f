"""What the data pages read: the rows they are kept in, and which of them a user may see.

Owns the shelves and this choice; nothing is shown that the API would not list for the same user.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from atoll.federation.resources import Dataset, Gateway, Stream, Transfer
from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.data.datasets import DatasetRow, row_of
from atoll.hub.dashboard.data.transfers import TransferRow, transfer_row
from atoll.hub.dashboard.fleet.clusters import CLUSTERS, ClusterRow
from atoll.hub.dashboard.rights import Rights
from atoll.hub.dashboard.rows import Shelf
from atoll.hub.dashboard.sources import Sources

Row = TypeVar("Row")

# Gateways and Streams are hundreds, not thousands: they may be parsed.
GATEWAYS: Shelf[Gateway] = Shelf(Gateway, Gateway.model_validate)
STREAMS: Shelf[Stream] = Shelf(Stream, Stream.model_validate)
DATASETS: Shelf[DatasetRow] = Shelf(Dataset, row_of)
TRANSFERS: Shelf[TransferRow] = Shelf(Transfer, transfer_row)


@dataclass(frozen=True)
class DataScope:
    """All that a user may see of data, by name or `namespace/name`."""

    gateways: Mapping[str, Gateway]
    streams: Mapping[str, Stream]
    datasets: Mapping[str, DatasetRow]
    transfers: Mapping[str, TransferRow]
    clusters: Mapping[str, ClusterRow]


async def fetch_data(sources: Sources, ask: Ask) -> DataScope:
    """Read all of it; a kind that the user may not list is empty."""
    rights = ask.rights
    return DataScope(
        gateways=visible(await sources.rows(GATEWAYS), rights, "gateways"),
        streams=visible(await sources.rows(STREAMS), rights, "streams"),
        datasets=visible(await sources.rows(DATASETS), rights, "datasets"),
        transfers=visible(await sources.rows(TRANSFERS), rights, "transfers"),
        clusters=visible(await sources.rows(CLUSTERS), rights, "clusters"),
    )


def visible(rows: Mapping[str, Row], rights: Rights, plural: str) -> Mapping[str, Row]:
    """Give the rows of a kind that the user may list, as they are now: a copy, for the rows themselves go on."""
    spaces = rights.namespaces(plural)
    if spaces is None:
        return dict(rows)
    return {key: row for key, row in rows.items() if "/" in key and key.partition("/")[0] in spaces}
