"""The score beside claims: where a job has room now that is claimed, it has to wait there like for any other room."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from atoll.federation.placement.case import Case
from atoll.federation.placement.claims import Claim, broken, seconds_until_room_beside
from atoll.federation.placement.score import Terms

Against = Mapping[str, tuple[Claim, ...]]
"""By cluster, the claims that a job has to leave room for."""
NO_CLAIMS: Against = {}


@dataclass(frozen=True)
class InTheWay:
    """A claim that keeps a job from room that is free now; seconds are from the decision."""

    holder: str
    kind: str
    starts_in_seconds: float
    ends_in_seconds: float

    @property
    def message(self) -> str:
        """Say whose room it is."""
        if self.kind == "Reserved":
            return f"its room is kept by reservation {self.holder}"
        why = "runs are stopped for it" if self.kind == "Preempting" else "it waits longer"
        return f"its room is kept for job {self.holder}: {why}"


def beside_claims(case: Case, terms: Terms, against: Against) -> tuple[Terms, Mapping[int, InTheWay]]:
    """Let a job wait where it would take claimed room; tell by position whose claim that is."""
    if not against:
        return terms, {}
    demand, wait, found = case.demand, terms.wait.copy(), {}
    pods = demand.pods
    for cluster, claims in against.items():
        position = case.table.index.get(cluster)
        if position is None or not np.isfinite(wait[position]):
            continue
        view, stays = case.table.views[position], float(terms.staging[position] + terms.run[position])
        if wait[position] == 0:
            claim = broken(view, claims, pods, stays)
            if claim is None:
                continue
            found[position] = InTheWay(
                claim.holder, claim.kind, max(0.0, claim.starts_in_seconds), claim.ends_in_seconds
            )
        wait[position] = seconds_until_room_beside(view, claims, pods)
    total = np.maximum(wait, terms.staging) + terms.run + terms.money_seconds + terms.idle
    return replace(terms, wait=wait, total=total), found
