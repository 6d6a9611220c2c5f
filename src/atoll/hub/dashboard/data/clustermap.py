"""A map of clusters: a tile for each in the block of its region, filled by what it holds, arcs for what flows. Pure.

Owns which tiles are drawn and where, and what of datasets and copies fills them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from atoll.hub.dashboard.data.datasets import DatasetRow
from atoll.hub.dashboard.data.transfers import Flow, TransferRow
from atoll.hub.dashboard.fleet.clusters import ClusterRow

Role = Literal["home", "copy", "coming", "none"]
WIDE, NARROW = 1080, 340
# With more tiles a page takes longer than a moment and none can be told from its neighbour; the rest is counted.
_MOST_TILES = 240
_MOST_ARCS = 40
_GAP, _BETWEEN_BLOCKS, _LABEL, _MARGIN = 8, 28, 22, 26
# Tiles up to a count, and how wide they are then; names are written where they fit.
_SIZES = ((8, 96), (24, 64), (80, 40), (_MOST_TILES, 24))
_NAMED_FROM = 64
# Few clusters of a region stand in one row.
_ROW = 5
_THINNEST, _THICKEST = 1.5, 7.0


@dataclass(frozen=True)
class Mark:
    """What a tile says of its cluster: a level from 0 to 1, a role, and the words that describe it."""

    level: float = 0.0
    role: Role = "none"
    words: str = ""


@dataclass(frozen=True)
class Tile:
    """One cluster."""

    name: str
    phase: str
    mark: Mark
    x: float
    y: float
    size: float
    is_named: bool


@dataclass(frozen=True)
class Block:
    """The clusters of one region."""

    region: str
    x: float
    y: float


@dataclass(frozen=True)
class Arc:
    """Copies from one cluster to another; `weight` is bytes per second, `path` SVG's."""

    source: str
    destination: str
    path: str
    thickness: float
    words: str


@dataclass(frozen=True)
class ClusterMap:
    """A drawing in its own units; `hidden` clusters were left out, for want of room."""

    width: float
    height: float
    blocks: tuple[Block, ...]
    tiles: tuple[Tile, ...]
    arcs: tuple[Arc, ...]
    hidden: int


@dataclass(frozen=True)
class Holding:
    """What one cluster holds of the newest versions."""

    datasets: int = 0
    homes: int = 0
    bytes: int = 0


def holdings_of(rows: Iterable[DatasetRow]) -> dict[str, Holding]:
    """Count by cluster what it holds, and of how many datasets it is the home."""
    counts: dict[str, list[int]] = {}
    for row in rows:
        for cluster in {row.home, *row.clusters} - {""}:
            found = counts.setdefault(cluster, [0, 0, 0])
            found[1] += cluster == row.home
            if cluster in row.clusters or (cluster == row.home and row.version and not row.clusters):
                found[0] += 1
                found[2] += row.bytes
    return {name: Holding(*found) for name, found in counts.items()}


def holding_marks(holdings: Mapping[str, Holding]) -> dict[str, Mark]:
    """Fill each tile by its bytes, on a logarithmic scale up to the fullest."""
    most = max((math.log10(1 + each.bytes) for each in holdings.values()), default=0.0)
    return {
        name: Mark(
            level=math.log10(1 + each.bytes) / most if most else 0.0,
            role="home" if each.homes else "copy" if each.datasets else "none",
            words=f"{each.datasets} datasets, home of {each.homes}",
        )
        for name, each in holdings.items()
    }


def dataset_marks(row: DatasetRow, copies: Iterable[TransferRow]) -> dict[str, Mark]:
    """Fill the tiles of the clusters that have a dataset whole, and those it is being copied to by how much they have.

    Args:
        row: the dataset.
        copies: its transfers that have not ended.
    """
    marks = {copy.destination: Mark(copy.done, "coming", f"{copy.done:.0%} copied") for copy in copies}
    marks |= {name: Mark(1.0, "copy", "a whole copy") for name in row.clusters}
    if row.home:
        marks[row.home] = Mark(1.0 if row.version else 0.0, "home", "its home")
    return marks


