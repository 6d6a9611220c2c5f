"""Every link of the mesh, cluster by cluster: what each side sees, what both add up to, what it carries. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from atoll.federation.mesh.links import Link, LinkState, link
from atoll.federation.mesh.members import Member, by_mesh_name
from atoll.federation.mesh.peering import expected_peers
from atoll.federation.mesh.rates import Rate, Way
from atoll.federation.resources.mesh import MeshLink


@dataclass(frozen=True)
class Direction:
    """How one cluster sees another. `view` is None where its agents list no such peer."""

    source: str
    destination: str
    is_expected: bool
    view: MeshLink | None = None
    rate: Rate | None = None


@dataclass(frozen=True)
class Pair:
    """Both directions of a link and what they add up to; `there` goes from the first name to the second.

    A peer that is no cluster of the federation has nobody who tells its side: `back` is None, and the link is what the
    one side says.
    """

    link: Link
    there: Direction
    back: Direction | None

    @property
    def is_missing(self) -> bool:
        """Whether one side lacks the link that the other one is configured to have."""
        return len({side.is_expected for side in self._sides}) > 1

    def without(self, lost: Mapping[str, datetime], now: datetime) -> "Pair":
        """See the link without what clusters said that are not heard: nothing is ready on their old word."""
        silent = [cluster for cluster in self.link.clusters if cluster in lost]
        if not silent or self.link.state is LinkState.UNKNOWN:
            return self
        parts = [f"{name} was last heard {round((now - lost[name]).total_seconds())} s ago" for name in silent]
        heard = (side.view for side in self._sides if side.source not in lost)
        down = [view for view in heard if view is not None and not view.is_connected]
        state = LinkState.DOWN if down else LinkState.STALE
        message = "; ".join((*parts, *(view.reason for view in down if view.reason)))
        return replace(self, link=replace(self.link, state=state, message=message))

    @property
    def _sides(self) -> tuple[Direction, ...]:
        return (self.there,) if self.back is None else (self.there, self.back)

    @property
    def latency_seconds(self) -> float | None:
        """The longer of both sides' medians, which is the one that hurts."""
        views = [side.view for side in self._sides]
        known = [view.latency_seconds for view in views if view is not None and view.latency_seconds is not None]
        return max(known, default=None)


@dataclass(frozen=True)
class Matrix:
    """The links between clusters, each once under its names in order. What nobody expects is not there."""

    clusters: tuple[str, ...]
    outsiders: tuple[str, ...]
    pairs: Mapping[tuple[str, str], Pair]

    def pair(self, one: str, other: str) -> Pair | None:
        """Give the link between two clusters, in either order."""
        return self.pairs.get((min(one, other), max(one, other)))

    def directions(self) -> Iterator[tuple[Direction, Pair]]:
        """Give both directions of every link, by source and destination."""
        found = [(side, pair) for pair in self.pairs.values() for side in (pair.there, pair.back) if side is not None]
        return iter(sorted(found, key=lambda item: (item[0].source, item[0].destination)))

    @property
    def broken(self) -> tuple[Pair, ...]:
        """The links that cannot be counted on."""
        return tuple(pair for pair in self.pairs.values() if pair.link.state is not LinkState.READY)


def matrix(members: Iterable[Member], *, now: datetime, rates: Mapping[Way, Rate] | None = None) -> Matrix:
    """Put all links together.

    Args:
        members: the clusters of one mesh.
        now: by which views are old.
        rates: bytes/s that transfers measured.
    """
    known = sorted(members, key=lambda member: member.cluster)
    named, clusters = by_mesh_name(known), tuple(member.cluster for member in known)
    sides = {(side.source, side.destination): side for each in known for side in _seen_by(each, named, rates or {})}
    outsiders = {destination for _, destination in sides} - set(clusters)
    lost = {member.cluster: member.lost_since for member in known if member.lost_since is not None}
    keys = sorted({(min(way), max(way)) for way in sides})
    pairs = {key: _pair(key, sides, outsiders, now).without(lost, now) for key in keys}
    return Matrix(clusters, tuple(sorted(outsiders)), pairs)


def _seen_by(member: Member, named: Mapping[str, Member], rates: Mapping[Way, Rate]) -> Iterator[Direction]:
    """Give the directions that begin at a member: to the peers that it lists, and to those that it should."""
    views, expected = {view.peer: view for view in member.links}, expected_peers(member)
    for peer in sorted(expected | views.keys()):
        other = named[peer].cluster if peer in named else peer
        if other != member.cluster:
            way = (member.cluster, other)
            yield Direction(*way, peer in expected, views.get(peer), rates.get(way))


def _pair(key: Way, sides: Mapping[Way, Direction], outsiders: set[str], now: datetime) -> Pair:
    one, other = key
    if outsiders & set(key):
        side = sides.get((one, other)) or sides[other, one]
        return Pair(link((side.source, side.view), (side.destination, side.view), now=now), side, None)
    there = sides.get((one, other)) or Direction(one, other, is_expected=False)
    back = sides.get((other, one)) or Direction(other, one, is_expected=False)
    return Pair(link((one, there.view), (other, back.view), now=now), there, back)
