"""What a cluster proves of a policy set, in one word, with the age of the proof. Pure.

Owns the order of these words, from what needs a person to what is proven best; the pages' colours follow it. It never
says more than the newest proof: a rung is shown with the time of its proof, and a silent cluster as Unreachable (G4).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from atoll.federation.resources import ClusterPolicyStatus
from atoll.federation.resources.policyset_proof import RUNGS, ObjectProof, PolicyProof, PolicyRung, PolicyTraffic

# What is not proven; Ordered: the agent says that it holds the commit, and no rung is proven yet.
Unproven = Literal["Failed", "Unenforceable", "Drifted", "Unreachable", "Pending", "Ordered"]
Word = Unproven | PolicyRung
WORDS: tuple[Word, ...] = (*get_args(Unproven), *RUNGS)
_BAD: frozenset[Word] = frozenset({"Failed", "Unenforceable", "Drifted"})


@dataclass(frozen=True)
class Rung:
    """One rung of a ladder. `is_proven`: it holds now; with a time and not proven, it was lost."""

    name: PolicyRung
    is_proven: bool
    proven_at: datetime | None


@dataclass(frozen=True)
class Standing:
    """One cluster's state of one set. `height` counts proven rungs; `proven_at` is of the highest of them."""

    cluster: str
    word: Word
    height: int
    proven_at: datetime | None
    rungs: tuple[Rung, ...]
    commit: str
    is_newest: bool
    reason: str
    nodes: int
    realized_nodes: int
    objects: int
    lagging: tuple[ObjectProof, ...]
    widened_by: tuple[str, ...]
    drift_healed: int
    last_drift: str
    last_drift_at: datetime | None
    traffic: PolicyTraffic | None = None

    @property
    def is_bad(self) -> bool:
        """Whether somebody has to do something."""
        return self.word in _BAD


def standing_of(row: ClusterPolicyStatus, commit: str) -> Standing:
    """Give a cluster's state; `commit` is the newest of the set."""
    proof = row.proof or PolicyProof()
    word = _word(row, proof)
    height = RUNGS.index(proof.rung) + 1 if proof.rung is not None and word in RUNGS else 0
    times = [getattr(proof.proven_at, name.lower()) for name in RUNGS]
    rungs = tuple(Rung(name, index < height, times[index]) for index, name in enumerate(RUNGS))
    return Standing(
        cluster=row.cluster,
        word=word,
        height=height,
        proven_at=times[height - 1] if height else row.last_proven_at,
        rungs=rungs,
        commit=row.commit,
        is_newest=bool(commit) and row.commit == commit,
        reason=row.message or proof.reason,
        nodes=proof.nodes,
        realized_nodes=proof.realized_nodes,
        objects=row.objects,
        lagging=proof.objects,
        widened_by=row.widened_by,
        drift_healed=row.drift_healed,
        last_drift=row.last_drift,
        last_drift_at=row.last_drift_at,
        traffic=row.traffic,
    )


def rank(standing: Standing) -> int:
    """Order states: what needs a person first, what is proven best last."""
    return WORDS.index(standing.word)


def is_wanted(standing: Standing, wanted: str) -> bool:
    """Tell whether a filter wants a state.

    Args:
        standing: one cluster's state of one set.
        wanted: attention for what somebody has to look at, behind for what lacks the newest commit, the word of a
            state, or empty for all.
    """
    match wanted:
        case "":
            return True
        case "attention":
            return standing.is_bad or bool(standing.widened_by)
        case "behind":
            return not standing.is_newest
    return standing.word == wanted


def _word(row: ClusterPolicyStatus, proof: PolicyProof) -> Word:
    if row.phase != "Applied":
        return row.phase
    return proof.rung or "Ordered"
