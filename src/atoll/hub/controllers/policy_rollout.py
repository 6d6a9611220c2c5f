"""How far a commit of a policy set may go now: from what the clusters hold to the next step. Pure.

Owns waves. A cluster that is silent or asleep never holds a rollout up: its order stands, and it follows when it comes
back. A commit that fails in a wave goes no further, and is taken back unless the set says otherwise: since a cluster
does not come to hold it, since policies drop more where it is, or since its tests do not hold for what runs.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from atoll.federation.capacity import parse_duration
from atoll.federation.resources import ClusterPolicyStatus
from atoll.federation.resources.policyset_rollout import HaltReason, RolloutSpec, RolloutStatus, WaveProof

_REST = "rest"
_SHOWN = 3
_VERBS: Mapping[WaveProof, str] = {"Applied": "hold", "Valid": "hold and check", "Realized": "realize"}
# Nothing more becomes of a commit in these: a new one begins anew.
_RESTING = ("Complete", "Halted", "RolledBack")


@dataclass(frozen=True)
class Place:
    """One cluster on the way: its labels, since when it is heard (None: it is silent), and its row in the status."""

    cluster: str
    labels: Mapping[str, str]
    heard_since: datetime | None
    row: ClusterPolicyStatus | None

    def holds(self, commit: str, proof: WaveProof) -> bool:
        """Say whether it has proven that it holds a commit, as far as is asked for."""
        row = self.row
        if row is None or row.commit != commit or row.phase not in ("Applied", "Drifted"):
            return False
        return proof == "Applied" or (row.proof is not None and row.proof.is_at_least(proof))

    def fails(self, commit: str) -> bool:
        """Say whether it can be seen that it will not come to hold a commit that it was given."""
        row = self.row
        return row is not None and (row.phase == "Unenforceable" or (row.phase == "Failed" and row.commit == commit))

    def rise(self, commit: str) -> float | None:
        """Give by how many packets a second policies drop more there since it holds a commit; None if not known."""
        row = self.row
        is_told = self.heard_since is not None and row is not None and row.commit == commit
        return row.traffic.rise if is_told and row is not None and row.traffic is not None else None


@dataclass(frozen=True)
class Step:
    """What follows: the status, the commit each cluster is given, and when to look again if nothing is heard.

    A cluster that `commits` does not name keeps its order.
    """

    status: RolloutStatus
    commits: Mapping[str, str]
    due_seconds: float | None = None


@dataclass(frozen=True)
class Candidate:
    """The newest commit that may be rolled out.

    Attributes:
        commit: its id.
        approved: the commit that somebody has let into waves that ask for it; perhaps another one.
        failures: policy tests of it that do not hold for what runs.
    """

    commit: str
    approved: str = ""
    failures: tuple[str, ...] = ()


def next_step(
    spec: RolloutSpec, old: RolloutStatus | None, candidate: Candidate, places: Sequence[Place], *, now: datetime
) -> Step:
    """Decide how far a commit goes.

    Args:
        spec: the waves.
        old: what was decided last; None if nothing was.
        candidate: the newest commit.
        places: the clusters that the set means.
        now: the time.
    """
    status = _begun(old, candidate.commit, now)
    look: _Look | None = None
    trouble = _trouble(spec, status, places, candidate.failures) if status.phase not in _RESTING else None
    if trouble is not None:
        status = _stopped(spec, _named(spec, status), *trouble)
    while status.phase not in _RESTING and (look is None or look.again):
        look = _look(spec, status, places, approved=candidate.approved, now=now)
        status = look.status
    return Step(status, _given(spec, status, places), look.due_seconds if look is not None else None)


def wave_of(spec: RolloutSpec, labels: Mapping[str, str]) -> int:
    """Give the index of a cluster's wave; the number of waves if none selects it."""
    chosen = (index for index, wave in enumerate(spec.waves) if wave.clusters.matches(dict(labels)))
    return next(chosen, len(spec.waves))


def _begun(old: RolloutStatus | None, commit: str, now: datetime) -> RolloutStatus:
    """Begin with a commit that is new; one that was rolled back is not new."""
    if old is None:
        old = RolloutStatus()
    if commit in (old.commit, old.refused):
        return old
    return RolloutStatus(commit=commit, good=old.good, previous=old.previous, phase="Rolling", wave_began_at=now)


@dataclass(frozen=True)
class _Look:
    """One look at the wave that is under way; `again`: the next wave can be looked at at once."""

    status: RolloutStatus
    due_seconds: float | None = None
    again: bool = False


def _look(spec: RolloutSpec, status: RolloutStatus, places: Sequence[Place], *, approved: str, now: datetime) -> _Look:
    status = _named(spec, status)
    index, name = status.wave, status.wave_name
    if _awaits(spec, status, approved):
        message = f"wave {name} waits for 'atoll policy approve' of commit {status.commit[:12]}"
        return _Look(status.model_copy(update={"phase": "AwaitingApproval", "message": message}))
    if status.phase == "AwaitingApproval":
        status = status.model_copy(update={"phase": "Rolling", "wave_began_at": now})
    mine = [p for p in places if p.heard_since is not None and wave_of(spec, p.labels) == index]
    proof = spec.waves[index].proof if index < len(spec.waves) else "Applied"
    missing = [place for place in mine if not place.holds(status.commit, proof)]
    if not missing:
        return _held(spec, status, now)
    patience = {place.cluster: _patience(spec, status, place, now) for place in missing}
    failed = [place for place in missing if place.fails(status.commit) or patience[place.cluster] <= 0]
    if failed and spec.waves:
        return _Look(_failed(spec, status, failed))
    message = f"wave {name} waits for {_names([place.cluster for place in missing])} to {_VERBS[proof]} it"
    update = {"phase": "Rolling", "message": message, "wave_held_at": None}
    due = min((left for left in patience.values() if left > 0), default=None)
    return _Look(status.model_copy(update=update), due)