def draw(
    clusters: Iterable[ClusterRow], marks: Mapping[str, Mark], flows: Sequence[Flow], *, width: int = WIDE
) -> ClusterMap:
    """Draw the map at a width."""
    known = {row.name: row for row in clusters}
    drawn = [flow for flow in flows if flow.source in known and flow.destination in known][:_MOST_ARCS]
    shown = _shown(known, marks, {end for flow in drawn for end in (flow.source, flow.destination)})
    size = next(size for most, size in _SIZES if len(shown) <= most)
    groups: dict[str, list[str]] = {}
    for name in shown:
        groups.setdefault(known[name].region, []).append(name)
    layout = _Layout(width, size)
    for region in sorted(groups, key=lambda region: (not region, region)):
        layout.add(region, [(known[name], marks.get(name, Mark())) for name in groups[region]])
    centres = {tile.name: (tile.x + tile.size / 2, tile.y + tile.size / 2) for tile in layout.tiles}
    most = max((flow.bytes_per_second for flow in drawn), default=0.0)
    return ClusterMap(
        width=width,
        height=layout.height,
        blocks=tuple(layout.blocks),
        tiles=tuple(layout.tiles),
        arcs=tuple(_arc(flow, centres, most) for flow in drawn),
        hidden=len(known) - len(shown),
    )


def _shown(known: Mapping[str, ClusterRow], marks: Mapping[str, Mark], busy: set[str]) -> list[str]:
    """Choose what is drawn: what flows, then what holds most."""

    def rank(name: str) -> tuple[bool, float, str]:
        return (name not in busy, -marks.get(name, Mark()).level, name)

    return sorted(sorted(known, key=rank)[:_MOST_TILES])


class _Layout:
    """Puts blocks of tiles side by side, and into the next row where they do not fit."""

    def __init__(self, width: int, size: int) -> None:
        self._width, self._size = width, min(size, width - 2 * _MARGIN)
        self._x, self._y, self._row_height = float(_MARGIN), float(_MARGIN), 0.0
        self.blocks: list[Block] = []
        self.tiles: list[Tile] = []

    @property
    def height(self) -> float:
        """How high all of it is, with room for the arcs at its lower edge."""
        return self._y + self._row_height + _MARGIN

    def add(self, region: str, members: Sequence[tuple[ClusterRow, Mark]]) -> None:
        """Put down one block, no wider than it is high if it is large."""
        step, room = self._size + _GAP, self._width - 2 * _MARGIN
        most = max(1, int((room + _GAP) // step))
        columns = min(most, len(members), max(_ROW, math.ceil(math.sqrt(2 * len(members)))))
        block_width = columns * step - _GAP
        if self._x > _MARGIN and self._x + block_width > self._width - _MARGIN:
            self._x, self._y, self._row_height = float(_MARGIN), self._y + self._row_height + _BETWEEN_BLOCKS, 0.0
        self.blocks.append(Block(region, self._x, self._y + _LABEL - _GAP))
        is_named = self._size >= _NAMED_FROM
        for index, (cluster, mark) in enumerate(members):
            row, column = divmod(index, columns)
            x, y = self._x + column * step, self._y + _LABEL + row * step
            self.tiles.append(Tile(cluster.name, cluster.phase, mark, x, y, self._size, is_named))
        self._row_height = max(self._row_height, _LABEL + math.ceil(len(members) / columns) * step - _GAP)
        self._x += max(block_width, 7.5 * len(region)) + _BETWEEN_BLOCKS


def _arc(flow: Flow, centres: Mapping[str, tuple[float, float]], most: float) -> Arc:
    """Bend to the right of the way, so that what goes back is beside it."""
    (x1, y1), (x2, y2) = centres[flow.source], centres[flow.destination]
    bend = 0.22
    control = (x1 + x2) / 2 - (y2 - y1) * bend, (y1 + y2) / 2 + (x2 - x1) * bend
    share = flow.bytes_per_second / most if most else 0.0
    copies = "copy" if flow.count == 1 else "copies"
    return Arc(
        source=flow.source,
        destination=flow.destination,
        path=f"M{x1:.1f} {y1:.1f}Q{control[0]:.1f} {control[1]:.1f} {x2:.1f} {y2:.1f}",
        thickness=round(_THINNEST + (_THICKEST - _THINNEST) * share, 2),
        words=f"{flow.count} {copies} from {flow.source} to {flow.destination}",
    )
