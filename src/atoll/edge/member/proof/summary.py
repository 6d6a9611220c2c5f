"""What is told of a set: the lowest rung of its objects, and when each rung was last proven. Pure."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from atoll.edge.member.proof.ladder import Claim, Judgement
from atoll.federation.resources.policyset_proof import (
    RUNGS,
    TOP_OF_ENFORCEMENT,
    ObjectProof,
    PolicyProof,
    RungTimes,
)

_TOLD_OBJECTS = 20
_TOP = RUNGS.index(TOP_OF_ENFORCEMENT)


def summed_up(
    claims: Sequence[Claim], judgements: Sequence[Judgement], *, nodes: int, before: RungTimes, now: datetime
) -> PolicyProof:
    """Give the proof of a set from those of its objects.

    Args:
        claims, judgements: of one commit, in the same order; there may be none.
        nodes: of the cluster.
        before: when each rung was proven of this commit until now.
        now: the time.
    """
    lowest = min(judgements, key=_height, default=Judgement(TOP_OF_ENFORCEMENT))
    height = _height(lowest)
    everywhere = frozenset.intersection(*(each.nodes for each in judgements)) if judgements else frozenset()
    asked_at = min((each.realized_at for each in judgements if each.realized_at is not None), default=now)
    seen = [each.observed_at for each in judgements if each.observed_at is not None]
    times = dict(zip(RUNGS, (now, now, asked_at, asked_at, min(seen, default=now)), strict=True))
    proven = {rung.lower(): times[rung] for rung in RUNGS[: height + 1]}
    low = sorted((height, index) for index, height in enumerate(map(_height, judgements)) if height < _TOP)
    return PolicyProof(
        rung=lowest.rung,
        reason=_reason(claims, judgements, height) if lowest.reason else "",
        nodes=nodes,
        realized_nodes=len(everywhere) if judgements else nodes,
        proven_at=before.model_copy(update=proven),
        observed_objects=len(seen),
        last_observed_at=max(seen, default=None),
        objects=tuple(_object(claims[index], judgements[index]) for _, index in low[:_TOLD_OBJECTS]),
    )


def _height(judgement: Judgement) -> int:
    return RUNGS.index(judgement.rung) if judgement.rung is not None else -1


def _reason(claims: Sequence[Claim], judgements: Sequence[Judgement], height: int) -> str:
    """Say why the lowest objects are no higher: of the first of them, and how many more there are."""
    low = [pair for pair in zip(claims, judgements, strict=True) if _height(pair[1]) == height]
    claim, judgement = low[0]
    more = f" (and {len(low) - 1} more)" if len(low) > 1 else ""
    return f"{_named(claim)}: {judgement.reason}{more}"


def _named(claim: Claim) -> str:
    policy = claim.policy
    return f"{policy.kind} {policy.namespace}/{policy.name}" if policy.namespace else f"{policy.kind} {policy.name}"


def _object(claim: Claim, judgement: Judgement) -> ObjectProof:
    policy = claim.policy
    return ObjectProof(
        kind=policy.kind,
        namespace=policy.namespace,
        name=policy.name,
        rung=judgement.rung,
        realized_nodes=len(judgement.nodes),
        reason=judgement.reason,
    )


def is_at_top(proofs: Iterable[PolicyProof]) -> bool:
    """Say whether nothing more can be proven of any but by those who open connections."""
    return all(proof.is_at_least(TOP_OF_ENFORCEMENT) for proof in proofs)


def lowered(proof: PolicyProof, reason: str) -> PolicyProof:
    """Take a proof back that no longer holds: no rung, and the times at which the rungs were proven."""
    return proof.model_copy(
        update={"rung": None, "reason": reason, "realized_nodes": 0, "observed_objects": 0, "objects": ()}
    )
