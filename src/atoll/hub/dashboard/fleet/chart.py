"""The fleet as a map: clusters are islands in the lagoon of their region, and the mesh lies between them. Pure.

Size is how many GPUs there are; the ring of an island says how many of them are in use. Beyond `MOST_ISLANDS` each is
drawn small, and the links of the mesh are those between regions: a region is then looked at by itself.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from atoll.hub.dashboard.ask import Ask, link
from atoll.hub.dashboard.data.transfers import Flow
from atoll.hub.dashboard.fleet.clusters import ClusterRow
from atoll.hub.dashboard.fleet.packing import Circle, around, pack
from atoll.hub.dashboard.fleet.straits import Strait, straits
from atoll.hub.dashboard.tones import tone
from atoll.hub.dashboard.words import since

WIDTH, HEIGHT = 1200.0, 560.0
MOST_ISLANDS = 80
_MARGIN = 26.0
# Of an island on the screen: larger ones look like a mistake, however few there are.
_LARGEST = 62.0
# Of an island's place, what is land; the rest is for its name, and for the water between.
_LAND = 0.66
NOWHERE = "elsewhere"
_AROUND = 60.0
# Heartbeats come every ten seconds, and after thirty a cluster counts as lost.
_FRESH_SECONDS, _OLD_SECONDS = 30.0, 300.0


@dataclass(frozen=True)
class Island:
    """One cluster: where it lies, and how much of its ring is in use (0 to 1). `name` leaves the region's out."""

    row: ClusterRow
    name: str
    x: float
    y: float
    r: float
    used: float
    tone: str
    proof: str
    label: str
    url: str


@dataclass(frozen=True)
class Lagoon:
    """One region, or one site where all clusters are in one region."""

    name: str
    x: float
    y: float
    r: float
    clusters: int
    gpus: int
    used: int
    unwell: int
    url: str


@dataclass(frozen=True)
class Chart:
    """The whole map; from `top` on, `height` of it is not only water."""

    lagoons: tuple[Lagoon, ...]
    islands: tuple[Island, ...]
    straits: tuple[Strait, ...]
    is_dense: bool
    top: float = 0.0
    height: float = HEIGHT


def draw(rows: Sequence[ClusterRow], flows: Iterable[Flow], ask: Ask) -> Chart:
    """Lay out the map."""
    if not rows:
        return Chart((), (), (), is_dense=False)
    by_site = len({row.region for row in rows}) == 1
    regions: dict[str, list[ClusterRow]] = {}
    for row in sorted(rows, key=lambda row: (-row.gpus, row.name)):
        regions.setdefault(water_of(row, by_site=by_site), []).append(row)
    is_dense = len(rows) > MOST_ISLANDS
    packed = {name: _packed(tuple(_radius(row, is_dense) for row in found)) for name, found in regions.items()}
    order = sorted(regions)
    seas, scale = _seas(tuple(around(packed[name]) for name in order))
    largest = max((circle.r for found in packed.values() for circle in found), default=1.0)
    scale = min(scale, _LARGEST / _LAND / largest)
    places = dict(zip(order, seas, strict=True))

    def moved(circle: Circle, sea: Circle, part: float = 1.0) -> Circle:
        x, y, r = sea.x + circle.x * scale, sea.y + circle.y * scale, circle.r * scale * part
        return Circle(round(x, 1), round(y, 1), round(r, 1))

    islands = tuple(
        _island(row, moved(circle, places[name], _LAND), name, ask.now)
        for name, found in regions.items()
        for row, circle in zip(found, packed[name], strict=True)
    )
    region_of = {row.name: name for name, found in regions.items() for row in found}
    waters = tuple(
        _lagoon(name, regions[name], moved(Circle(0, 0, places[name].r), places[name]), by_site=by_site, ask=ask)
        for name in order
    )
    between = straits(islands, waters, flows, inside=region_of if is_dense else {})
    top, height = _frame(waters)
    return Chart(waters, islands, between, is_dense, top, height)


def _frame(waters: Sequence[Lagoon]) -> tuple[float, float]:
    """Leave out what is only water above and below, but for room for names and bowed straits."""
    top = max(0.0, min(each.y - each.r for each in waters) - _AROUND)
    bottom = min(HEIGHT, max(each.y + each.r for each in waters) + _AROUND)
    return round(top, 1), round(bottom - top, 1)


