"""What lies between islands: the links of the mesh by their state, and what is being copied. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from atoll.hub.dashboard.data.transfers import Flow
from atoll.hub.dashboard.fleet.clusters import ClusterRow
from atoll.hub.dashboard.words import number

# Between two regions are hundreds of links: one that is down is no reason to paint the sea red.
_MANY_LINKS, _MANY_DOWN = 20, 0.1
# How far beside the middle of a line its rate begins.
_ASIDE = 7.0


class Place(Protocol):
    """Where a line begins or ends."""

    @property
    def x(self) -> float:
        """Its middle."""

    @property
    def y(self) -> float:
        """Its middle."""

    @property
    def r(self) -> float:
        """How far it reaches."""


class Island(Place, Protocol):
    """A cluster on the map."""

    @property
    def row(self) -> ClusterRow:
        """The cluster."""


class Lagoon(Place, Protocol):
    """A region on the map."""

    @property
    def name(self) -> str:
        """The region."""


@dataclass(frozen=True)
class Strait:
    """What is between two clusters, or two regions: the mesh, and what is being copied."""

    path: str
    tone: str
    label: str
    bytes_per_second: float
    x: float
    y: float
    width: float


@dataclass
class _Between:
    """What was found between two ends."""

    tones: list[str]
    latency_seconds: float | None = None
    bytes_per_second: float = 0.0


def straits(
    islands: Sequence[Island], lagoons: Sequence[Lagoon], flows: Iterable[Flow], *, inside: Mapping[str, str]
) -> tuple[Strait, ...]:
    """Draw what is between clusters; where `inside` names their lagoons, what is between those."""
    names = {each.row.name for each in islands}
    ends: dict[str, Place] = {each.name: each for each in lagoons} if inside else {}
    ends |= {} if inside else {each.row.name: each for each in islands}
    by_mesh = {each.row.mesh_name: each.row.name for each in islands}
    found: dict[tuple[str, str], _Between] = {}

    def between(one: str, other: str) -> _Between | None:
        if one not in names or other not in names:
            return None
        a, b = inside.get(one, one), inside.get(other, other)
        return None if a == b else found.setdefault((min(a, b), max(a, b)), _Between([]))

    for island in islands:
        for seen in island.row.links:
            way = between(island.row.name, by_mesh.get(seen.peer, ""))
            if way is not None:
                way.tones.append("good" if seen.is_ready else "warn" if seen.is_connected else "bad")
                way.latency_seconds = max(filter(None, (way.latency_seconds, seen.latency_seconds)), default=None)
    for flow in flows:
        if (way := between(flow.source, flow.destination)) is not None:
            way.bytes_per_second += flow.bytes_per_second
    return tuple(_strait(a, ends[a], b, ends[b], found[a, b]) for a, b in sorted(found))


def _strait(name: str, a: Place, other: str, b: Place, found: _Between) -> Strait:
    """Draw a bowed line from rim to rim."""
    dx, dy = b.x - a.x, b.y - a.y
    distance = math.hypot(dx, dy) or 1.0
    ux, uy = dx / distance, dy / distance
    x1, y1, x2, y2 = a.x + ux * a.r, a.y + uy * a.r, b.x - ux * b.r, b.y - uy * b.r
    bow = min(60.0, 18.0 + distance * 0.12)
    mx, my = (x1 + x2) / 2 - uy * bow, (y1 + y2) / 2 + ux * bow
    bad = sum(tone != "good" for tone in found.tones)
    state = f"{number(len(found.tones) - bad)} of {number(len(found.tones))} links ready" if found.tones else "no mesh"
    took = f", {found.latency_seconds * 1000:.0f} ms" if found.latency_seconds else ""
    return Strait(
        path=f"M{x1:.1f} {y1:.1f}Q{mx:.1f} {my:.1f} {x2:.1f} {y2:.1f}",
        tone=_tone(found.tones),
        label=f"{name} and {other}: {state}{took}",
        bytes_per_second=found.bytes_per_second,
        x=round((x1 + 2 * mx + x2) / 4 + _ASIDE, 1),
        y=round((y1 + 2 * my + y2) / 4 - _ASIDE, 1),
        width=round(1.4 + min(4.0, math.log10(1 + found.bytes_per_second / 1e6) * 1.6), 2),
    )


def _tone(tones: Sequence[str]) -> str:
    """Give the tone of the worst link; of many, that of what is usual there."""
    if not tones:
        return "idle"
    down = sum(tone != "good" for tone in tones) / len(tones)
    if len(tones) > _MANY_LINKS:
        return "bad" if down > _MANY_DOWN else "good"
    return "bad" if "bad" in tones else "warn" if down else "good"
