"""A rollout as waves: which have been, which is under way, what the next one waits for. Pure.

Owns what is drawn of a rollout, and what a person may decide of it in its state.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from atoll.federation.resources import PolicySet
from atoll.federation.resources.policyset_rollout import RolloutStatus, WaveProof
from atoll.hub.controllers.policy_rollout import Place, wave_of

WaveState = Literal["held", "current", "waiting", "approval", "halted", "next"]


@dataclass(frozen=True)
class WaveView:
    """One wave; `holding` of its `clusters` have the commit."""

    name: str
    state: WaveState
    clusters: int
    holding: int
    wait: str
    approval: bool
    proof: WaveProof
    began_at: datetime | None


@dataclass(frozen=True)
class RolloutView:
    """The rollout of a set's newest commit."""

    phase: str
    commit: str
    message: str
    pinned: str
    waves: tuple[WaveView, ...]


def rollout_of(policyset: PolicySet, labels: Mapping[str, Mapping[str, str]]) -> RolloutView | None:
    """Draw a set's rollout; None before anything was read. `labels` are those of the clusters, by name."""
    status, pinned = policyset.status.rollout, policyset.spec.pinned_commit
    if status is None:
        return None
    return RolloutView(
        phase=status.phase,
        commit=status.commit,
        message=status.message,
        pinned=pinned or "",
        waves=tuple(_waves(policyset, status, labels)) if pinned is None else (),
    )


def _waves(policyset: PolicySet, status: RolloutStatus, labels: Mapping[str, Mapping[str, str]]) -> Sequence[WaveView]:
    spec = policyset.spec.rollout
    members: dict[int, list[bool]] = {}
    for row in policyset.status.clusters:
        own = labels.get(row.cluster, {})
        index = wave_of(spec, own)
        proof = spec.waves[index].proof if index < len(spec.waves) else "Applied"
        members.setdefault(index, []).append(Place(row.cluster, own, None, row).holds(status.commit, proof))
    views = [
        WaveView(
            name=wave.name,
            state=_state(index, status),
            clusters=len(members.get(index, ())),
            holding=sum(members.get(index, ())),
            wait=wave.wait,
            approval=wave.approval,
            proof=wave.proof,
            began_at=status.wave_began_at if index == status.wave else None,
        )
        for index, wave in enumerate(spec.waves)
    ]
    rest, count = members.get(len(spec.waves), []), len(spec.waves)
    if rest or not views:
        name, began = "rest" if views else "all at once", status.wave_began_at if status.wave == count else None
        views.append(WaveView(name, _state(count, status), len(rest), sum(rest), "0s", False, "Applied", began))
    return views


def _state(index: int, status: RolloutStatus) -> WaveState:
    if status.phase in ("Complete", "RolledBack") or index < status.wave:
        return "held"
    if index > status.wave:
        return "next"
    match status.phase:
        case "AwaitingApproval":
            return "approval"
        case "Halted":
            return "halted"
        case "Waiting":
            return "waiting"
    return "current"
