"""The first page about data: gateways as lanes, the map of what lies where, copies that flow. Pure.

Owns what is on it and how much of each.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.data.clustermap import NARROW, WIDE, ClusterMap, draw, holding_marks, holdings_of
from atoll.hub.dashboard.data.datasets import STATES, DatasetState, NamespaceBar, bars_of
from atoll.hub.dashboard.data.lanes import Lane, LaneTotals, lanes_of, totals_of
from atoll.hub.dashboard.data.shelves import DataScope
from atoll.hub.dashboard.data.transfers import TransferRow, TransferTotals, flows_of, ordered_transfers, transfer_totals
from atoll.hub.dashboard.paging import Paged, paged

_LANES, _COPIES = 40, 8
LANE_FILTERS = ("", "attention", "waiting")


@dataclass(frozen=True)
class Overview:
    """The page; `maps` are the same map for a wide and a narrow screen."""

    totals: LaneTotals
    lanes: Paged[Lane]
    only: str
    text: str
    has_gateways: bool
    maps: tuple[ClusterMap, ...]
    bars: tuple[NamespaceBar, ...]
    states: Mapping[DatasetState, int]
    dataset_bytes: int
    datasets: int
    copies: Sequence[TransferRow]
    copy_totals: TransferTotals


def view_overview(scope: DataScope, ask: Ask) -> Overview:
    """Make the page."""
    rows = list(scope.datasets.values())
    copies = ordered_transfers(scope.transfers.values())
    flows, marks = flows_of(copies), holding_marks(holdings_of(rows))
    lanes = lanes_of(scope.gateways.values(), scope.streams.values())
    text, only = ask.text("q"), ask.choice("only", LANE_FILTERS)
    chosen = [lane for lane in lanes if _is_wanted(lane, text.lower(), only)]
    states = Counter(row.state for row in rows)
    return Overview(
        totals=totals_of(lanes),
        lanes=paged(chosen, ask.number("page"), size=_LANES),
        only=only,
        text=text,
        has_gateways=bool(lanes),
        maps=tuple(draw(scope.clusters.values(), marks, flows, width=width) for width in (WIDE, NARROW)),
        bars=bars_of(rows),
        states={state: states[state] for state in STATES},
        dataset_bytes=sum(row.bytes for row in rows),
        datasets=len(rows),
        copies=[copy for copy in copies if copy.phase in ("Copying", "Failed", "Pending")][:_COPIES],
        copy_totals=transfer_totals(copies),
    )


def _is_wanted(lane: Lane, text: str, only: str) -> bool:
    if text not in f"{lane.name} {lane.site} {' '.join(row.key for row in lane.streams)}":
        return False
    return not only or (lane.waiting > 0 if only == "waiting" else lane.phase != "Ready" or lane.shed > 0)
