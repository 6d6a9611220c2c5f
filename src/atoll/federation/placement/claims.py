"""Claims on the future: room that somebody shall have on a cluster from a moment on, and what that forbids others.

A claim is of a job that waits (so that smaller ones, which fit sooner, do not starve it), of a job for which runs have
to go, or of a reservation. Others may start beside it if they are expected to have ended when it begins, or if they
leave it as much room as it would have without them: EASY backfilling (Lifka, JSSPP 1995; Slurm's sched/backfill), for
more than one claim. Owns what a claim forbids, and when there is room beside it. It must not know who is given one.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from atoll.federation.capacity import Shape, room, take
from atoll.federation.placement.demand import Pods
from atoll.federation.placement.gangs import Shapes, has_room, taken
from atoll.federation.placement.views import ClusterView

ClaimKind = Literal["Waiting", "Preempting", "Reserved"]
# A job that may not start beside a claim is never told that it starts now.
_LEAST_WAIT_SECONDS = 1.0


@dataclass(frozen=True)
class Claim:
    """Room on a cluster for some pods, from a moment until another; seconds are from now.

    Attributes:
        holder: the job as namespace/name, or the name of the reservation.
        starts_in_seconds: when others must have left it; never later than was promised first.
        roomy_in_seconds: when the room is expected to be there, which may be later.
        queue: whose jobs may use it, with the queues below it; None: the holder's alone.
    """

    holder: str
    kind: ClaimKind
    cluster: str
    pods: Pods
    starts_in_seconds: float = 0.0
    roomy_in_seconds: float = 0.0
    ends_in_seconds: float = inf
    queue: str | None = None

    @property
    def seen_in_seconds(self) -> float:
        """The moment for which room is counted."""
        return max(0.0, self.starts_in_seconds, self.roomy_in_seconds)


Openness = tuple[str, tuple[str, ...]]
"""What a job may use of what is claimed: the claims that it holds itself, by its name, and the queues' reservations."""


@dataclass
class Claims:
    """The claims that stand; the first counts first."""

    _standing: list[Claim] = field(default_factory=list)
    _holders: set[str] = field(default_factory=set)
    _queues: set[str] = field(default_factory=set)
    _kept: set[tuple[str, str]] = field(default_factory=set)
    _against: dict[Openness, dict[str, tuple[Claim, ...]]] = field(default_factory=dict)

    @classmethod
    def of(cls, claims: Iterable[Claim]) -> "Claims":
        """Collect claims."""
        collected = cls()
        for claim in claims:
            collected.add(claim)
        return collected

    def __iter__(self) -> Iterator[Claim]:
        """Give them in their order."""
        return iter(self._standing)

    def add(self, claim: Claim) -> None:
        """Let a claim stand behind those that stand already."""
        self._standing.append(claim)
        if claim.queue is None:
            self._holders.add(claim.holder)
        else:
            self._queues.add(claim.queue)
            if claim.starts_in_seconds <= 0:
                self._kept.add((claim.queue, claim.cluster))
        for openness, against in self._against.items():
            is_behind = claim.queue is None and openness[0] in self._holders
            if not self._is_open(claim, openness) and not is_behind:
                against[claim.cluster] = (*against.get(claim.cluster, ()), claim)

    def drop(self, holder: str) -> None:
        """Forget the claim of a job, which has started or waits elsewhere."""
        if holder not in self._holders:
            return
        self._holders.discard(holder)
        self._standing = [claim for claim in self._standing if claim.queue is not None or claim.holder != holder]
        for openness, against in self._against.items():
            against.clear()
            against.update(self._sorted(openness))

    def openness(self, job: str, line: Sequence[str]) -> Openness:
        """Tell what a job may use; `line` has its queue and those above it. Nearly all jobs may use nothing."""
        own = job if job in self._holders else ""
        return (own, tuple(sorted(self._queues.intersection(line))) if self._queues else ())

    def against(self, openness: Openness) -> Mapping[str, tuple[Claim, ...]]:
        """Give by cluster the claims that have to be left room for. It goes on to show what stands."""
        if openness not in self._against:
            self._against[openness] = self._sorted(openness)
        return self._against[openness]

    def _sorted(self, openness: Openness) -> dict[str, tuple[Claim, ...]]:
        found: dict[str, tuple[Claim, ...]] = {}
        is_behind = False  # two that waited for each other would wait for ever: who has a claim looks at those before
        for claim in self._standing:
            is_behind = is_behind or (claim.queue is None and claim.holder == openness[0])
            if not self._is_open(claim, openness) and not (is_behind and claim.queue is None):
                found[claim.cluster] = (*found.get(claim.cluster, ()), claim)
        return found

    def _is_open(self, claim: Claim, openness: Openness) -> bool:
        """Tell whether a job need not leave room for a claim: in its window, a reservation counts before promises."""
        own, queues = openness
        if claim.queue is not None:
            return claim.queue in queues
        is_kept = claim.kind == "Waiting" and any((queue, claim.cluster) in self._kept for queue in queues)
        return claim.holder == own or is_kept