def water_of(row: ClusterRow, *, by_site: bool = False) -> str:
    """Name the region of a cluster, or its site; either stands in for the other."""
    first, second = (row.site, row.region) if by_site else (row.region, row.site)
    return first or second or NOWHERE


def _radius(row: ClusterRow, is_dense: bool) -> float:
    """Grow with the square root, so that the area is what is compared; one without GPUs is there, too."""
    return (1.0 if is_dense else 2.2) + math.sqrt(min(row.gpus, 4096)) * (0.35 if is_dense else 0.9)


@lru_cache(maxsize=256)
def _packed(radii: tuple[float, ...]) -> tuple[Circle, ...]:
    """Pack the islands of one region; how many GPUs a cluster has changes rarely, what they do always."""
    return tuple(pack(radii))


@lru_cache(maxsize=16)
def _seas(radii: tuple[float, ...]) -> tuple[tuple[Circle, ...], float]:
    """Lay regions out in rows that fill the map, in their order; give their middles there, and the scale of radii."""
    scale, rows = max((_scale(cut), cut) for cut in (_cut(radii, count) for count in range(1, len(radii) + 1)))
    heights = [2 * max(row) * scale for row in rows]
    gap = (HEIGHT - 2 * _MARGIN - sum(heights)) / (len(rows) + 1)
    seas, top = [], _MARGIN + gap
    for rank, (row, height) in enumerate(zip(rows, heights, strict=True)):
        water = (WIDTH - 2 * _MARGIN - 2 * scale * sum(row)) / (len(row) + 1)
        # Every other row begins further in, and none is quite level: islands do not stand in ranks.
        left = _MARGIN + water * (0.75 if rank % 2 else 1.25 if len(rows) > 1 else 1.0)
        for place, radius in enumerate(row):
            sway = (height / 2 - radius * scale + gap / 2) * (0.35 if (place + rank) % 2 else -0.35)
            seas.append(Circle(left + radius * scale, top + height / 2 + sway, radius))
            left += 2 * radius * scale + water
        top += height + gap
    return tuple(seas), scale


def _cut(radii: Sequence[float], count: int) -> tuple[tuple[float, ...], ...]:
    """Cut regions into so many rows, each about as wide as the others."""
    share, rows, row = sum(radii) / count, list[tuple[float, ...]](), list[float]()
    for radius in radii:
        if row and len(rows) < count - 1 and sum(row) + radius / 2 > share:
            rows.append(tuple(row))
            row = []
        row.append(radius)
    return (*rows, tuple(row))


def _scale(rows: Sequence[Sequence[float]]) -> float:
    """Give how large rows can be drawn, with water and a name above each region."""
    width = (WIDTH - 2 * _MARGIN) / max(2.5 * sum(row) for row in rows)
    height = (HEIGHT - 2 * _MARGIN - 22 * len(rows)) / sum(2.06 * max(row) for row in rows)
    return min(width, height)


def _island(row: ClusterRow, circle: Circle, region: str, now: datetime) -> Island:
    used = row.gpus - row.free_gpus
    what = f"{used} of {row.gpus} GPUs in use" if row.gpus else f"{row.nodes} nodes, no GPU"
    how = f"{row.phase}{f' ({row.reason})' if row.reason else ''}"
    return Island(
        row=row,
        x=circle.x,
        y=circle.y,
        r=circle.r,
        used=used / row.gpus if row.gpus else 0.0,
        tone=tone(row.phase),
        name=_short(row.name, region),
        proof=_proof(since(row.proven_at, now)),
        label=f"{row.name}: {how}, {what}",
        url=link("clusters", row.name),
    )


def _short(name: str, region: str) -> str:
    """Leave a region's name out of a cluster's where a number remains."""
    rest = name.removeprefix(f"{region}-")
    return rest if rest[:1].isdigit() else name


def _proof(seconds: float | None) -> str:
    if seconds is None:
        return "never"
    return "fresh" if seconds <= _FRESH_SECONDS else "old" if seconds <= _OLD_SECONDS else "stale"


def _lagoon(name: str, rows: Sequence[ClusterRow], circle: Circle, *, by_site: bool, ask: Ask) -> Lagoon:
    return Lagoon(
        name=name,
        x=circle.x,
        y=circle.y,
        r=circle.r,
        clusters=len(rows),
        gpus=sum(row.gpus for row in rows),
        used=sum(row.gpus - row.free_gpus for row in rows),
        unwell=sum(row.phase in ("Degraded", "Unreachable") for row in rows),
        url=ask.url(site=name) if by_site else ask.url(region=name),
    )