def _named(spec: RolloutSpec, status: RolloutStatus) -> RolloutStatus:
    name = spec.waves[status.wave].name if status.wave < len(spec.waves) else _REST
    return status.model_copy(update={"wave_name": name})


def _trouble(
    spec: RolloutSpec, status: RolloutStatus, places: Sequence[Place], failures: Sequence[str]
) -> tuple[HaltReason, str] | None:
    """Say what speaks against a commit although clusters may hold it; None if nothing does, or there are no waves."""
    if not spec.waves:
        return None
    if failures and spec.halt_when.policy_tests:
        more = f"; and {len(failures) - _SHOWN} more" if len(failures) > _SHOWN else ""
        return "PolicyTestFailed", f"for what runs now, {'; '.join(failures[:_SHOWN])}{more}"
    most = spec.halt_when.drops_per_second
    begun = [place for place in places if wave_of(spec, place.labels) <= status.wave]
    risen = [place for place in begun if most is not None and (place.rise(status.commit) or 0.0) > most]
    return ("DropRateRose", "; ".join(map(_drops, risen[:_SHOWN]))) if risen else None


def _drops(place: Place) -> str:
    traffic = place.row.traffic if place.row is not None else None
    if traffic is None:
        return place.cluster
    return (
        f"{place.cluster}: policies drop {traffic.drops_per_second:g} packets a second, "
        f"{traffic.drops_per_second_before:g} before the commit"
    )


def _patience(spec: RolloutSpec, status: RolloutStatus, place: Place, now: datetime) -> float:
    """Give the seconds that a cluster has left to hold the commit: since the wave began, or since it came back."""
    since = max(filter(None, (status.wave_began_at, place.heard_since)), default=now)
    return (since + timedelta(seconds=parse_duration(spec.stall_after)) - now).total_seconds()


def _awaits(spec: RolloutSpec, status: RolloutStatus, approved: str) -> bool:
    """Tell whether the wave may not begin yet; its clusters then have no order of this commit."""
    asks = status.wave < len(spec.waves) and spec.waves[status.wave].approval
    return asks and approved != status.commit


def _held(spec: RolloutSpec, status: RolloutStatus, now: datetime) -> _Look:
    """Wait out the wave's time, then go to the next wave or be complete."""
    index, since = status.wave, status.wave_held_at or now
    if index >= len(spec.waves):
        previous = status.good if status.good != status.commit else status.previous
        complete = {
            "phase": "Complete",
            "good": status.commit,
            "previous": previous,
            "refused": "",
            "message": "",
            "reason": None,
        }
        return _Look(status.model_copy(update={**complete, "wave_held_at": since}))
    left = (since + timedelta(seconds=parse_duration(spec.waves[index].wait)) - now).total_seconds()
    if left > 0:
        message = f"wave {status.wave_name} holds it; the next one begins when it has for {spec.waves[index].wait}"
        return _Look(status.model_copy(update={"phase": "Waiting", "message": message, "wave_held_at": since}), left)
    update = {"phase": "Rolling", "wave": index + 1, "wave_began_at": now, "wave_held_at": None, "message": ""}
    return _Look(status.model_copy(update=update), again=True)


def _failed(spec: RolloutSpec, status: RolloutStatus, failed: Sequence[Place]) -> RolloutStatus:
    row = failed[0].row
    reasons: Mapping[str, HaltReason] = {"Failed": "NotHeld", "Unenforceable": "Unenforceable"}
    reason = reasons.get(row.phase, "RealizationStalled") if row is not None else "RealizationStalled"
    return _stopped(spec, status, reason, "; ".join(_reason(spec, place) for place in failed[:_SHOWN]))


def _stopped(spec: RolloutSpec, status: RolloutStatus, reason: HaltReason, why: str) -> RolloutStatus:
    """Go no further with a commit, or back to the one before."""
    message = f"wave {status.wave_name}: {why}"
    status = status.model_copy(update={"reason": reason})
    if spec.on_failure == "Halt" or not status.good:
        return status.model_copy(update={"phase": "Halted", "message": message})
    message = f"commit {status.commit[:12]} was taken back to {status.good[:12]}: {message}"
    return status.model_copy(
        update={"phase": "RolledBack", "refused": status.commit, "commit": status.good, "message": message}
    )


def _reason(spec: RolloutSpec, place: Place) -> str:
    row = place.row
    if row is not None and row.message:
        return f"{place.cluster} {row.phase}: {row.message}"
    proof = row.proof if row is not None and row.phase == "Applied" else None
    why = f": {proof.rung}: {proof.reason}" if proof is not None and proof.reason else ""
    return f"{place.cluster} does not hold it within {spec.stall_after}{why}"


def _given(spec: RolloutSpec, status: RolloutStatus, places: Iterable[Place]) -> dict[str, str]:
    """Give the commit of each cluster whose turn has come; of a new one among the others what was complete last."""
    if status.phase in ("Complete", "RolledBack"):
        return {place.cluster: status.commit for place in places}
    begun = status.wave if status.phase != "AwaitingApproval" else status.wave - 1
    given = {}
    for place in places:
        if wave_of(spec, place.labels) <= begun:
            given[place.cluster] = status.commit
        elif status.good and (place.row is None or not place.row.commit):
            given[place.cluster] = status.good
    return given


def _names(clusters: Sequence[str]) -> str:
    more = f" and {len(clusters) - _SHOWN} more" if len(clusters) > _SHOWN else ""
    return ", ".join(clusters[:_SHOWN]) + more