def broken(view: ClusterView, claims: Sequence[Claim], pods: Pods, seconds: float) -> Claim | None:
    """Find the first claim that pods which start now, and run so long, would take room from."""
    return Beside(view, claims).broken(pods, seconds)


def shapes_at(view: ClusterView, seconds: float) -> tuple[Shape, ...]:
    """See the nodes as they are expected to be in so many seconds if nothing starts meanwhile."""
    return view.future.at(seconds)


class Beside:
    """What the claims on a cluster leave of it, each time that something ends; worked out as far as it is asked for."""

    def __init__(self, view: ClusterView, claims: Sequence[Claim]) -> None:
        """Begin with a cluster and the claims on it."""
        self.view, self.claims = view, claims
        self._standing = [claim for claim in claims if claim.ends_in_seconds > 0]
        ends = {run.ends_in_seconds for run in view.occupations} | {claim.ends_in_seconds for claim in self._standing}
        self._moments = sorted(moment for moment in ends if 0 <= moment < inf)
        self._left: dict[float, Shapes] = {}
        self._rooms: dict[int, tuple[Shapes, int]] = {}
        self._until: dict[Pods, float] = {}

    def broken(self, pods: Pods, seconds: float) -> Claim | None:
        """Find the first claim that pods which start now, and run so long, would take room from.

        It gets less room then than it would have: also one that has not all its room yet may save up.
        """
        for number, claim in enumerate(self.claims):
            if claim.starts_in_seconds >= seconds or claim.ends_in_seconds <= 0:
                continue
            shapes, rooms = self._room_of(number)
            if _rooms(taken(shapes, pods), claim.pods) < rooms:
                return claim
        return None

    def _room_of(self, number: int) -> tuple[Shapes, int]:
        """Give what a claim finds at its moment, beside those before it, and for how many of its pods that is room."""
        if number not in self._rooms:
            claim = self.claims[number]
            moment = claim.seen_in_seconds
            shapes = shapes_at(self.view, moment)
            for other in self.claims[:number]:
                if other.seen_in_seconds <= moment < other.ends_in_seconds:
                    shapes = taken(shapes, other.pods)
            self._rooms[number] = (shapes, _rooms(shapes, claim.pods))
        return self._rooms[number]

    def seconds_until_room(self, pods: Pods) -> float:
        """Estimate when all pods could start at once while every claim gets its room; infinite if that is not known."""
        known = self._until.get(pods)
        if known is None:
            known = self._until[pods] = self._seconds_until_room(pods)
        return known

    def _seconds_until_room(self, pods: Pods) -> float:
        """Look at each moment from which on there is room without the claims."""
        begin = bisect_left(self._moments, True, key=lambda moment: has_room(shapes_at(self.view, moment), pods))
        found = (moment for moment in self._moments[begin:] if has_room(self._shapes(moment), pods))
        return max(_LEAST_WAIT_SECONDS, next(found, inf))

    def _shapes(self, moment: float) -> Shapes:
        if moment not in self._left:
            shapes = shapes_at(self.view, moment)
            for claim in self._standing:
                if moment < claim.ends_in_seconds:
                    shapes = taken(shapes, claim.pods)
            self._left[moment] = shapes
        return self._left[moment]


def seconds_until_room_beside(view: ClusterView, claims: Sequence[Claim], pods: Pods) -> float:
    """Estimate when all pods could start at once while every claim gets its room; infinite if that is not known."""
    return Beside(view, claims).seconds_until_room(pods)


def _rooms(shapes: tuple[Shape, ...], pods: Pods) -> int:
    """Count how many of the pods have room."""
    total = 0
    for pod, count in pods[:-1]:
        shapes, left = take(pod.resources, shapes, count, suits=pod.suits)
        total += count - left
    return total + sum(room(pod.resources, shapes, at_most=count, suits=pod.suits) for pod, count in pods[-1:])
