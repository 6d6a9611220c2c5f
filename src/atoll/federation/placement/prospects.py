"""Where jobs of one likeness can start now, while a cycle fills the clusters: all of them are scored once.

The same choice as `choose` makes for every job anew, but a job costs no look at all clusters: what is free only shrinks
within a cycle, so the best cluster stays the best until it is full, and only a cluster on which something was put is
looked at again. Owns what a cycle assumes as taken; who may start, and in which order, is the caller's matter.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from heapq import heappop, heappush, heapreplace

import numpy as np

from atoll.federation.placement.beside import NO_CLAIMS, Against
from atoll.federation.placement.case import Case
from atoll.federation.placement.check_cluster import CLUSTER_CHECKS
from atoll.federation.placement.check_data import DATA_CHECKS
from atoll.federation.placement.claims import Beside, Claim
from atoll.federation.placement.decide import TIE_DIGITS, decide
from atoll.federation.placement.decision import Decision
from atoll.federation.placement.demand import Demand
from atoll.federation.placement.ends import Ends
from atoll.federation.placement.gangs import has_room
from atoll.federation.placement.links import Links
from atoll.federation.placement.score import Terms, score
from atoll.federation.placement.shapes import Floats, Ints
from atoll.federation.placement.spread import spread
from atoll.federation.placement.table import ClusterTable
from atoll.federation.placement.views import ClusterView, Occupation
from atoll.federation.placement.waiting import seconds_until_free


@dataclass
class Floor:
    """The clusters as a cycle found them, and as they are with what it has put on them since.

    `versions` counts by position how often something was put there.
    """

    table: ClusterTable
    views: list[ClusterView]
    versions: list[int]
    links: Links
    _left: tuple[int, ClusterTable] | None = field(default=None, repr=False)
    _beside: dict[int, Beside] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, views: list[ClusterView], links: Links) -> "Floor":
        """Begin with these clusters."""
        return cls(ClusterTable.of(views, links), list(views), [0] * len(views), links)

    @cached_property
    def ends(self) -> Ends:
        """When runs end, as the cycle found them."""
        return Ends.of(self.table.views)

    def beside(self, position: int, claims: tuple[Claim, ...]) -> Beside:
        """See what the claims on a cluster leave of it; alike jobs ask for the same again and again."""
        known = self._beside.get(position)
        if known is None or known.view is not self.views[position] or known.claims is not claims:
            known = self._beside[position] = Beside(self.views[position], claims)
        return known

    def occupy(self, position: int, occupation: Occupation) -> None:
        """Assume capacity of a cluster as taken."""
        self.views[position] = self.views[position].occupied(occupation)
        self.versions[position] += 1

    def touch(self, cluster: str) -> None:
        """Have a cluster looked at again: room on it is claimed."""
        self.versions[self.table.index[cluster]] += 1

    def left(self) -> ClusterTable:
        """Lay out what is left."""
        version = sum(self.versions)
        if self._left is None or self._left[0] != version:
            self._left = (version, ClusterTable.of(self.views, self.links) if version else self.table)
        return self._left[1]


@dataclass(frozen=True)
class _AtOnce(Case):
    """A case in which no cluster lets anybody wait: its totals are the least that they can be."""

    @cached_property
    def wait_seconds(self) -> Floats:
        """No time anywhere."""
        return np.zeros(len(self.table))


class Prospect:
    """Where jobs of one likeness can start: first the clusters with the lowest total, and who is worth waiting for."""

    def __init__(self, demand: Demand, floor: Floor, against: Against = NO_CLAIMS) -> None:
        """Score every cluster as the cycle found it; `against` has the claims that must be left room for."""
        self._demand, self._floor, self._against = demand, floor, against
        self._terms, self._case = _terms(demand, floor.table), Case(demand, floor.table)
        self._totals = self._terms.total.round(TIE_DIGITS)
        passes = np.ones(len(floor.table), np.bool_)
        for check in (*CLUSTER_CHECKS, *DATA_CHECKS):
            passes &= ~check.fails(self._case)
        passes &= np.isfinite(self._totals)
        has_room = passes & (self._case.room_now >= demand.count)
        rivals = np.flatnonzero(passes & ~has_room & (self._case.room_empty >= demand.count))
        self._order = _ordered(np.flatnonzero(has_room), self._totals)
        self._tied: Ints = self._order[:0]
        self._checked: dict[int, int] = {}
        self._decisions: dict[int, Decision] = {}
        # Bound of the total, position, version for which the bound is the total itself.
        least = (self._totals + _beyond(floor.ends.earliest(demand.pods), self._terms.staging))[rivals]
        bounds = zip(least.tolist(), rivals.tolist(), strict=True)
        self._rivals = sorted((bound, at, -1) for bound, at in bounds if bound < np.inf)

    def select(self, job: str) -> int | None:
        """Give the position where the job would be done first, if it has room now; None if none has, or it is worth
        waiting for another."""
        while len(self._tied) or self._next_tier():
            position = int(self._tied[spread(job, self._floor.table.seeds[self._tied])])
            if self._has_room(position):
                return None if self._is_worth_waiting(float(self._totals[position])) else position
            self._tied = self._tied[self._tied != position]
            heappush(self._rivals, (float(self._totals[position]), position, -1))
        return None

    def seconds(self, position: int) -> float:
        """Tell how long a job would hold what it takes there."""
        return float(self._terms.staging[position] + self._terms.run[position])

    def decision(self, demand: Demand, position: int, decided_at: datetime) -> Decision:
        """Record that a job was put there, among clusters as the cycle found them: alike jobs share what was seen."""
        known = self._decisions.get(position)
        if known is None:
            known = decide(demand, self._floor.table, decided_at=decided_at, against=self._against, selected=position)
            self._decisions[position] = known
        return replace(known, demand=demand)

    def _next_tier(self) -> bool:
        """Go on to the clusters with the next higher total; False if there are none."""
        if not len(self._order):
            return False
        totals = self._totals[self._order]
        end = int(np.searchsorted(totals, totals[0], side="right"))
        self._tied, self._order = self._order[:end], self._order[end:]
        return True

    def _has_room(self, position: int) -> bool:
        version = self._floor.versions[position]
        if version != self._checked.get(position, None if self._against.get(self._floor.views[position].name) else 0):
            view, pods = self._floor.views[position], self._demand.pods
            claims = self._against.get(view.name, ())
            if not has_room(view.shapes, pods):
                return False
            if claims and self._floor.beside(position, claims).broken(pods, self.seconds(position)) is not None:
                return False
            self._checked[position] = version
        return True

    def _wait_seconds(self, position: int) -> float:
        """Tell when there is room as things stand, with what the cycle has put there, beside the claims."""
        pods, view = self._demand.pods, self._floor.views[position]
        wait, claims = seconds_until_free(pods, view), self._against.get(view.name, ())
        if not claims:
            return wait
        beside = self._floor.beside(position, claims)
        if wait == 0 and beside.broken(pods, self.seconds(position)) is None:
            return wait
        return beside.seconds_until_room(pods)

    def ahead(self) -> tuple[int, float] | None:
        """Tell where a job that cannot start now would be done first, and in how many seconds there is room for it;
        None if that is nowhere known."""
        if not self._is_worth_waiting(np.inf):
            return None
        position = self._rivals[0][1]
        return position, self._wait_seconds(position)

    def _is_worth_waiting(self, total: float) -> bool:
        """Tell whether the job would be done sooner on a cluster that has no room yet; then that one is the first."""
        while self._rivals and self._rivals[0][0] < total:
            _, position, version = self._rivals[0]
            if version == self._floor.versions[position]:
                return True
            wait = self._wait_seconds(position)
            if np.isinf(wait):
                heappop(self._rivals)
                continue
            terms = self._terms
            staging = float(terms.staging[position])
            exact = round(max(wait, staging) + float(terms.total[position]) - staging, TIE_DIGITS)
            heapreplace(self._rivals, (exact, position, self._floor.versions[position]))
        return False


def _beyond(wait: Floats, staging: Floats) -> Floats:
    """Give what a wait adds to a total, in which inputs are staged meanwhile; as much less as rounding may take."""
    return np.asarray(np.maximum(wait - staging, 0.0).round(TIE_DIGITS) - 2 * 10.0**-TIE_DIGITS)


def _terms(demand: Demand, table: ClusterTable) -> Terms:
    return score(_AtOnce(demand, table))


def _ordered(positions: Ints, totals: Floats) -> Ints:
    return np.asarray(positions[np.argsort(totals[positions], kind="stable")])
