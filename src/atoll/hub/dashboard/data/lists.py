"""The lists of all datasets and of all copies, filtered by the URL. Pure.

Owns what stands in a row and how long a page is.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from atoll.hub.dashboard.ask import Ask
from atoll.hub.dashboard.chips import Chip, chips
from atoll.hub.dashboard.data.datasets import STATES, DatasetFilter, DatasetRow, ordered
from atoll.hub.dashboard.data.shelves import DataScope
from atoll.hub.dashboard.data.transfers import TransferRow, TransferTotals, ordered_transfers, transfer_totals
from atoll.hub.dashboard.paging import Paged, paged

_ROWS = 60
PHASES = ("", "Copying", "Pending", "Failed", "Succeeded")


@dataclass(frozen=True)
class DatasetList:
    """The page of datasets; `states` counts what the other filters leave."""

    wanted: DatasetFilter
    rows: Paged[DatasetRow]
    states: tuple[Chip, ...]
    namespaces: Sequence[str]
    clusters: Sequence[str]
    total: int


@dataclass(frozen=True)
class TransferList:
    """The page of copies."""

    text: str
    phase: str
    rows: Paged[TransferRow]
    totals: TransferTotals
    total: int


def view_datasets(scope: DataScope, ask: Ask) -> DatasetList:
    """Make the page of datasets."""
    state = ask.choice("state", ("all", *STATES))
    wanted = DatasetFilter(ask.text("q"), ask.text("namespace"), state, ask.text("cluster"))
    any_state = replace(wanted, state="all")
    rows = [row for row in scope.datasets.values() if any_state.wants(row)]
    states: Counter[str] = Counter(row.state for row in rows)
    chosen = ordered(row for row in rows if wanted.wants(row))
    return DatasetList(
        wanted=wanted,
        rows=paged(chosen, ask.number("page"), size=_ROWS),
        states=chips(ask, "state", ("all", *STATES), lambda each: states[each] if each != "all" else len(rows)),
        namespaces=sorted({row.namespace for row in scope.datasets.values()}),
        clusters=sorted(scope.clusters),
        total=len(scope.datasets),
    )


def view_transfers(scope: DataScope, ask: Ask) -> TransferList:
    """Make the page of copies."""
    text, phase = ask.text("q"), ask.choice("phase", PHASES)
    rows = ordered_transfers(scope.transfers.values())
    chosen = [
        row
        for row in rows
        if phase in ("", row.phase) and text.lower() in f"{row.namespace}/{row.dataset} {row.source} {row.destination}"
    ]
    return TransferList(text, phase, paged(chosen, ask.number("page"), size=_ROWS), transfer_totals(rows), len(rows))
