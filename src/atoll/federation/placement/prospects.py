"""Where jobs of one likeness can start now, while a cycle fills the clusters: all of them are scored once.

The same choice as `choose` makes for every job anew, but a job costs no look at all clusters: what is free only shrinks
within a cycle, so the best cluster stays the best until it is full, and only a cluster on which something was put is
looked at again. What a cycle assumes as taken stands in floor.py; who may start, and in which order, is the caller's
matter.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from heapq import heappop, heappush, heapreplace

import numpy as np

from atoll.federation.placement.beside import NO_CLAIMS, Against
from atoll.federation.placement.case import Case
from atoll.federation.placement.check_cluster import CLUSTER_CHECKS
from atoll.federation.placement.check_data import DATA_CHECKS
from atoll.federation.placement.decide import TIE_DIGITS, Examined, examine, recorded
from atoll.federation.placement.decision import Decision
from atoll.federation.placement.demand import Demand
from atoll.federation.placement.floor import Floor
from atoll.federation.placement.gangs import has_room
from atoll.federation.placement.score import Terms, score
from atoll.federation.placement.shapes import Floats, Ints
from atoll.federation.placement.spread import spread
from atoll.federation.placement.table import ClusterTable


@dataclass(frozen=True)
class _AtOnce(Case):
    """A case in which no cluster lets anybody wait: its totals are the least that they can be."""

    @cached_property
    def wait_seconds(self) -> Floats:
        """No time anywhere."""
        return np.zeros(len(self.table))


Rival = tuple[float, int, int]
"""A bound of the total, the position, and the version of the cluster for which the bound is the total itself."""


@dataclass(frozen=True)
class Scored:
    """All clusters as the cycle found them, for one likeness: whatever of them is claimed.

    `order` has those that have room, the best first; `rivals` those that may be worth waiting for.
    """

    demand: Demand
    pods: int
    terms: Terms
    totals: Floats
    order: Ints
    rivals: tuple[Rival, ...]

    @classmethod
    def of(cls, demand: Demand, floor: Floor) -> "Scored":
        """Score every cluster."""
        terms, case = _terms(demand, floor.table), Case(demand, floor.table)
        totals = terms.total.round(TIE_DIGITS)
        passes = np.isfinite(totals)
        for check in (*CLUSTER_CHECKS, *DATA_CHECKS):
            passes &= ~check.fails(case)
        has_room = passes & (case.room_now >= demand.count)
        least = totals + _beyond(floor.ends.earliest(demand.pods), terms.staging)
        rivals = np.flatnonzero(passes & ~has_room & (case.room_empty >= demand.count) & np.isfinite(least))
        rivals = _ordered(rivals, least)
        bounds = zip(least[rivals].tolist(), rivals.tolist(), strict=True)
        return cls(
            demand, floor.number_of(demand.pods), terms, totals, _ordered(np.flatnonzero(has_room), totals),
            tuple((bound, at, -1) for bound, at in bounds),
        )  # fmt: skip


class Prospect:
    """Where jobs of one likeness can start: first the clusters with the lowest total, and who is worth waiting for."""

    def __init__(self, scored: Scored, floor: Floor, against: Against = NO_CLAIMS) -> None:
        """Begin with the best; `against` has the claims that must be left room for."""
        self._demand, self._floor, self._against = scored.demand, floor, against
        self._pods, self._terms, self._totals = scored.pods, scored.terms, scored.totals
        self._order, self._rivals = scored.order, list(scored.rivals)
        self._tie(self._order[:0])
        self._checked: dict[int, int] = {}
        self._decisions: dict[int, Decision] = {}

    @cached_property
    def _examined(self) -> Examined:
        return examine(self._demand, self._floor.table, self._against)

    def select(self, job: str) -> int | None:
        """Give the position where the job would be done first, if it has room now; None if none has, or it is worth
        waiting for another."""
        while len(self._tied) or self._next_tier():
            position = int(self._tied[spread(job, self._seeds)])
            if self._has_room(position):
                return None if self._is_worth_waiting(float(self._totals[position])) else position
            self._tie(self._tied[self._tied != position])
            heappush(self._rivals, (float(self._totals[position]), position, -1))
        return None

    def seconds(self, position: int) -> float:
        """Tell how long a job would hold what it takes there."""
        return float(self._terms.staging[position] + self._terms.run[position])

    def decision(self, demand: Demand, position: int, decided_at: datetime) -> Decision:
        """Record that a job was put there, among clusters as the cycle found them: alike jobs share what was seen."""
        known = self._decisions.get(position)
        if known is None:
            known = self._decisions[position] = recorded(self._examined, decided_at=decided_at, selected=position)
        return replace(known, demand=demand)

    def _next_tier(self) -> bool:
        """Go on to the clusters with the next higher total; False if there are none."""
        if not len(self._order):
            return False
        totals = self._totals[self._order]
        end = int(np.searchsorted(totals, totals[0], side="right"))
        self._tie(self._order[:end])
        self._order = self._order[end:]
        return True

    def _tie(self, positions: Ints) -> None:
        """Choose among these from now on, with their own numbers at hand."""
        self._tied, self._seeds = positions, self._floor.table.seeds[positions]

    def _has_room(self, position: int) -> bool:
        version = self._floor.versions[position]
        claims = self._against.get(self._floor.name(position), ()) if self._against else ()
        if version != self._checked.get(position, None if claims else 0):
            pods = self._demand.pods
            if not has_room(self._floor.shapes[position], pods):
                return False
            if claims and self._floor.beside(position, claims).broken(pods, self.seconds(position)) is not None:
                return False
            self._checked[position] = version
        return True

    def _wait_seconds(self, position: int) -> float:
        """Tell when there is room as things stand, with what the cycle has put there, beside the claims."""
        pods, claims = self._demand.pods, self._against.get(self._floor.name(position), ())
        wait = self._floor.seconds_until_free(self._pods, position)
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
